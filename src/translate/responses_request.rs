//! Requests of OpenAI's Responses API. <https://platform.openai.com/docs/api-reference/responses/create>

use crate::members;
use crate::translate::Notes;
use crate::translate::chat_request::{
    decode_choice, decode_function, effort, parameters, push, schema, source_of_url, url_of_source,
};
use crate::translate::json::Json;
use crate::translate::model::{
    Block, Choice, Content, Effort, Media, MediaKind, Output, Request, Role, Source, Thinking, Thought, Tool,
    ToolResult, ToolUse, Turn, Untranslatable,
};
use crate::translate::names::{id_and_signature, safe_id};

const KNOWN: &[&str] = &[
    "model",
    "input",
    "instructions",
    "stream",
    "max_output_tokens",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "store",
    "metadata",
    "include",
    "service_tier",
    "truncation",
    "stream_options",
    "client_metadata",
    "background",
    "previous_response_id",
    "conversation",
    "top_logprobs",
    "prompt_cache_retention",
];

/// Tools that a coding agent runs itself but that are no functions: other models are not told of them.
const AGENTS_OWN: &[&str] = &["local_shell", "shell", "apply_patch", "tool_search", "namespace", "web_search_preview"];

/// The prefix of encrypted content that stands for an Anthropic signature, so that it is not given to another provider.
pub const SIGNED: &str = "tollgate-signature:";
pub const REDACTED: &str = "tollgate-redacted:";

pub fn decode(body: &Json, notes: &mut Notes) -> Result<Request, Untranslatable> {
    let no = |field: &str, why: &str| Err(Untranslatable::new(field, why));
    if body.flag("background") == Some(true) {
        return no("background", "only OpenAI runs responses in the background");
    }
    if body.get("conversation").is_some() {
        return no("conversation", "OpenAI keeps conversations, and the model's provider does not have them");
    }
    if body.count("top_logprobs").is_some_and(|n| n > 0) {
        return no("top_logprobs", "the model's provider has nothing of the kind");
    }
    let mut request = Request {
        model: body.text("model").unwrap_or_default().to_owned(),
        stream: body.flag("stream").unwrap_or(false),
        usage_in_stream: true,
        max_tokens: body.count("max_output_tokens"),
        parallel: body.flag("parallel_tool_calls"),
        user: body.text("user").or_else(|| body.text("safety_identifier")).map(str::to_owned),
        cache_key: body.text("prompt_cache_key").map(str::to_owned),
        verbosity: body.at(&["text", "verbosity"]).and_then(Json::as_str).map(str::to_owned),
        thoughts_shown: body.at(&["reasoning", "summary"]).is_some(),
        ..Request::default()
    };
    for (name, _) in body.members().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        notes.dropped.note_if(!KNOWN.contains(&name.as_str()), name);
    }
    if let Some(text) = body.said("instructions") {
        request.system.push(Block::text(text));
    }
    match body.get("input") {
        Some(Json::String(text)) => push(&mut request, Role::User, vec![Block::text(text)]),
        Some(Json::Array(items)) => {
            for (n, item) in items.iter().enumerate() {
                decode_item(item, &format!("input[{n}]"), &mut request, notes)?;
            }
        }
        _ => {}
    }
    for tool in body.list("tools") {
        match tool.kind() {
            "function" => request.tools.push(decode_function(tool)),
            "custom" => request.tools.push(Tool {
                name: tool.text("name").unwrap_or_default().to_owned(),
                description: tool.text("description").map(str::to_owned),
                is_custom: true,
                ..Tool::default()
            }),
            own if AGENTS_OWN.contains(&own) => notes.dropped.note(format!("tools ({own})")),
            other => {
                return Err(Untranslatable::new(
                    format!("tools ({other:.60})"),
                    "OpenAI runs this tool itself, and the model's provider does not have it",
                ));
            }
        }
    }
    decode_choice(body.get("tool_choice"), &mut request);
    request.sampling.temperature = body.get("temperature").and_then(Json::as_f64);
    request.sampling.top_p = body.get("top_p").and_then(Json::as_f64);
    request.thinking = body.at(&["reasoning", "effort"]).and_then(Json::as_str).and_then(effort);
    let format = body.at(&["text", "format"]);
    request.output = match format.map(Json::kind) {
        Some("json_object") => Some(Output::Json),
        Some("json_schema") => format.map(schema),
        _ => None,
    };
    Ok(request)
}

fn decode_item(item: &Json, place: &str, request: &mut Request, notes: &mut Notes) -> Result<(), Untranslatable> {
    let text = |name: &str| item.text(name).unwrap_or_default().to_owned();
    match item.kind() {
        "" | "message" => {
            let blocks = parts(item, "content", place)?;
            match item.text("role") {
                Some("system" | "developer") => {
                    notes.dropped.note_if(!request.turns.is_empty(), "the place of a system message behind others");
                    request.system.extend(blocks);
                }
                Some("assistant") => push(request, Role::Assistant, blocks),
                _ => push(request, Role::User, blocks),
            }
        }
        "function_call" | "custom_tool_call" => {
            let is_custom = item.kind() == "custom_tool_call";
            let call_id = text("call_id");
            let (id, signature) = id_and_signature(&call_id);
            let call = ToolUse {
                id: id.to_owned(),
                name: text("name"),
                arguments: text(if is_custom { "input" } else { "arguments" }),
                signature: signature.map(str::to_owned),
                is_custom,
            };
            push(request, Role::Assistant, vec![Content::ToolUse(call).into()]);
        }
        "function_call_output" | "custom_tool_call_output" => {
            let call_id = text("call_id");
            let id = id_and_signature(&call_id).0.to_owned();
            let result = ToolResult { id, content: parts(item, "output", place)?, is_error: false };
            push(request, Role::User, vec![Content::ToolResult(result).into()]);
        }
        "reasoning" => {
            let thought: Vec<&str> = ["content", "summary"]
                .iter()
                .map(|name| item.list(name))
                .find(|parts| !parts.is_empty())
                .unwrap_or_default()
                .iter()
                .filter_map(|part| part.text("text"))
                .collect();
            let sealed = item.text("encrypted_content").unwrap_or_default();
            if let Some(data) = sealed.strip_prefix(REDACTED) {
                push(request, Role::Assistant, vec![Content::Redacted(data.to_owned()).into()]);
            } else {
                let signature = sealed.strip_prefix(SIGNED).map(str::to_owned);
                let thought = Thought { text: thought.join("\n\n"), signature };
                push(request, Role::Assistant, vec![Content::Thinking(thought).into()]);
            }
        }
        "item_reference" => {
            return Err(Untranslatable::new(
                place,
                "it refers to an item that Tollgate does not keep; send the item itself",
            ));
        }
        other => notes.dropped.note(format!("{place} ({other:.40})")),
    }
    Ok(())
}

fn parts(item: &Json, name: &str, place: &str) -> Result<Vec<Block>, Untranslatable> {
    let all = match item.get(name) {
        Some(Json::String(text)) => return Ok(vec![Block::text(text)]),
        Some(Json::Array(all)) => all,
        _ => return Ok(Vec::new()),
    };
    let mut blocks = Vec::new();
    for (n, part) in all.iter().enumerate() {
        let place = format!("{place}.{name}[{n}]");
        let media = |kind, source, name: Option<&str>, detail: Option<&str>| {
            Content::Media(Media { kind, source, name: name.map(str::to_owned), detail: detail.map(str::to_owned) })
        };
        let content = match part.kind() {
            "input_text" | "output_text" | "text" | "summary_text" => {
                Content::Text(part.text("text").unwrap_or_default().to_owned())
            }
            "refusal" => Content::Refusal(part.text("refusal").unwrap_or_default().to_owned()),
            "input_image" => {
                let source = match (part.text("image_url"), part.text("file_id")) {
                    (Some(url), _) => source_of_url(url, &place)?,
                    (None, Some(id)) => Source::File(id.to_owned()),
                    _ => return Err(Untranslatable::new(place, "the image has neither image_url nor file_id")),
                };
                media(MediaKind::Image, source, None, part.text("detail"))
            }
            "input_file" => {
                let source = match (part.text("file_data"), part.text("file_url"), part.text("file_id")) {
                    (Some(data), ..) => source_of_url(data, &place)?,
                    (None, Some(url), _) => Source::Url(url.to_owned()),
                    (None, None, Some(id)) => Source::File(id.to_owned()),
                    _ => return Err(Untranslatable::new(place, "the file has no file_data, file_url or file_id")),
                };
                media(MediaKind::Document, source, part.text("filename"), None)
            }
            "input_audio" => {
                let format = part.at(&["input_audio", "format"]).and_then(Json::as_str).unwrap_or("wav");
                let data = part.at(&["input_audio", "data"]).and_then(Json::as_str).unwrap_or_default().to_owned();
                media(MediaKind::Audio, Source::Inline { media_type: format!("audio/{format}"), data }, None, None)
            }
            other => {
                return Err(Untranslatable::new(place, format!("Tollgate knows no part of the type '{other:.40}'")));
            }
        };
        blocks.push(content.into());
    }
    Ok(blocks)
}

pub fn encode(request: &Request, model: &str, notes: &mut Notes) -> Result<Json, Untranslatable> {
    let mut body = Json::object().with("model", model);
    let system: Vec<&str> = request
        .system
        .iter()
        .filter_map(|block| match &block.content {
            Content::Text(text) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        })
        .collect();
    if !system.is_empty() {
        body.set("instructions", system.join("\n"));
    }
    let mut items = Vec::new();
    for (n, turn) in request.turns.iter().enumerate() {
        encode_turn(turn, &format!("messages[{n}]"), &mut items, notes)?;
    }
    body.set("input", items);
    body.set("store", false);
    body.set_some("max_output_tokens", request.max_tokens.map(|tokens| tokens.max(16)));
    let sampling = &request.sampling;
    body.set_some("temperature", sampling.temperature);
    body.set_some("top_p", sampling.top_p);
    for (given, name) in [
        (sampling.top_k.is_some(), "top_k"),
        (sampling.seed.is_some(), "seed"),
        (sampling.frequency_penalty.is_some(), "frequency_penalty"),
        (sampling.presence_penalty.is_some(), "presence_penalty"),
        (!request.stop.is_empty(), "stop"),
    ] {
        notes.dropped.note_if(given, name);
    }
    let allowed = |tool: &&Tool| request.allowed.as_ref().is_none_or(|names| names.contains(&tool.name));
    let mut tools = Vec::new();
    for tool in request.tools.iter().filter(allowed) {
        let mut encoded = members! { "type": "function", "name": notes.names.safe(&tool.name) };
        encoded.set_some("description", tool.description.as_ref());
        let empty = || members! { "type": "object", "properties": Json::object() };
        encoded.set("parameters", parameters(tool).unwrap_or_else(empty));
        encoded.set("strict", tool.strict.unwrap_or(false));
        tools.push(encoded);
    }
    if !tools.is_empty() {
        body.set("tools", tools);
        body.set_some(
            "tool_choice",
            request.choice.as_ref().map(|choice| match choice {
                Choice::Auto => Json::from("auto"),
                Choice::None => Json::from("none"),
                Choice::Any => Json::from("required"),
                Choice::One(name) => members! { "type": "function", "name": notes.names.safe(name) },
            }),
        );
        body.set_some("parallel_tool_calls", request.parallel);
    }
    encode_reasoning(request, &mut body);
    let mut text = Json::object();
    text.set_some(
        "format",
        request.output.as_ref().map(|output| match output {
            Output::Json => members! { "type": "json_object" },
            Output::Schema { name, description, schema, strict } => {
                let mut format = members! { "type": "json_schema", "name": name.as_deref().unwrap_or("answer") };
                format.set_some("description", description.as_ref());
                format.set("schema", schema);
                format.set_some("strict", *strict);
                format
            }
        }),
    );
    text.set_some("verbosity", request.verbosity.as_ref());
    if text != Json::object() {
        body.set("text", text);
    }
    body.set_some("user", request.user.as_ref());
    body.set_some("prompt_cache_key", request.cache_key.as_ref());
    if request.stream {
        body.set("stream", true);
    }
    Ok(body)
}

fn encode_reasoning(request: &Request, body: &mut Json) {
    let effort = match request.thinking {
        None => return,
        Some(Thinking::Off) => "none",
        Some(Thinking::Budget(tokens)) => Effort::of_budget(tokens).word(),
        Some(Thinking::Adaptive) => "high",
        Some(Thinking::Effort(effort)) => effort.word(),
    };
    let mut reasoning = members! { "effort": effort };
    if effort != "none" {
        if request.thoughts_shown {
            reasoning.set("summary", "auto");
        }
        body.set("include", vec![Json::from("reasoning.encrypted_content")]);
    }
    body.set("reasoning", reasoning);
}

fn encode_turn(turn: &Turn, place: &str, items: &mut Vec<Json>, notes: &mut Notes) -> Result<(), Untranslatable> {
    let (role, kind) = match turn.role {
        Role::User => ("user", "input_text"),
        Role::Assistant => ("assistant", "output_text"),
    };
    let mut content: Vec<Json> = Vec::new();
    let flush = |content: &mut Vec<Json>, items: &mut Vec<Json>| {
        if !content.is_empty() {
            items.push(members! { "type": "message", "role": role, "content": std::mem::take(content) });
        }
    };
    for block in &turn.blocks {
        match &block.content {
            Content::Text(text) if !text.is_empty() => content.push(members! { "type": kind, "text": text }),
            Content::Refusal(text) => content.push(members! { "type": "refusal", "refusal": text }),
            Content::Text(_) | Content::Redacted(_) => {}
            Content::Media(media) => content.push(encode_media(media, place)?),
            Content::Thinking(thought) => {
                // Encrypted content is OpenAI's own; what others signed means nothing to it.
                if let Some(sealed) = thought.signature.as_ref().and_then(|own| own.strip_prefix("openai:")) {
                    flush(&mut content, items);
                    items.push(members! {
                        "type": "reasoning",
                        "summary": vec![members! { "type": "summary_text", "text": &thought.text }],
                        "encrypted_content": sealed,
                    });
                }
            }
            Content::ToolUse(call) => {
                flush(&mut content, items);
                let arguments = if call.is_custom {
                    members! { "input": &call.arguments }.to_string()
                } else if call.arguments.trim().is_empty() {
                    "{}".to_owned()
                } else {
                    call.arguments.clone()
                };
                items.push(members! {
                    "type": "function_call",
                    "call_id": safe_id(&call.id),
                    "name": notes.names.safe(&call.name),
                    "arguments": arguments,
                });
            }
            Content::ToolResult(result) => {
                flush(&mut content, items);
                let mut output = Vec::new();
                for inner in &result.content {
                    match &inner.content {
                        Content::Text(text) => output.push(members! { "type": "input_text", "text": text }),
                        Content::Media(media) => output.push(encode_media(media, place)?),
                        _ => {}
                    }
                }
                let output = match output.as_slice() {
                    [] => Json::from(""),
                    [one] if one.kind() == "input_text" => one.get("text").cloned().unwrap_or_default(),
                    _ => Json::Array(output),
                };
                items.push(
                    members! { "type": "function_call_output", "call_id": safe_id(&result.id), "output": output },
                );
            }
        }
    }
    flush(&mut content, items);
    Ok(())
}

fn encode_media(media: &Media, place: &str) -> Result<Json, Untranslatable> {
    match (media.kind, &media.source) {
        (MediaKind::Image, Source::File(id)) => Ok(members! { "type": "input_image", "file_id": id }),
        (MediaKind::Image, source) => {
            let mut image = members! { "type": "input_image", "image_url": url_of_source(source, place)? };
            image.set_some("detail", media.detail.as_ref());
            Ok(image)
        }
        (MediaKind::Audio, Source::Inline { media_type, data }) => {
            let format = media_type.rsplit('/').next().unwrap_or("wav").replace("mpeg", "mp3");
            Ok(members! { "type": "input_audio", "input_audio": members! { "data": data, "format": format } })
        }
        (_, Source::Text(text)) => Ok(members! { "type": "input_text", "text": text }),
        (_, Source::File(id)) => Ok(members! { "type": "input_file", "file_id": id }),
        (_, Source::Url(url)) => Ok(members! { "type": "input_file", "file_url": url }),
        (_, source) => {
            let name = media.name.as_deref().unwrap_or("document.pdf");
            Ok(members! { "type": "input_file", "filename": name, "file_data": url_of_source(source, place)? })
        }
    }
}
