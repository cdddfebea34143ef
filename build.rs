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
        let mut group = |tier: &str, row: &Value| -> Result<(), std::fmt::Error> {
            if !tier.is_empty() {
                write!(line, "\t{tier}:{}", rates(row))?;
            }
            match &row["above"] {
                above @ Value::Object(_) => write!(line, "\t{tier}>{}:{}", above["tokens"], rates(above)),
                _ => Ok(()),
            }
        };
        group("", row)?;
        for (tier, row) in row["tiers"].as_object().into_iter().flatten() {
            group(tier, row)?;
        }
        for (kind, price) in row["images"].as_object().into_iter().flatten() {
            write!(line, "\t#{kind}:j{}", price.as_f64().ok_or("a price of an image that is no number")?)?;
        }
        lines.push(line);
    }
    // The order in which `price::line` searches.
    lines.sort_by(|a, b| a.split('\t').take(2).cmp(b.split('\t').take(2)));
    writeln!(
        code,
        "/// One model on each line: provider, model, its usual rates, `#quality/size:rates` for images, and `tier>tokens:rates` for others."
    )?;
    writeln!(code, "static TABLE: &str = {:?};", lines.join("\n"))?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("prices.rs"), code)?;
    let document: Value = serde_json::from_str(&fs::read_to_string("src/openapi.json")?)?;
    fs::write(Path::new(&out).join("openapi.json"), document.to_string())?;
    Ok(())
}

/// The rates that are known, each a letter and a number.
fn rates(row: &Value) -> String {
    let known = LETTERS.iter().filter_map(|(name, letter)| Some(format!("{letter}{}", row[name].as_f64()?)));
    known.collect()
}

/// Names in data/prices.json, and the letters of `price::Rate`.
const LETTERS: &[(&str, char)] = &[
    ("input", 'i'),
    ("output", 'o'),
    ("cached", 'c'),
    ("cache_write", 'w'),
    ("cache_write_1h", 'h'),
    ("cache_write_24h", 'd'),
    ("reasoning", 'r'),
    ("audio_in", 'a'),
    ("audio_out", 'A'),
    ("audio_cached", 'b'),
    ("image_in", 'm'),
    ("image_out", 'M'),
    ("image_cached", 'n'),
    ("video_in", 'v'),
    ("video_out", 'V'),
    ("text_out", 'x'),
    ("second", 't'),
    ("search", 's'),
    ("search_once", 'p'),
    ("request", 'q'),
    ("search_unit", 'z'),
    ("container", 'k'),
    ("page", 'y'),
    ("annotated_page", 'Y'),
    ("image", 'j'),
    ("character", 'H'),
    ("us", 'u'),
    ("fast", 'f'),
    ("region", 'g'),
];
