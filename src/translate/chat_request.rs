//! Requests of OpenAI's chat completions. <https://platform.openai.com/docs/api-reference/chat/create>

use crate::members;
use crate::translate::Notes;
use crate::translate::json::Json;
use crate::translate::model::{
    Block, Cache, Choice, Content, Effort, Media, MediaKind, Output, Request, Role, Source, Thinking, Thought, Tool,
    ToolResult, ToolUse, Turn, Untranslatable,
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
    if body.count("n").is_some_and(|n| n > 1) {
        return no("n");
    }
    if body.flag("logprobs") == Some(true) || body.count("top_logprobs").is_some_and(|n| n > 0) {
        return no("logprobs");
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
    notes.dropped.note_if(message.get("name").is_some() && message.text("role") != Some("function"), "name");
    match message.text("role") {
        Some("system" | "developer") => {
            notes.dropped.note_if(!request.turns.is_empty(), "the place of a system message behind others");
            request.system.extend(parts(message, place)?);
        }
        Some("tool" | "function") => {
            let id = message.text("tool_call_id").or_else(|| message.text("name")).unwrap_or_default();
            let result = ToolResult { id: id.to_owned(), content: parts(message, place)?, is_error: false };
            let block = Block { content: Content::ToolResult(result), cache: cache(message) };
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

fn cache(part: &Json) -> Option<Cache> {
    let mark = part.get("cache_control")?;
    Some(Cache { ttl: mark.text("ttl").map(str::to_owned) })
}

fn parts(message: &Json, place: &str) -> Result<Vec<Block>, Untranslatable> {
    match message.get("content") {
        Some(Json::String(text)) if !text.is_empty() => {
            Ok(vec![Block { content: Content::Text(text.clone()), cache: cache(message) }])
        }
        Some(Json::Array(all)) => {
            let mut blocks = Vec::new();
            for (n, part) in all.iter().enumerate() {
                let content = decode_part(part, &format!("{place}.content[{n}]"))?;
                blocks.push(Block { content, cache: cache(part) });
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
                (Some(data), _) => source_of_url(data, place)?,
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
        Some((media_type, data)) => {
            let media_type = media_type.split(';').next().unwrap_or_default();
            let media_type = if media_type == "image/jpg" { "image/jpeg" } else { media_type };
            Ok(Source::Inline { media_type: media_type.to_owned(), data: data.to_owned() })
        }
        None => Err(Untranslatable::new(place, "a data URL must be in base64")),
    }
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

pub fn encode(request: &Request, model: &str, notes: &mut Notes) -> Result<Json, Untranslatable> {
    let mut body = Json::object().with("model", model);
    let mut messages = Vec::new();
    let system: Vec<&str> = request
        .system
        .iter()
        .filter_map(|block| match &block.content {
            Content::Text(text) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        })
        .collect();
    if !system.is_empty() {
        messages.push(members! { "role": "system", "content": system.join("\n") });
    }
    for (n, turn) in request.turns.iter().enumerate() {
        let place = format!("messages[{n}]");
        match turn.role {
            Role::User => encode_user(turn, &place, &mut messages)?,
            Role::Assistant => messages.extend(encode_assistant(turn, notes)),
        }
    }
    body.set("messages", messages);
    body.set_some(if is_reasoning(model) { "max_completion_tokens" } else { "max_tokens" }, request.max_tokens);
    encode_sampling(request, model, &mut body, notes);
    encode_tools(request, &mut body, notes);
    match request.thinking {
        None => {}
        Some(thinking) => body.set_some("reasoning_effort", effort_word(thinking, model)),
    }
    body.set_some(
        "response_format",
        request.output.as_ref().map(|output| match output {
            Output::Json => members! { "type": "json_object" },
            Output::Schema { name, description, schema, strict } => {
                let mut inner = members! { "name": name.as_deref().unwrap_or("answer") };
                inner.set_some("description", description.as_ref());
                inner.set("schema", schema);
                inner.set_some("strict", *strict);
                members! { "type": "json_schema", "json_schema": inner }
            }
        }),
    );
    body.set_some("verbosity", request.verbosity.as_ref());
    body.set_some("user", request.user.as_ref());
    body.set_some("prompt_cache_key", request.cache_key.as_ref());
    if request.stream {
        body.set("stream", true);
        body.set("stream_options", members! { "include_usage": true });
    }
    Ok(body)
}

/// OpenAI's models that think take another name for the bound and no sampling.
fn is_reasoning(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    ["o1", "o3", "o4", "gpt-5", "gpt-6"].iter().any(|family| name.starts_with(family))
}

fn effort_word(thinking: Thinking, model: &str) -> Option<&'static str> {
    match thinking {
        // Models that do not think refuse the word.
        Thinking::Off => is_reasoning(model).then_some("none"),
        Thinking::Budget(tokens) => Some(Effort::of_budget(tokens).word()),
        Thinking::Adaptive => Some(Effort::High.word()),
        Thinking::Effort(effort) => Some(effort.word()),
    }
}

fn encode_sampling(request: &Request, model: &str, body: &mut Json, notes: &mut Notes) {
    let sampling = &request.sampling;
    notes.dropped.note_if(sampling.top_k.is_some(), "top_k");
    if is_reasoning(model) {
        notes.dropped.note_if(sampling.temperature.is_some_and(|own| own != 1.0), "temperature");
        notes.dropped.note_if(sampling.top_p.is_some_and(|own| own != 1.0), "top_p");
    } else {
        body.set_some("temperature", sampling.temperature);
        body.set_some("top_p", sampling.top_p);
    }
    body.set_some("seed", sampling.seed.as_ref());
    body.set_some("frequency_penalty", sampling.frequency_penalty);
    body.set_some("presence_penalty", sampling.presence_penalty);
    if !request.stop.is_empty() {
        body.set("stop", request.stop.iter().take(4).map(|text| Json::from(text)).collect::<Vec<_>>());
        notes.dropped.note_if(request.stop.len() > 4, "stop sequences beyond four");
    }
}

fn encode_tools(request: &Request, body: &mut Json, notes: &mut Notes) {
    let allowed = |tool: &&Tool| request.allowed.as_ref().is_none_or(|names| names.contains(&tool.name));
    let tools: Vec<Json> = request.tools.iter().filter(allowed).map(|tool| encode_tool(tool, notes)).collect();
    if tools.is_empty() {
        return;
    }
    body.set("tools", tools);
    body.set_some(
        "tool_choice",
        request.choice.as_ref().map(|choice| match choice {
            Choice::Auto => Json::from("auto"),
            Choice::None => Json::from("none"),
            Choice::Any => Json::from("required"),
            Choice::One(name) => {
                members! { "type": "function", "function": members! { "name": notes.names.safe(name) } }
            }
        }),
    );
    body.set_some("parallel_tool_calls", request.parallel);
}

fn encode_tool(tool: &Tool, notes: &mut Notes) -> Json {
    let mut function = members! { "name": notes.names.safe(&tool.name) };
    function.set_some("description", tool.description.as_ref());
    function.set_some("parameters", parameters(tool));
    function.set_some("strict", tool.strict);
    members! { "type": "function", "function": function }
}

/// The schema of a tool's input; a tool with free text takes it as one member.
pub fn parameters(tool: &Tool) -> Option<Json> {
    if !tool.is_custom {
        return tool.parameters.clone();
    }
    Some(members! {
        "type": "object",
        "properties": members! { "input": members! { "type": "string" } },
        "required": vec![Json::from("input")],
    })
}

/// Results of tools come first, each as a message; what they have beside text follows as a message of the user.
fn encode_user(turn: &Turn, place: &str, messages: &mut Vec<Json>) -> Result<(), Untranslatable> {
    let mut rest: Vec<Json> = Vec::new();
    for block in &turn.blocks {
        match &block.content {
            Content::ToolResult(result) => {
                let mut texts = Vec::new();
                for inner in &result.content {
                    match &inner.content {
                        Content::Text(text) | Content::Refusal(text) => texts.push(text.clone()),
                        Content::Media(media) => {
                            texts.push("[image]".to_owned());
                            rest.push(encode_media(media, place)?);
                        }
                        _ => {}
                    }
                }
                let id = id_and_signature(&result.id).0;
                messages.push(members! { "role": "tool", "tool_call_id": id, "content": texts.join("\n") });
            }
            Content::Text(text) if !text.is_empty() => rest.push(members! { "type": "text", "text": text }),
            Content::Media(media) => rest.push(encode_media(media, place)?),
            _ => {}
        }
    }
    let content = match rest.as_slice() {
        [] => return Ok(()),
        [one] if one.kind() == "text" => one.get("text").cloned().unwrap_or_default(),
        _ => Json::Array(rest),
    };
    messages.push(members! { "role": "user", "content": content });
    Ok(())
}

fn encode_media(media: &Media, place: &str) -> Result<Json, Untranslatable> {
    match (media.kind, &media.source) {
        (MediaKind::Image, source) => {
            let mut url = members! { "url": url_of_source(source, place)? };
            url.set_some("detail", media.detail.as_ref());
            Ok(members! { "type": "image_url", "image_url": url })
        }
        (MediaKind::Audio, Source::Inline { media_type, data }) => {
            let format = media_type.rsplit('/').next().unwrap_or("wav").replace("mpeg", "mp3");
            Ok(members! { "type": "input_audio", "input_audio": members! { "data": data, "format": format } })
        }
        (_, Source::Text(text)) => Ok(members! { "type": "text", "text": text }),
        (_, Source::File(id)) => Ok(members! { "type": "file", "file": members! { "file_id": id } }),
        (_, source @ Source::Inline { .. }) => {
            let name = media.name.as_deref().unwrap_or("document.pdf");
            let file = members! { "filename": name, "file_data": url_of_source(source, place)? };
            Ok(members! { "type": "file", "file": file })
        }
        (_, Source::Url(_)) => Err(Untranslatable::new(place, "chat completions take a file inline or by its id only")),
    }
}

fn encode_assistant(turn: &Turn, notes: &mut Notes) -> Option<Json> {
    let (mut texts, mut calls, mut refusal) = (Vec::new(), Vec::new(), None);
    for block in &turn.blocks {
        match &block.content {
            Content::Text(text) if !text.is_empty() => texts.push(text.as_str()),
            Content::Refusal(text) => refusal = Some(text.clone()),
            Content::ToolUse(call) => calls.push(encode_call(call, notes)),
            _ => {}
        }
    }
    if texts.is_empty() && calls.is_empty() && refusal.is_none() {
        return None;
    }
    let content = if texts.is_empty() { Json::Null } else { Json::from(texts.join("")) };
    let mut message = members! { "role": "assistant", "content": content };
    message.set_some("refusal", refusal);
    if !calls.is_empty() {
        message.set("tool_calls", calls);
    }
    Some(message)
}

fn encode_call(call: &ToolUse, notes: &mut Notes) -> Json {
    let arguments = if call.is_custom {
        members! { "input": &call.arguments }.to_string()
    } else if call.arguments.trim().is_empty() {
        "{}".to_owned()
    } else {
        call.arguments.clone()
    };
    let mut encoded = members! {
        "id": id_and_signature(&call.id).0,
        "type": "function",
        "function": members! { "name": notes.names.safe(&call.name), "arguments": arguments },
    };
    // Gemini's own chat completions want it back there.
    if let Some(signature) = &call.signature {
        encoded.set("extra_content", members! { "google": members! { "thought_signature": signature } });
    }
    encoded
}
