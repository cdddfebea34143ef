//! Checks that ask no model: of patterns, of the form of an answer, of its length, and of what a request says of itself.

use super::verdict::{Mode, Phase, Rule, Verdict};
use crate::base::fault::Invalid;
use crate::base::given::{list, members, texts, wrong};
use crate::pattern::Pattern;
use crate::pattern::budget::{Meter, Steps};
use crate::pattern::schema::{self, Schema};
use serde_json::Value;
use std::rc::Rc;

/// A check of a gateway's own.
#[derive(Clone, Debug)]
pub struct Check {
    id: String,
    pub rule: Rule,
    phases: [bool; 2],
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// None of them may be in a text.
    Deny(Vec<Pattern>),
    /// One of them has to be.
    Allow(Vec<Pattern>),
    /// What an answer has to be, as JSON.
    Schema(Rc<Schema>),
    /// So many characters at most.
    Size(usize),
    /// Keys of metadata that a request must have.
    Metadata(Vec<String>),
}

/// What is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'a> {
    /// All text, what tools are called with included. Of a stream, the part that is judged.
    pub text: &'a str,
    /// What a model says to its user.
    pub content: &'a str,
    /// All characters so far.
    pub length: usize,
    /// Whether there is nothing before it and nothing behind.
    pub is_whole: bool,
}

/// How many checks a gateway may have.
const MOST: usize = 50;
const PATTERNS: (usize, usize) = (20, 1_000);
const KEYS: (usize, usize) = (20, 100);

/// So many steps may patterns and schemas take for a text: some tenths of a second at worst.
const STEPS: u64 = 8_000_000;

const TYPES: [&str; 5] = ["deny", "allow", "schema", "size", "metadata"];
const COMMON: [&str; 4] = ["id", "type", "action", "check"];

const TOO_DEAR: &str = "its patterns take too long on this text";
const IN_PARTS: &str = "the answer is longer than is held back, and it has to be seen whole";

// === impl Check ===

impl Check {
    /// The checks of a setting. Which of them a stream can have is known when they are stored.
    pub fn all(setting: &Value, mode: Mode) -> Result<Vec<Self>, Invalid> {
        let path = ["body", "guardrails"];
        let mut all: Vec<Self> = Vec::new();
        for (at, given) in list(setting, "checks", MOST, &path)?.iter().enumerate() {
            let at = at.to_string();
            let path = ["body", "guardrails", "checks", &at];
            let check = Self::parse(given, mode, &path)?;
            if all.iter().any(|other| other.id == check.id) {
                return Err(wrong(&path, "id", "Expected another id: two checks have this one"));
            }
            all.push(check);
        }
        Ok(all)
    }

    fn parse(given: &Value, mode: Mode, path: &[&str]) -> Result<Self, Invalid> {
        let named = given.get("type").and_then(Value::as_str).unwrap_or("");
        if named == "replace" {
            let elsewhere = "Text is replaced by the setting dlp: an entry of custom_profiles with a replacement, and a policy with REDACT";
            return Err(wrong(path, "type", elsewhere));
        }
        let own: &[&str] = match named {
            "deny" | "allow" => &["patterns", "case_sensitive"],
            "schema" => &["schema"],
            "size" => &["max_characters"],
            "metadata" => &["keys"],
            _ if given.is_object() => return Err(wrong(path, "type", format!("Expected {}", TYPES.join(", ")))),
            _ => &[],
        };
        let known: Vec<&str> = COMMON.iter().chain(own).copied().collect();
        members(given, &known, path)?;
        let id = given.get("id").and_then(Value::as_str).unwrap_or("");
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if !(1..=64).contains(&id.len()) || !id.bytes().all(is_name) {
            return Err(wrong(path, "id", "Expected 1 to 64 lower-case letters, digits, - and _"));
        }
        let Some(rule) = given.get("action").and_then(Rule::parse) else {
            return Err(wrong(path, "action", "Expected FLAG or BLOCK"));
        };
        let kind = Kind::parse(named, given, path)?;
        let phases = match (&kind, given.get("check")) {
            (Kind::Schema(_), None | Some(Value::Null)) => [false, true],
            (Kind::Metadata(_), None | Some(Value::Null)) => [true, false],
            (_, None | Some(Value::Null)) => [true, true],
            (_, Some(given)) => {
                let named = given.as_array().filter(|all| !all.is_empty()).map_or(&[][..], Vec::as_slice);
                let is_known = |name: &Value| matches!(name.as_str(), Some("prompt" | "response"));
                if named.is_empty() || !named.iter().all(is_known) {
                    return Err(wrong(path, "check", "Expected an array of prompt and response"));
                }
                ["prompt", "response"].map(|phase| named.iter().any(|name| name == phase))
            }
        };
        let [is_prompt, is_response] = phases;
        match kind {
            Kind::Schema(_) if is_prompt => {
                return Err(wrong(path, "check", "Expected response only: a schema is one of answers"));
            }
            Kind::Metadata(_) if is_response => {
                return Err(wrong(path, "check", "Expected prompt only: an answer has no metadata"));
            }
            Kind::Schema(_) | Kind::Allow(_) if is_response && mode == Mode::Window => {
                let what = "Expected guardrails.stream to be buffer or after beside it: a window of a stream does not tell what all of the answer is";
                return Err(wrong(path, "type", what));
            }
            _ => {}
        }
        Ok(Self { id: id.to_owned(), rule, phases, kind })
    }

    pub fn is_for(&self, phase: Phase) -> bool {
        let [prompt, response] = self.phases;
        if phase == Phase::Prompt { prompt } else { response }
    }

    /// Whether a text does not pass; the error says why that cannot be told.
    async fn is_against(&self, seen: &Seen<'_>, names: &[String], steps: &mut Steps) -> Result<bool, &'static str> {
        let has_one = |patterns: &[Pattern], steps: &mut Steps| {
            let found = patterns.iter().any(|pattern| !pattern.spans(seen.text, steps).is_empty());
            if steps.is_over() && !found { Err(TOO_DEAR) } else { Ok(found) }
        };
        match &self.kind {
            Kind::Deny(patterns) => has_one(patterns, steps),
            Kind::Size(most) => Ok(seen.length > *most),
            Kind::Metadata(keys) => Ok(keys.iter().any(|key| !names.contains(key))),
            Kind::Allow(_) | Kind::Schema(_) if !seen.is_whole => Err(IN_PARTS),
            Kind::Allow(patterns) => has_one(patterns, steps).map(|found| !found),
            Kind::Schema(schema) => {
                // A model that calls a tool has not answered yet.
                if seen.content.trim().is_empty() && !seen.text.trim().is_empty() {
                    return Ok(false);
                }
                let Ok(value) = serde_json::from_str(seen.content) else { return Ok(true) };
                let checked = schema::check(schema, &value, &Meter::new(STEPS, async || {})).await;
                checked.map(|checked| checked.is_err()).map_err(|_| TOO_DEAR)
            }
        }
    }
}

/// What the checks of a phase say.
pub async fn checked(checks: &[Check], phase: Phase, seen: &Seen<'_>, names: &[String]) -> Verdict {
    let (mut verdict, mut steps) = (Verdict::default(), Steps::new(STEPS));
    for check in checks.iter().filter(|check| check.is_for(phase)) {
        let is_strict = check.rule == Rule::Block;
        match check.is_against(seen, names, &mut steps).await {
            Ok(false) => {}
            Ok(true) => verdict.add(Verdict::found(vec![check.id.clone()], is_strict)),
            Err(why) => verdict.add(Verdict::unsure(format!("{}: {why}", check.id), is_strict)),
        }
    }
    verdict
}

// === impl Kind ===

impl Kind {
    fn parse(name: &str, given: &Value, path: &[&str]) -> Result<Self, Invalid> {
        Ok(match name {
            "deny" | "allow" => {
                let case_sensitive = crate::base::given::flag(given, "case_sensitive", true, path)?;
                let mut patterns = Vec::new();
                for text in texts(given, "patterns", PATTERNS, path)? {
                    let pattern = Pattern::new(text, case_sensitive);
                    patterns.push(pattern.map_err(|why| wrong(path, "patterns", format!("'{text}': {why}")))?);
                }
                if patterns.is_empty() {
                    return Err(wrong(path, "patterns", "Expected patterns to look for"));
                }
                if name == "deny" { Self::Deny(patterns) } else { Self::Allow(patterns) }
            }
            "schema" => {
                let read = Schema::new(given.get("schema").unwrap_or(&Value::Null));
                Self::Schema(Rc::new(read.map_err(|why| wrong(path, "schema", why))?))
            }
            "size" => {
                match given.get("max_characters").and_then(Value::as_u64).filter(|most| (1..=10_000_000).contains(most))
                {
                    Some(most) => Self::Size(most as usize),
                    None => return Err(wrong(path, "max_characters", "Expected an integer from 1 to 10000000")),
                }
            }
            _ => {
                let keys: Vec<String> = texts(given, "keys", KEYS, path)?.into_iter().map(str::to_owned).collect();
                if keys.is_empty() {
                    return Err(wrong(path, "keys", "Expected keys of metadata"));
                }
                Self::Metadata(keys)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;
    use serde_json::json;

    fn said(check: Value, phase: Phase, seen: Seen<'_>) -> (String, bool, bool) {
        let all = Check::all(&json!({ "checks": [check] }), Mode::Buffer).unwrap();
        let verdict = block_on(checked(&all, phase, &seen, &["team".to_owned()]));
        (verdict.categories.join(" "), verdict.is_blocked, verdict.error.is_some())
    }

    fn whole(text: &str) -> Seen<'_> {
        Seen { text, content: text, length: text.chars().count(), is_whole: true }
    }

    #[test]
    fn each_kind_of_check_says_what_does_not_pass() {
        let found = ("a".to_owned(), true, false);
        let passes = (String::new(), false, false);
        let check = |more: Value| {
            let mut check = json!({"id": "a", "action": "BLOCK"});
            check.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            check
        };
        let prompt = |more: Value, text: &str| said(check(more), Phase::Prompt, whole(text));
        let answer = |more: Value, text: &str| said(check(more), Phase::Response, whole(text));
        let deny = json!({"type": "deny", "patterns": ["PRJ-[0-9]+"], "case_sensitive": false});
        assert_eq!((prompt(deny.clone(), "see prj-12"), prompt(deny, "see")), (found.clone(), passes.clone()));
        let allow = json!({"type": "allow", "patterns": ["^(yes|no)"]});
        assert_eq!(
            (answer(allow.clone(), "yes, sure"), answer(allow.clone(), "maybe")),
            (passes.clone(), found.clone())
        );
        let part = Seen { is_whole: false, ..whole("yes") };
        assert_eq!(said(check(allow), Phase::Response, part), (String::new(), false, true));
        let schema = json!({"type": "schema", "schema": {"type": "object", "required": ["a"]}});
        assert_eq!(answer(schema.clone(), "{\"a\":1}"), passes);
        for wrong in ["{}", "no JSON", ""] {
            assert_eq!(answer(schema.clone(), wrong), found, "{wrong}");
        }
        let calls = Seen { content: "", ..whole("{\"city\":\"x\"}") };
        assert_eq!(said(check(schema.clone()), Phase::Response, calls), passes);
        assert_eq!(prompt(schema, "no JSON"), passes);
        let size = json!({"type": "size", "max_characters": 3});
        assert_eq!((prompt(size.clone(), "äöü"), answer(size, "abcd")), (passes.clone(), found.clone()));
        assert_eq!(prompt(json!({"type": "metadata", "keys": ["team"]}), ""), passes);
        assert_eq!(prompt(json!({"type": "metadata", "keys": ["team", "user"]}), ""), found);
        let dear = json!({"type": "deny", "patterns": ["(a|b|ab)*c"]});
        assert_eq!(prompt(dear, &"ab".repeat(100_000)), (String::new(), false, true));
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        let base = json!({"id": "a", "type": "deny", "action": "BLOCK", "patterns": ["x"]});
        for (name, value, place) in [
            ("id", json!("A"), "id"),
            ("type", json!("replace"), "type"),
            ("type", json!("any"), "type"),
            ("action", json!("REDACT"), "action"),
            ("patterns", json!(["("]), "patterns"),
            ("patterns", json!([]), "patterns"),
            ("check", json!([]), "check"),
            ("check", json!(["REQUEST"]), "check"),
            ("schema", json!({}), "schema"),
            ("case_sensitive", json!(1), "case_sensitive"),
        ] {
            let mut check = base.clone();
            check[name] = value;
            let error = Check::all(&json!({ "checks": [check.clone()] }), Mode::Window).unwrap_err();
            assert_eq!(error.path.join("."), format!("body.guardrails.checks.0.{place}"), "{check}");
        }
        let twice = json!({ "checks": [base, base] });
        assert_eq!(Check::all(&twice, Mode::Window).unwrap_err().path.join("."), "body.guardrails.checks.1.id");
        let schema = json!({"id": "a", "type": "schema", "action": "FLAG", "schema": {"type": "object"}});
        assert!(
            Check::all(&json!({ "checks": [schema] }), Mode::Window).unwrap_err().message.contains("buffer or after")
        );
        assert!(Check::all(&json!({ "checks": [schema] }), Mode::After).is_ok());
        for wrong in [
            json!({"id": "a", "type": "schema", "action": "FLAG", "schema": {"$dynamicRef": "x"}}),
            json!({"id": "a", "type": "schema", "action": "FLAG", "schema": {}, "check": ["prompt"]}),
            json!({"id": "a", "type": "metadata", "action": "FLAG", "keys": ["x"], "check": ["response"]}),
            json!({"id": "a", "type": "size", "action": "FLAG"}),
            json!("x"),
        ] {
            assert!(Check::all(&json!({ "checks": [wrong] }), Mode::Buffer).is_err(), "{wrong}");
        }
    }
}
