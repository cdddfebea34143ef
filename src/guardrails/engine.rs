//! The models and webhooks that judge, what they are asked, and what their answers mean. An answer that means nothing is no verdict: it is never
//! taken for a safe one.

use super::verdict::{Phase, Rule};
use crate::base::fault::Invalid;
use crate::base::given::{members, wrong};
use crate::base::json::json;
use serde_json::Value;

/// A model that judges.
#[derive(Clone, Debug, PartialEq)]
pub struct Engine {
    pub kind: Kind,
    pub provider: String,
    pub model: String,
    /// From which probability on something counts, where a model says one.
    pub threshold: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Says `safe`, or `unsafe` and the categories.
    LlamaGuard,
    /// OpenAI's moderation.
    Moderation,
    /// Says how probable an injection of instructions is.
    PromptGuard,
    /// An HTTP service of the operator's, behind a custom provider. It says itself what is to be done.
    Webhook,
}

/// What a model is asked: where, and with which body.
#[derive(Debug, PartialEq)]
pub struct Question {
    pub provider: String,
    pub path: String,
    pub body: Value,
    /// Whether the stored key of the provider signs the body, and is not sent.
    pub is_signed: bool,
}

/// What a question is about.
pub struct About<'a> {
    pub phase: Phase,
    pub text: &'a str,
    /// What was asked, where an answer is judged.
    pub before: &'a str,
    /// What a webhook is told beside it.
    pub gateway: &'a str,
    pub event_id: &'a str,
    pub metadata: &'a Value,
}

/// So many categories of a webhook's are kept, and of each so many characters.
const MOST_CATEGORIES: usize = 10;
const LONGEST_CATEGORY: usize = 64;

/// Injection of instructions, which another model tells than harm.
pub const INJECTION: &str = "P1";

const KINDS: [(&str, Kind); 3] =
    [("llama_guard", Kind::LlamaGuard), ("openai_moderation", Kind::Moderation), ("prompt_guard", Kind::PromptGuard)];

/// Of which category of Llama Guard a category of OpenAI is.
const MODERATED: [(&str, &str); 13] = [
    ("violence", "S1"),
    ("violence/graphic", "S1"),
    ("illicit/violent", "S1"),
    ("illicit", "S2"),
    ("sexual/minors", "S4"),
    ("hate", "S10"),
    ("hate/threatening", "S10"),
    ("harassment", "S10"),
    ("harassment/threatening", "S10"),
    ("self-harm", "S11"),
    ("self-harm/intent", "S11"),
    ("self-harm/instructions", "S11"),
    ("sexual", "S12"),
];

// === impl Engine ===

impl Engine {
    pub(super) fn parse(given: Option<&Value>, name: &str, default: fn() -> Self) -> Result<Self, Invalid> {
        let wrong = |member: &str, what: &str| {
            let path = ["body", "guardrails", name, member];
            Invalid::at(path.into_iter().filter(|part| !part.is_empty()), what)
        };
        let given = match given {
            None | Some(Value::Null) => return Ok(default()),
            Some(Value::Object(given)) => given,
            Some(_) => return Err(wrong("", "Expected an object with provider and model")),
        };
        if let Some(member) =
            given.keys().find(|member| !["kind", "provider", "model", "threshold"].contains(&member.as_str()))
        {
            return Err(wrong(member, "Expected kind, provider, model and threshold only"));
        }
        let text = |member: &str| given.get(member).and_then(Value::as_str).unwrap_or("");
        let (provider, model) = (text("provider"), text("model"));
        let is_slug = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=64).contains(&provider.len()) || !provider.bytes().all(is_slug) {
            return Err(wrong("provider", "Expected the name of a provider"));
        }
        if !(1..=200).contains(&model.len())
            || model.chars().any(|char| char.is_control() || char.is_whitespace())
            || model.contains("..")
        {
            return Err(wrong("model", "Expected the name of a model, as the provider has it"));
        }
        let known = if name == "injection_engine" { Kind::PromptGuard } else { default().kind };
        let kind = match given.get("kind") {
            None | Some(Value::Null) if model.contains("moderation") => Kind::Moderation,
            None | Some(Value::Null) => known,
            Some(kind) => match KINDS.iter().find(|(name, _)| kind == name) {
                Some((_, kind)) => *kind,
                None => return Err(wrong("kind", "Expected llama_guard, openai_moderation or prompt_guard")),
            },
        };
        let threshold = match given.get("threshold") {
            None | Some(Value::Null) => 0.5,
            Some(threshold) => match threshold.as_f64().filter(|threshold| *threshold > 0.0 && *threshold <= 1.0) {
                Some(threshold) => threshold,
                None => return Err(wrong("threshold", "Expected a number above 0 and up to 1")),
            },
        };
        Ok(Self { kind, provider: provider.to_owned(), model: model.to_owned(), threshold })
    }

    /// The setting `webhook`, with what its word means for prompts and for answers.
    pub(super) fn webhook(given: &Value) -> Result<(Self, [Option<Rule>; 2]), Invalid> {
        let at = ["body", "guardrails", "webhook"];
        let fields = members(given, &["provider", "path", "prompt", "response"], &at)?;
        let text = |member: &str| fields.get(member).and_then(Value::as_str).unwrap_or("");
        let (provider, path) = (text("provider"), text("path"));
        let is_slug = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(8..=64).contains(&provider.len()) || !provider.starts_with("custom-") || !provider.bytes().all(is_slug) {
            return Err(wrong(&at, "provider", "Expected custom- and the slug of a custom provider"));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'~');
        if !(1..=200).contains(&path.len())
            || !path.bytes().all(is_plain)
            || path.starts_with('/')
            || path.contains("..")
        {
            return Err(wrong(&at, "path", "Expected a path below the provider's base_url, without a slash before it"));
        }
        let mut rules = [None, None];
        for (name, rule) in ["prompt", "response"].into_iter().zip(&mut rules) {
            if let Some(given) = fields.get(name).filter(|given| !given.is_null()) {
                *rule = Some(Rule::parse(given).ok_or_else(|| wrong(&at, name, "Expected FLAG or BLOCK"))?);
            }
        }
        if rules == [None, None] {
            return Err(wrong(&at, "", "Expected FLAG or BLOCK for prompt, response, or both"));
        }
        let engine =
            Self { kind: Kind::Webhook, provider: provider.to_owned(), model: path.to_owned(), threshold: 0.0 };
        Ok((engine, rules))
    }

    /// A webhook gets a text as a whole; models have to be asked about parts.
    pub fn is_asked_whole(&self) -> bool {
        self.kind == Kind::Webhook
    }

    pub fn question(&self, about: &About<'_>) -> Question {
        let About { phase, text, before, gateway, event_id, metadata } = *about;
        let question = |path: &str, body: Value| {
            let is_signed = self.kind == Kind::Webhook;
            Question { provider: self.provider.clone(), path: path.to_owned(), body, is_signed }
        };
        let is_run = self.provider == "workers-ai";
        if self.kind == Kind::Moderation {
            return question("moderations", json!({ "model": self.model, "input": text }));
        }
        if self.kind == Kind::Webhook {
            let asked = if phase == Phase::Response { before } else { "" };
            let body = json!({ "phase": phase.name(), "text": text, "asked": asked, "gateway": gateway, "event_id": event_id, "metadata": metadata });
            return question(&self.model, body);
        }
        let messages = match (self.kind, phase) {
            (Kind::LlamaGuard, Phase::Response) => {
                json!([{ "role": "user", "content": if before.is_empty() { "-" } else { before } }, { "role": "assistant", "content": text }])
            }
            _ => json!([{ "role": "user", "content": text }]),
        };
        match (self.kind, is_run) {
            (Kind::PromptGuard, true) => question(&self.model, json!({ "text": text })),
            (_, true) => question(&self.model, json!({ "messages": messages, "temperature": 0, "max_tokens": 32 })),
            (_, false) => {
                let model = format!("{}/{}", self.provider, self.model);
                let body = json!({ "model": model, "messages": messages, "temperature": 0, "max_tokens": 32 });
                Question { provider: "compat".to_owned(), ..question("chat/completions", body) }
            }
        }
    }

    /// The categories that an answer names, and whether it says by itself that the text must not go on; `None` for one that is no
    /// verdict.
    pub fn heard(&self, answer: &str) -> Option<(Vec<String>, bool)> {
        let answer: Value = serde_json::from_str(answer).ok()?;
        if self.kind == Kind::Webhook {
            return told(&answer);
        }
        self.categories(&answer).map(|categories| (categories, false))
    }

    fn categories(&self, answer: &Value) -> Option<Vec<String>> {
        match self.kind {
            Kind::Webhook => None,
            Kind::Moderation => moderated(answer),
            Kind::PromptGuard => {
                let probability = probability(answer)?;
                Some(if probability >= self.threshold { vec![INJECTION.to_owned()] } else { Vec::new() })
            }
            Kind::LlamaGuard => {
                let said =
                    answer.pointer("/result/response").or_else(|| answer.pointer("/choices/0/message/content"))?;
                match said {
                    Value::String(text) => spoken(text),
                    said => structured(said),
                }
            }
        }
    }
}

/// What a webhook says.
fn told(answer: &Value) -> Option<(Vec<String>, bool)> {
    let is_blocked = match answer.get("action")?.as_str()? {
        "pass" => return Some((Vec::new(), false)),
        "flag" => false,
        "block" => true,
        _ => return None,
    };
    let named = answer.get("categories").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let is_name = |name: &&str| (1..=LONGEST_CATEGORY).contains(&name.len()) && !name.chars().any(char::is_control);
    let mut categories = vec!["webhook".to_owned()];
    categories.extend(named.filter(is_name).take(MOST_CATEGORIES).map(str::to_owned));
    Some((categories, is_blocked))
}

fn spoken(text: &str) -> Option<Vec<String>> {
    if let Ok(said @ Value::Object(_)) = serde_json::from_str(text) {
        return structured(&said);
    }
    let mut lines = text.trim().lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next()?.to_ascii_lowercase();
    match first.as_str() {
        "safe" => Some(Vec::new()),
        "unsafe" => named(lines.next()?.split(',').map(str::trim)),
        _ => None,
    }
}

fn structured(said: &Value) -> Option<Vec<String>> {
    match said.get("safe")?.as_bool()? {
        true => Some(Vec::new()),
        false => named(said.get("categories")?.as_array()?.iter().filter_map(Value::as_str)),
    }
}

/// A text that is unsafe belongs to some category.
fn named<'a>(all: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
    let is_category = |name: &&str| name.strip_prefix('S').is_some_and(|rest| rest.parse::<u8>().is_ok());
    let all: Vec<String> = all.filter(is_category).map(str::to_owned).collect();
    (!all.is_empty()).then_some(all)
}

fn moderated(answer: &Value) -> Option<Vec<String>> {
    let results = answer.get("results")?.as_array().filter(|results| !results.is_empty())?;
    let mut all: Vec<String> = Vec::new();
    for result in results {
        let categories = result.get("categories")?.as_object()?;
        for (name, category) in MODERATED {
            if categories.get(name) == Some(&Value::Bool(true)) && !all.iter().any(|known| known == category) {
                all.push(category.to_owned());
            }
        }
    }
    Some(all)
}

fn probability(answer: &Value) -> Option<f64> {
    if let Some(text) = answer.pointer("/choices/0/message/content").and_then(Value::as_str) {
        return text.trim().parse().ok().filter(|number: &f64| (0.0..=1.0).contains(number));
    }
    let said = answer.pointer("/result/response").or_else(|| answer.get("result"))?;
    let labels = said.as_array()?;
    let is_bad = |label: &&Value| {
        label.get("label").and_then(Value::as_str).is_some_and(|label| {
            matches!(label.to_ascii_uppercase().as_str(), "LABEL_1" | "MALICIOUS" | "INJECTION" | "JAILBREAK")
        })
    };
    labels.iter().find(is_bad).and_then(|label| label.get("score")?.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(kind: Kind, provider: &str) -> Engine {
        Engine { kind, provider: provider.to_owned(), model: "m".to_owned(), threshold: 0.5 }
    }

    fn categories(engine: &Engine, answer: &str) -> Option<Vec<String>> {
        engine.heard(answer).map(|(categories, _)| categories)
    }

    fn asked(engine: &Engine, phase: Phase, text: &str, before: &str) -> Question {
        engine.question(&About { phase, text, before, gateway: "gw", event_id: "e", metadata: &json!({"team": "a"}) })
    }

    #[test]
    fn an_answer_that_means_nothing_is_no_verdict() {
        let guard = engine(Kind::LlamaGuard, "groq");
        let said =
            |content: Value| categories(&guard, &json!({"choices": [{"message": {"content": content}}]}).to_string());
        let all = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(said(json!("\n\nsafe")), all(&[]));
        assert_eq!(said(json!("unsafe\nS1, S10")), all(&["S1", "S10"]));
        assert_eq!(said(json!({"safe": false, "categories": ["S4"]})), all(&["S4"]));
        assert_eq!(said(json!("{\"safe\": true}")), all(&[]));
        for lie in [
            json!("I think it is safe"),
            json!("unsafe"),
            json!("unsafe\nbad"),
            json!(""),
            json!(null),
            json!({"safe": "yes"}),
            json!({"safe": false, "categories": []}),
        ] {
            assert_eq!(said(lie.clone()), None, "{lie}");
        }
        assert_eq!((categories(&guard, "{"), categories(&guard, "{\"error\":{}}")), (None, None));
        let workers = engine(Kind::LlamaGuard, "workers-ai");
        assert_eq!(categories(&workers, r#"{"result":{"response":{"safe":false,"categories":["S2"]}}}"#), all(&["S2"]));
    }

    #[test]
    fn other_models_say_it_in_their_own_way() {
        let moderation = engine(Kind::Moderation, "openai");
        let answer = json!({"results": [{"flagged": true, "categories": {"violence": true, "hate": false, "self-harm/intent": true}}]});
        assert_eq!(categories(&moderation, &answer.to_string()), Some(vec!["S1".to_owned(), "S11".to_owned()]));
        assert_eq!((categories(&moderation, "{\"results\":[]}"), categories(&moderation, "{}")), (None, None));
        let injection = engine(Kind::PromptGuard, "groq");
        let said =
            |text: &str| categories(&injection, &json!({"choices": [{"message": {"content": text}}]}).to_string());
        assert_eq!(
            (said("0.99"), said("0.01"), said("7"), said("bad")),
            (Some(vec!["P1".to_owned()]), Some(Vec::new()), None, None)
        );
        let run = r#"{"result":[{"label":"LABEL_0","score":0.1},{"label":"LABEL_1","score":0.9}]}"#;
        assert_eq!(categories(&injection, run), Some(vec!["P1".to_owned()]));
    }

    #[test]
    fn an_answer_is_judged_behind_its_question() {
        let asked_of = asked(&engine(Kind::LlamaGuard, "groq"), Phase::Response, "an answer", "a question");
        assert_eq!((asked_of.provider.as_str(), asked_of.path.as_str()), ("compat", "chat/completions"));
        assert_eq!(
            (&asked_of.body["model"], &asked_of.body["messages"][1]["content"]),
            (&json!("groq/m"), &json!("an answer"))
        );
        let asked_of = asked(&engine(Kind::LlamaGuard, "workers-ai"), Phase::Prompt, "x", "");
        assert_eq!((asked_of.path.as_str(), &asked_of.body["messages"][0]["role"]), ("m", &json!("user")));
        assert_eq!(asked(&engine(Kind::Moderation, "openai"), Phase::Prompt, "x", "").path, "moderations");
        let hook = asked(&engine(Kind::Webhook, "custom-a"), Phase::Prompt, "x", "y");
        assert_eq!((hook.provider.as_str(), hook.path.as_str(), hook.is_signed), ("custom-a", "m", true));
        assert_eq!(
            hook.body,
            json!({"phase": "prompt", "text": "x", "asked": "", "gateway": "gw", "event_id": "e", "metadata": {"team": "a"}})
        );
    }
}
