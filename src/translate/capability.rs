//! What models can do, as far as a request has to be made for it: what the catalogue says of them. A model that it does not know gets
//! what does no harm.

use crate::catalogue::facts::{self, Facts};
use crate::catalogue::table;
use crate::translate::model::{Effort, Thinking};

/// The smallest budget for thinking that Anthropic's models take.
pub const LEAST_BUDGET: u64 = 1_024;

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingForm {
    /// By a number of tokens.
    Budget,
    /// It decides itself; an effort may be given.
    Adaptive,
    /// By a level.
    Level,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The longest answer, in tokens.
    pub max_output: Option<u64>,
    pub thinking: ThinkingForm,
    /// Refuses temperature, top_p and top_k.
    pub refuses_sampling: bool,
    /// Takes a JSON schema for its answer.
    pub has_schemas: bool,
    /// Refuses the effort between high and the most.
    pub lacks_xhigh: bool,
}

/// Families whose servers take `reasoning_effort` beside OpenAI's own.
const TAKE_EFFORT: &[&str] = &["gpt-oss", "gpt-6", "grok-3-mini", "gemini-2.5", "gemini-3"];

/// Families that want to see in a later turn what they thought before a call.
const WANT_THOUGHTS: &[&str] = &["deepseek", "kimi", "glm", "minimax"];

/// What is assumed of a model that the catalogue does not know.
const UNKNOWN: Capabilities = Capabilities {
    max_output: None,
    thinking: ThinkingForm::None,
    refuses_sampling: false,
    has_schemas: false,
    lacks_xhigh: false,
};

/// What is assumed of Gemini's models from the third generation on that the catalogue does not know.
const NEW_GEMINI: Capabilities = Capabilities {
    max_output: Some(65_536),
    thinking: ThinkingForm::Level,
    refuses_sampling: false,
    has_schemas: true,
    lacks_xhigh: false,
};

/// The same of OpenAI's models that think.
const NEW_OPENAI: Capabilities = Capabilities {
    max_output: Some(100_000),
    thinking: ThinkingForm::Level,
    refuses_sampling: true,
    has_schemas: true,
    lacks_xhigh: false,
};

/// What a model can do, by its name with or without what Bedrock and routers put before it.
pub fn of(model: &str) -> Capabilities {
    let model = model.to_ascii_lowercase();
    let of_family = |family| model.find(family).and_then(|at| model.get(at..));
    if let Some(name) = of_family("claude-") {
        let name = name.replace('.', "-");
        let known = shortened(&name, |name| facts("anthropic", name));
        let known = known.map_or(UNKNOWN, |facts| Capabilities::of(&facts));
        return Capabilities { lacks_xhigh: name.contains("-4-6"), ..known };
    }
    if let Some(name) = of_family("gemini-") {
        let known = shortened(name, |name| facts("google-ai-studio", name));
        let generation =
            name.strip_prefix("gemini-").and_then(|rest| rest.split(['.', '-']).next()?.parse::<u32>().ok());
        let new = if generation.is_some_and(|generation| generation >= 3) { NEW_GEMINI } else { UNKNOWN };
        return known.map_or(new, |facts| Capabilities::of(&facts));
    }
    let known = facts("openai", bare(&model)).or_else(|| facts("aws-bedrock", &model));
    let known = known.map(|facts| Capabilities::of(&facts));
    if is_openai_reasoning(&model) {
        let max_output = known.and_then(|known| known.max_output).or(NEW_OPENAI.max_output);
        return Capabilities { max_output, ..NEW_OPENAI };
    }
    known.unwrap_or(UNKNOWN)
}

fn facts(provider: &str, name: &str) -> Option<Facts<'static>> {
    let facts = table::built_in(provider, name)?.facts();
    facts.kind.map(|_| facts)
}

/// Looks for a name, and then for what is left of it without its last words: `-v1:0`, `-preview-09-2025`. A single digit is the version
/// of another model.
fn shortened<'a>(name: &str, find: impl Fn(&str) -> Option<Facts<'a>>) -> Option<Facts<'a>> {
    let mut name = name.split([':', '@']).next().unwrap_or(name);
    loop {
        if let Some(found) = find(name) {
            return Some(found);
        }
        let (before, last) = name.rsplit_once('-')?;
        let is_version = last.len() == 1 && last.bytes().all(|byte| byte.is_ascii_digit());
        if is_version || !before.contains('-') {
            return None;
        }
        name = before;
    }
}

/// A model's name without what routers put before it.
fn bare(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}

fn is_of(model: &str, families: &[&str]) -> bool {
    let name = bare(model).to_ascii_lowercase();
    families.iter().any(|family| name.starts_with(family))
}

/// OpenAI's models that think take no sampling parameters, no stop sequences, and another name for the bound. The model of ChatGPT that
/// is named like them does not think.
pub fn is_openai_reasoning(model: &str) -> bool {
    is_of(model, &["o1", "o3", "o4", "gpt-5", "gpt-6"]) && !bare(model).starts_with("gpt-5-chat")
}

/// OpenAI's version of a model: 5 and 6 for gpt-5.6-mini.
fn gpt(model: &str) -> Option<(u32, u32)> {
    let version = bare(model).strip_prefix("gpt-")?.split('-').next()?;
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether a model takes marks of how far a prompt is to be kept. Earlier ones refuse them.
pub fn takes_marks(model: &str) -> bool {
    gpt(model) >= Some((5, 6))
}

/// Whether OpenAI's chat completions refuse tools for a model that thinks. Routers, which put a vendor before the name, take them.
pub fn calls_unthinking(model: &str) -> bool {
    !model.contains('/') && gpt(model) >= Some((5, 4)) && !always_thinks(model)
}

/// Whether one of OpenAI's newer models cannot be told not to think.
fn always_thinks(model: &str) -> bool {
    bare(model).contains("-pro") || is_of(model, &["gpt-6-astra", "gpt-6-rosalind", "gpt-6.1"])
}

/// Mistral's servers refuse members that they do not know, and ids that are not nine letters and digits.
pub fn is_mistral(model: &str) -> bool {
    is_of(model, &["mistral", "magistral", "ministral", "codestral", "devstral", "pixtral", "open-mi"])
}

pub fn wants_thoughts(model: &str) -> bool {
    is_of(model, WANT_THOUGHTS)
}

/// The word for how much a model of OpenAI's API is to think. `None` for a model that does not take one, or that cannot do without.
pub fn openai_effort(model: &str, thinking: Thinking) -> Option<&'static str> {
    if !is_openai_reasoning(model) && !is_of(model, TAKE_EFFORT) {
        return None;
    }
    let (first, later) = (is_of(model, &["gpt-5"]) && !is_of(model, &["gpt-5."]), is_of(model, &["gpt-5.", "gpt-6"]));
    let effort = match thinking {
        Thinking::Off if always_thinks(model) => return None,
        Thinking::Off if later => return Some("none"),
        Thinking::Off if first => return Some("minimal"),
        Thinking::Off => return None,
        // A number of tokens says less than a word: it never asks for more than all these models know.
        Thinking::Budget(tokens) => Effort::of_budget(tokens).min(Effort::High),
        Thinking::Adaptive => Effort::High,
        Thinking::Effort(effort) => effort,
    };
    Some(match effort {
        Effort::Minimal if !first => "low",
        Effort::Xhigh | Effort::Max if !later || is_of(model, &["gpt-5.1"]) => "high",
        Effort::Max if !is_of(model, &["gpt-6"]) => "xhigh",
        effort => effort.word(),
    })
}

// === impl Capabilities ===

impl Capabilities {
    fn of(facts: &Facts<'_>) -> Self {
        Self {
            max_output: facts.max_output,
            thinking: match facts.thinking() {
                Some(facts::Thinking::Budget) => ThinkingForm::Budget,
                Some(facts::Thinking::Adaptive) => ThinkingForm::Adaptive,
                Some(facts::Thinking::Level) => ThinkingForm::Level,
                Some(facts::Thinking::Effort) | None => ThinkingForm::None,
            },
            refuses_sampling: facts.refuses_sampling(),
            has_schemas: facts.accepts("schema"),
            lacks_xhigh: false,
        }
    }

    /// The word for an effort, as Anthropic's models take it that decide themselves how much they think.
    pub fn effort(&self, effort: Effort) -> &'static str {
        match effort {
            Effort::Minimal => Effort::Low.word(),
            Effort::Xhigh if self.lacks_xhigh => Effort::High.word(),
            other => other.word(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_known_under_every_name() {
        for name in ["claude-sonnet-4-5-20250929", "us.anthropic.claude-sonnet-4-5-v1:0", "anthropic/claude-sonnet-4.5"]
        {
            assert_eq!(of(name).max_output, Some(64_000), "{name}");
        }
        assert_eq!(of("gemini-2.5-flash").thinking, ThinkingForm::Budget);
        assert_eq!(of("models/gemini-3.5-flash").thinking, ThinkingForm::Level);
        assert_eq!(of("claude-opus-5").thinking, ThinkingForm::Adaptive);
        let bounds = ["claude-opus-4-1-20250805", "claude-3-7-sonnet-20250219"].map(|name| of(name).max_output);
        assert_eq!(bounds, [Some(32_000), Some(64_000)]);
        assert_eq!((of("claude-opus-4-20250514").has_schemas, of("claude-opus-4-1").has_schemas), (false, true));
        assert!(of("claude-opus-4-8").refuses_sampling && !of("claude-sonnet-4-6").refuses_sampling);
        assert_eq!((of("gpt-5").max_output, of("gpt-5").refuses_sampling), (Some(128_000), true));
        assert_eq!(of("openai/gpt-4.1-mini").max_output, Some(32_768));
        assert_eq!(of("llama-3"), UNKNOWN);
    }

    #[test]
    fn a_name_that_is_not_known_gets_what_does_no_harm() {
        for name in ["", "never-heard-of", "claude-opus-4-9", "claude-opus-77", "gemini-1.0-ultra"] {
            assert_eq!(of(name), UNKNOWN, "{name}");
        }
        assert_eq!((of("gemini-9.5-ultra"), of("gpt-6-never")), (NEW_GEMINI, NEW_OPENAI));
    }

    #[test]
    fn versions_of_openais_models_are_compared_as_numbers() {
        for (model, marks, unthinking) in [
            ("gpt-5.6", true, true),
            ("gpt-5.10-mini", true, true),
            ("gpt-6", true, true),
            ("openai/gpt-5.6-sol", true, false),
            ("gpt-5.4-nano", false, true),
            ("gpt-6.1-terra", true, false),
            ("gpt-5.3-codex", false, false),
            ("gpt-5", false, false),
            ("gpt-4o", false, false),
            ("gpt-oss-120b", false, false),
            ("llama-3", false, false),
        ] {
            assert_eq!((takes_marks(model), calls_unthinking(model)), (marks, unthinking), "{model}");
        }
    }

    #[test]
    fn models_of_openais_api_get_a_word_that_they_know() {
        use Thinking::{Adaptive, Budget, Effort as Word, Off};
        for (model, thinking, word) in [
            ("gpt-4o", Adaptive, None),
            ("llama-3.3", Word(Effort::High), None),
            ("openai/gpt-oss-120b", Word(Effort::Medium), Some("medium")),
            ("o3", Off, None),
            ("o3", Word(Effort::Minimal), Some("low")),
            ("gpt-5-mini", Off, Some("minimal")),
            ("gpt-5-mini", Word(Effort::Max), Some("high")),
            ("gpt-5.1", Off, Some("none")),
            ("gpt-5.4-pro", Off, None),
            ("gpt-6.1-sol", Off, None),
            ("gpt-6-sol", Off, Some("none")),
            ("gpt-5.2", Word(Effort::Max), Some("xhigh")),
            ("gpt-5.2", Budget(31_999), Some("high")),
        ] {
            assert_eq!(openai_effort(model, thinking), word, "{model} {thinking:?}");
        }
    }
}
