//! Turns data/prices.json into one sorted text, so that the Worker parses nothing at start. As structs the table would
//! take five times as much of what is uploaded. And takes the blanks out of src/openapi.json.
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
    println!("cargo::rerun-if-changed=src/openapi.json");
    println!("cargo::rerun-if-changed=build.rs");
    let table: Value = serde_json::from_str(&fs::read_to_string("data/prices.json")?)?;
    let rows = table["prices"].as_array().ok_or("data/prices.json has no prices")?;
    let mut code = String::new();
    writeln!(
        code,
        "/// The day of the figures.\npub const AS_OF: &str = {:?};",
        table["as_of"].as_str().unwrap_or("")
    )?;
    let mut lines = Vec::new();
    for row in rows {
        let (provider, model) = (row["provider"].as_str(), row["model"].as_str());
        let (provider, model) = provider.zip(model).ok_or("a price without provider or model")?;
        let mut line = format!("{provider}\t{model}\t{}", rates(row));
        if let above @ Value::Object(_) = &row["above"] {
            write!(line, "\t{}\t{}", above["tokens"], rates(above))?;
        }
        lines.push(line);
    }
    // The order in which `price::line` searches.
    lines.sort_by(|a, b| a.split('\t').take(2).cmp(b.split('\t').take(2)));
    writeln!(code, "/// One model on each line: `provider, model, rates[, tokens, rates above them]`.")?;
    writeln!(code, "static TABLE: &str = {:?};", lines.join("\n"))?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("prices.rs"), code)?;
    let document: Value = serde_json::from_str(&fs::read_to_string("src/openapi.json")?)?;
    fs::write(Path::new(&out).join("openapi.json"), document.to_string())?;
    Ok(())
}

/// The five rates, empty where one is unknown.
fn rates(row: &Value) -> String {
    let names = ["input", "output", "cached", "cache_write", "reasoning"];
    let rates: Vec<String> =
        names.iter().map(|name| row[name].as_f64().map_or(String::new(), |rate| rate.to_string())).collect();
    rates.join(",")
}
