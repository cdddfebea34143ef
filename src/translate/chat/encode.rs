//! Requests as OpenAI's chat completions takes them.

use crate::members;
use crate::translate::capability;
use crate::translate::capability::{is_mistral, is_openai_reasoning, openai_effort, wants_thoughts};
use crate::translate::chat::decode::url_of_source;
use crate::translate::json::Json;
use crate::translate::model::{
    Block, Choice, Content, Media, MediaKind, Notes, Output, Request, Role, Source, Thinking, Tool, ToolUse, Turn,
    Untranslatable,
};
use crate::translate::names::{id_and_signature, nine, short};
use crate::translate::turns;

pub fn encode(request: &Request, model: &str, notes: &mut Notes) -> Result<Json, Untranslatable> {
    let mut body = Json::object().with("model", model);
    let mut messages = Vec::new();
    let marks = capability::takes_marks(model);
    messages.extend(instructions(&request.system, marks, "text"));
    for (n, turn) in request.turns.iter().enumerate() {
        let place = format!("messages[{n}]");
        match turn.role {
            Role::User => encode_user(turn, &place, model, marks, &mut messages)?,
            Role::Assistant => messages.extend(encode_assistant(turn, model, notes)),
            Role::System => {
                messages.extend(instructions(&turn.blocks, marks, "text"));
            }
        }
    }
    body.set("messages", messages);
    let max_tokens = bounded(request.max_tokens, model, notes);
    body.set_some(if is_openai_reasoning(model) { "max_completion_tokens" } else { "max_tokens" }, max_tokens);
    body.set_some("n", request.choices);
    encode_sampling(request, model, &mut body, notes);
    encode_tools(request, &mut body, notes);
    let thinks = request.thinking.is_some_and(|thinking| thinking != Thinking::Off);
    let is_unthinking = body.get("tools").is_some() && capability::calls_unthinking(model);
    let effort = match request.thinking {
        // These refuse tools without the word, too.
        _ if is_unthinking => Some("none"),
        thinking => thinking.and_then(|thinking| openai_effort(model, thinking)),
    };
    notes.dropped.note_if(thinks && (is_unthinking || effort.is_none()), "thinking");
    body.set_some("reasoning_effort", effort);
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
    if request.stream {
        body.set("stream", true);
    }
    if is_mistral(model) {
        return Ok(body);
    }
    body.set_some("verbosity", request.verbosity.as_ref());
    body.set_some("user", request.user.as_deref().map(short));
    body.set_some("prompt_cache_key", request.cache_key.as_deref().map(short));
    if request.stream {
        body.set("stream_options", members! { "include_usage": true });
    }
    Ok(body)
}

/// The bound of an answer, where a model is known to have a lower one than the caller's.
pub fn bounded(asked: Option<u64>, model: &str, notes: &mut Notes) -> Option<u64> {
    let most = capability::of(model).max_output.unwrap_or(u64::MAX);
    notes.dropped.note_if(asked.is_some_and(|asked| asked > most), &format!("max_tokens above {most}"));
    asked.map(|asked| asked.min(most))
}

fn encode_sampling(request: &Request, model: &str, body: &mut Json, notes: &mut Notes) {
    let sampling = &request.sampling;
    notes.dropped.note_if(sampling.top_k.is_some(), "top_k");
    if is_openai_reasoning(model) {
        refused_by_reasoning(request, notes);
        return body.set_some("seed", sampling.seed.as_ref());
    }
    body.set_some("temperature", sampling.temperature);
    body.set_some("top_p", sampling.top_p);
    body.set_some("seed", sampling.seed.as_ref());
    body.set_some("frequency_penalty", sampling.frequency_penalty);
    body.set_some("presence_penalty", sampling.presence_penalty);
    if !request.stop.is_empty() {
        body.set("stop", request.stop.iter().take(4).map(Json::from).collect::<Vec<_>>());
        notes.dropped.note_if(request.stop.len() > 4, "stop sequences beyond four");
    }
}

/// What OpenAI's models that think refuse. Their own temperature and top_p are 1.
pub fn refused_by_reasoning(request: &Request, notes: &mut Notes) {
    let sampling = &request.sampling;
    for (given, name) in [
        (sampling.temperature.is_some_and(|own| own != 1.0), "temperature"),
        (sampling.top_p.is_some_and(|own| own != 1.0), "top_p"),
        (sampling.frequency_penalty.is_some(), "frequency_penalty"),
        (sampling.presence_penalty.is_some(), "presence_penalty"),
        (!request.stop.is_empty(), "stop"),
    ] {
        notes.dropped.note_if(given, name);
    }
}

fn encode_tools(request: &Request, body: &mut Json, notes: &mut Notes) {
    let tools: Vec<Json> = request.offered().map(|tool| encode_tool(tool, notes)).collect();
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
fn encode_user(
    turn: &Turn,
    place: &str,
    model: &str,
    marks: bool,
    messages: &mut Vec<Json>,
) -> Result<(), Untranslatable> {
    let mut rest: Vec<Json> = Vec::new();
    for block in &turn.blocks {
        match &block.content {
            Content::ToolResult(result) => {
                let mut texts = Vec::new();
                for inner in &result.content {
                    match &inner.content {
                        Content::Text(text) | Content::Refusal(text) => texts.push(text.clone()),
                        Content::Media(media) => {
                            let stands_for = if media.kind == MediaKind::Image { "[image]" } else { "[file]" };
                            texts.push(stands_for.to_owned());
                            rest.push(encode_media(media, place)?);
                        }
                        _ => {}
                    }
                }
                let id = call_id(&result.id, model);
                let texts = members! { "type": "text", "text": texts.join("\n") };
                let content = bare(vec![marked(texts, marks && is_marked(block))]);
                messages.push(members! { "role": "tool", "tool_call_id": id, "content": content });
            }
            Content::Text(text) if !text.is_empty() => {
                rest.push(marked(members! { "type": "text", "text": text }, marks && is_marked(block)));
            }
            Content::Media(media) => rest.push(marked(encode_media(media, place)?, marks && is_marked(block))),
            _ => {}
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    let content = bare(rest);
    messages.push(members! { "role": "user", "content": content });
    Ok(())
}

/// Instructions as a message; none where they have no text. `kind` is what the format calls a text. Parts stay apart where one of
/// them has a mark that the model takes.
pub fn instructions(blocks: &[Block], marks: bool, kind: &str) -> Option<Json> {
    let content = if marks && blocks.iter().any(is_marked) {
        let parts = blocks.iter().filter_map(|block| match &block.content {
            Content::Text(text) if !text.is_empty() => {
                Some(marked(members! { "type": kind, "text": text }, is_marked(block)))
            }
            _ => None,
        });
        Some(Json::Array(parts.collect())).filter(|parts| parts.as_array().is_some_and(|own| !own.is_empty()))
    } else {
        turns::text(blocks).map(Json::from)
    };
    content.map(|content| members! { "role": "system", "content": content })
}

/// Whether the prompt is to be kept up to the end of a block.
pub fn is_marked(block: &Block) -> bool {
    let inner = match &block.content {
        Content::ToolResult(result) => result.content.as_slice(),
        _ => &[],
    };
    block.cache.is_some() || inner.iter().any(|own| own.cache.is_some())
}

/// A part with OpenAI's mark of how far the prompt is to be kept, where it is to have one.
pub fn marked(mut part: Json, is_marked: bool) -> Json {
    if is_marked {
        part.set("prompt_cache_breakpoint", members! { "mode": "explicit" });
    }
    part
}

/// Parts as content: a single text that says no more is written as a string.
pub fn bare(parts: Vec<Json>) -> Json {
    match parts.as_slice() {
        [] => Json::from(""),
        [one] if one.text("text").is_some() && one.get("prompt_cache_breakpoint").is_none() => {
            one.get("text").cloned().unwrap_or_default()
        }
        _ => Json::Array(parts),
    }
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

/// The id of a call as the model's server takes it: of the call and of its result.
fn call_id(id: &str, model: &str) -> String {
    let id = id_and_signature(id).0;
    if is_mistral(model) { nine(id) } else { id.to_owned() }
}

fn encode_assistant(turn: &Turn, model: &str, notes: &mut Notes) -> Option<Json> {
    let (mut texts, mut calls, mut refusal, mut thoughts) = (Vec::new(), Vec::new(), None, Vec::new());
    for block in &turn.blocks {
        match &block.content {
            Content::Text(text) if !text.is_empty() => texts.push(text.as_str()),
            Content::Refusal(text) => refusal = Some(text.clone()),
            Content::ToolUse(call) => calls.push(encode_call(call, model, notes)),
            Content::Thinking(thought) if !thought.text.is_empty() => thoughts.push(thought.text.as_str()),
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
        if wants_thoughts(model) {
            message.set("reasoning_content", thoughts.join("\n"));
        }
        message.set("tool_calls", calls);
    }
    Some(message)
}

fn encode_call(call: &ToolUse, model: &str, notes: &mut Notes) -> Json {
    let arguments = if call.is_custom {
        members! { "input": &call.arguments }.to_string()
    } else if call.arguments.trim().is_empty() {
        "{}".to_owned()
    } else {
        call.arguments.clone()
    };
    let mut encoded = members! {
        "id": call_id(&call.id, model),
        "type": "function",
        "function": members! { "name": notes.names.safe(&call.name), "arguments": arguments },
    };
    // Gemini's own chat completions want it back there.
    if let (Some(signature), true) = (&call.signature, model.contains("gemini")) {
        encoded.set("extra_content", members! { "google": members! { "thought_signature": signature } });
    }
    encoded
}
