//! A model of data/prices.json as a line of text: what the Worker searches, and an account keeps of its own. build.rs uses this file,
//! too, so that it knows nothing but JSON.

use serde_json::{Map, Value};

/// What a model may be for, and the letter of that in a line.
pub const KINDS: &[(&str, char)] = &[
    ("chat", 'C'),
    ("responses", 'R'),
    ("completion", 'P'),
    ("embedding", 'E'),
    ("image_generation", 'I'),
    ("image_edit", 'J'),
    ("audio_transcription", 'T'),
    ("audio_speech", 'S'),
    ("realtime", 'L'),
    ("rerank", 'K'),
    ("ocr", 'O'),
];

/// What a model may accept beside text.
pub const ACCEPTS: &[(&str, char)] =
    &[("image", 'i'), ("document", 'd'), ("audio", 'a'), ("video", 'v'), ("tools", 't'), ("schema", 's')];

/// How a model is told to think.
pub const THINKING: &[(&str, char)] = &[("budget", 'B'), ("adaptive", 'A'), ("level", 'V'), ("effort", 'F')];

/// Stands for a model that refuses temperature, top_p and top_k.
pub const NO_SAMPLING: char = 'n';

/// Names in data/prices.json, and the letters of `pricing/rates.rs`.
pub const RATES: &[(&str, char)] = &[
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

const FACTS: &[&str] = &["kind", "context", "max_output", "accepts", "thinking", "sampling"];

const GROUPS: &[&str] = &["tiers", "above", "images"];

/// Greater numbers are faults.
const MAX_TOKENS: u64 = 1_000_000_000;
const MAX_RATE: f64 = 100_000.0;

const MAX_NAME: usize = 200;

/// A model's line: provider, model, facts, its usual rates, `#quality/size:rates` for images, and `tier>tokens:rates` for others. Of
/// a row that has no facts, or no rates, these fields are empty. The error says what is wrong, and where.
pub fn of(row: &Map<String, Value>) -> Result<String, String> {
    let name = |member: &str| {
        let text = row.get(member).and_then(Value::as_str).filter(|text| (1..=MAX_NAME).contains(&text.len()));
        let text = text.filter(|text| !text.chars().any(|char| char.is_control() || char.is_uppercase()));
        text.ok_or_else(|| format!("{member}: expected 1 to {MAX_NAME} bytes in small letters"))
    };
    let (provider, model) = (name("provider")?, name("model")?);
    let known = |name: &str| ["provider", "model"].contains(&name) || FACTS.contains(&name) || GROUPS.contains(&name);
    if let Some(unknown) = row.keys().find(|name| !known(name) && !is_rate(name)) {
        return Err(format!("{unknown}: there is no such member"));
    }
    Ok(format!("{provider}\t{model}\t{}\t{}", facts(row)?, prices(row)?))
}

/// Whether a row says anything of these.
pub fn has_facts(row: &Map<String, Value>) -> bool {
    FACTS.iter().any(|name| row.contains_key(*name))
}

/// `{kind}{context}/{longest output}/{flags}`.
fn facts(row: &Map<String, Value>) -> Result<String, String> {
    if !has_facts(row) {
        return Ok(String::new());
    }
    let letter = |member: &str, all: &[(&str, char)]| match row.get(member) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(value) => all
            .iter()
            .find(|(name, _)| value.as_str() == Some(*name))
            .map(|(_, letter)| letter.to_string())
            .ok_or_else(|| format!("{member}: expected one of {}", names(all))),
    };
    let tokens = |member: &str| match row.get(member) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(value) => value
            .as_u64()
            .filter(|tokens| (1..=MAX_TOKENS).contains(tokens))
            .map(|tokens| tokens.to_string())
            .ok_or_else(|| format!("{member}: expected an integer from 1 to {MAX_TOKENS}")),
    };
    let wrong = || format!("accepts: expected an array of {}", names(ACCEPTS));
    let mut flags = String::new();
    if let Some(value) = row.get("accepts").filter(|value| !value.is_null()) {
        let given = value.as_array().ok_or_else(wrong)?;
        if given.iter().any(|name| !ACCEPTS.iter().any(|(known, _)| name.as_str() == Some(*known))) {
            return Err(wrong());
        }
        flags.extend(
            ACCEPTS.iter().filter(|(name, _)| given.iter().any(|given| given == name)).map(|(_, letter)| letter),
        );
    }
    flags.push_str(&letter("thinking", THINKING)?);
    match row.get("sampling") {
        Some(Value::Bool(false)) => flags.push(NO_SAMPLING),
        None | Some(Value::Null | Value::Bool(true)) => {}
        Some(_) => return Err("sampling: expected true or false".to_owned()),
    }
    Ok(format!("{}{}/{}/{flags}", letter("kind", KINDS)?, tokens("context")?, tokens("max_output")?))
}

fn names(all: &[(&str, char)]) -> String {
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn is_rate(name: &str) -> bool {
    RATES.iter().any(|(known, _)| *known == name)
}

fn prices(row: &Map<String, Value>) -> Result<String, String> {
    let mut all = rates(row)?;
    group("", row, &mut all)?;
    for (tier, row) in members(row, "tiers")? {
        let row = row.as_object().filter(|_| tier.bytes().all(|byte| byte.is_ascii_lowercase()));
        group(tier, row.ok_or_else(|| format!("tiers.{tier}: expected an object of rates"))?, &mut all)?;
    }
    for (kind, price) in members(row, "images")? {
        let is_plain = kind.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        let price = price.as_f64().filter(|price| is_plain && (0.0..MAX_RATE).contains(price));
        all.push_str(&format!("\t#{kind}:j{}", price.ok_or_else(|| format!("images.{kind}: expected a number"))?));
    }
    Ok(all)
}

/// The rates of a class of service, and those it has for longer requests.
fn group(tier: &str, row: &Map<String, Value>, all: &mut String) -> Result<(), String> {
    if !tier.is_empty() {
        all.push_str(&format!("\t{tier}:{}", rates(row)?));
    }
    match row.get("above") {
        None | Some(Value::Null) => Ok(()),
        Some(above) => {
            let wrong = || "above: expected an object with tokens and rates".to_owned();
            let above = above.as_object().ok_or_else(wrong)?;
            let tokens = above.get("tokens").and_then(Value::as_u64).filter(|tokens| (1..=MAX_TOKENS).contains(tokens));
            all.push_str(&format!("\t{tier}>{}:{}", tokens.ok_or_else(wrong)?, rates(above)?));
            Ok(())
        }
    }
}

fn members<'a>(row: &'a Map<String, Value>, name: &str) -> Result<Vec<(&'a String, &'a Value)>, String> {
    match row.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(members)) => Ok(members.iter().collect()),
        Some(_) => Err(format!("{name}: expected an object")),
    }
}

/// The rates that are known, each a letter and a number.
fn rates(row: &Map<String, Value>) -> Result<String, String> {
    let mut all = String::new();
    for (name, letter) in RATES {
        match row.get(*name) {
            None | Some(Value::Null) => {}
            Some(value) => {
                let rate = value.as_f64().filter(|rate| (0.0..MAX_RATE).contains(rate));
                let rate = rate.ok_or_else(|| format!("{name}: expected a number from 0, less than {MAX_RATE}"))?;
                all.push_str(&format!("{letter}{rate}"));
            }
        }
    }
    Ok(all)
}
