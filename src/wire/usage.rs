//! Token counts in every dialect, told apart by their shape: a dozen vendors speak OpenAI's, and one vendor's platform
//! serves the models of another.

use super::Usage;
use serde_json::Value;

/// No answer has more tokens: what says so counts as unknown.
const MAX_COUNT: u64 = 1_000_000_000_000;

/// xAI states costs in ticks of 10^-10 US dollars.
const USD_PER_TICK: f64 = 1e-10;

/// Reads an object that holds token counts.
pub fn read(usage: &Value) -> Usage {
    if has(usage, &["prompt_tokens", "completion_tokens"]) {
        openai_chat(usage)
    } else if has(usage, &["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"]) {
        gemini(usage)
    } else if has(usage, &["total_input_tokens", "totalInputTokens"]) {
        gemini(&interaction(usage))
    } else if has(usage, &["inputTokens", "outputTokens", "inputTokenCount", "outputTokenCount"]) {
        bedrock(usage)
    } else if has(usage, &["billed_units", "tokens"]) {
        cohere(usage)
    } else if has(usage, &["input_tokens", "output_tokens"]) {
        input_output(usage)
    } else if has(usage, &["input_token_count", "output_token_count"]) {
        // Replicate's metrics.
        Usage {
            tokens_in: count(usage, "input_token_count"),
            tokens_out: count(usage, "output_token_count"),
            ..Usage::default()
        }
    } else {
        Usage { cost: cost(usage), ..Usage::default() }
    }
}

/// What Amazon Bedrock says in response headers about models whose answers say nothing.
pub fn from_headers<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Usage {
    let number = |name: &str| {
        let count = get(&format!("x-amzn-bedrock-{name}-token-count"))?.trim().parse().ok();
        count.filter(|count| *count <= MAX_COUNT)
    };
    Usage {
        tokens_in: number("input"),
        tokens_out: number("output"),
        cached: number("cache-read-input"),
        cache_write: number("cache-write-input"),
        cached_outside: true,
        ..Usage::default()
    }
}

/// Lets later figures take the place of earlier ones, each for itself: Anthropic says the input at the beginning of a
/// stream and the output at its end.
pub fn merge(into: &mut Usage, later: Usage) {
    let counted = later.tokens_in.is_some() || later.cached.is_some() || later.cache_write.is_some();
    *into = Usage {
        tokens_in: later.tokens_in.or(into.tokens_in),
        tokens_out: later.tokens_out.or(into.tokens_out),
        total_tokens: later.total_tokens.or(into.total_tokens),
        cached: later.cached.or(into.cached),
        cache_write: later.cache_write.or(into.cache_write),
        reasoning: later.reasoning.or(into.reasoning),
        cached_outside: if counted { later.cached_outside } else { into.cached_outside },
        cost: later.cost.or(into.cost),
    };
}

fn openai_chat(usage: &Value) -> Usage {
    let tokens_in = count(usage, "prompt_tokens");
    let mut tokens_out = count(usage, "completion_tokens");
    let total_tokens = count(usage, "total_tokens");
    let reasoning = detail(usage, &["completion_tokens_details", "output_tokens_details"], "reasoning_tokens")
        .or_else(|| count(usage, "reasoning_tokens"));
    // xAI counts reasoning beside the completion, the others within; the total tells which.
    if let (Some(input), Some(output), Some(total), Some(thought)) = (tokens_in, tokens_out, total_tokens, reasoning)
        && thought > 0
        && input.checked_add(output).and_then(|sum| sum.checked_add(thought)) == Some(total)
    {
        tokens_out = output.checked_add(thought);
    }
    let details = ["prompt_tokens_details", "input_tokens_details"];
    Usage {
        tokens_in,
        tokens_out,
        total_tokens,
        cached: detail(usage, &details, "cached_tokens")
            .or_else(|| count(usage, "prompt_cache_hit_tokens"))
            .or_else(|| count(usage, "cached_tokens")),
        cache_write: detail(usage, &details, "cache_write_tokens"),
        reasoning,
        cached_outside: false,
        cost: cost(usage),
    }
}

/// OpenAI's responses, images and transcriptions, and Anthropic's messages: the same names, but Anthropic counts cached
/// tokens beside the input.
fn input_output(usage: &Value) -> Usage {
    let anthropic = has(usage, &["cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"]);
    let details = ["input_tokens_details", "input_token_details"];
    Usage {
        tokens_in: count(usage, "input_tokens"),
        tokens_out: count(usage, "output_tokens"),
        total_tokens: count(usage, "total_tokens"),
        cached: count(usage, "cache_read_input_tokens").or_else(|| detail(usage, &details, "cached_tokens")),
        cache_write: count(usage, "cache_creation_input_tokens"),
        reasoning: detail(usage, &["output_tokens_details"], "reasoning_tokens"),
        cached_outside: anthropic,
        cost: cost(usage),
    }
}

fn gemini(usage: &Value) -> Usage {
    let thoughts = count(usage, "thoughtsTokenCount");
    let tools = count(usage, "toolUsePromptTokenCount");
    Usage {
        tokens_in: sum(count(usage, "promptTokenCount"), tools),
        tokens_out: sum(count(usage, "candidatesTokenCount"), thoughts),
        total_tokens: count(usage, "totalTokenCount"),
        cached: count(usage, "cachedContentTokenCount"),
        cache_write: None,
        reasoning: thoughts,
        cached_outside: false,
        cost: None,
    }
}

/// Gemini's interactions count the same under other names.
fn interaction(usage: &Value) -> Value {
    const NAMES: &[(&str, &str, &str)] = &[
        ("total_input_tokens", "totalInputTokens", "promptTokenCount"),
        ("total_output_tokens", "totalOutputTokens", "candidatesTokenCount"),
        ("total_thought_tokens", "totalThoughtTokens", "thoughtsTokenCount"),
        ("total_tool_use_tokens", "totalToolUseTokens", "toolUsePromptTokenCount"),
        ("total_cached_tokens", "totalCachedTokens", "cachedContentTokenCount"),
        ("total_tokens", "totalTokens", "totalTokenCount"),
        ("input_tokens_by_modality", "inputTokensByModality", "promptTokensDetails"),
        ("output_tokens_by_modality", "outputTokensByModality", "candidatesTokensDetails"),
        ("cached_tokens_by_modality", "cachedTokensByModality", "cacheTokensDetails"),
    ];
    let counts = |value: &Value| match value.as_array() {
        Some(parts) => parts.iter().map(by_modality).collect(),
        None => value.clone(),
    };
    let found = NAMES.iter().filter_map(|(name, vertex, gemini)| {
        let value = usage.get(name).or_else(|| usage.get(vertex))?;
        Some(((*gemini).to_owned(), counts(value)))
    });
    Value::Object(crate::object::of(found))
}

fn by_modality(part: &Value) -> Value {
    let modality = part.get("modality").and_then(Value::as_str).unwrap_or("").to_ascii_uppercase();
    serde_json::json!({ "modality": modality, "tokenCount": part.get("tokens") })
}

fn bedrock(usage: &Value) -> Usage {
    let either = |a: &str, b: &str| count(usage, a).or_else(|| count(usage, b));
    Usage {
        tokens_in: either("inputTokens", "inputTokenCount"),
        tokens_out: either("outputTokens", "outputTokenCount"),
        total_tokens: count(usage, "totalTokens"),
        cached: either("cacheReadInputTokens", "cacheReadInputTokenCount"),
        cache_write: either("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
        reasoning: None,
        cached_outside: true,
        cost: None,
    }
}

/// Cohere bills fewer tokens than the model saw; what is billed is what costs.
fn cohere(usage: &Value) -> Usage {
    let units = usage
        .get("billed_units")
        .filter(|units| has(units, &["input_tokens", "output_tokens"]))
        .or_else(|| usage.get("tokens"));
    let units = units.unwrap_or(&Value::Null);
    Usage { tokens_in: count(units, "input_tokens"), tokens_out: count(units, "output_tokens"), ..Usage::default() }
}

/// The provider's own price for the answer, in US dollars.
fn cost(usage: &Value) -> Option<f64> {
    let cost = match usage.get("cost") {
        Some(Value::Object(parts)) => parts.get("total_cost")?.as_f64(),
        Some(Value::Number(cost)) => cost.as_f64(),
        _ => count(usage, "cost_in_usd_ticks").map(|ticks| ticks as f64 * USD_PER_TICK),
    };
    cost.filter(|cost| cost.is_finite() && *cost >= 0.0)
}

fn has(object: &Value, names: &[&str]) -> bool {
    names.iter().any(|name| object.get(name).is_some())
}

/// A count is a whole number that is not negative; anything else counts as unknown.
pub fn count(object: &Value, name: &str) -> Option<u64> {
    object.get(name)?.as_u64().filter(|count| *count <= MAX_COUNT)
}

fn detail(usage: &Value, objects: &[&str], name: &str) -> Option<u64> {
    objects.iter().find_map(|object| count(usage.get(object)?, name))
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => a.checked_add(b),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hostile_figures_are_unknown() {
        let wrong =
            r#"[-1, 1.5, "12", null, [1], 18446744073709551615, 1e300, 1e308, -1e308, 1000000000001, {}, true]"#;
        let wrong: Vec<Value> = serde_json::from_str(wrong).unwrap();
        for wrong in wrong {
            let usage =
                read(&json!({ "prompt_tokens": wrong, "completion_tokens": 2, "total_tokens": wrong, "cost": wrong }));
            assert_eq!((usage.tokens_in, usage.tokens_out, usage.total_tokens), (None, Some(2), None), "{wrong}");
        }
        assert_eq!(read(&json!("x")), Usage::default());
    }

    #[test]
    fn reasoning_beside_the_completion_is_added_to_it() {
        let beside = json!({ "prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 241, "completion_tokens_details": { "reasoning_tokens": 228 } });
        let within = json!({ "prompt_tokens": 12, "completion_tokens": 300, "total_tokens": 312, "completion_tokens_details": { "reasoning_tokens": 228 } });
        assert_eq!((read(&beside).tokens_out, read(&within).tokens_out), (Some(229), Some(300)));
    }

    #[test]
    fn interactions_count_thoughts_and_tools_beside() {
        let usage = json!({
            "total_input_tokens": 119_631, "total_output_tokens": 8_396, "total_thought_tokens": 14_812,
            "total_tool_use_tokens": 41_495, "total_cached_tokens": 7, "total_tokens": 184_334,
            "input_tokens_by_modality": [{ "modality": "text", "tokens": 119_631 }]
        });
        let read = read(&usage);
        assert_eq!((read.cached, read.reasoning, read.total_tokens), (Some(7), Some(14_812), Some(184_334)));
        let facts =
            crate::wire::read(crate::wire::Framing::Json, 200, json!({ "usage": usage }).to_string().as_bytes());
        assert_eq!((facts.usage.tokens_in, facts.usage.tokens_out), (Some(161_126), Some(23_208)));
    }

    #[test]
    fn bedrock_headers_are_read() {
        let usage = from_headers(|name| match name {
            "x-amzn-bedrock-input-token-count" => Some("7"),
            "x-amzn-bedrock-output-token-count" => Some(" 3"),
            "x-amzn-bedrock-cache-read-input-token-count" => Some("18446744073709551615"),
            _ => None,
        });
        assert_eq!((usage.tokens_in, usage.tokens_out, usage.cached), (Some(7), Some(3), None));
    }
}
