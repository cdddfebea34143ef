//! Rows that an operator gives out as the catalogue, merged over what there is: nothing vanishes because it is not given.

use crate::base::json::json;
use crate::base::object;
use crate::catalogue::line;
use crate::catalogue::show;
use crate::catalogue::table::{Catalogue, Line};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a merge makes of an account's own lines.
#[derive(Debug)]
pub struct Merged {
    pub lines: String,
    pub changes: Vec<Changed>,
}

/// A model of which something changes.
#[derive(Debug, PartialEq)]
pub struct Changed {
    pub provider: String,
    pub model: String,
    /// `added`, `changed`, or `removed`: the built-in model holds again, if there is one.
    pub change: &'static str,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// A row that cannot be read: which one, and what is wrong with it.
#[derive(Debug, PartialEq)]
pub struct Unreadable {
    pub index: usize,
    pub why: String,
}

/// Merges rows over the lines that an account has. What a row does not say, facts or prices, stays. A row that says neither takes the
/// account's own line away.
pub fn merged(own: &Catalogue, rows: &[Value], is_provider: impl Fn(&str) -> bool) -> Result<Merged, Unreadable> {
    let mut lines = BTreeMap::<(String, String), String>::new();
    for line in own.own_lines() {
        lines.insert((line.provider.to_owned(), line.model.to_owned()), line.written());
    }
    let mut changes = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let unreadable = |why: String| Unreadable { index, why };
        let row = row.as_object().ok_or_else(|| unreadable("expected an object".to_owned()))?;
        let text = line::of(row).map_err(unreadable)?;
        let given = Line::parse(&text).ok_or_else(|| unreadable("it cannot be written".to_owned()))?;
        if !is_provider(given.provider) {
            return Err(unreadable(format!("provider: Tollgate knows no provider '{}'", given.provider)));
        }
        let key = (given.provider.to_owned(), given.model.to_owned());
        let built_in = Catalogue::default().exactly(given.provider, given.model).map(|line| line.written());
        let before = lines.get(&key).cloned().or_else(|| built_in.clone());
        let after = if given.says_nothing() {
            built_in.clone()
        } else {
            let old = before.as_deref().and_then(Line::parse);
            let facts = if line::has_facts(row) { given.facts } else { old.map_or("", |old| old.facts) };
            let rates = if given.rates.is_empty() { old.map_or("", |old| old.rates) } else { given.rates };
            Some(Line { facts, rates, ..given }.written())
        };
        if before == after {
            continue;
        }
        let change = match (&before, &after) {
            (None, _) => "added",
            (_, after) if *after == built_in => "removed",
            _ => "changed",
        };
        let shown = |line: &Option<String>| line.as_deref().and_then(Line::parse).map(|line| line.shown().into());
        let (provider, model) = key.clone();
        changes.push(Changed { provider, model, change, before: shown(&before), after: shown(&after) });
        match after.filter(|after| Some(after) != built_in.as_ref()) {
            Some(after) => drop(lines.insert(key, after)),
            None => drop(lines.remove(&key)),
        }
    }
    let lines: Vec<String> = lines.into_values().collect();
    Ok(Merged { lines: lines.join("\n"), changes })
}

// === impl Changed ===

impl Changed {
    pub fn shown(&self) -> Value {
        json!({ "provider": self.provider, "model": self.model, "change": self.change, "before": self.before, "after": self.after })
    }
}

// === impl Line ===

impl Line<'_> {
    fn written(&self) -> String {
        format!("{}\t{}\t{}\t{}", self.provider, self.model, self.facts, self.rates)
    }

    fn says_nothing(&self) -> bool {
        self.facts.is_empty() && self.rates.is_empty()
    }

    /// The line as a row of data/prices.json.
    pub fn shown(&self) -> Map<String, Value> {
        let mut row =
            object::of([("provider".to_owned(), self.provider.into()), ("model".to_owned(), self.model.into())]);
        row.extend(self.facts().shown());
        row.extend(show::rates(self.rates));
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(own: &Catalogue, rows: Value) -> Merged {
        merged(own, rows.as_array().unwrap(), |provider| provider != "nobody").unwrap()
    }

    fn of(merged: &Merged) -> Catalogue {
        Catalogue::of("2027-01-01".to_owned(), merged.lines.clone())
    }

    #[test]
    fn every_built_in_row_is_shown_as_it_was_given() {
        let table: Value = serde_json::from_str(include_str!("../../data/prices.json")).unwrap();
        for row in table["prices"].as_array().unwrap() {
            let text = line::of(row.as_object().unwrap()).unwrap();
            let shown = Value::Object(Line::parse(&text).unwrap().shown());
            let again = line::of(shown.as_object().unwrap()).unwrap();
            assert_eq!(again, text);
        }
        let same = put(&Catalogue::default(), table["prices"].clone());
        assert!(same.changes.is_empty() && same.lines.is_empty());
    }

    #[test]
    fn what_is_given_counts_and_what_is_not_stays() {
        let rows = json!([
            { "provider": "openai", "model": "gpt-5", "input": 1.5, "output": 12 },
            { "provider": "openai", "model": "gpt-99", "kind": "chat", "context": 9, "input": 7, "output": 8 },
            { "provider": "custom-own", "model": "m", "input": 1, "output": 1 },
        ]);
        let first = put(&Catalogue::default(), rows.clone());
        let kinds: Vec<&str> = first.changes.iter().map(|changed| changed.change).collect();
        assert_eq!(kinds, ["changed", "added", "added"]);
        let own = of(&first);
        let gpt = own.find("openai", "gpt-5").unwrap();
        assert_eq!((gpt.rates, gpt.facts().context), ("i1.5o12", Some(272_000)));
        assert_eq!(own.find("openai", "gpt-99-2027-01-01").unwrap().facts().context, Some(9));
        assert_eq!(own.find("custom-own", "m").unwrap().rates, "i1o1");
        assert_eq!(own.find("openai", "gpt-4o"), Catalogue::default().find("openai", "gpt-4o"));
        assert_eq!(own.lines().filter(|line| line.model == "gpt-5" && line.provider == "openai").count(), 1);
        // The same again changes nothing, and another model leaves these.
        assert!(put(&own, rows).changes.is_empty());
        let later = of(&put(&own, json!([{ "provider": "groq", "model": "x", "input": 1, "output": 1 }])));
        assert_eq!(
            (later.find("openai", "gpt-5").unwrap().rates, later.find("groq", "x").unwrap().rates),
            ("i1.5o12", "i1o1")
        );
        // A row without anything takes the account's own away.
        let back =
            put(&later, json!([{ "provider": "openai", "model": "gpt-5" }, { "provider": "groq", "model": "x" }]));
        assert_eq!(back.changes[0].change, "removed");
        assert_eq!(of(&back).find("openai", "gpt-5"), Catalogue::default().find("openai", "gpt-5"));
        assert_eq!(of(&back).find("groq", "x"), None);
    }

    #[test]
    fn a_row_that_is_wrong_is_named() {
        let own = Catalogue::default();
        for (rows, index, said) in [
            (json!([{ "provider": "openai", "model": "m", "input": 1 }, 5]), 1, "object"),
            (json!([{ "provider": "nobody", "model": "m", "input": 1 }]), 0, "'nobody'"),
            (json!([{ "provider": "openai", "model": "m", "input": "x" }]), 0, "input"),
        ] {
            let wrong = merged(&own, rows.as_array().unwrap(), |provider| provider != "nobody").unwrap_err();
            assert!(wrong.index == index && wrong.why.contains(said), "{rows}: {wrong:?}");
        }
    }
}
