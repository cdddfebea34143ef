//! Turns data/prices.json into one sorted text, so that the Worker parses nothing at start. As structs the table would
//! take five times as much of what is uploaded.
#![expect(
    clippy::indexing_slicing,
    reason = "indexing a JSON value yields null for what is missing; it does not panic"
)]

#[path = "src/catalogue/line.rs"]
mod line;

use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=data/prices.json");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/catalogue/line.rs");
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
        lines.push(line::of(row.as_object().ok_or("a price that is no object")?)?);
    }
    // The order in which `catalogue/table.rs` searches.
    lines.sort_by(|a, b| a.split('\t').take(2).cmp(b.split('\t').take(2)));
    writeln!(code, "/// One model on each line, as `catalogue/line.rs` writes it.")?;
    writeln!(code, "static TABLE: &str = {:?};", lines.join("\n"))?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("prices.rs"), code)?;
    Ok(())
}
