//! What models can do, as far as a request has to be made for it: what the catalogue says of them. A model that it does not know gets
//! what does no harm.

use crate::catalogue::facts::{Facts, Thinking};
use crate::catalogue::table;
use crate::providers::table::PROVIDERS;

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
}

<<<<<<< HEAD
const fn row(
    prefix: &'static str,
    max_output: u64,
    thinking: ThinkingForm,
    refuses_sampling: bool,
    has_schemas: bool,
) -> (&'static str, Capabilities) {
    (prefix, Capabilities { max_output: Some(max_output), thinking, refuses_sampling, has_schemas })
}

use ThinkingForm::{Adaptive, Budget, Level, None as No};

const MODELS: &[(&str, Capabilities)] = &[
    row("claude-opus-5", 128_000, Adaptive, true, true),
    row("claude-sonnet-5", 128_000, Adaptive, true, true),
    row("claude-fable-5", 128_000, Adaptive, true, true),
    row("claude-opus-4-8", 128_000, Adaptive, true, true),
    row("claude-opus-4-7", 128_000, Adaptive, true, true),
    row("claude-opus-4-6", 128_000, Adaptive, false, true),
    row("claude-sonnet-4-6", 128_000, Adaptive, false, true),
    row("claude-opus-4-5", 64_000, Budget, false, true),
    row("claude-sonnet-4-5", 64_000, Budget, false, true),
    row("claude-haiku-4-5", 64_000, Budget, false, true),
    row("claude-opus-4-1", 32_000, Budget, false, true),
    row("claude-opus-4", 32_000, Budget, false, false),
    row("claude-sonnet-4", 64_000, Budget, false, false),
    row("claude-3-7-sonnet", 64_000, Budget, false, false),
    row("claude-3-5", 8_192, No, false, false),
    row("claude-3", 4_096, No, false, false),
    row("gemini-3", 65_536, Level, false, true),
    row("gemini-2.5", 65_536, Budget, false, true),
    row("gemini-2.0", 8_192, No, false, true),
    row("gpt-4.1", 32_768, No, false, true),
    row("gpt-4o", 16_384, No, false, true),
    row("gpt-4-turbo", 4_096, No, false, false),
    row("gpt-3.5", 4_096, No, false, false),
    row("gpt-5", 128_000, Level, true, true),
    row("o1", 100_000, Level, true, true),
    row("o3", 100_000, Level, true, true),
    row("o4", 100_000, Level, true, true),
];

/// Families whose servers take `reasoning_effort` beside OpenAI's own.
const TAKE_EFFORT: &[&str] = &["gpt-oss", "gpt-6", "grok-3-mini", "gemini-2.5", "gemini-3"];

/// Families that want to see in a later turn what they thought before a call.
const WANT_THOUGHTS: &[&str] = &["deepseek", "kimi", "glm", "minimax"];

/// What is assumed of a model that the table does not know.
=======
/// What is assumed of a model that the catalogue does not know.
>>>>>>> 6bb6b63 (The catalogue knows what models take beside what they cost)
const UNKNOWN: Capabilities =
    Capabilities { max_output: None, thinking: ThinkingForm::None, refuses_sampling: false, has_schemas: false };

/// What is assumed of Gemini's models from the third generation on that the catalogue does not know.
const NEW_GEMINI: Capabilities = Capabilities {
    max_output: Some(65_536),
    thinking: ThinkingForm::Level,
    refuses_sampling: false,
    has_schemas: true,
};

/// What a model can do, by its name with or without what Bedrock and routers put before it.
pub fn of(model: &str) -> Capabilities {
<<<<<<< HEAD
    let name = ["claude-", "gemini-"].iter().find_map(|family| model.find(family).and_then(|at| model.get(at..)));
    let name = match name {
        Some(name) if name.starts_with("claude-") => {
            name.replace("4.", "4-").replace("3.7", "3-7").replace("3.5", "3-5")
        }
        Some(name) => name.to_owned(),
        None => bare(model).to_owned(),
    };
    let known = MODELS.iter().filter(|(prefix, _)| name.starts_with(prefix)).max_by_key(|(prefix, _)| prefix.len());
    known.map_or(UNKNOWN, |(_, capabilities)| *capabilities)
=======
    let model = model.to_ascii_lowercase();
    let family = ["claude-", "gemini-"].into_iter().find_map(|family| {
        let name = model.find(family).and_then(|at| model.get(at..))?;
        Some((family, name))
    });
    let known = match family {
        Some(("claude-", name)) => shortened(&name.replace('.', "-"), |name| facts(&["anthropic"], name)),
        Some((_, name)) => shortened(name, |name| facts(&["google-ai-studio", "google-vertex-ai"], name)),
        None => {
            let all: Vec<&str> = PROVIDERS.iter().map(|provider| provider.slug).collect();
            facts(&all, &model)
        }
    };
    let generation = |name: &str| name.strip_prefix("gemini-")?.split(['.', '-']).next()?.parse::<u32>().ok();
    match (known, family) {
        (Some(facts), _) => Capabilities::of(&facts),
        (None, Some((_, name))) if generation(name).is_some_and(|generation| generation >= 3) => NEW_GEMINI,
        _ => UNKNOWN,
    }
}

fn facts(providers: &[&str], name: &str) -> Option<Facts<'static>> {
    let found = providers.iter().filter_map(|provider| table::built_in(provider, name));
    found.map(|line| line.facts()).find(|facts| facts.kind.is_some())
}

/// Looks for a name, and then for what is left of it without its last words: `-v1:0`, `-preview-09-2025`. A single digit is the version of
/// another model.
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

// === impl Capabilities ===

impl Capabilities {
    fn of(facts: &Facts<'_>) -> Self {
        Self {
            max_output: facts.max_output,
            thinking: match facts.thinking() {
                Some(Thinking::Budget) => ThinkingForm::Budget,
                Some(Thinking::Adaptive) => ThinkingForm::Adaptive,
                Some(Thinking::Level) => ThinkingForm::Level,
                Some(Thinking::Effort) | None => ThinkingForm::None,
            },
            refuses_sampling: facts.refuses_sampling(),
            has_schemas: facts.accepts("schema"),
        }
    }
>>>>>>> 6bb6b63 (The catalogue knows what models take beside what they cost)
}

/// A model's name without what routers put before it.
fn bare(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}

fn is_of(model: &str, families: &[&str]) -> bool {
    let name = bare(model).to_ascii_lowercase();
    families.iter().any(|family| name.starts_with(family))
}

/// OpenAI's models that think take no sampling parameters, no stop sequences, and another name for the bound.
pub fn is_openai_reasoning(model: &str) -> bool {
    is_of(model, &["o1", "o3", "o4", "gpt-5", "gpt-6"])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_known_under_every_name() {
        for name in ["claude-sonnet-4-5-20250929", "us.anthropic.claude-sonnet-4-5-v1:0", "anthropic/claude-sonnet-4.5"]
        {
            assert_eq!(of(name).max_output, Some(64_000), "{name}");
        }
<<<<<<< HEAD
        assert_eq!(of("gemini-2.5-flash").thinking, Budget);
        assert_eq!(of("claude-opus-5").thinking, Adaptive);
        assert_eq!(of("openai/gpt-4.1-mini").max_output, Some(32_768));
        assert_eq!(of("llama-3"), UNKNOWN);
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
            ("gpt-5.2", Word(Effort::Max), Some("xhigh")),
            ("gpt-5.2", Budget(31_999), Some("high")),
        ] {
            assert_eq!(openai_effort(model, thinking), word, "{model} {thinking:?}");
        }
=======
        assert_eq!(of("gemini-2.5-flash").thinking, ThinkingForm::Budget);
        assert_eq!(of("models/gemini-3.5-flash").thinking, ThinkingForm::Level);
        assert_eq!(of("claude-opus-5").thinking, ThinkingForm::Adaptive);
        assert_eq!(
            (of("claude-opus-4-1-20250805").max_output, of("claude-3-7-sonnet-20250219").max_output),
            (Some(32_000), Some(64_000))
        );
        assert_eq!((of("claude-opus-4-20250514").has_schemas, of("claude-opus-4-1").has_schemas), (false, true));
        assert!(of("claude-opus-4-8").refuses_sampling && !of("claude-sonnet-4-6").refuses_sampling);
        assert_eq!((of("gpt-5").max_output, of("gpt-5").thinking), (Some(128_000), ThinkingForm::None));
    }

    #[test]
    fn a_name_that_is_not_known_gets_what_does_no_harm() {
        assert_eq!(of("never-heard-of"), UNKNOWN);
        assert_eq!(of(""), UNKNOWN);
        // A higher number is another model than the one without it.
        assert_eq!(of("claude-opus-4-9"), UNKNOWN);
        assert_eq!(of("claude-opus-77"), UNKNOWN);
        assert_eq!(of("gemini-9.5-ultra"), NEW_GEMINI);
        assert_eq!(of("gemini-1.0-ultra"), UNKNOWN);
>>>>>>> 6bb6b63 (The catalogue knows what models take beside what they cost)
    }
}
