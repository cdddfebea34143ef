//! What is known of a model beside its price.

use crate::catalogue::line::{self, NO_SAMPLING};
use crate::catalogue::table::Line;
use serde_json::{Map, Value};

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// By a number of tokens.
    Budget,
    /// It decides itself; an effort may be given.
    Adaptive,
    /// By a level.
    Level,
    /// By an effort, as OpenAI has it.
    Effort,
}

/// The facts of a model's line. What is not known is `None`, or no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// What it is for, as in [`line::KINDS`].
    pub kind: Option<&'static str>,
    /// The longest input, in tokens.
    pub context: Option<u64>,
    /// The longest answer, in tokens.
    pub max_output: Option<u64>,
    flags: &'a str,
}

// === impl Facts ===

impl<'a> Facts<'a> {
    /// Reads what [`line::of`] wrote.
    pub fn parse(text: &'a str) -> Self {
        let letter = text.chars().next();
        let kind = line::KINDS.iter().find(|(_, of)| Some(*of) == letter);
        let mut rest = text.strip_prefix(|char: char| char.is_ascii_uppercase()).unwrap_or(text).splitn(3, '/');
        let mut tokens = || rest.next().and_then(|tokens| tokens.parse().ok());
        let (context, max_output) = (tokens(), tokens());
        Self { kind: kind.map(|(name, _)| *name), context, max_output, flags: rest.next().unwrap_or("") }
    }

    /// Whether a model takes what has that name in [`line::ACCEPTS`].
    pub fn accepts(&self, what: &str) -> bool {
        line::ACCEPTS.iter().any(|(name, letter)| *name == what && self.flags.contains(*letter))
    }

    pub fn thinking(&self) -> Option<Thinking> {
        let all = [('B', Thinking::Budget), ('A', Thinking::Adaptive), ('V', Thinking::Level), ('F', Thinking::Effort)];
        all.into_iter().find(|(letter, _)| self.flags.contains(*letter)).map(|(_, thinking)| thinking)
    }

    /// Whether it refuses temperature, top_p and top_k.
    pub fn refuses_sampling(&self) -> bool {
        self.flags.contains(NO_SAMPLING)
    }

    /// The facts as data/prices.json has them.
    pub fn shown(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        shown.extend(self.kind.map(|kind| ("kind".to_owned(), kind.into())));
        shown.extend(self.context.map(|context| ("context".to_owned(), context.into())));
        shown.extend(self.max_output.map(|most| ("max_output".to_owned(), most.into())));
        let accepts = line::ACCEPTS.iter().filter(|(name, _)| self.accepts(name));
        let accepts: Vec<Value> = accepts.map(|(name, _)| (*name).into()).collect();
        if !accepts.is_empty() {
            shown.insert("accepts".to_owned(), accepts.into());
        }
        let thinking = line::THINKING.iter().find(|(_, letter)| self.flags.contains(*letter));
        shown.extend(thinking.map(|(name, _)| ("thinking".to_owned(), (*name).into())));
        if self.refuses_sampling() {
            shown.insert("sampling".to_owned(), false.into());
        }
        shown
    }
}

impl<'a> Line<'a> {
    pub fn facts(&self) -> Facts<'a> {
        Facts::parse(self.facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::table::built_in;
    use serde_json::json;

    #[test]
    fn facts_are_read_as_they_were_written() {
        let row = json!({ "provider": "p", "model": "m", "kind": "chat", "context": 200_000, "max_output": 64_000,
            "accepts": ["image", "tools"], "thinking": "adaptive", "sampling": false });
        let written = line::of(row.as_object().unwrap()).unwrap();
        assert_eq!(written, "p\tm\tC200000/64000/itAn\t");
        let facts = Facts::parse("C200000/64000/itAn");
        let mut shown = facts.shown();
        shown.extend([("provider".to_owned(), json!("p")), ("model".to_owned(), json!("m"))]);
        assert_eq!(Value::Object(shown), row);
        assert_eq!(Facts::parse(""), Facts::default());
        let embedding = Facts::parse("E8191//");
        assert_eq!((embedding.kind, embedding.context, embedding.max_output), (Some("embedding"), Some(8_191), None));
    }

    #[test]
    fn a_row_that_is_wrong_is_refused() {
        for (row, said) in [
            (json!({ "model": "m" }), "provider"),
            (json!({ "provider": "p", "model": "M" }), "small letters"),
            (json!({ "provider": "p", "model": "a\tb" }), "model"),
            (json!({ "provider": "p", "model": "m", "contxt": 5 }), "contxt: there is no such"),
            (json!({ "provider": "p", "model": "m", "context": 0 }), "context"),
            (json!({ "provider": "p", "model": "m", "kind": "cat" }), "chat, responses"),
            (json!({ "provider": "p", "model": "m", "accepts": ["smell"] }), "accepts"),
            (json!({ "provider": "p", "model": "m", "sampling": 1 }), "sampling"),
            (json!({ "provider": "p", "model": "m", "input": -1 }), "input"),
            (json!({ "provider": "p", "model": "m", "tiers": { "flex": 1 } }), "tiers.flex"),
            (json!({ "provider": "p", "model": "m", "tiers": { "a\nb": {} } }), "tiers"),
            (json!({ "provider": "p", "model": "m", "images": { "a\tb": 1 } }), "images"),
            (json!({ "provider": "p", "model": "m", "above": { "input": 1 } }), "above"),
        ] {
            let told = line::of(row.as_object().unwrap()).unwrap_err();
            assert!(told.contains(said), "{row}: {told}");
        }
    }

    #[test]
    fn the_built_in_table_knows_the_models_of_today() {
        let facts = |provider, model| built_in(provider, model).unwrap().facts();
        let opus = facts("anthropic", "claude-opus-5");
        assert_eq!(
            (opus.context, opus.max_output, opus.thinking()),
            (Some(1_000_000), Some(128_000), Some(Thinking::Adaptive))
        );
        assert!(
            opus.refuses_sampling() && ["image", "document", "tools", "schema"].iter().all(|what| opus.accepts(what))
        );
        let gpt = facts("openai", "gpt-5");
        assert_eq!((gpt.kind, gpt.thinking(), gpt.refuses_sampling()), (Some("chat"), Some(Thinking::Effort), true));
        // Models that think refuse it. Those that think only when a request asks for it do not.
        let refusing = ["o3", "gpt-5.6", "gpt-6-sol", "gpt-5.4", "gpt-5-chat-latest", "gpt-4o"];
        let refusing = refusing.map(|model| facts("openai", model).refuses_sampling());
        assert_eq!(refusing, [true, true, true, false, false, false]);
        // One that has left the public table.
        assert_eq!(facts("anthropic", "claude-opus-4-1").max_output, Some(32_000));
    }
}
