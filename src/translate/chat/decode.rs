//! Requests as clients of OpenAI's chat completions make them. <https://platform.openai.com/docs/api-reference/chat/create>

use crate::translate::json::Json;
use crate::translate::model::{
    Block, Cache, Choice, Content, Effort, Media, MediaKind, Notes, Output, Request, Role, Source, Thinking, Thought,
    Tool, ToolResult, ToolUse, Turn, Untranslatable,
};
use crate::translate::names::id_and_signature;

const KNOWN: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "thinking",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "n",
    "verbosity",
    "store",
    "metadata",
    "service_tier",
    "functions",
    "function_call",
    "logprobs",
    "top_logprobs",
    "modalities",
    "audio",
];

pub fn decode(body: &Json, notes: &mut Notes) -> Result<Request, Untranslatable> {
    let mut request = Request {
        model: body.text("model").unwrap_or_default().to_owned(),
        stream: body.flag("stream").unwrap_or(false),
        usage_in_stream: body.at(&["stream_options", "include_usage"]) == Some(&Json::Bool(true)),
        max_tokens: body.count("max_completion_tokens").or_else(|| body.count("max_tokens")),
        choices: body.count("n").filter(|n| *n > 1),
        parallel: body.flag("parallel_tool_calls"),
        thoughts_shown: true,
        user: body.text("user").or_else(|| body.text("safety_identifier")).map(str::to_owned),
        cache_key: body.text("prompt_cache_key").map(str::to_owned),
        verbosity: body.text("verbosity").map(str::to_owned),
        ..Request::default()
    };
    refuse(body)?;
    for (name, _) in body.members().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        notes.dropped.note_if(!KNOWN.contains(&name.as_str()), name);
    }
    for (n, message) in body.list("messages").iter().enumerate() {
        decode_message(message, &format!("messages[{n}]"), &mut request, notes)?;
    }
    for tool in body.list("tools") {
        request.tools.push(decode_tool(tool)?);
    }
    for function in body.list("functions") {
        request.tools.push(decode_function(function));
    }
    let choice = body.get("tool_choice").or_else(|| body.get("function_call"));
    decode_choice(choice, &mut request);
    request.sampling.temperature = body.get("temperature").and_then(Json::as_f64);
    request.sampling.top_p = body.get("top_p").and_then(Json::as_f64);
    request.sampling.top_k = body.count("top_k");
    request.sampling.seed = body.get("seed").cloned();
    request.sampling.frequency_penalty = body.get("frequency_penalty").and_then(Json::as_f64).filter(|own| *own != 0.0);
    request.sampling.presence_penalty = body.get("presence_penalty").and_then(Json::as_f64).filter(|own| *own != 0.0);
    request.stop = match body.get("stop") {
        Some(Json::String(text)) => vec![text.clone()],
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    request.thinking = explicit_thinking(body).or_else(|| body.text("reasoning_effort").and_then(effort));
    let format = body.get("response_format");
    request.output = match format.map(Json::kind) {
        Some("json_object") => Some(Output::Json),
        Some("json_schema") => format.and_then(|format| format.get("json_schema")).map(schema),
        _ => None,
    };
    Ok(request)
}

/// What a caller needs from the answer and no other format can give.
fn refuse(body: &Json) -> Result<(), Untranslatable> {
    let no = |field: &str| Err(Untranslatable::new(field, "the model's provider has nothing of the kind"));
    if body.flag("logprobs") == Some(true) || body.count("top_logprobs").is_some_and(|n| n > 0) {
        return no("logprobs");
    }
    if body.get("web_search_options").is_some() {
        return no("web_search_options");
    }
    if body.get("audio").is_some() || body.list("modalities").iter().any(|kind| kind.as_str() == Some("audio")) {
        return no("modalities");
    }
    Ok(())
}

/// Anthropic's member, which some clients send beside OpenAI's.
fn explicit_thinking(body: &Json) -> Option<Thinking> {
    let thinking = body.get("thinking")?;
    match thinking.kind() {
        "disabled" => Some(Thinking::Off),
        "enabled" => Some(thinking.count("budget_tokens").map_or(Thinking::Adaptive, Thinking::Budget)),
        "adaptive" => Some(Thinking::Adaptive),
        _ => None,
    }
}

pub fn effort(word: &str) -> Option<Thinking> {
    if word == "none" { Some(Thinking::Off) } else { Effort::parse(word).map(Thinking::Effort) }
}

/// A schema as chat completions and Responses have it.
pub fn schema(format: &Json) -> Output {
    Output::Schema {
        name: format.text("name").map(str::to_owned),
        description: format.text("description").map(str::to_owned),
        schema: format.get("schema").cloned().unwrap_or_else(Json::object),
        strict: format.flag("strict"),
    }
}

fn decode_message(message: &Json, place: &str, request: &mut Request, notes: &mut Notes) -> Result<(), Untranslatable> {
    // The result of a function has its name, too, which the call tells.
    let is_result = matches!(message.text("role"), Some("tool" | "function"));
    notes.dropped.note_if(message.get("name").is_some() && !is_result, "name");
    match message.text("role") {
        Some("system" | "developer") => {
            instruct(request, parts(message, place)?);
        }
        Some("tool" | "function") => {
            let id = message.text("tool_call_id").or_else(|| message.text("name")).unwrap_or_default();
            let result = ToolResult { id: id.to_owned(), content: parts(message, place)?, is_error: false };
            let block = Block { cache: cache(message), ..Content::ToolResult(result).into() };
            push(request, Role::User, vec![block]);
        }
        Some("assistant") => {
            let mut blocks = thoughts(message);
            blocks.extend(parts(message, place)?);
            if let Some(refusal) = message.said("refusal") {
                blocks.push(Content::Refusal(refusal.to_owned()).into());
            }
            for call in message.list("tool_calls") {
                blocks.push(Content::ToolUse(decode_call(call)).into());
            }
            if let Some(function) = message.get("function_call") {
                let name = function.text("name").unwrap_or_default().to_owned();
                let arguments = function.text("arguments").unwrap_or_default().to_owned();
                blocks
                    .push(Content::ToolUse(ToolUse { id: name.clone(), name, arguments, ..ToolUse::default() }).into());
            }
            push(request, Role::Assistant, blocks);
        }
        _ => push(request, Role::User, parts(message, place)?),
    }
    Ok(())
}

/// Adds instructions: to those of the whole conversation as long as it has not begun.
pub fn instruct(request: &mut Request, blocks: Vec<Block>) {
    if request.turns.is_empty() {
        request.system.extend(blocks);
    } else {
        push(request, Role::System, blocks);
    }
}

/// Adds to the last turn if it is of that role.
pub fn push(request: &mut Request, role: Role, blocks: Vec<Block>) {
    match request.turns.last_mut() {
        Some(last) if last.role == role => last.blocks.extend(blocks),
        _ => request.turns.push(Turn { role, blocks }),
    }
}

/// Thoughts that the answer brought, in the members that other gateways use for them.
fn thoughts(message: &Json) -> Vec<Block> {
    let blocks = message.list("thinking_blocks");
    let signed = blocks.iter().map(|block| match block.kind() {
        "redacted_thinking" => Content::Redacted(block.text("data").unwrap_or_default().to_owned()).into(),
        _ => Content::Thinking(Thought {
            text: block.text("thinking").unwrap_or_default().to_owned(),
            signature: block.said("signature").map(str::to_owned),
        })
        .into(),
    });
    let signed: Vec<Block> = signed.collect();
    match message.said("reasoning_content") {
        Some(text) if signed.is_empty() => {
            vec![Content::Thinking(Thought { text: text.to_owned(), signature: None }).into()]
        }
        _ => signed,
    }
}

fn decode_call(call: &Json) -> ToolUse {
    let (id, in_id) = id_and_signature(call.text("id").unwrap_or_default());
    let beside = call.at(&["extra_content", "google", "thought_signature"]).and_then(Json::as_str);
    let is_custom = call.kind() == "custom";
    let function = call.get(if is_custom { "custom" } else { "function" }).unwrap_or(&Json::Null);
    ToolUse {
        id: id.to_owned(),
        name: function.text("name").unwrap_or_default().to_owned(),
        arguments: function.text(if is_custom { "input" } else { "arguments" }).unwrap_or_default().to_owned(),
        signature: beside.or(in_id).map(str::to_owned),
        is_custom,
    }
}

/// Where a caller marks how far the prompt is to be kept: in Anthropic's words or in OpenAI's.
pub fn cache(part: &Json) -> Option<Cache> {
    let mark = part.get("cache_control").or_else(|| part.get("prompt_cache_breakpoint"))?;
    Some(Cache { ttl: mark.text("ttl").map(str::to_owned) })
}

fn parts(message: &Json, place: &str) -> Result<Vec<Block>, Untranslatable> {
    match message.get("content") {
        Some(Json::String(text)) if !text.is_empty() => {
            Ok(vec![Block { cache: cache(message), ..Content::Text(text.clone()).into() }])
        }
        Some(Json::Array(all)) => {
            let mut blocks = Vec::new();
            for (n, part) in all.iter().enumerate() {
                let content = decode_part(part, &format!("{place}.content[{n}]"))?;
                blocks.push(Block { cache: cache(part), ..content.into() });
            }
            Ok(blocks)
        }
        _ => Ok(Vec::new()),
    }
}

fn decode_part(part: &Json, place: &str) -> Result<Content, Untranslatable> {
    let media = |kind, source, name: Option<&str>, detail: Option<&str>| {
        Content::Media(Media { kind, source, name: name.map(str::to_owned), detail: detail.map(str::to_owned) })
    };
    Ok(match part.kind() {
        "text" => Content::Text(part.text("text").unwrap_or_default().to_owned()),
        "refusal" => Content::Refusal(part.text("refusal").unwrap_or_default().to_owned()),
        "image_url" => {
            let url = part.at(&["image_url", "url"]).or_else(|| part.get("image_url")).and_then(Json::as_str);
            let detail = part.at(&["image_url", "detail"]).and_then(Json::as_str);
            media(MediaKind::Image, source_of_url(url.unwrap_or_default(), place)?, None, detail)
        }
        "file" => {
            let file = part.get("file").unwrap_or(&Json::Null);
            let source = match (file.text("file_data"), file.text("file_id")) {
                (Some(data), _) => source_of_data(data, file.text("filename"), place)?,
                (None, Some(id)) => Source::File(id.to_owned()),
                _ => return Err(Untranslatable::new(place, "the file has neither file_data nor file_id")),
            };
            media(MediaKind::Document, source, file.text("filename"), None)
        }
        "input_audio" => {
            let format = part.at(&["input_audio", "format"]).and_then(Json::as_str).unwrap_or("wav");
            let data = part.at(&["input_audio", "data"]).and_then(Json::as_str).unwrap_or_default().to_owned();
            media(MediaKind::Audio, Source::Inline { media_type: format!("audio/{format}"), data }, None, None)
        }
        other => return Err(Untranslatable::new(place, format!("Tollgate knows no part of the type '{other:.40}'"))),
    })
}

/// What a URL holds: a data URL its data, another one itself.
pub fn source_of_url(url: &str, place: &str) -> Result<Source, Untranslatable> {
    let Some(rest) = url.strip_prefix("data:") else { return Ok(Source::Url(url.to_owned())) };
    match rest.split_once(";base64,") {
        Some((media_type, data)) => Ok(Source::inline(media_type.split(';').next().unwrap_or_default(), data)),
        None => Err(Untranslatable::new(place, "a data URL must be in base64")),
    }
}

/// What a file of that name holds: base64, in a data URL or bare.
pub fn source_of_data(data: &str, name: Option<&str>, place: &str) -> Result<Source, Untranslatable> {
    let is_url = data.starts_with("data:") || data.contains("://");
    let source = if is_url { source_of_url(data, place)? } else { Source::inline("", data) };
    Ok(source.named(name))
}

pub fn url_of_source(source: &Source, place: &str) -> Result<String, Untranslatable> {
    match source {
        Source::Inline { media_type, data } => Ok(format!("data:{media_type};base64,{data}")),
        Source::Url(url) => Ok(url.clone()),
        Source::File(_) | Source::Text(_) => Err(Untranslatable::new(place, "it must be a URL or inline")),
    }
}

fn decode_tool(tool: &Json) -> Result<Tool, Untranslatable> {
    match tool.kind() {
        "function" => Ok(Tool { cache: cache(tool), ..decode_function(tool.get("function").unwrap_or(&Json::Null)) }),
        "custom" => {
            let custom = tool.get("custom").unwrap_or(&Json::Null);
            Ok(Tool {
                name: custom.text("name").unwrap_or_default().to_owned(),
                description: custom.text("description").map(str::to_owned),
                is_custom: true,
                ..Tool::default()
            })
        }
        other => Err(Untranslatable::new(
            format!("tools ({other:.60})"),
            "the provider that has this tool runs it itself, and the model's provider does not have it",
        )),
    }
}

/// A function as chat completions have it, and as Responses have it beside its type.
pub fn decode_function(function: &Json) -> Tool {
    Tool {
        name: function.text("name").unwrap_or_default().to_owned(),
        description: function.text("description").map(str::to_owned),
        parameters: function.get("parameters").cloned(),
        strict: function.flag("strict"),
        ..Tool::default()
    }
}

pub fn decode_choice(choice: Option<&Json>, request: &mut Request) {
    let Some(choice) = choice else { return };
    let named = |choice: &Json| {
        let name = ["function", "custom"].iter().find_map(|kind| choice.get(kind)?.text("name"));
        name.or_else(|| choice.text("name")).map(str::to_owned)
    };
    request.choice = match choice {
        Json::String(word) => match word.as_str() {
            "auto" => Some(Choice::Auto),
            "none" => Some(Choice::None),
            "required" => Some(Choice::Any),
            _ => None,
        },
        object if object.kind() == "allowed_tools" => {
            let inner = object.get("allowed_tools").unwrap_or(object);
            request.allowed = Some(inner.list("tools").iter().filter_map(named).collect());
            Some(if inner.text("mode") == Some("required") { Choice::Any } else { Choice::Auto })
        }
        object => named(object).map(Choice::One),
    };
}
