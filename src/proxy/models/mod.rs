//! `ai/v1/models`: the models that a caller can reach, as clients of OpenAI or of Anthropic ask for them.

pub mod listed_worker;
pub mod task;

use crate::base::json::json;
use crate::base::object;
use crate::base::timestamp;
use crate::catalogue::aliases::Aliases;
use crate::catalogue::resolve::NOT_BY_NAME;
use crate::catalogue::table::{Catalogue, Line};
use crate::http::query::{self, Query};
use crate::pricing::price::Price;
use crate::pricing::rates::Rate;
use serde_json::Value;

/// In whose words the list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    OpenAi,
    Anthropic,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    List,
    One(String),
}

/// A model by the name that a request may have.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    id: String,
    /// What is known of it.
    line: Option<Line<'a>>,
    /// What an alias means.
    alias_of: Option<&'a str>,
}

/// Models on a page of Anthropic's list, where the caller does not say how many, and at most.
const USUAL_PAGE: usize = 20;
const MAX_PAGE: usize = 1_000;

/// Below the segment `ai`.
pub fn asked(path: &str) -> Option<Asked> {
    // Clients whose base URL has the version send it twice.
    let path = path.trim_end_matches('/').trim_start_matches("v1/");
    if path == "models" {
        return Some(Asked::List);
    }
    let id = query::understood(path.strip_prefix("models/")?).into_owned();
    (!id.is_empty()).then_some(Asked::One(id))
}

/// The models of all providers for which there is a key, and the aliases of the gateway. Where a name alone does not say where a request
/// goes, it is not listed.
pub fn entries<'a>(
    catalogue: &'a Catalogue,
    aliases: &'a Aliases,
    has_key: impl Fn(&str) -> bool,
    wanted: &Query,
) -> Vec<Entry<'a>> {
    let has_key = &has_key;
    let is_wanted = |provider: &str, kind: Option<&str>| {
        wanted.get("provider").is_none_or(|name| name == provider)
            && wanted.get("kind").is_none_or(|of| Some(of) == kind)
    };
    let named = aliases.iter().filter(|(alias, meaning)| {
        let provider = meaning.split('/').next().unwrap_or("");
        !alias.ends_with('*') && has_key(provider)
    });
    let named = named.map(|(alias, meaning)| {
        let line = meaning.split_once('/').and_then(|(provider, model)| catalogue.find(provider, model));
        Entry { id: alias.to_owned(), line, alias_of: Some(meaning) }
    });
    let mut last: Option<(&str, bool)> = None;
    let lines = catalogue.lines().filter(move |line| {
        // The same question for thousands of lines.
        let is_reached = match last {
            Some((provider, is_reached)) if provider == line.provider => is_reached,
            _ => !NOT_BY_NAME.contains(&line.provider) && has_key(line.provider),
        };
        last = Some((line.provider, is_reached));
        is_reached && line.model != "container"
    });
    let lines =
        lines.map(|line| Entry { id: format!("{}/{}", line.provider, line.model), line: Some(line), alias_of: None });
    let all = named.chain(lines);
    all.filter(|entry| match entry.line {
        Some(line) => is_wanted(line.provider, line.facts().kind),
        None => wanted.get("provider").is_none() && wanted.get("kind").is_none(),
    })
    .collect()
}

/// OpenAI's list.
pub fn openai(entries: &[Entry<'_>], as_of: &str) -> Value {
    let data: Vec<Value> = entries.iter().map(|entry| entry.openai(as_of)).collect();
    json!({ "object": "list", "data": data })
}

/// Anthropic's list, a page of it. The error says what is wrong with the query.
pub fn anthropic(entries: &[Entry<'_>], as_of: &str, wanted: &Query) -> Result<Value, String> {
    let limit = match wanted.get("limit") {
        None => USUAL_PAGE,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
            limit.ok_or_else(|| format!("limit: expected an integer from 1 to {MAX_PAGE}"))?
        }
    };
    let at = |name: &str| match wanted.get(name) {
        None => Ok(None),
        Some(id) => {
            let found = entries.iter().position(|entry| entry.id == id);
            found.map(Some).ok_or_else(|| format!("{name}: there is no model of that id in the list"))
        }
    };
    let (after, before) = (at("after_id")?, at("before_id")?);
    let (start, end, has_more) = match (after, before) {
        (None, Some(before)) => (before.saturating_sub(limit), before, before > limit),
        (after, _) => {
            let start = after.map_or(0, |after| after.saturating_add(1));
            let end = start.saturating_add(limit).min(entries.len());
            (start, end, end < entries.len())
        }
    };
    let page = entries.get(start..end).unwrap_or(&[]);
    let data: Vec<Value> = page.iter().map(|entry| entry.anthropic(as_of)).collect();
    let id = |entry: Option<&Entry<'_>>| entry.map(|entry| entry.id.clone());
    Ok(json!({ "data": data, "has_more": has_more, "first_id": id(page.first()), "last_id": id(page.last()) }))
}

// === impl Entry ===

impl<'a> Entry<'a> {
    /// A model that a request named, whether it is in the list or not.
    pub fn of(id: &str, catalogue: &'a Catalogue, provider: &str, model: &str, aliases: &'a Aliases) -> Self {
        Self { id: id.to_owned(), line: catalogue.find(provider, model), alias_of: aliases.meaning(id) }
    }

    pub fn shown(&self, words: Words, as_of: &str) -> Value {
        match words {
            Words::OpenAi => self.openai(as_of),
            Words::Anthropic => self.anthropic(as_of),
        }
    }

    fn openai(&self, as_of: &str) -> Value {
        let created = timestamp::parse(&format!("{as_of}T00:00:00Z")).unwrap_or(0) / 1_000;
        let owner = self.line.map_or("unknown", |line| line.provider);
        let mut shown = json!({ "id": self.id, "object": "model", "created": created, "owned_by": owner });
        self.known(&mut shown);
        shown
    }

    fn anthropic(&self, as_of: &str) -> Value {
        let facts = self.line.map(|line| line.facts()).unwrap_or_default();
        let mut shown = json!({
            "type": "model", "id": self.id, "display_name": self.id, "created_at": format!("{as_of}T00:00:00Z"),
            "max_input_tokens": facts.context, "max_tokens": facts.max_output,
        });
        self.known(&mut shown);
        shown
    }

    /// What is known of the model, which is the same in either's words.
    fn known(&self, shown: &mut Value) {
        let Some(members) = shown.as_object_mut() else { return };
        members.extend(self.alias_of.map(|meaning| ("alias_of".to_owned(), meaning.into())));
        let Some(line) = self.line else { return };
        let facts = line.facts();
        members.insert("kind".to_owned(), json!(facts.kind));
        members.insert("context_window".to_owned(), json!(facts.context));
        members.insert("max_output_tokens".to_owned(), json!(facts.max_output));
        if facts.kind.is_some() {
            let accepts = facts.shown().remove("accepts").unwrap_or_else(|| json!([]));
            let thinking = facts.shown().remove("thinking");
            let capabilities =
                json!({ "accepts": accepts, "thinking": thinking, "sampling": !facts.refuses_sampling() });
            members.insert("capabilities".to_owned(), capabilities);
        }
        let rates = Price::of(&line).base();
        let all = [
            ("input", Rate::Input),
            ("output", Rate::Output),
            ("cached_input", Rate::Cached),
            ("cache_write", Rate::CacheWrite),
            ("image", Rate::Image),
            ("second", Rate::Second),
            ("character", Rate::Character),
            ("search_unit", Rate::SearchUnit),
            ("page", Rate::Page),
        ];
        let known = all.into_iter().filter_map(|(name, rate)| Some((name.to_owned(), json!(rates.get(rate)?))));
        let mut pricing = object::of(known);
        if !pricing.is_empty() {
            pricing.insert("unit".to_owned(), "US dollars per million tokens, or for one".into());
            members.insert("pricing".to_owned(), pricing.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "2026-11-27";

    fn listed<'a>(catalogue: &'a Catalogue, aliases: &'a Aliases, query: &str) -> Vec<Entry<'a>> {
        entries(
            catalogue,
            aliases,
            |slug| matches!(slug, "openai" | "anthropic" | "azure-openai"),
            &Query::parse(query),
        )
    }

    #[test]
    fn each_address_says_what_is_asked() {
        for path in ["v1/models", "models", "v1/v1/models/"] {
            assert_eq!(asked(path), Some(Asked::List), "{path}");
        }
        for path in ["v1/models/openai/gpt-5", "v1/models/openai%2Fgpt-5"] {
            assert_eq!(asked(path), Some(Asked::One("openai/gpt-5".to_owned())), "{path}");
        }
        assert_eq!((asked("v1/modelsx"), asked("v1beta/models"), asked("")), (None, None, None));
    }

    #[test]
    fn those_are_listed_for_which_there_is_a_key() {
        let aliases = Aliases::of(&json!({ "fast": "openai/gpt-5-mini", "claude-*": "openai/gpt-5", "far": "groq/x" }));
        let catalogue = Catalogue::default();
        let all = openai(&listed(&catalogue, &aliases, ""), DAY);
        let data = all["data"].as_array().unwrap();
        let ids: Vec<&str> = data.iter().filter_map(|model| model["id"].as_str()).collect();
        assert_eq!(ids[0], "fast");
        assert!(ids.contains(&"openai/gpt-5") && ids.contains(&"anthropic/claude-opus-5"));
        assert!(
            !ids.iter()
                .any(|id| id.starts_with("azure") || id.starts_with("groq") || *id == "far" || id.ends_with('*'))
        );
        let gpt = data.iter().find(|model| model["id"] == "openai/gpt-5").unwrap();
        assert_eq!(
            (&gpt["object"], &gpt["owned_by"], &gpt["created"]),
            (&json!("model"), &json!("openai"), &json!(1_795_737_600))
        );
        assert_eq!((&gpt["context_window"], &gpt["capabilities"]["thinking"]), (&json!(272_000), &json!("effort")));
        assert_eq!((&gpt["pricing"]["input"], &gpt["pricing"]["output"]), (&json!(1.25), &json!(10.0)));
        assert_eq!(data[0]["alias_of"], "openai/gpt-5-mini");
        let embeddings = openai(&listed(&catalogue, &aliases, "kind=embedding&provider=openai"), DAY);
        let models = embeddings["data"].as_array().unwrap();
        assert!(!models.is_empty() && models.iter().all(|model| model["kind"] == "embedding"));
    }

    #[test]
    fn anthropics_list_has_pages() {
        let (catalogue, aliases) = (Catalogue::default(), Aliases::default());
        let all = listed(&catalogue, &aliases, "provider=anthropic");
        let page = |query: &str| anthropic(&all, DAY, &Query::parse(query));
        let ids = |page: &Value| -> Vec<String> {
            page["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
        };
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let part = page(&format!("limit=7{after}")).unwrap();
            seen.extend(ids(&part));
            if part["has_more"] == false {
                break;
            }
            after = format!("&after_id={}", part["last_id"].as_str().unwrap());
        }
        assert_eq!(seen.len(), all.len());
        let first = page("limit=3").unwrap();
        let back = page(&format!("limit=2&before_id={}", first["last_id"].as_str().unwrap())).unwrap();
        assert_eq!((ids(&back), &back["has_more"]), (seen[..2].to_vec(), &json!(false)));
        assert_eq!(ids(&page("").unwrap()).len(), USUAL_PAGE);
        assert!(page("limit=0").unwrap_err().contains("limit") && page("after_id=x").unwrap_err().contains("after_id"));
        let opus = all.iter().find(|entry| entry.id == "anthropic/claude-opus-5").unwrap().anthropic(DAY);
        assert_eq!(
            (&opus["type"], &opus["max_tokens"], &opus["created_at"]),
            (&json!("model"), &json!(128_000), &json!("2026-11-27T00:00:00Z"))
        );
        assert_eq!(opus["capabilities"]["sampling"], false);
        assert_eq!(anthropic(&[], DAY, &Query::parse("")).unwrap()["first_id"], Value::Null);
    }
}
