//! Token counts in every dialect, told apart by their shape: a dozen vendors speak OpenAI's, and one vendor's platform
//! serves the models of another.

use super::details::{Count, Details, Place, Tier};
use super::places::Node;
use crate::wire::counts::{MAX_COUNT, latest, sum, whole};
use crate::wire::facts::Usage;
use serde_json::Value;

/// xAI states costs in ticks of 10^-10 US dollars.
const USD_PER_TICK: f64 = 1e-10;

/// Reads an object that holds token counts.
pub fn read(usage: &Value) -> Usage {
    let mut read = if has(usage, &["prompt_tokens", "completion_tokens"]) {
        openai_chat(usage)
    } else if has(usage, &["promptTokenCount", "candidatesTokenCount", "responseTokenCount", "thoughtsTokenCount"]) {
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
        // Embeddings and rerankers of several providers count all tokens alone, and all of them come in.
        let total = count(usage, "total_tokens");
        Usage { tokens_in: total, total_tokens: total, cost: cost(usage), ..Usage::default() }
    };
    conditions(usage, &mut read.details);
    read
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

/// Adds what a later event of the same answer says, each figure for itself: Anthropic says the input at the beginning of a
/// stream and the output at its end. That cached tokens stand beside the input is true of a format, so one event that shows it
/// tells it of all.
pub fn merge(into: &mut Usage, later: Usage) {
    let mut details = into.details;
    details.merge(later.details);
    *into = Usage {
        tokens_in: latest(into.tokens_in, later.tokens_in),
        tokens_out: latest(into.tokens_out, later.tokens_out),
        total_tokens: latest(into.total_tokens, later.total_tokens),
        cached: latest(into.cached, later.cached),
        cache_write: latest(into.cache_write, later.cache_write),
        reasoning: latest(into.reasoning, later.reasoning),
        cached_outside: into.cached_outside || later.cached_outside,
        reasoning_beside: into.reasoning_beside || later.reasoning_beside,
        tool_input: latest(into.tool_input, later.tool_input),
        cost: later.cost.or(into.cost),
        is_sum: into.is_sum || later.is_sum,
        details,
    };
}

/// Adds what another answer used, of several that are told of together.
pub fn add(into: &mut Usage, other: Usage) {
    let mut details = into.details;
    details.add(&other.details);
    *into = Usage {
        tokens_in: sum(into.tokens_in, other.tokens_in),
        tokens_out: sum(into.tokens_out, other.tokens_out),
        total_tokens: sum(into.total_tokens, other.total_tokens),
        cached: sum(into.cached, other.cached),
        cache_write: sum(into.cache_write, other.cache_write),
        reasoning: sum(into.reasoning, other.reasoning),
        cached_outside: into.cached_outside || other.cached_outside,
        details,
        ..*into
    };
}

/// Makes the sums that could not be made event by event, because a figure may be in an earlier one than its fellow.
pub fn add_up(usage: &mut Usage) {
    if std::mem::take(&mut usage.reasoning_beside) {
        usage.tokens_out = sum(usage.tokens_out, usage.reasoning);
    }
    usage.tokens_in = sum(usage.tokens_in, usage.tool_input.take());
    // xAI counts reasoning beside the completion, the others within; the total tells which.
    if let (Some(input), Some(output), Some(total), Some(thought)) =
        (usage.tokens_in, usage.tokens_out, usage.total_tokens, usage.reasoning)
        && thought > 0
        && !usage.cached_outside
        && input.checked_add(output).and_then(|sum| sum.checked_add(thought)) == Some(total)
    {
        usage.tokens_out = output.checked_add(thought);
    }
}

/// The counts of calls that are paid for by number.
pub fn count_calls(output: &[Node<'_>], details: &mut Details) {
    let (mut web, mut files, mut images, mut containers) = (0u64, 0u64, 0u64, Vec::new());
    for item in output {
        match item.text("type") {
            // To open a page that was found, or to look for something in it, costs nothing.
            Some("web_search_call") => {
                web += u64::from(item.get("action").is_none_or(|action| action.text("type") == Some("search")))
            }
            Some("file_search_call") => files += 1,
            Some("image_generation_call") => images += 1,
            // Calls that run in one container are paid for once.
            Some("code_interpreter_call") if !containers.contains(&item.text("container_id")) => {
                containers.push(item.text("container_id"));
            }
            _ => {}
        }
    }
    let all = [
        (Count::WebSearches, web),
        (Count::FileSearches, files),
        (Count::ImageCalls, images),
        (Count::Containers, containers.len() as u64),
    ];
    for (count, number) in all {
        details.set(count, latest(details.get(count), Some(number).filter(|number| *number > 0)));
    }
}

/// Under which conditions an answer was made, and which of its tools are paid for.
fn conditions(usage: &Value, details: &mut Details) {
    let text = |names: &[&str]| names.iter().find_map(|name| usage.get(name)?.as_str());
    details.tier = text(&["service_tier", "serviceTier", "trafficType"]).and_then(Tier::parse);
    details.is_fast = text(&["speed"]) == Some("fast");
    details.place = text(&["inference_geo"]).and_then(Place::parse);
    let tools = usage.get("server_tool_use").unwrap_or(&Value::Null);
    let searches = count(tools, "web_search_requests").or_else(|| count(usage, "num_search_queries"));
    details.set(Count::WebSearches, searches.or_else(|| count(usage, "num_sources_used")));
    let seconds = |name: &str| Count::Seconds.read(usage.get(name)?);
    details.set(Count::Seconds, seconds("prompt_audio_seconds").or_else(|| seconds("seconds")));
    let billed = |name: &str| count(usage.get("billed_units")?, name);
    details.set(Count::SearchUnits, billed("search_units"));
    details.set(Count::Pages, billed("pages").or_else(|| count(usage, "pages_processed")));
    details.set(Count::AnnotatedPages, count(usage, "pages_processed_annotation"));
}

const IN_DETAILS: &[&str] =
    &["prompt_tokens_details", "input_tokens_details", "input_token_details", "prompt_token_details"];
const OUT_DETAILS: &[&str] =
    &["completion_tokens_details", "output_tokens_details", "output_token_details", "completion_token_details"];

/// The modalities of OpenAI's tokens and of those who speak like it.
fn openai_details(usage: &Value) -> Details {
    let cached = |name: &str| {
        let details = IN_DETAILS.iter().find_map(|object| usage.get(object)?.get("cached_tokens_details"));
        count(details?, name)
    };
    Details::default()
        .with(Count::AudioIn, detail(usage, IN_DETAILS, "audio_tokens"))
        .with(Count::ImageIn, detail(usage, IN_DETAILS, "image_tokens"))
        .with(Count::VideoIn, detail(usage, IN_DETAILS, "video_tokens"))
        .with(Count::AudioCached, cached("audio_tokens"))
        .with(Count::ImageCached, cached("image_tokens"))
        .with(Count::AudioOut, detail(usage, OUT_DETAILS, "audio_tokens"))
        .with(Count::ImageOut, detail(usage, OUT_DETAILS, "image_tokens"))
        .with(Count::VideoOut, detail(usage, OUT_DETAILS, "video_tokens"))
}

fn openai_chat(usage: &Value) -> Usage {
    Usage {
        tokens_in: count(usage, "prompt_tokens"),
        tokens_out: count(usage, "completion_tokens"),
        total_tokens: count(usage, "total_tokens"),
        cached: detail(usage, IN_DETAILS, "cached_tokens")
            .or_else(|| count(usage, "prompt_cache_hit_tokens"))
            .or_else(|| count(usage, "cached_tokens")),
        cache_write: detail(usage, IN_DETAILS, "cache_write_tokens"),
        reasoning: detail(usage, OUT_DETAILS, "reasoning_tokens").or_else(|| count(usage, "reasoning_tokens")),
        cost: cost(usage),
        details: openai_details(usage),
        ..Usage::default()
    }
}

/// OpenAI's responses, images and transcriptions, and Anthropic's messages: the same names, but Anthropic counts cached
/// tokens beside the input.
fn input_output(usage: &Value) -> Usage {
    let anthropic = has(usage, &["cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"]);
    let lifetimes = usage.get("cache_creation").unwrap_or(&Value::Null);
    let hour = count(lifetimes, "ephemeral_1h_input_tokens");
    let written =
        latest(sum(hour, count(lifetimes, "ephemeral_5m_input_tokens")), count(usage, "cache_creation_input_tokens"));
    Usage {
        tokens_in: count(usage, "input_tokens"),
        tokens_out: count(usage, "output_tokens"),
        total_tokens: count(usage, "total_tokens"),
        cached: count(usage, "cache_read_input_tokens").or_else(|| detail(usage, IN_DETAILS, "cached_tokens")),
        cache_write: written.or_else(|| detail(usage, IN_DETAILS, "cache_write_tokens")),
        reasoning: detail(usage, OUT_DETAILS, "reasoning_tokens"),
        cached_outside: anthropic,
        cost: cost(usage),
        details: openai_details(usage).with(Count::CacheWriteHour, hour),
        ..Usage::default()
    }
}

fn gemini(usage: &Value) -> Usage {
    let of = |lists: &[&str], modality: &str| {
        let entries = lists.iter().filter_map(|list| usage.get(list)?.as_array()).flatten();
        let of_it = entries.filter(|entry| entry.get("modality").and_then(Value::as_str) == Some(modality));
        of_it.fold(None, |all, entry| sum(all, count(entry, "tokenCount")))
    };
    let (input, cached, output) = (
        &["promptTokensDetails", "toolUsePromptTokensDetails"][..],
        &["cacheTokensDetails"][..],
        &["candidatesTokensDetails", "responseTokensDetails"][..],
    );
    Usage {
        tokens_in: count(usage, "promptTokenCount"),
        // What is said live is counted as a response.
        tokens_out: count(usage, "candidatesTokenCount").or_else(|| count(usage, "responseTokenCount")),
        total_tokens: count(usage, "totalTokenCount"),
        cached: count(usage, "cachedContentTokenCount"),
        reasoning: count(usage, "thoughtsTokenCount"),
        reasoning_beside: true,
        tool_input: count(usage, "toolUsePromptTokenCount"),
        details: Details::default()
            .with(Count::AudioIn, of(input, "AUDIO"))
            .with(Count::ImageIn, of(input, "IMAGE"))
            .with(Count::VideoIn, of(input, "VIDEO"))
            .with(Count::AudioCached, of(cached, "AUDIO"))
            .with(Count::ImageCached, of(cached, "IMAGE"))
            .with(Count::VideoCached, of(cached, "VIDEO"))
            .with(Count::AudioOut, of(output, "AUDIO"))
            .with(Count::ImageOut, of(output, "IMAGE"))
            .with(Count::VideoOut, of(output, "VIDEO")),
        ..Usage::default()
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
    Value::Object(crate::base::object::of(found))
}

fn by_modality(part: &Value) -> Value {
    let modality = part.get("modality").and_then(Value::as_str).unwrap_or("").to_ascii_uppercase();
    crate::base::json::json!({ "modality": modality, "tokenCount": part.get("tokens") })
}

fn bedrock(usage: &Value) -> Usage {
    let either = |a: &str, b: &str| count(usage, a).or_else(|| count(usage, b));
    let writes = usage.get("cacheDetails").and_then(Value::as_array).into_iter().flatten();
    let hour = writes.filter(|write| write.get("ttl").and_then(Value::as_str) == Some("1h"));
    let hour = hour.fold(None, |all, write| sum(all, count(write, "inputTokens")));
    Usage {
        tokens_in: either("inputTokens", "inputTokenCount"),
        tokens_out: either("outputTokens", "outputTokenCount"),
        total_tokens: count(usage, "totalTokens"),
        cached: either("cacheReadInputTokens", "cacheReadInputTokenCount"),
        cache_write: either("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
        cached_outside: true,
        details: Details::default().with(Count::CacheWriteHour, hour),
        ..Usage::default()
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

/// The provider's own price for the answer, in US dollars. With a key of one's own OpenRouter takes a fee, and the model's
/// provider the rest.
fn cost(usage: &Value) -> Option<f64> {
    let cost = match usage.get("cost") {
        Some(Value::Object(parts)) => parts.get("total_cost")?.as_f64(),
        Some(Value::Number(cost)) if usage.get("is_byok") == Some(&Value::Bool(true)) => {
            let upstream = usage.get("cost_details").and_then(|details| details.get("upstream_inference_cost"));
            upstream.and_then(Value::as_f64).zip(cost.as_f64()).map(|(upstream, fee)| upstream + fee)
        }
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
    whole(object.get(name)?)
}

fn detail(usage: &Value, objects: &[&str], name: &str) -> Option<u64> {
    objects.iter().find_map(|object| count(usage.get(object)?, name))
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
    fn what_is_counted_as_a_sum_alone_came_in() {
        let sum = read(&json!({ "total_tokens": 26 }));
        assert_eq!((sum.tokens_in, sum.tokens_out, sum.total_tokens), (Some(26), None, Some(26)));
        let both = read(&json!({ "prompt_tokens": 20, "total_tokens": 26 }));
        assert_eq!((both.tokens_in, both.total_tokens), (Some(20), Some(26)));
    }

    #[test]
    fn seconds_have_parts() {
        let seconds = |value: serde_json::Value| read(&json!({ "seconds": value })).details.get(Count::Seconds);
        assert_eq!(
            (seconds(json!(9)), seconds(json!(12.5)), seconds(json!(0.0004))),
            (Some(9_000), Some(12_500), Some(0))
        );
        for wrong in [json!(-1), json!("9"), json!(null), json!(1e300)] {
            assert_eq!(seconds(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn reasoning_beside_the_completion_is_added_to_it() {
        let beside = json!({ "prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 241, "completion_tokens_details": { "reasoning_tokens": 228 } });
        let within = json!({ "prompt_tokens": 12, "completion_tokens": 300, "total_tokens": 312, "completion_tokens_details": { "reasoning_tokens": 228 } });
        let out = |usage: &Value| {
            let mut usage = read(usage);
            add_up(&mut usage);
            usage.tokens_out
        };
        assert_eq!((out(&beside), out(&within)), (Some(229), Some(300)));
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
