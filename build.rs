//! Turns data/prices.json into a static table, so that the Worker parses nothing at start.
#![expect(
    clippy::indexing_slicing,
    reason = "indexing a JSON value yields null for what is missing; it does not panic"
)]

use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=data/prices.json");
    println!("cargo::rerun-if-changed=build.rs");
    let table: Value = serde_json::from_str(&fs::read_to_string("data/prices.json")?)?;
    let rows = table["prices"].as_array().ok_or("data/prices.json has no prices")?;
    let mut code = String::new();
    writeln!(
        code,
        "/// The day of the figures.\npub const AS_OF: &str = {:?};",
        table["as_of"].as_str().unwrap_or("")
    )?;
    writeln!(code, "static PRICES: [Price; {}] = [", rows.len())?;
    for row in rows {
        let (provider, model) = (row["provider"].as_str(), row["model"].as_str());
        let (provider, model) = provider.zip(model).ok_or("a price without provider or model")?;
        let above = match &row["above"] {
            Value::Null => "None".to_owned(),
            above => format!("Some(Tier {{ tokens: {}, rates: {} }})", above["tokens"], rates(above)),
        };
        writeln!(code, "Price {{ provider: {provider:?}, model: {model:?}, rates: {}, above: {above} }},", rates(row))?;
    }
    writeln!(code, "];")?;
    let file = Path::new(&env::var("OUT_DIR")?).join("prices.rs");
    fs::write(file, code)?;
    Ok(())
}

fn rates(row: &Value) -> String {
    let rate = |name: &str| row[name].as_f64().map_or("None".to_owned(), |rate| format!("Some({rate:?})"));
    let names = ["input", "output", "cached", "cache_write", "reasoning"];
    let fields: Vec<String> = names.iter().map(|name| format!("{name}: {}", rate(name))).collect();
    format!("Rates {{ {} }}", fields.join(", "))
}
