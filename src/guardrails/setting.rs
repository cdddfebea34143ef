//! The setting `guardrails` of a gateway.

use super::engine::{Engine, INJECTION, Kind};
use super::verdict::{Phase, Verdict};
use crate::base::fault::Invalid;
use serde_json::{Map, Value};

/// What the setting says, read once.
#[derive(Clone, Debug, PartialEq)]
pub struct Guardrails {
    prompt: Vec<(String, Rule)>,
    response: Vec<(String, Rule)>,
    pub engine: Engine,
    pub injection_engine: Engine,
    pub mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Flag,
    Block,
}

/// How a stream is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In parts that are held back until they are.
    Window,
    /// As a whole, before any of it goes on.
    Buffer,
    /// When all of it has gone on: for the log alone.
    After,
}

const MEMBERS: [&str; 5] = ["prompt", "response", "engine", "injection_engine", "stream"];

// === impl Guardrails ===

impl Guardrails {
    /// `None` for a setting that judges nothing.
    pub fn of(setting: &Value) -> Option<Self> {
        Self::parse(setting).ok().flatten()
    }

    pub fn check(setting: &Value) -> Result<(), Invalid> {
        Self::parse(setting).map(drop)
    }

    fn parse(setting: &Value) -> Result<Option<Self>, Invalid> {
        let Some(members) = setting.as_object() else {
            return Err(Invalid::at(["body", "guardrails"], "Expected an object, or null"));
        };
        if let Some(name) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(Invalid::at(["body", "guardrails", name], format!("Expected {} only", MEMBERS.join(", "))));
        }
        let (prompt, response) = (rules(members, "prompt")?, rules(members, "response")?);
        let engine = Engine::parse(members.get("engine"), "engine", || Engine {
            kind: Kind::LlamaGuard,
            provider: "workers-ai".to_owned(),
            model: "@cf/meta/llama-guard-3-8b".to_owned(),
            threshold: 0.5,
        })?;
        let injection_engine = Engine::parse(members.get("injection_engine"), "injection_engine", || Engine {
            kind: Kind::PromptGuard,
            provider: "workers-ai".to_owned(),
            model: "@cf/meta/prompt-guard-2-86m".to_owned(),
            threshold: 0.5,
        })?;
        let mode = match members.get("stream").unwrap_or(&Value::Null) {
            Value::Null => Mode::Window,
            Value::String(name) if name == "window" => Mode::Window,
            Value::String(name) if name == "buffer" => Mode::Buffer,
            Value::String(name) if name == "after" => Mode::After,
            _ => return Err(Invalid::at(["body", "guardrails", "stream"], "Expected window, buffer or after")),
        };
        let is_idle = prompt.is_empty() && response.is_empty();
        Ok((!is_idle).then_some(Self { prompt, response, engine, injection_engine, mode }))
    }

    fn rules(&self, phase: Phase) -> &[(String, Rule)] {
        if phase == Phase::Prompt { &self.prompt } else { &self.response }
    }

    pub fn is_for(&self, phase: Phase) -> bool {
        !self.rules(phase).is_empty()
    }

    /// Whether a rule keeps something from going on.
    pub fn blocks(&self, phase: Phase) -> bool {
        self.rules(phase).iter().any(|(_, rule)| *rule == Rule::Block)
    }

    /// The models that have to be asked for the rules there are.
    pub fn engines(&self, phase: Phase) -> impl Iterator<Item = &Engine> {
        let rules = self.rules(phase);
        let harm = rules.iter().any(|(category, _)| category != INJECTION).then_some(&self.engine);
        let injection = rules.iter().any(|(category, _)| category == INJECTION).then_some(&self.injection_engine);
        harm.into_iter().chain(injection)
    }

    /// What rules make of the categories that a model has found.
    pub fn verdict(&self, phase: Phase, found: &[String]) -> Verdict {
        let mut verdict = Verdict::default();
        for (category, rule) in self.rules(phase).iter().filter(|(category, _)| found.contains(category)) {
            verdict.categories.push(category.clone());
            verdict.is_blocked |= *rule == Rule::Block;
        }
        verdict
    }
}

fn rules(members: &Map<String, Value>, phase: &str) -> Result<Vec<(String, Rule)>, Invalid> {
    let wrong = |name: &str, what: &str| Invalid::at(["body", "guardrails", phase, name], what);
    let rules = match members.get(phase).unwrap_or(&Value::Null) {
        Value::Null => return Ok(Vec::new()),
        Value::Object(rules) => rules,
        _ => return Err(Invalid::at(["body", "guardrails", phase], "Expected an object of S1 to S13 and P1")),
    };
    let mut read = Vec::new();
    for (category, rule) in rules.iter().filter(|(_, rule)| !rule.is_null()) {
        let number: Option<u8> = category.strip_prefix('S').and_then(|number| number.parse().ok());
        let is_harm = number.is_some_and(|number| (1..=13).contains(&number) && *category == format!("S{number}"));
        if !is_harm && category != INJECTION {
            return Err(wrong(category, "Expected S1 to S13 and P1 only"));
        }
        let rule = match rule.as_str() {
            Some("FLAG") => Rule::Flag,
            Some("BLOCK") => Rule::Block,
            _ => return Err(wrong(category, "Expected FLAG or BLOCK")),
        };
        read.push((category.clone(), rule));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_say_what_becomes_of_categories() {
        let read =
            Guardrails::of(&json!({"prompt": {"S1": "BLOCK", "S10": "FLAG", "P1": "FLAG"}, "response": {}})).unwrap();
        assert!(read.is_for(Phase::Prompt) && !read.is_for(Phase::Response) && read.blocks(Phase::Prompt));
        assert_eq!(
            (read.engines(Phase::Prompt).count(), read.engines(Phase::Response).count(), read.mode),
            (2, 0, Mode::Window)
        );
        let verdict = |found: &[&str]| {
            let found: Vec<String> = found.iter().map(|category| (*category).to_owned()).collect();
            let verdict = read.verdict(Phase::Prompt, &found);
            (verdict.categories.join(" "), verdict.is_blocked)
        };
        assert_eq!(verdict(&["S10", "S2"]), ("S10".to_owned(), false));
        assert_eq!(verdict(&["S1", "S10"]), ("S1 S10".to_owned(), true));
        assert_eq!(verdict(&[]), (String::new(), false));
        assert!(
            Guardrails::of(&json!({"prompt": {}, "engine": {"provider": "openai", "model": "omni-moderation-latest"}}))
                .is_none()
        );
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for (wrong, place) in [
            (json!([]), "body.guardrails"),
            (json!({"prompts": {}}), "body.guardrails.prompts"),
            (json!({"prompt": []}), "body.guardrails.prompt"),
            (json!({"prompt": {"S14": "FLAG"}}), "body.guardrails.prompt.S14"),
            (json!({"prompt": {"S01": "FLAG"}}), "body.guardrails.prompt.S01"),
            (json!({"response": {"S1": "REDACT"}}), "body.guardrails.response.S1"),
            (json!({"stream": "whole"}), "body.guardrails.stream"),
            (json!({"engine": {"provider": "openai"}}), "body.guardrails.engine.model"),
            (json!({"engine": {"provider": "a/b", "model": "x"}}), "body.guardrails.engine.provider"),
            (json!({"engine": {"provider": "groq", "model": "x", "kind": "y"}}), "body.guardrails.engine.kind"),
            (
                json!({"injection_engine": {"provider": "groq", "model": "x", "threshold": 2}}),
                "body.guardrails.injection_engine.threshold",
            ),
        ] {
            assert_eq!(Guardrails::check(&wrong).unwrap_err().path.join("."), place, "{wrong}");
        }
    }
}
