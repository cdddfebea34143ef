//! Requests as clients of OpenAI's Responses API make them. <https://platform.openai.com/docs/api-reference/responses/create>

use crate::translate::chat::decode::{
    cache, decode_choice, decode_function, effort, instruct, push, schema, source_of_data, source_of_url,
};
use crate::translate::json::Json;
use crate::translate::model::{
    Block, Content, Media, MediaKind, Notes, Output, Request, Role, Source, Thought, Tool, ToolResult, ToolUse,
    Untranslatable,
};
use crate::translate::names::id_and_signature;
use crate::translate::signatures::{OPENAI, REDACTED, SIGNED};

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
    "prompt_cache_options",
];

/// Tools that a coding agent runs itself but that are no functions: other models are not told of them.
const AGENTS_OWN: &[&str] = &["local_shell", "shell", "apply_patch", "tool_search", "namespace"];

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
    if body.get("previous_response_id").is_some() {
        return no("previous_response_id", "Tollgate does not keep this response; send the items of the conversation");
    }
    if body.get("prompt").is_some() {
        return no("prompt", "OpenAI keeps prompts, and the model's provider does not have them");
    }
    if body.list("include").iter().any(|what| what.as_str() == Some("message.output_text.logprobs")) {
        return no("include", "the model's provider gives no logprobs");
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
            own if AGENTS_OWN.contains(&own) || is_offered(own, body) => notes.dropped.note(format!("tools ({own})")),
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

/// A tool that OpenAI runs and that agents offer with each request beside their own: the model can do without. A request that has
/// nothing else, or that wants it called, means something else without it.
fn is_offered(kind: &str, body: &Json) -> bool {
    let is_search = kind.starts_with("web_search") || kind == "image_generation";
    let has_own = body.list("tools").iter().any(|tool| matches!(tool.kind(), "function" | "custom"));
    is_search && has_own && !body.get("tool_choice").is_some_and(Json::is_object)
}

fn decode_item(item: &Json, place: &str, request: &mut Request, notes: &mut Notes) -> Result<(), Untranslatable> {
    let text = |name: &str| item.text(name).unwrap_or_default().to_owned();
    match item.kind() {
        "" | "message" => {
            let blocks = parts(item, "content", place)?;
            match item.text("role") {
                Some("system" | "developer") => instruct(request, blocks),
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
                let of_openai = || Some(format!("{OPENAI}{sealed}")).filter(|_| !sealed.is_empty());
                let signature = sealed.strip_prefix(SIGNED).map(str::to_owned).or_else(of_openai);
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
                    (Some(own), ..) => source_of_data(own, part.text("filename"), &place)?,
                    (None, Some(own), _) => source_of_url(own, &place)?,
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
        blocks.push(Block { cache: cache(part), ..content.into() });
    }
    Ok(blocks)
}
