//! A request as a route sees it: what its conditions look at, and what its percentages are decided by. The proxy and the simulation
//! both walk by these, so that a simulated way is the real one.

use crate::routes::condition::{Facts, Field, member};
use crate::routes::graph::Sticky;
use crate::routes::learn::Dice;
use crate::routes::walk::Chance;
use serde_json::Value;
use std::cell::OnceCell;

/// Steps that all patterns of a way may take: some milliseconds.
pub const STEPS: u64 = 250_000;

/// About how many bytes a token has.
const BYTES_A_TOKEN: usize = 4;

#[derive(Default)]
pub struct Asked<'a> {
    pub metadata: &'a [(String, Value)],
    /// Names in small letters.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
    pub model: &'a str,
    pub provider: &'a str,
    pub path: &'a str,
    pub token: Token<'a>,
    pub now_ms: u64,
    /// The body once a condition has looked at it.
    pub read: OnceCell<Option<Value>>,
}

/// The token that let the caller in.
#[derive(Clone, Copy, Default)]
pub struct Token<'a> {
    pub id: Option<&'a str>,
    pub name: Option<&'a str>,
    pub owner: Option<&'a str>,
    pub metadata: &'a [(String, Value)],
}

pub struct Draw<'a> {
    pub dice: Dice,
    pub metadata: &'a [(String, Value)],
    pub session: Option<String>,
    pub event_id: Option<String>,
    /// What is known of arms, by the element's id.
    pub learned: Value,
}

/// Nothing waits while a route is walked: there are too few steps for that.
pub async fn no_rest() {}

fn tag<'a>(metadata: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

/// A value of metadata as a text, by which requests are told apart.
pub fn tag_text(metadata: &[(String, Value)], key: &str) -> Option<String> {
    tag(metadata, key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// The weights that an element has learned.
pub fn weights(learned: &Value, element: &str) -> Option<Vec<f64>> {
    let arms = learned.get(element)?.get("arms")?.as_array()?;
    arms.iter().map(|arm| arm.get("weight")?.as_f64().filter(|weight| (0.0..=1.0).contains(weight))).collect()
}

// === impl Asked ===

impl Asked<'_> {
    pub fn body(&self) -> Option<&Value> {
        self.read.get_or_init(|| serde_json::from_slice(self.body).ok()).as_ref()
    }
}

impl Facts for Asked<'_> {
    fn value(&self, field: &Field) -> Option<Value> {
        Some(match field {
            Field::Metadata(key) => tag(self.metadata, key)?.clone(),
            Field::Header(name) => self.headers.iter().find(|(known, _)| known == name)?.1.as_str().into(),
            Field::Body(path) => member(self.body()?, path)?.clone(),
            Field::Model => self.model.into(),
            Field::Provider => self.provider.into(),
            Field::Path => self.path.into(),
            Field::TokenId => self.token.id?.into(),
            Field::TokenName => self.token.name?.into(),
            Field::TokenOwner => self.token.owner?.into(),
            Field::TokenMetadata(key) => tag(self.token.metadata, key)?.clone(),
            Field::EstimatedInput => self.body.len().div_ceil(BYTES_A_TOKEN).into(),
            Field::HourUtc => (self.now_ms / 3_600_000 % 24).into(),
        })
    }
}

// === impl Draw ===

impl Chance for Draw<'_> {
    fn number(&mut self) -> f64 {
        self.dice.part()
    }

    fn sticky(&self, to: &Sticky) -> Option<String> {
        match to {
            Sticky::Nothing => None,
            Sticky::Session => self.session.clone(),
            Sticky::EventId => self.event_id.clone(),
            Sticky::Metadata(key) => tag_text(self.metadata, key),
        }
    }

    fn learned(&self, element: &str) -> Option<Vec<f64>> {
        weights(&self.learned, element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_shows_conditions_what_it_says() {
        let metadata = [("plan".to_owned(), json!("free")), ("n".to_owned(), json!(5))];
        let headers = [("x-tier".to_owned(), "gold".to_owned())];
        let asked = Asked {
            metadata: &metadata,
            headers: &headers,
            body: br#"{"messages":[{"role":"user"}],"max_tokens":7}"#,
            model: "dynamic/r",
            provider: "compat",
            path: "chat/completions",
            token: Token { id: Some("t"), name: Some("app"), owner: Some("ann"), metadata: &metadata },
            now_ms: 1_700_000_000_000,
            read: OnceCell::new(),
        };
        for (field, wanted) in [
            ("metadata.plan", json!("free")),
            ("headers.X-Tier", json!("gold")),
            ("body.messages.0.role", json!("user")),
            ("body.max_tokens", json!(7)),
            ("model", json!("dynamic/r")),
            ("provider", json!("compat")),
            ("path", json!("chat/completions")),
            ("token.id", json!("t")),
            ("token.name", json!("app")),
            ("token.owner", json!("ann")),
            ("token.metadata.plan", json!("free")),
            ("tokens.estimated_input", json!(12)),
            ("time.hour_utc", json!(22)),
        ] {
            assert_eq!(asked.value(&Field::parse(field).unwrap()), Some(wanted), "{field}");
        }
        assert_eq!(asked.value(&Field::parse("body.x").unwrap()), None);
        let draw = |session: Option<&str>| Draw {
            dice: Dice(1),
            metadata: &metadata,
            session: session.map(str::to_owned),
            event_id: None,
            learned: json!({ "p": { "arms": [{ "weight": 0.25 }, { "weight": 0.75 }] }, "q": { "arms": [{}] } }),
        };
        assert_eq!(draw(Some("s")).sticky(&Sticky::Session).as_deref(), Some("s"));
        assert_eq!(draw(None).sticky(&Sticky::Metadata("n".to_owned())).as_deref(), Some("5"));
        assert_eq!((draw(None).learned("p"), draw(None).learned("q")), (Some(vec![0.25, 0.75]), None));
    }
}
