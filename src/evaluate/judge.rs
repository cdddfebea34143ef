//! A model as a judge: what it is asked, where, and what its answer means.

use super::answers::{Wrong, unfenced};
use crate::base::json::json;
use crate::base::number;
use crate::conversation::Conversation;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    pub prompt: String,
    pub provider: String,
    pub model: String,
    pub verdict: Verdict,
    /// No more logs than this are judged; the newest come first.
    pub max_logs: u64,
    /// US dollars after which no further log is judged.
    pub max_cost: Option<f64>,
    pub concurrency: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Number,
    Boolean,
}

/// What a judge said about one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    pub value: f64,
    pub reason: Option<String>,
}

/// A request to a provider through the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub provider: String,
    pub path: String,
    pub body: Value,
}

/// The longest part of a question or an answer that is shown to a judge, in bytes.
const MAX_SHOWN: usize = 100_000;

const MAX_LOGS: u64 = 10_000;

/// Whatever scale a judge uses; more would drown all other verdicts.
const MAX_VERDICT: f64 = 1e9;

// === impl Judge ===

impl Judge {
    pub fn parse(settings: &Value) -> Result<Self, Wrong> {
        const KNOWN: &[&str] = &["prompt", "provider", "model", "verdict", "max_logs", "max_cost", "concurrency"];
        let names = settings.as_object().into_iter().flat_map(serde_json::Map::keys);
        if let Some(name) = names.into_iter().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(("", format!("There is no setting '{name}'. Expected {}", KNOWN.join(", "))));
        }
        let text = |name: &'static str, most: usize| {
            settings
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| (1..=most).contains(&text.trim().len()))
                .map(str::to_owned)
                .ok_or((name, format!("Expected a text of 1 to {most} bytes")))
        };
        let prompt = text("prompt", 20_000)?;
        if !prompt.contains("{{output}}") {
            return Err(("prompt", "Expected a prompt with {{output}} in it, and usually {{input}}".to_owned()));
        }
        let provider = text("provider", 64)?;
        if endpoint(&provider, "").is_none() {
            let names: Vec<&str> = ENDPOINTS.iter().map(|(slug, _)| *slug).collect();
            return Err(("provider", format!("Expected a provider that can judge: {}", names.join(", "))));
        }
        let verdict = match settings.get("verdict").and_then(Value::as_str) {
            None | Some("number") => Verdict::Number,
            Some("boolean") => Verdict::Boolean,
            Some(_) => return Err(("verdict", "Expected 'number' or 'boolean'".to_owned())),
        };
        let whole = |name: &'static str, default: u64, most: u64| match settings.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => {
                let value = value.as_u64().filter(|value| (1..=most).contains(value));
                value.ok_or((name, format!("Expected an integer from 1 to {most}")))
            }
        };
        let max_cost = match settings.get("max_cost") {
            None | Some(Value::Null) => None,
            Some(value) => match value.as_f64().filter(|cost| *cost > 0.0) {
                Some(cost) => Some(cost),
                None => return Err(("max_cost", "Expected US dollars above 0".to_owned())),
            },
        };
        Ok(Self {
            prompt,
            provider,
            model: text("model", 256)?,
            verdict,
            max_logs: whole("max_logs", 100, MAX_LOGS)?,
            max_cost,
            concurrency: whole("concurrency", 4, 16)? as usize,
        })
    }

    pub fn unit(&self) -> &'static str {
        match self.verdict {
            Verdict::Number => "points",
            Verdict::Boolean => "percent",
        }
    }

    /// What the judge is asked about a conversation; `None` where there is nothing to judge.
    pub fn question(&self, conversation: &Conversation) -> Option<Question> {
        let output = shown(conversation.output()?);
        let input = conversation.input();
        let form = match self.verdict {
            Verdict::Number => "a number",
            Verdict::Boolean => "true or false",
        };
        let content = format!(
            "{}\n\nAnswer with nothing but JSON: {{\"verdict\": <{form}>, \"reason\": \"<one sentence>\"}}",
            filled(&self.prompt, shown(&input), output)
        );
        let path = endpoint(&self.provider, &self.model)?;
        let messages = json!([{ "role": "user", "content": content }]);
        let body = match self.provider.as_str() {
            "anthropic" => json!({ "model": self.model, "max_tokens": 500, "messages": messages }),
            "google-ai-studio" => json!({ "contents": [{ "role": "user", "parts": [{ "text": content }] }] }),
            _ => json!({ "model": self.model, "messages": messages }),
        };
        Some(Question { provider: self.provider.clone(), path, body })
    }

    /// Reads what the judge answered.
    pub fn word(&self, answer: &str) -> Result<Word, String> {
        let read = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
        let object = read(unfenced(answer)).or_else(|| {
            let (from, to) = (answer.find('{')?, answer.rfind('}')?);
            read(answer.get(from..=to)?)
        });
        let (said, reason) = match &object {
            Some(object) => (
                object.get("verdict").cloned().unwrap_or(Value::Null),
                object.get("reason").and_then(Value::as_str).map(|reason| reason.chars().take(1_000).collect()),
            ),
            None => (json!(answer.trim().trim_end_matches('.')), None),
        };
        let text = said.as_str().map(|text| text.trim().to_ascii_lowercase());
        let value = match self.verdict {
            Verdict::Number => {
                said.as_f64().or_else(|| number::parse(&text?)).filter(|number| number.abs() <= MAX_VERDICT)
            }
            Verdict::Boolean => said.as_bool().map(f64::from).or(match text.as_deref() {
                Some("true" | "yes") => Some(1.0),
                Some("false" | "no") => Some(0.0),
                _ => None,
            }),
        };
        let start: String = answer.chars().take(100).collect();
        value.map(|value| Word { value, reason }).ok_or_else(|| format!("the judge gave no verdict: {start}"))
    }
}

/// Puts both texts into a prompt in one pass, so that what one of them says is never taken for a placeholder.
fn filled(prompt: &str, input: &str, output: &str) -> String {
    let mut filled = String::with_capacity(prompt.len() + input.len() + output.len());
    let mut rest = prompt;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        if let Some(after) = after.strip_prefix("input}}") {
            filled.push_str(input);
            rest = after;
        } else if let Some(after) = after.strip_prefix("output}}") {
            filled.push_str(output);
            rest = after;
        } else {
            filled.push_str("{{");
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

fn shown(text: &str) -> &str {
    let mut end = text.len().min(MAX_SHOWN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

/// (provider, path): who speaks a chat format that we can write.
const ENDPOINTS: &[(&str, &str)] = &[
    ("openai", "chat/completions"),
    ("anthropic", "v1/messages"),
    ("google-ai-studio", "v1beta/models/{model}:generateContent"),
    ("grok", "chat/completions"),
    ("groq", "chat/completions"),
    ("mistral", "v1/chat/completions"),
    ("deepseek", "chat/completions"),
    ("openrouter", "chat/completions"),
    ("cerebras", "chat/completions"),
    ("fireworks", "chat/completions"),
    ("perplexity-ai", "chat/completions"),
    ("baseten", "v1/chat/completions"),
    ("workers-ai", "v1/chat/completions"),
];

/// What a path could take for more than a name.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The path of a chat request, with a model that is part of it made harmless.
fn endpoint(provider: &str, model: &str) -> Option<String> {
    let (_, path) = ENDPOINTS.iter().find(|(slug, _)| *slug == provider)?;
    Some(path.replace("{model}", &utf8_percent_encode(model, UNSAFE).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(verdict: &str) -> Judge {
        let settings = json!({ "prompt": "Q: {{input}} A: {{output}}", "provider": "openai", "model": "gpt-4o", "verdict": verdict });
        Judge::parse(&settings).unwrap()
    }

    #[test]
    fn texts_are_never_taken_for_placeholders() {
        assert_eq!(filled("{{input}}|{{output}}|{{x}}|{{", "{{output}}", "{{input}}"), "{{output}}|{{input}}|{{x}}|{{");
    }

    #[test]
    fn verdicts_are_read_however_they_are_wrapped() {
        for (answer, value) in [
            ("{\"verdict\": 4.5, \"reason\": \"good\"}", Some(4.5)),
            ("```json\n{\"verdict\": \"3\"}\n```", Some(3.0)),
            ("My verdict:\n{\"verdict\": 2}", Some(2.0)),
            ("5.", Some(5.0)),
            ("{\"verdict\": true}", None),
            ("I cannot say", None),
        ] {
            assert_eq!(judge("number").word(answer).ok().map(|word| word.value), value, "{answer}");
        }
        for (answer, value) in [("{\"verdict\": true}", Some(1.0)), ("No", Some(0.0)), ("{\"verdict\": 1}", None)] {
            assert_eq!(judge("boolean").word(answer).ok().map(|word| word.value), value, "{answer}");
        }
    }

    #[test]
    fn settings_are_checked() {
        let good = json!({ "prompt": "{{output}}", "provider": "openai", "model": "m" });
        assert!(Judge::parse(&good).is_ok());
        for (name, value) in [
            ("prompt", json!("no placeholder")),
            ("provider", json!("elevenlabs")),
            ("model", json!("")),
            ("verdict", json!("stars")),
            ("max_logs", json!(0)),
            ("max_cost", json!(0)),
            ("concurrency", json!(99)),
        ] {
            let mut wrong = good.clone();
            wrong[name] = value;
            assert_eq!(Judge::parse(&wrong).unwrap_err().0, name);
        }
    }

    #[test]
    fn a_question_holds_both_texts() {
        let conversation = Conversation::read(
            Some(r#"{"messages":[{"role":"user","content":"2+2?"}]}"#),
            Some(r#"{"choices":[{"message":{"content":"4"}}]}"#),
        );
        let asked = judge("number").question(&conversation).unwrap();
        assert!(asked.body["messages"][0]["content"].as_str().unwrap().starts_with("Q: 2+2? A: 4\n"));
        assert_eq!(asked.path, "chat/completions");
        assert_eq!(endpoint("google-ai-studio", "../x?y").unwrap(), "v1beta/models/..%2Fx%3Fy:generateContent");
    }
}
