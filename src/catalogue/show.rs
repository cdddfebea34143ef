//! A line of the catalogue as the row of data/prices.json that it was made of.

use crate::base::number;
use crate::catalogue::line::RATES;
use serde_json::{Map, Value};

/// The rates of a line as data/prices.json has them.
pub fn rates(rates: &str) -> Map<String, Value> {
    let (mut row, mut tiers, mut images) = (Map::new(), Map::<String, Value>::new(), Map::new());
    for (index, group) in rates.split('\t').enumerate() {
        let (name, rates) = if index == 0 { ("", group) } else { group.split_once(':').unwrap_or(("", "")) };
        let known = rate_map(rates);
        if let Some(kind) = name.strip_prefix('#') {
            images.extend(known.get("image").map(|price| (kind.to_owned(), price.clone())));
            continue;
        }
        let (tier, above) = name.split_once('>').map_or((name, None), |(tier, tokens)| (tier, Some(tokens)));
        let of = if tier.is_empty() {
            &mut row
        } else {
            let entry = tiers.entry(tier.to_owned()).or_insert_with(|| Map::new().into());
            match entry.as_object_mut() {
                Some(of) => of,
                None => continue,
            }
        };
        match above.map(|tokens| tokens.parse::<u64>().unwrap_or(0)) {
            None => of.extend(known),
            Some(tokens) => {
                let mut above = Map::from_iter([("tokens".to_owned(), tokens.into())]);
                above.extend(known);
                of.insert("above".to_owned(), above.into());
            }
        }
    }
    if !tiers.is_empty() {
        row.insert("tiers".to_owned(), tiers.into());
    }
    if !images.is_empty() {
        row.insert("images".to_owned(), images.into());
    }
    row
}

/// Letters and numbers as names and numbers.
fn rate_map(rates: &str) -> Map<String, Value> {
    let mut known = Map::new();
    let mut rest = rates;
    while let Some(letter) = rest.chars().next() {
        let after = rest.get(letter.len_utf8()..).unwrap_or("");
        let end = after.find(|char: char| !(char.is_ascii_digit() || char == '.')).unwrap_or(after.len());
        let (number, others) = after.split_at_checked(end).unwrap_or((after, ""));
        if let (Some((name, _)), Some(rate)) = (RATES.iter().find(|(_, of)| *of == letter), number::parse(number)) {
            known.insert((*name).to_owned(), rate.into());
        }
        rest = others;
    }
    known
}
