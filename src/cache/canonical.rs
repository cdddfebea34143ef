//! The one form of a JSON body under which those that mean the same are found.
//!
//! What a model sees must not be touched: numbers and strings stay as they are written, and so does the order of keys
//! in schemas, tools' arguments and documents, for all of these become part of a prompt. The order of a request's own
//! members, of a message's and of a content part's does not, so that only those are sorted.

use serde::de::IgnoredAny;

/// Longer bodies are compared as they are, in bytes.
pub const MAX_BODY: usize = 256 * 1024;

/// An object with more members is compared as it is.
const MAX_MEMBERS: usize = 256;

/// An object whose members are named parameters.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    Message,
    Part,
}

/// The form of a body, or `None` if it has to be compared as it is.
pub fn canonical(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() > MAX_BODY || serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return None;
    }
    let compact = compact(body);
    let mut out = Vec::with_capacity(compact.len());
    if compact.first() == Some(&b'{') {
        Kind::Request.write(&compact, &mut out)?;
        return Some(out);
    }
    Some(compact)
}

/// JSON without the whitespace between its tokens.
fn compact(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut text = Text::default();
    for byte in json {
        if text.takes(*byte) || !byte.is_ascii_whitespace() {
            out.push(*byte);
        }
    }
    out
}

/// Tells the bytes of strings from those between.
#[derive(Default)]
struct Text {
    open: bool,
    escaped: bool,
}

impl Text {
    /// True for a byte of a string, its quotes included.
    fn takes(&mut self, byte: u8) -> bool {
        if !self.open {
            self.open = byte == b'"';
            return self.open;
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.open = false,
            _ => {}
        }
        true
    }
}

/// The items of a compact object or list, without its brackets.
fn items(json: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = json.get(1..json.len().saturating_sub(1)).unwrap_or(&[]);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut text = Text::default();
        let mut depth = 0_u32;
        let end = rest.iter().position(|byte| {
            if text.takes(*byte) {
                return false;
            }
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            *byte == b',' && depth == 0
        });
        let (item, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        rest = after.get(1..).unwrap_or(&[]);
        Some(item)
    })
}

impl Kind {
    /// Writes an object with its members in order. A name that is there twice, or written with escapes, can mean what
    /// only its reader knows.
    fn write(self, object: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut members: Vec<(&[u8], &[u8])> = Vec::new();
        for member in items(object) {
            let end = memchr::memchr2(b'"', b'\\', member.get(1..)?)? + 1;
            let (name, value) = member.split_at_checked(end)?;
            let value = value.strip_prefix(b"\":")?;
            let at = members.partition_point(|(known, _)| *known < name);
            if members.get(at).is_some_and(|(known, _)| *known == name) || members.len() == MAX_MEMBERS {
                return None;
            }
            members.insert(at, (name, value));
        }
        out.push(b'{');
        for (index, (name, value)) in members.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            out.extend_from_slice(b"\":");
            match self.list(name) {
                Some(kind) if value.first() == Some(&b'[') => kind.write_list(value, out)?,
                _ => out.extend_from_slice(value),
            }
        }
        out.push(b'}');
        Some(())
    }

    fn write_list(self, list: &[u8], out: &mut Vec<u8>) -> Option<()> {
        out.push(b'[');
        for (index, item) in items(list).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            match item.first() {
                Some(b'{') => self.write(item, out)?,
                _ => out.extend_from_slice(item),
            }
        }
        out.push(b']');
        Some(())
    }

    /// What the objects in a member's list are. Names still have their opening quote.
    fn list(self, name: &[u8]) -> Option<Self> {
        match (self, name) {
            (Self::Request, b"\"messages" | b"\"contents" | b"\"input") => Some(Self::Message),
            (Self::Message, b"\"content" | b"\"parts") => Some(Self::Part),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn text(body: &str) -> Option<String> {
        canonical(body.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn whitespace_and_the_order_of_parameters_do_not_matter() {
        let one = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a b"}]}],"n":1.0}"#;
        let two = "\n{ \"n\" : 1.0,\t\"messages\": [ {\"content\": [{\"text\":\"a b\", \"type\":\"text\"}], \"role\":\"user\"} ],\r\n \"model\":\"m\" } ";
        assert_eq!(text(one), text(two));
        assert_eq!(
            text(one).unwrap(),
            r#"{"messages":[{"content":[{"text":"a b","type":"text"}],"role":"user"}],"model":"m","n":1.0}"#
        );
        assert_eq!(text("[ 1 , [ ] , { \"b\" : 1, \"a\" : 2 } ]").unwrap(), r#"[1,[],{"b":1,"a":2}]"#);
        assert_eq!(
            (text(" {} ").unwrap(), text("[]").unwrap(), text(" 12 ").unwrap()),
            ("{}".into(), "[]".into(), "12".into())
        );
    }

    #[test]
    fn what_becomes_part_of_a_prompt_stays_as_it_is() {
        let different = [
            (r#"{"a":1}"#, r#"{"a":1.0}"#),
            (r#"{"a":"x y"}"#, r#"{"a":"xy"}"#),
            (r#"{"a":"é"}"#, r#"{"a":"\u00e9"}"#),
            (r#"{"tools":[{"parameters":{"x":1,"y":2}}]}"#, r#"{"tools":[{"parameters":{"y":2,"x":1}}]}"#),
            (r#"{"response_format":{"a":1,"b":2}}"#, r#"{"response_format":{"b":2,"a":1}}"#),
            (r#"{"documents":[{"a":1,"b":2}]}"#, r#"{"documents":[{"b":2,"a":1}]}"#),
            (
                r#"{"messages":[{"content":[{"type":"tool_use","input":{"a":1,"b":2}}]}]}"#,
                r#"{"messages":[{"content":[{"type":"tool_use","input":{"b":2,"a":1}}]}]}"#,
            ),
            (r#"{"messages":[1,2]}"#, r#"{"messages":[2,1]}"#),
            (r#"{"a":1}"#, r#"{"a":null}"#),
            (r#"["a,b"]"#, r#"["a","b"]"#),
        ];
        for (one, other) in different {
            assert_ne!(text(one).unwrap(), text(other).unwrap());
        }
    }

    #[test]
    fn what_is_ambiguous_is_compared_as_it_is() {
        for body in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"messages":[{"role":"a","role":"b"}]}"#,
            "{\"a\":1",
            "1 2",
            "",
            "\u{feff}{}",
            r#"{"a":01}"#,
        ] {
            assert_eq!(text(body), None, "{body}");
        }
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_BODY));
        assert_eq!(text(&long), None);
        let many: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("\"{n}\":1")).collect();
        assert_eq!(text(&format!("{{{}}}", many.join(","))), None);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ \\-~\\\\\"{}\\[\\],:é]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let name = prop::sample::select(vec!["messages", "content", "input", "parts", "a", "b", "c{", "d,"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_form_means_the_same_and_is_its_own_form(value in json()) {
            for written in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
                let form = canonical(written.as_bytes()).unwrap();
                prop_assert_eq!(&serde_json::from_slice::<Value>(&form).unwrap(), &value);
                prop_assert_eq!(canonical(&form), Some(form.clone()));
                prop_assert_eq!(canonical(serde_json::to_string(&value).unwrap().as_bytes()), Some(form));
            }
        }

        #[test]
        fn any_bytes_are_taken_without_harm(body in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ \n1a\xff".to_vec()), 0..40)) {
            let _ = canonical(&body);
        }
    }
}
