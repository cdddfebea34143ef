//! What certain backends want beside the conventions, so that they show a request as what it is.
//!
//! Langfuse: <https://langfuse.com/integrations/native/opentelemetry>. Phoenix: the conventions of OpenInference,
//! <https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md>.

use crate::base::json::json;
use crate::base::timestamp;
use crate::conversation::part::Part;
use crate::logs::record::LogRecord;
use crate::tracing::attributes::Attributes;
use crate::tracing::messages::{Content, plain};
use crate::tracing::named;
use serde_json::Value;

/// Messages beyond these are not told one by one.
const MOST_MESSAGES: usize = 64;

/// Who the caller says that its request is of.
fn user(record: &LogRecord) -> Option<&str> {
    let entry = |wanted: &str| record.metadata_entries.iter().find(|(key, _)| key == wanted);
    ["user_id", "user"].iter().find_map(|name| entry(name)?.1.as_str())
}

pub fn langfuse(record: &LogRecord, content: Option<&Content>, to: &mut Attributes) {
    to.text(&["langfuse.observation.type"], Some("generation"));
    to.text(&["langfuse.observation.model.name"], record.model.as_deref());
    to.text(&["langfuse.user.id", "user.id"], user(record));
    to.text(&["langfuse.session.id", "session.id"], record.session_id.as_deref());
    for (key, value) in &record.metadata_entries {
        to.json(&format!("langfuse.trace.metadata.{key}"), value);
        to.json(&format!("langfuse.observation.metadata.{key}"), value);
    }
    if let Some(input) = named::input_tokens(record) {
        // Langfuse adds these up, so that no token may be in two.
        let (read, written) = (record.tokens_cached.unwrap_or(0), record.tokens_cache_write.unwrap_or(0));
        let reasoning = record.tokens_reasoning.unwrap_or(0);
        let output = record.tokens_out.unwrap_or(0);
        let usage = json!({
            "input": input.saturating_sub(read).saturating_sub(written),
            "input_cached_tokens": read,
            "input_cache_creation": written,
            "output": output.saturating_sub(reasoning),
            "output_reasoning_tokens": reasoning,
            "total": input.saturating_add(output),
        });
        to.text(&["langfuse.observation.usage_details"], Some(&usage.to_string()));
    }
    if let Some(cost) = record.cost {
        to.text(&["langfuse.observation.cost_details"], Some(&json!({ "total": cost }).to_string()));
    }
    if let Some(first) = record.first_byte {
        let at = timestamp::format(record.created_at.saturating_add(first));
        to.text(&["langfuse.observation.completion_start_time"], Some(&at));
    }
    if !record.success {
        to.text(&["langfuse.observation.level"], Some("ERROR"));
        to.text(&["langfuse.observation.status_message"], record.error.as_deref());
    }
    if let Some(content) = content {
        to.text(&["langfuse.observation.input"], Some(&content.input));
        to.text(&["langfuse.observation.output"], Some(&content.output));
    }
}

pub fn phoenix(record: &LogRecord, content: Option<&Content>, to: &mut Attributes) {
    to.text(&["openinference.span.kind"], Some("LLM"));
    to.text(&["llm.model_name"], record.model.as_deref());
    to.text(&["llm.provider", "llm.system"], Some(named::provider(record)));
    let input = named::input_tokens(record);
    to.int(&["llm.token_count.prompt"], input);
    to.int(&["llm.token_count.completion"], record.tokens_out);
    to.int(&["llm.token_count.total"], input.map(|input| input.saturating_add(record.tokens_out.unwrap_or(0))));
    to.int(&["llm.token_count.prompt_details.cache_read"], record.tokens_cached);
    to.int(&["llm.token_count.prompt_details.cache_write"], record.tokens_cache_write);
    to.int(&["llm.token_count.completion_details.reasoning"], record.tokens_reasoning);
    to.text(&["session.id"], record.session_id.as_deref());
    to.text(&["user.id"], user(record));
    to.text(&["metadata"], record.metadata.as_deref());
    let Some(content) = content else { return };
    to.text(&["input.value"], Some(&content.input));
    to.text(&["output.value"], Some(&content.output));
    for name in ["input.mime_type", "output.mime_type"] {
        to.text(&[name], Some("application/json"));
    }
    for (list, answered) in [("llm.input_messages", false), ("llm.output_messages", true)] {
        let turns = content.turns.iter().filter(|turn| turn.answered == answered).take(MOST_MESSAGES);
        for (number, turn) in turns.enumerate() {
            let message = format!("{list}.{number}.message");
            to.text(&[&format!("{message}.role")], Some(turn.role));
            to.text(&[&format!("{message}.content")], Some(&plain(&turn.parts)));
            let calls = turn.parts.iter().filter(|part| matches!(part, Part::ToolCall { .. }));
            for (place, call) in calls.enumerate() {
                let Part::ToolCall { id, name, arguments } = call else { continue };
                let call = format!("{message}.tool_calls.{place}.tool_call");
                to.text(&[&format!("{call}.id")], Some(id));
                to.text(&[&format!("{call}.function.name")], Some(name));
                to.json(&format!("{call}.function.arguments"), &Value::from(arguments.as_str()));
            }
        }
    }
}
