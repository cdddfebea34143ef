//! What models can do, as far as a request has to be made for it. The longest prefix of a model's name decides; a model that is not
//! listed gets what does no harm.

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
];

/// What is assumed of a model that the table does not know.
const UNKNOWN: Capabilities =
    Capabilities { max_output: None, thinking: ThinkingForm::None, refuses_sampling: false, has_schemas: false };

/// What a model can do, by its name with or without what Bedrock and routers put before it.
pub fn of(model: &str) -> Capabilities {
    let name = ["claude-", "gemini-"].iter().find_map(|family| model.find(family).and_then(|at| model.get(at..)));
    let name = name.unwrap_or(model).replace("4.", "4-").replace("3.7", "3-7").replace("3.5", "3-5");
    let known = MODELS.iter().filter(|(prefix, _)| name.starts_with(prefix)).max_by_key(|(prefix, _)| prefix.len());
    known.map_or(UNKNOWN, |(_, capabilities)| *capabilities)
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
        assert_eq!(of("gemini-2.5-flash").thinking, Budget);
        assert_eq!(of("claude-opus-5").thinking, Adaptive);
        assert_eq!(of("gpt-5"), UNKNOWN);
    }
}
