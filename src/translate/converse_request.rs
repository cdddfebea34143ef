//! Requests of Bedrock's Converse. <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>

use crate::members;
use crate::translate::capability::{Capabilities, ThinkingForm};
use crate::translate::chat_request::parameters;
use crate::translate::json::Json;
use crate::translate::messages_request::JSON_TOOL;
use crate::translate::model::{
    Block, Cache, Choice, Content, Effort, Media, MediaKind, Output, Request, Role, Source, Thinking, Thought, Tool,
    ToolResult, ToolUse, Turn, Untranslatable,
};
use crate::translate::names::safe_id;
use crate::translate::{Notes, schema, turns};

const LEAST_BUDGET: u64 = 1_024;

/// Documents in a request.
const MAX_DOCUMENTS: usize = 5;

const KNOWN: &[&str] =
    &["messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields", "requestMetadata"];

pub fn decode(body: &Json, model: &str, stream: bool, notes: &mut Notes) -> Result<Request, Untranslatable> {
    if body.get("guardrailConfig").is_some() {
        return Err(Untranslatable::new("guardrailConfig", "only Bedrock has these guardrails"));
    }
    let mut request =
        Request { model: model.to_owned(), stream, usage_in_stream: true, thoughts_shown: true, ..Request::default() };
    for (name, _) in body.members().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        notes.dropped.note_if(!KNOWN.contains(&name.as_str()), name);
    }
    request.system = decode_blocks(body.list("system"), "system", notes)?;
    for (n, message) in body.list("messages").iter().enumerate() {
        let role = if message.text("role") == Some("assistant") { Role::Assistant } else { Role::User };
        let blocks = decode_blocks(message.list("content"), &format!("messages[{n}]"), notes)?;
        request.turns.push(Turn { role, blocks });
    }
    let none = Json::Null;
    let config = body.get("inferenceConfig").unwrap_or(&none);
    request.max_tokens = config.count("maxTokens");
    request.sampling.temperature = config.get("temperature").and_then(Json::as_f64);
    request.sampling.top_p = config.get("topP").and_then(Json::as_f64);
    request.stop = config.list("stopSequences").iter().filter_map(Json::as_str).map(str::to_owned).collect();
    let more = body.get("additionalModelRequestFields").unwrap_or(&none);
    request.sampling.top_k = more.count("top_k");
    request.thinking = match more.get("thinking").map(Json::kind) {
        Some("enabled") => more.at(&["thinking", "budget_tokens"]).and_then(Json::as_u64).map(Thinking::Budget),
        Some("adaptive") => Some(Thinking::Adaptive),
        Some("disabled") => Some(Thinking::Off),
        _ => None,
    };
    let tools = body.get("toolConfig").unwrap_or(&none);
    for tool in tools.list("tools") {
        if let (Some(_), Some(last)) = (tool.get("cachePoint"), request.tools.last_mut()) {
            last.cache = Some(Cache { ttl: tool.at(&["cachePoint", "ttl"]).and_then(Json::as_str).map(str::to_owned) });
        }
        let Some(spec) = tool.get("toolSpec") else { continue };
        request.tools.push(Tool {
            name: spec.text("name").unwrap_or_default().to_owned(),
            description: spec.text("description").map(str::to_owned),
            parameters: spec.at(&["inputSchema", "json"]).cloned(),
            ..Tool::default()
        });
    }
    if let Some(choice) = tools.get("toolChoice") {
        request.choice = match choice.members().and_then(|members| members.first()).map(|(name, _)| name.as_str()) {
            Some("any") => Some(Choice::Any),
            Some("tool") => {
                choice.at(&["tool", "name"]).and_then(Json::as_str).map(|name| Choice::One(name.to_owned()))
            }
            _ => Some(Choice::Auto),
        };
    }
    Ok(request)
}

fn decode_blocks(all: &[Json], place: &str, notes: &mut Notes) -> Result<Vec<Block>, Untranslatable> {
    let mut blocks: Vec<Block> = Vec::new();
    for (n, block) in all.iter().enumerate() {
        let place = format!("{place}.content[{n}]");
        if let Some(point) = block.get("cachePoint") {
            if let Some(last) = blocks.last_mut() {
                last.cache = Some(Cache { ttl: point.text("ttl").map(str::to_owned) });
            }
            continue;
        }
        let content = if let Some(text) = block.text("text") {
            Content::Text(text.to_owned())
        } else if let Some(call) = block.get("toolUse") {
            Content::ToolUse(ToolUse {
                id: call.text("toolUseId").unwrap_or_default().to_owned(),
                name: call.text("name").unwrap_or_default().to_owned(),
                arguments: call.get("input").map_or_else(|| "{}".to_owned(), Json::to_string),
                ..ToolUse::default()
            })
        } else if let Some(result) = block.get("toolResult") {
            let mut content = decode_blocks(result.list("content"), &place, notes)?;
            for inner in result.list("content").iter().filter_map(|inner| inner.get("json")) {
                content.push(Block::text(inner.to_string()));
            }
            Content::ToolResult(ToolResult {
                id: result.text("toolUseId").unwrap_or_default().to_owned(),
                content,
                is_error: result.text("status") == Some("error"),
            })
        } else if let Some(reasoning) = block.at(&["reasoningContent", "reasoningText"]) {
            Content::Thinking(Thought {
                text: reasoning.text("text").unwrap_or_default().to_owned(),
                signature: reasoning.said("signature").map(str::to_owned),
            })
        } else if let Some(data) = block.at(&["reasoningContent", "redactedContent"]).and_then(Json::as_str) {
            Content::Redacted(data.to_owned())
        } else if let Some(image) = block.get("image") {
            let format = image.text("format").unwrap_or("png");
            let data = image.at(&["source", "bytes"]).and_then(Json::as_str).unwrap_or_default().to_owned();
            let source = Source::Inline { media_type: format!("image/{format}"), data };
            Content::Media(Media { kind: MediaKind::Image, source, name: None, detail: None })
        } else if let Some(document) = block.get("document") {
            let format = document.text("format").unwrap_or("pdf");
            let data = document.at(&["source", "bytes"]).and_then(Json::as_str).unwrap_or_default().to_owned();
            let source = match document.at(&["source", "text"]).and_then(Json::as_str) {
                Some(text) => Source::Text(text.to_owned()),
                None => Source::Inline { media_type: media_type(format).to_owned(), data },
            };
            let name = document.text("name").map(str::to_owned);
            Content::Media(Media { kind: MediaKind::Document, source, name, detail: None })
        } else {
            if block.get("json").is_none() {
                notes.dropped.note(place);
            }
            continue;
        };
        blocks.push(content.into());
    }
    Ok(blocks)
}

pub fn encode(request: &Request, can: &Capabilities, notes: &mut Notes) -> Result<Json, Untranslatable> {
    let keeps = |content: &Content| match content {
        Content::Thinking(thought) => thought.signature.as_deref().is_some_and(|own| !own.contains(':')),
        Content::Redacted(data) => !data.is_empty(),
        _ => true,
    };
    let turns = turns::alternating(&request.turns, keeps);
    let mut messages = Vec::new();
    if turns.first().is_some_and(|turn| turn.role == Role::Assistant) {
        notes.dropped.note("the absence of a first user message");
        messages.push(members! { "role": "user", "content": vec![members! { "text": "." }] });
    }
    let mut documents = 0;
    for (n, turn) in turns.iter().enumerate() {
        let role = if turn.role == Role::User { "user" } else { "assistant" };
        let content = encode_blocks(&turn.blocks, &format!("messages[{n}]"), &mut documents, notes)?;
        messages.push(members! { "role": role, "content": content });
    }
    let mut body = members! { "messages": messages };
    let system = encode_blocks(&request.system, "system", &mut documents, notes)?;
    if !system.is_empty() {
        body.set("system", system);
    }
    let thinks = encode_config(request, can, &turns, &mut body, notes);
    encode_tools(request, &turns, thinks, &mut body, notes);
    if let Some(user) = &request.user {
        body.set("requestMetadata", members! { "user": user.chars().take(256).collect::<String>() });
    }
    Ok(body)
}

fn point(cache: &Cache) -> Json {
    let mut point = members! { "type": "default" };
    point.set_some("ttl", cache.ttl.as_ref());
    members! { "cachePoint": point }
}

fn encode_blocks(
    blocks: &[Block],
    place: &str,
    documents: &mut usize,
    notes: &mut Notes,
) -> Result<Vec<Json>, Untranslatable> {
    let mut all = Vec::new();
    for block in blocks {
        match &block.content {
            Content::Text(text) | Content::Refusal(text) if text.is_empty() => {}
            Content::Text(text) | Content::Refusal(text) => all.push(members! { "text": text }),
            Content::Thinking(thought) => {
                let text = members! { "text": &thought.text, "signature": thought.signature.as_deref() };
                all.push(members! { "reasoningContent": members! { "reasoningText": text } });
            }
            Content::Redacted(data) => {
                all.push(members! { "reasoningContent": members! { "redactedContent": data } });
            }
            Content::Media(media) => {
                if media.kind == MediaKind::Document {
                    *documents += 1;
                    if *documents > MAX_DOCUMENTS {
                        return Err(Untranslatable::new(place, "Bedrock takes five documents in a request at most"));
                    }
                }
                all.push(encode_media(media, *documents, place)?);
            }
            Content::ToolUse(call) => {
                let input = if call.is_custom {
                    members! { "input": &call.arguments }
                } else {
                    turns::arguments(&call.arguments)
                };
                all.push(members! { "toolUse": members! {
                    "toolUseId": safe_id(&call.id), "name": notes.names.safe(&call.name), "input": input,
                } });
            }
            Content::ToolResult(result) => {
                let mut content = encode_blocks(&result.content, place, documents, notes)?;
                if content.is_empty() {
                    content.push(members! { "text": " " });
                }
                let mut encoded = members! { "toolUseId": safe_id(&result.id), "content": content };
                if result.is_error {
                    encoded.set("status", "error");
                }
                all.push(members! { "toolResult": encoded });
            }
        }
        all.extend(block.cache.as_ref().map(point));
    }
    Ok(all)
}

fn format(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/markdown" => "md",
        "text/plain" => "txt",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        _ => return None,
    })
}

fn media_type(format: &str) -> &'static str {
    match format {
        "csv" => "text/csv",
        "html" => "text/html",
        "md" => "text/markdown",
        "txt" => "text/plain",
        _ => "application/pdf",
    }
}

fn encode_media(media: &Media, number: usize, place: &str) -> Result<Json, Untranslatable> {
    let no = |why: &str| Err(Untranslatable::new(place, why));
    let source = match &media.source {
        Source::Inline { data, .. } => members! { "bytes": data },
        Source::Text(text) => members! { "text": text },
        Source::Url(url) if url.starts_with("s3://") => members! { "s3Location": members! { "uri": url } },
        Source::Url(_) => return no("Bedrock fetches no URL, and Tollgate never does; send it inline"),
        Source::File(_) => return no("another provider keeps this file; send it inline"),
    };
    let kind = match &media.source {
        Source::Inline { media_type, .. } => format(media_type),
        Source::Text(_) => Some("txt"),
        _ => Some(if media.kind == MediaKind::Image { "png" } else { "pdf" }),
    };
    let Some(kind) = kind else { return no("Bedrock does not take this media type") };
    match media.kind {
        MediaKind::Image => Ok(members! { "image": members! { "format": kind, "source": source } }),
        MediaKind::Audio => no("Bedrock's models take no audio"),
        MediaKind::Document => {
            // Names may have few characters, and must differ.
            let name: String = media
                .name
                .as_deref()
                .unwrap_or("document")
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' })
                .collect();
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            let name = format!("{} {number}", if name.is_empty() { "document" } else { &name });
            Ok(members! { "document": members! { "format": kind, "name": name, "source": source } })
        }
    }
}

/// Returns whether the model is told to think.
fn encode_config(request: &Request, can: &Capabilities, turns: &[Turn], body: &mut Json, notes: &mut Notes) -> bool {
    let mut config = Json::object();
    let sampling = &request.sampling;
    let max_tokens = match (request.max_tokens, can.max_output) {
        (Some(asked), Some(most)) if asked > most => {
            notes.dropped.note(format!("max_tokens above {most}"));
            Some(most)
        }
        (asked, most) => asked.or(most),
    };
    config.set_some("maxTokens", max_tokens);
    for (given, name) in [
        (sampling.seed.is_some(), "seed"),
        (sampling.frequency_penalty.is_some(), "frequency_penalty"),
        (sampling.presence_penalty.is_some(), "presence_penalty"),
    ] {
        notes.dropped.note_if(given, name);
    }
    let mut more = Json::object();
    let calls_unthought = turns.iter().rev().find(|turn| turn.role == Role::Assistant).is_some_and(|turn| {
        let has = |wanted: fn(&Content) -> bool| turn.blocks.iter().any(|block| wanted(&block.content));
        has(|content| matches!(content, Content::ToolUse(_)))
            && !has(|content| matches!(content, Content::Thinking(_) | Content::Redacted(_)))
    });
    let forced = matches!(request.choice, Some(Choice::Any | Choice::One(_)));
    let thinks = match request.thinking {
        None | Some(Thinking::Off) => false,
        Some(_) if calls_unthought || forced || max_tokens.is_some_and(|most| most <= LEAST_BUDGET) => {
            notes.dropped.note("thinking");
            false
        }
        Some(wanted) => match can.thinking {
            ThinkingForm::Budget => {
                let budget = match wanted {
                    Thinking::Budget(tokens) => tokens,
                    Thinking::Effort(effort) => effort.budget(),
                    _ => Effort::High.budget(),
                };
                let most = max_tokens.unwrap_or(u64::MAX).saturating_sub(1);
                let budget = budget.max(LEAST_BUDGET).min(most);
                more.set("thinking", members! { "type": "enabled", "budget_tokens": budget });
                true
            }
            ThinkingForm::Adaptive => {
                more.set("thinking", members! { "type": "adaptive" });
                if let Thinking::Effort(effort) = wanted {
                    let effort = if effort == Effort::Minimal { Effort::Low } else { effort };
                    more.set("output_config", members! { "effort": effort.word() });
                }
                true
            }
            _ => {
                notes.dropped.note("thinking");
                false
            }
        },
    };
    if can.refuses_sampling || thinks {
        notes.dropped.note_if(sampling.temperature.is_some_and(|own| !thinks || own != 1.0), "temperature");
        notes.dropped.note_if(sampling.top_p.is_some(), "top_p");
        notes.dropped.note_if(sampling.top_k.is_some(), "top_k");
    } else {
        config.set_some("temperature", sampling.temperature.map(|own| own.min(1.0)));
        notes.dropped.note_if(sampling.temperature.is_some_and(|own| own > 1.0), "temperature above 1");
        config.set_some("topP", sampling.top_p);
        more.set_some("top_k", sampling.top_k);
    }
    if !request.stop.is_empty() {
        config.set("stopSequences", request.stop.iter().map(|text| Json::from(text)).collect::<Vec<_>>());
    }
    if config != Json::object() {
        body.set("inferenceConfig", config);
    }
    if more != Json::object() {
        body.set("additionalModelRequestFields", more);
    }
    thinks
}

fn encode_tools(request: &Request, turns: &[Turn], thinks: bool, body: &mut Json, notes: &mut Notes) {
    let allowed = |tool: &&Tool| request.allowed.as_ref().is_none_or(|names| names.contains(&tool.name));
    let spec = |name: String, description: Option<&String>, schema: Json| {
        let mut spec = members! { "name": name };
        spec.set_some("description", description.filter(|text| !text.is_empty()));
        spec.set("inputSchema", members! { "json": schema });
        members! { "toolSpec": spec }
    };
    let empty = || members! { "type": "object", "properties": Json::object() };
    let has_history = turns
        .iter()
        .flat_map(|turn| &turn.blocks)
        .any(|block| matches!(block.content, Content::ToolUse(_) | Content::ToolResult(_)));
    // Bedrock has no choice 'none': without tools none can be called, but a history of calls wants them.
    let wants_none = request.choice == Some(Choice::None);
    let mut tools = Vec::new();
    if !wants_none || has_history {
        for tool in request.tools.iter().filter(allowed) {
            let schema = parameters(tool).filter(Json::is_object).unwrap_or_else(empty);
            tools.push(spec(notes.names.safe(&tool.name), tool.description.as_ref(), schema));
            tools.extend(tool.cache.as_ref().map(point));
        }
    }
    let json = request.output.as_ref().map(|output| match output {
        Output::Schema { schema, .. } => schema::closed(schema, &mut notes.dropped),
        Output::Json => members! { "type": "object" },
    });
    let has_own = !tools.is_empty();
    let is_json = json.is_some() && !thinks;
    if let (Some(schema), true) = (json, is_json) {
        notes.json_tool = true;
        tools.push(spec(
            JSON_TOOL.to_owned(),
            Some(&"Answer by calling this tool with the answer as its input.".to_owned()),
            schema,
        ));
    }
    if tools.is_empty() && has_history {
        tools.push(spec("unavailable".to_owned(), Some(&"This tool is not available any more.".to_owned()), empty()));
    }
    if tools.is_empty() {
        return;
    }
    notes.dropped.note_if(request.parallel == Some(false), "parallel_tool_calls");
    let mut config = members! { "tools": tools };
    let choice = match &request.choice {
        _ if is_json && has_own => Some(members! { "any": Json::object() }),
        _ if is_json => Some(members! { "tool": members! { "name": JSON_TOOL } }),
        Some(Choice::Auto) => Some(members! { "auto": Json::object() }),
        Some(Choice::Any) => Some(members! { "any": Json::object() }),
        Some(Choice::One(name)) => Some(members! { "tool": members! { "name": notes.names.safe(name) } }),
        Some(Choice::None) | None => None,
    };
    config.set_some("toolChoice", choice);
    body.set("toolConfig", config);
}
