//! The setting `guardrails` of a gateway.

use super::checks::{self, Check, Seen};
use super::engine::{Engine, INJECTION, Kind};
use super::verdict::{Mode, Phase, Rule, Verdict};
use crate::base::fault::Invalid;
use crate::base::given::{members, wrong};
use serde_json::Value;

/// What the setting says, read once.
#[derive(Clone, Debug)]
pub struct Guardrails {
    prompt: Vec<(String, Rule)>,
    response: Vec<(String, Rule)>,
    engine: Engine,
    injection_engine: Engine,
    /// What else is asked, and what its word means for prompts and for answers.
    webhook: Option<(Engine, [Option<Rule>; 2])>,
    checks: Vec<Check>,
    pub mode: Mode,
    /// Whether system prompts belong to what is judged of a prompt.
    pub system: bool,
    /// What it was read from.
    source: Value,
}

const MEMBERS: [&str; 8] =
    ["prompt", "response", "engine", "injection_engine", "webhook", "checks", "stream", "system"];

const NO_VERDICT: &str = "its answer is no verdict";

// === impl Guardrails ===

impl PartialEq for Guardrails {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Guardrails {
    /// `None` for a setting that judges nothing.
    pub fn of(setting: &Value) -> Option<Self> {
        Self::parse(setting).ok().flatten()
    }

    pub fn check(setting: &Value) -> Result<(), Invalid> {
        Self::parse(setting).map(drop)
    }

    fn parse(setting: &Value) -> Result<Option<Self>, Invalid> {
        let path = ["body", "guardrails"];
        let members = members(setting, &MEMBERS, &path)?;
        let (prompt, response) = (rules(setting, "prompt")?, rules(setting, "response")?);
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
            _ => return Err(wrong(&path, "stream", "Expected window, buffer or after")),
        };
        let system = match members.get("system").unwrap_or(&Value::Null) {
            Value::Null => false,
            Value::Bool(system) => *system,
            _ => return Err(wrong(&path, "system", "Expected true or false")),
        };
        let webhook = members.get("webhook").filter(|webhook| !webhook.is_null());
        let webhook = webhook.map(Engine::webhook).transpose()?;
        let checks = Check::all(setting, mode)?;
        let is_idle = prompt.is_empty() && response.is_empty() && webhook.is_none() && checks.is_empty();
        let source = setting.clone();
        Ok((!is_idle).then_some(Self {
            prompt,
            response,
            engine,
            injection_engine,
            webhook,
            checks,
            mode,
            system,
            source,
        }))
    }

    fn rules(&self, phase: Phase) -> &[(String, Rule)] {
        if phase == Phase::Prompt { &self.prompt } else { &self.response }
    }

    fn webhook_rule(&self, phase: Phase) -> Option<Rule> {
        let (_, [prompt, response]) = self.webhook.as_ref()?;
        if phase == Phase::Prompt { *prompt } else { *response }
    }

    pub fn is_for(&self, phase: Phase) -> bool {
        !self.rules(phase).is_empty()
            || self.webhook_rule(phase).is_some()
            || self.checks.iter().any(|check| check.is_for(phase))
    }

    /// Whether a rule keeps something from going on.
    pub fn blocks(&self, phase: Phase) -> bool {
        self.models_block(phase)
            || self.webhook_rule(phase) == Some(Rule::Block)
            || self.checks.iter().any(|check| check.is_for(phase) && check.rule == Rule::Block)
    }

    fn models_block(&self, phase: Phase) -> bool {
        self.rules(phase).iter().any(|(_, rule)| *rule == Rule::Block)
    }

    /// The models that have to be asked for the rules there are, and the webhook.
    pub fn engines(&self, phase: Phase) -> impl Iterator<Item = &Engine> {
        let rules = self.rules(phase);
        let harm = rules.iter().any(|(category, _)| category != INJECTION).then_some(&self.engine);
        let injection = rules.iter().any(|(category, _)| category == INJECTION).then_some(&self.injection_engine);
        let webhook = self.webhook.as_ref().filter(|_| self.webhook_rule(phase).is_some()).map(|(engine, _)| engine);
        harm.into_iter().chain(injection).chain(webhook)
    }

    /// What the checks say, which ask nothing. `names` are the keys of the request's metadata.
    pub async fn checked(&self, phase: Phase, seen: &Seen<'_>, names: &[String]) -> Verdict {
        checks::checked(&self.checks, phase, seen, names).await
    }

    /// What rules make of an answer to a question. The error says why there was none.
    pub fn heard(&self, engine: &Engine, phase: Phase, answer: Result<&str, &str>) -> Verdict {
        let is_webhook = engine.kind == Kind::Webhook;
        let may_block = match is_webhook {
            true => self.webhook_rule(phase) == Some(Rule::Block),
            false => self.models_block(phase),
        };
        let found = answer.and_then(|answer| engine.heard(answer).ok_or(NO_VERDICT));
        match found {
            Err(why) => Verdict::unsure(format!("{}/{}: {why}", engine.provider, engine.model), may_block),
            Ok((found, is_blocked)) if is_webhook => Verdict::found(found, is_blocked && may_block),
            Ok((found, _)) => {
                let mut verdict = Verdict::default();
                for (category, rule) in self.rules(phase).iter().filter(|(category, _)| found.contains(category)) {
                    verdict.add(Verdict::found(vec![category.clone()], *rule == Rule::Block));
                }
                verdict
            }
        }
    }
}

fn rules(setting: &Value, phase: &str) -> Result<Vec<(String, Rule)>, Invalid> {
    let path = ["body", "guardrails", phase];
    let rules = match setting.get(phase).unwrap_or(&Value::Null) {
        Value::Null => return Ok(Vec::new()),
        Value::Object(rules) => rules,
        _ => return Err(wrong(&path, "", "Expected an object of S1 to S13 and P1")),
    };
    let mut read = Vec::new();
    for (category, rule) in rules.iter().filter(|(_, rule)| !rule.is_null()) {
        let number: Option<u8> = category.strip_prefix('S').and_then(|number| number.parse().ok());
        let is_harm = number.is_some_and(|number| (1..=13).contains(&number) && *category == format!("S{number}"));
        if !is_harm && category != INJECTION {
            return Err(wrong(&path, category, "Expected S1 to S13 and P1 only"));
        }
        let rule = Rule::parse(rule).ok_or_else(|| wrong(&path, category, "Expected FLAG or BLOCK"))?;
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
        let verdict = |said: &str| {
            let answer = json!({"choices": [{"message": {"content": said}}]}).to_string();
            let verdict =
                read.heard(&Engine { kind: Kind::LlamaGuard, ..read.engine.clone() }, Phase::Prompt, Ok(&answer));
            (verdict.categories.join(" "), verdict.is_blocked)
        };
        assert_eq!(verdict("unsafe\nS10,S2"), ("S10".to_owned(), false));
        assert_eq!(verdict("unsafe\nS1,S10"), ("S1 S10".to_owned(), true));
        assert_eq!(verdict("safe"), (String::new(), false));
        assert!(
            Guardrails::of(&json!({"prompt": {}, "engine": {"provider": "openai", "model": "omni-moderation-latest"}}))
                .is_none()
        );
    }

    #[test]
    fn a_webhook_says_itself_what_it_makes_of_a_text_as_far_as_it_may() {
        let read = Guardrails::of(
            &json!({"webhook": {"provider": "custom-judge", "path": "check", "prompt": "BLOCK", "response": "FLAG"}}),
        )
        .unwrap();
        let heard = |phase: Phase, answer: Result<&str, &str>| {
            let verdict = read.heard(read.engines(phase).next().unwrap(), phase, answer);
            (verdict.categories.join(" "), verdict.is_blocked, verdict.is_refused)
        };
        let said = r#"{"action":"block","categories":["legal", 1, "a\nb"]}"#;
        assert_eq!(heard(Phase::Prompt, Ok(said)), ("webhook legal".to_owned(), true, false));
        assert_eq!(heard(Phase::Response, Ok(said)), ("webhook legal".to_owned(), false, false));
        assert_eq!(heard(Phase::Prompt, Ok(r#"{"action":"flag"}"#)), ("webhook".to_owned(), false, false));
        assert_eq!(heard(Phase::Prompt, Ok(r#"{"action":"pass","categories":["x"]}"#)), (String::new(), false, false));
        for lie in [r#"{"action":"allow"}"#, r#"{"action":true}"#, "pass", "[]"] {
            assert_eq!(heard(Phase::Prompt, Ok(lie)), (String::new(), false, true), "{lie}");
        }
        assert_eq!(heard(Phase::Response, Err("down")), (String::new(), false, false));
        assert!(read.blocks(Phase::Prompt) && !read.blocks(Phase::Response) && read.is_for(Phase::Response));
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
            (json!({"engine": {"provider": "openai", "model": "x", "kind": "webhook"}}), "body.guardrails.engine.kind"),
            (json!({"webhook": {"provider": "openai", "path": "x"}}), "body.guardrails.webhook.provider"),
            (json!({"webhook": {"provider": "custom-a", "path": "../x"}}), "body.guardrails.webhook.path"),
            (json!({"webhook": {"provider": "custom-a", "path": "x"}}), "body.guardrails.webhook"),
            (
                json!({"webhook": {"provider": "custom-a", "path": "x", "prompt": "REDACT"}}),
                "body.guardrails.webhook.prompt",
            ),
            (
                json!({"webhook": {"provider": "custom-a", "path": "x", "secret": "y"}}),
                "body.guardrails.webhook.secret",
            ),
            (json!({"checks": [{"id": "a"}]}), "body.guardrails.checks.0.type"),
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
