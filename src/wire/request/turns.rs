//! What a request says last for its user, and by what it belongs to others, taken along while its body is read for models: a second
//! reading of long histories would cost each of them again.

use crate::wire::elide::Elider;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// So much of a text is kept, in bytes. A preview is shorter, and is masked before it is cut.
const MAX_HEAD: usize = 600;

/// The beginning of some text, of any content in any of the formats; nothing of what is no text.
#[derive(Debug, Default)]
pub struct Head {
    pub text: Option<String>,
    /// Characters, where the content is one text.
    pub characters: Option<u64>,
    /// The last that a user says, where the content is a list of turns.
    pub last_user: Option<String>,
}

/// The members of an object that tell of a session.
#[derive(Debug, Default)]
pub struct Named {
    pub user_id: Option<String>,
}

enum Key {
    Role,
    /// What holds text.
    Text,
    Type,
    Other,
}

fn head(text: &str) -> Option<String> {
    let text = text.trim_start();
    let cut = text.get(..text.floor_char_boundary(MAX_HEAD)).unwrap_or("");
    (!cut.is_empty()).then(|| cut.to_owned())
}

/// How closely content is read.
#[derive(Clone, Copy)]
pub enum Reading {
    Whole,
    /// A text, but nothing that is in a list or an object: who has a long history at hand in another form finds its end faster.
    Texts,
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Reading::Whole.deserialize(deserializer)
    }
}

impl<'de> DeserializeSeed<'de> for Reading {
    type Value = Head;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Head, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading {
    type Value = Head;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Head, E> {
        let characters = Some(text.chars().count() as u64);
        Ok(Head { text: head(text), characters, last_user: None })
    }

    /// The first text of a list of parts, and the last of the user in a list of turns.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Head, A::Error> {
        let mut all = Head::default();
        if matches!(self, Self::Texts) {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(all);
        }
        while let Some(Head { text, last_user, .. }) = list.next_element()? {
            all.last_user = last_user.or_else(|| text.clone()).or(all.last_user);
            all.text = all.text.or(text);
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        if matches!(self, Self::Texts) {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Head::default());
        }
        let (mut said, mut is_users, mut is_text) = (None, true, true);
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Role => {
                    let role: Head = map.next_value()?;
                    is_users = role.text.is_none_or(|role| role.eq_ignore_ascii_case("user"));
                }
                Key::Type => {
                    let kind: Head = map.next_value()?;
                    is_text = kind.text.is_none_or(|kind| matches!(&*kind, "text" | "input_text" | "message"));
                }
                Key::Text => said = map.next_value::<Head>()?.text.or(said),
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Head { text: said.filter(|_| is_users && is_text), ..Head::default() })
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_unit<E: Error>(self) -> Result<Head, E> {
        Ok(Head::default())
    }
}

/// What a message says for its user, which is one element of a list of turns as it was sent.
pub fn said_by_user(message: &str) -> Option<String> {
    let mut short = Vec::new();
    Elider::keeping(2 * MAX_HEAD).push(message.as_bytes(), &mut short);
    serde_json::from_slice::<Head>(&short).ok()?.text
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
                Ok(match name {
                    "role" => Key::Role,
                    "content" | "parts" | "text" | "message" => Key::Text,
                    "type" => Key::Type,
                    _ => Key::Other,
                })
            }
        }
        deserializer.deserialize_identifier(Name)
    }
}

/// `metadata` of Anthropic's requests; of others' nothing.
impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let metadata = serde_json::Value::deserialize(deserializer)?;
        Ok(Self { user_id: metadata.get("user_id").and_then(serde_json::Value::as_str).and_then(head) })
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::request::read_request;
    use serde_json::json;

    #[test]
    fn the_last_that_a_user_says_is_found_in_every_format() {
        for (body, wanted) in [
            (
                json!({ "messages": [{ "role": "system", "content": "s" }, { "role": "user", "content": "one" }, { "content": "two", "role": "user" }, { "role": "assistant", "content": "no" }] }),
                "two",
            ),
            (
                json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "x" } }, { "type": "text", "text": "this" }] }] }),
                "this",
            ),
            (
                json!({ "messages": [{ "role": "user", "content": "asked" }, { "role": "user", "content": [{ "type": "tool_result", "content": "42" }] }] }),
                "asked",
            ),
            (json!({ "messages": [{ "role": "user", "content": [{ "text": "bedrock" }] }] }), "bedrock"),
            (
                json!({ "contents": [{ "role": "user", "parts": [{ "text": "gemini" }] }, { "role": "model", "parts": [{ "text": "no" }] }] }),
                "gemini",
            ),
            (json!({ "contents": { "parts": [{ "text": "single" }] } }), "single"),
            (json!({ "input": "responses" }), "responses"),
            (
                json!({ "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "items" }] }, { "type": "function_call_output", "output": "x" }] }),
                "items",
            ),
            (json!({ "input": ["a", "b"] }), "b"),
            (json!({ "prompt": "completion" }), "completion"),
            (json!({ "message": "cohere" }), "cohere"),
            (json!({ "inputText": "titan" }), "titan"),
        ] {
            let facts = read_request(None, body.to_string().as_bytes());
            assert_eq!(facts.said.last_user.as_deref(), Some(wanted), "{body}");
        }
        for nothing in [
            json!({}),
            json!({ "messages": [] }),
            json!({ "messages": 5 }),
            json!({ "messages": [{ "role": "assistant", "content": "x" }] }),
            json!({ "input": [1, 2] }),
        ] {
            assert_eq!(read_request(None, nothing.to_string().as_bytes()).said.last_user, None, "{nothing}");
        }
        let long = json!({ "role": "user", "content": "ü".repeat(3_000) });
        let history = json!({ "messages": [long] }).to_string();
        assert!(read_request(None, history.as_bytes()).said.last_user.unwrap().len() <= 601);
        assert!(super::said_by_user(&long.to_string()).unwrap().len() <= 601);
        // What the log keeps of a long one is looked through instead.
        let history = json!({ "messages": [long, long] }).to_string();
        assert_eq!(read_request(None, history.as_bytes()).said.last_user, None);
    }

    #[test]
    fn what_tells_of_a_session_is_found() {
        let body = json!({ "metadata": { "user_id": "user_1_account__session_x" }, "previous_response_id": "resp_1", "prompt_cache_key": "k" });
        let said = read_request(None, body.to_string().as_bytes()).said;
        assert_eq!(said.user_id.as_deref(), Some("user_1_account__session_x"));
        assert_eq!(
            (said.previous_response_id.as_deref(), said.prompt_cache_key.as_deref()),
            (Some("resp_1"), Some("k"))
        );
        let odd = json!({ "metadata": [1], "previous_response_id": {}, "prompt_cache_key": null });
        assert_eq!(read_request(None, odd.to_string().as_bytes()).said, Default::default());
    }
}
