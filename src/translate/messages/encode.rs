//! Requests as Anthropic's Messages API takes them.

use crate::members;
use crate::translate::capability::{Capabilities, LEAST_BUDGET, ThinkingForm};
use crate::translate::json::Json;
use crate::translate::model::{
    Block, Cache, Choice, Content, Effort, Media, MediaKind, Notes, Output, Request, Role, Source, Thinking, Turn,
    Untranslatable,
};
use crate::translate::names::{JSON_TOOL, safe_id};
use crate::translate::schema;
use crate::translate::turns;

/// What a request that gives no bound may answer where the model is not known: Anthropic wants a bound.
const DEFAULT_MAX_TOKENS: u64 = 4_096;

pub fn encode(request: &Request, model: &str, can: &Capabilities, notes: &mut Notes) -> Result<Json, Untranslatable> {
    let mut body = Json::object().with("model", model);
    let bound = can.max_output.unwrap_or(DEFAULT_MAX_TOKENS);
    let max_tokens = match (request.max_tokens, can.max_output) {
        (Some(asked), Some(most)) if asked > most => {
            notes.dropped.note(format!("max_tokens above {most}"));
            most
        }
        (asked, _) => asked.unwrap_or(bound),
    };
    body.set("max_tokens", max_tokens.max(1));
    let system: Vec<Json> = turns::instructions(request, notes).iter().filter_map(encode_system).collect();
    if !system.is_empty() {
        body.set("system", system);
    }
    let keeps = |content: &Content| match content {
        Content::Thinking(thought) => thought.is_anthropics(),
        Content::Redacted(data) => !data.is_empty(),
        _ => true,
    };
    let turns = turns::alternating(&request.turns, keeps);
    let mut messages = Vec::new();
    for (n, turn) in turns.iter().enumerate() {
        let mut blocks = Vec::new();
        for block in &turn.blocks {
            blocks.push(encode_block(block, &format!("messages[{n}]"), notes)?);
        }
        let role = if turn.role == Role::User { "user" } else { "assistant" };
        messages.push(members! { "role": role, "content": blocks });
    }
    body.set("messages", messages);
    let json_tool = encode_output(request, can, &mut body, notes);
    let forced = encode_tools(request, json_tool, &mut body, notes);
    let thinks = encode_thinking(request, can, max_tokens, forced || starts_unthought(&turns), &mut body, notes);
    encode_sampling(request, can, thinks, &mut body, notes);
    if !request.stop.is_empty() {
        let stop: Vec<Json> = request.stop.iter().filter(|text| !text.trim().is_empty()).map(Json::from).collect();
        notes.dropped.note_if(stop.len() < request.stop.len(), "stop of white space");
        body.set("stop_sequences", stop);
    }
    if let Some(user) = &request.user {
        body.set("metadata", members! { "user_id": user });
    }
    if request.stream {
        body.set("stream", true);
    }
    Ok(body)
}

/// Whether the last turn of the model calls tools and begins with no signed thought: then it cannot go on thinking.
fn starts_unthought(turns: &[Turn]) -> bool {
    let last = turns.iter().rev().find(|turn| turn.role == Role::Assistant);
    last.is_some_and(|turn| {
        turn.blocks.iter().any(|block| matches!(block.content, Content::ToolUse(_)))
            && !matches!(
                turn.blocks.first().map(|block| &block.content),
                Some(Content::Thinking(_) | Content::Redacted(_))
            )
    })
}

fn marked(mut block: Json, cache: Option<&Cache>) -> Json {
    if let Some(cache) = cache {
        let mut mark = members! { "type": "ephemeral" };
        mark.set_some("ttl", cache.ttl.as_ref());
        block.set("cache_control", mark);
    }
    block
}

fn encode_system(block: &Block) -> Option<Json> {
    let Content::Text(text) = &block.content else { return None };
    (!text.trim().is_empty()).then(|| marked(members! { "type": "text", "text": text }, block.cache.as_ref()))
}

fn encode_block(block: &Block, place: &str, notes: &mut Notes) -> Result<Json, Untranslatable> {
    let encoded = match &block.content {
        Content::Text(text) | Content::Refusal(text) => members! { "type": "text", "text": text },
        Content::Thinking(thought) => {
            members! { "type": "thinking", "thinking": &thought.text, "signature": thought.signature.as_deref() }
        }
        Content::Redacted(data) => members! { "type": "redacted_thinking", "data": data },
        Content::Media(media) => encode_media(media, place)?,
        Content::ToolUse(call) => members! {
            "type": "tool_use",
            "id": safe_id(&call.id),
            "name": notes.names.safe(&call.name),
            "input": if call.is_custom { members! { "input": &call.arguments } } else { turns::arguments(&call.arguments) },
        },
        Content::ToolResult(result) => {
            let mut content = Vec::new();
            for block in &result.content {
                content.push(encode_block(block, place, notes)?);
            }
            let mut encoded =
                members! { "type": "tool_result", "tool_use_id": safe_id(&result.id), "content": content };
            if result.is_error {
                encoded.set("is_error", true);
            }
            encoded
        }
    };
    Ok(marked(encoded, block.cache.as_ref()))
}

fn encode_media(media: &Media, place: &str) -> Result<Json, Untranslatable> {
    let is_picture = matches!(&media.source, Source::Inline { media_type, .. } if media_type.starts_with("image/"));
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Document if is_picture => "image",
        MediaKind::Document => "document",
        MediaKind::Audio => return Err(Untranslatable::new(place, "Anthropic's models take no audio")),
    };
    // Anthropic takes texts as texts, and no other files than these and PDF.
    let words = media.source.words().map(Source::Text);
    let source = match words.as_ref().unwrap_or(&media.source) {
        Source::Inline { media_type, data } => members! { "type": "base64", "media_type": media_type, "data": data },
        Source::Url(url) => members! { "type": "url", "url": url },
        Source::File(id) => members! { "type": "file", "file_id": id },
        Source::Text(text) => members! { "type": "text", "media_type": "text/plain", "data": text },
    };
    let mut encoded = members! { "type": kind, "source": source };
    if kind == "document" {
        encoded.set_some("title", media.name.as_ref());
    }
    Ok(encoded)
}

/// The schema of the answer. Returns the tool that stands for it where the model takes none.
fn encode_output(request: &Request, can: &Capabilities, body: &mut Json, notes: &mut Notes) -> Option<Json> {
    let (schema, description) = match request.output.as_ref()? {
        Output::Schema { schema, .. } if can.has_schemas => {
            let format = members! { "type": "json_schema", "schema": schema::closed(schema, &mut notes.dropped) };
            body.set("output_config", members! { "format": format });
            return None;
        }
        Output::Schema { schema, description, .. } => (schema.clone(), description.clone()),
        Output::Json => (members! { "type": "object" }, None),
    };
    notes.json_tool = true;
    let description =
        description.unwrap_or_else(|| "Answer by calling this tool with the answer as its input.".to_owned());
    Some(members! { "name": JSON_TOOL, "description": description, "input_schema": schema })
}

/// Returns whether a tool must be called.
fn encode_tools(request: &Request, json_tool: Option<Json>, body: &mut Json, notes: &mut Notes) -> bool {
    let mut tools: Vec<Json> = Vec::new();
    for tool in request.offered() {
        let empty = || members! { "type": "object", "properties": Json::object() };
        let schema = if tool.is_custom {
            members! {
                "type": "object",
                "properties": members! { "input": members! { "type": "string" } },
                "required": vec![Json::from("input")],
            }
        } else {
            tool.parameters.clone().filter(Json::is_object).unwrap_or_else(empty)
        };
        let mut encoded = members! { "name": notes.names.safe(&tool.name) };
        encoded.set_some("description", tool.description.as_ref().filter(|text| !text.is_empty()));
        encoded.set("input_schema", schema);
        tools.push(marked(encoded, tool.cache.as_ref()));
    }
    notes.dropped.note_if(request.tools.iter().any(|tool| tool.strict == Some(true)), "strict");
    let has_own = !tools.is_empty();
    // Where a tool of the caller's own has to be called, no other may be there that a model could call in its place.
    let json_tool = json_tool.filter(|_| !(has_own && matches!(request.choice, Some(Choice::Any | Choice::One(_)))));
    let is_json = json_tool.is_some();
    if !has_own && !is_json && has_calls(&request.turns) {
        // Anthropic wants tools where the history has calls.
        tools.push(members! {
            "name": "unavailable",
            "description": "This tool is not available any more.",
            "input_schema": members! { "type": "object", "properties": Json::object() },
        });
        body.set("tools", tools);
        body.set("tool_choice", members! { "type": "none" });
        return false;
    }
    tools.extend(json_tool);
    if tools.is_empty() {
        return false;
    }
    body.set("tools", tools);
    let mut choice = match (&request.choice, is_json) {
        (Some(Choice::Auto) | None, true) if has_own => Some(members! { "type": "any" }),
        (_, true) => Some(members! { "type": "tool", "name": JSON_TOOL }),
        (Some(Choice::Auto), _) => Some(members! { "type": "auto" }),
        (Some(Choice::None), _) => Some(members! { "type": "none" }),
        (Some(Choice::Any), _) => Some(members! { "type": "any" }),
        (Some(Choice::One(name)), _) => Some(members! { "type": "tool", "name": notes.names.safe(name) }),
        (None, _) => None,
    };
    if request.parallel == Some(false) || is_json {
        let choice = choice.get_or_insert_with(|| members! { "type": "auto" });
        if choice.kind() != "none" {
            choice.set("disable_parallel_tool_use", true);
        }
    }
    let forced = choice.as_ref().is_some_and(|choice| matches!(choice.kind(), "any" | "tool"));
    body.set_some("tool_choice", choice);
    forced
}

/// Whether there are calls, or results of calls, among the turns.
pub fn has_calls(turns: &[Turn]) -> bool {
    let mut blocks = turns.iter().flat_map(|turn| &turn.blocks);
    blocks.any(|block| matches!(block.content, Content::ToolUse(_) | Content::ToolResult(_)))
}

/// Returns whether the model is told to think.
fn encode_thinking(
    request: &Request,
    can: &Capabilities,
    max_tokens: u64,
    cannot: bool,
    body: &mut Json,
    notes: &mut Notes,
) -> bool {
    let Some(wanted) = request.thinking else { return false };
    if wanted == Thinking::Off {
        if can.thinking == ThinkingForm::Adaptive {
            body.set("thinking", members! { "type": "disabled" });
        }
        return false;
    }
    if cannot || matches!(can.thinking, ThinkingForm::None | ThinkingForm::Level) {
        notes.dropped.note("thinking");
        return false;
    }
    if can.thinking == ThinkingForm::Adaptive {
        let effort = match wanted {
            Thinking::Effort(effort) => Some(effort),
            Thinking::Budget(tokens) => Some(Effort::of_budget(tokens)),
            _ => None,
        };
        body.set("thinking", members! { "type": "adaptive" });
        if let Some(effort) = effort {
            let mut config = body.get("output_config").cloned().unwrap_or_else(Json::object);
            config.set("effort", can.effort(effort));
            body.set("output_config", config);
        }
        return true;
    }
    let budget = match wanted {
        Thinking::Budget(tokens) => tokens,
        Thinking::Effort(effort) => effort.budget(),
        _ => Effort::High.budget(),
    };
    if max_tokens <= LEAST_BUDGET {
        notes.dropped.note("thinking");
        return false;
    }
    body.set("thinking", members! { "type": "enabled", "budget_tokens": budget.max(LEAST_BUDGET).min(max_tokens - 1) });
    true
}

fn encode_sampling(request: &Request, can: &Capabilities, thinks: bool, body: &mut Json, notes: &mut Notes) {
    let sampling = &request.sampling;
    for (given, name) in [
        (sampling.seed.is_some(), "seed"),
        (sampling.frequency_penalty.is_some(), "frequency_penalty"),
        (sampling.presence_penalty.is_some(), "presence_penalty"),
    ] {
        notes.dropped.note_if(given, name);
    }
    if can.refuses_sampling || thinks {
        notes.dropped.note_if(sampling.temperature.is_some_and(|t| !thinks || t != 1.0), "temperature");
        notes.dropped.note_if(sampling.top_p.is_some(), "top_p");
        notes.dropped.note_if(sampling.top_k.is_some(), "top_k");
        return;
    }
    if let Some(temperature) = sampling.temperature {
        notes.dropped.note_if(temperature > 1.0, "temperature above 1");
        body.set("temperature", temperature.clamp(0.0, 1.0));
        notes.dropped.note_if(sampling.top_p.is_some(), "top_p");
    } else {
        body.set_some("top_p", sampling.top_p);
    }
    body.set_some("top_k", sampling.top_k);
}
