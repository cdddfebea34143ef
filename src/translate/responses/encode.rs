//! Requests as OpenAI's Responses API takes them.

use crate::members;
use crate::translate::capability::{self, is_openai_reasoning, openai_effort};
use crate::translate::chat::decode::url_of_source;
use crate::translate::chat::encode::{
    bare, bounded, instructions, is_marked, marked, parameters, refused_by_reasoning,
};
use crate::translate::json::Json;
use crate::translate::model::{
    Choice, Content, Media, MediaKind, Notes, Output, Request, Role, Source, Thinking, Turn, Untranslatable,
};
use crate::translate::names::{safe_id, short};
use crate::translate::turns;

pub fn encode(request: &Request, model: &str, notes: &mut Notes) -> Result<Json, Untranslatable> {
    let mut body = Json::object().with("model", model);
    let marks = capability::takes_marks(model);
    let mut items = Vec::new();
    if marks && request.system.iter().any(is_marked) {
        // `instructions` have no place for a mark.
        let message = instructions(&request.system, marks, "input_text");
        items.extend(message.map(|own| own.with("role", "developer").with("type", "message")));
    } else {
        body.set_some("instructions", turns::text(&request.system));
    }
    for (n, turn) in request.turns.iter().enumerate() {
        encode_turn(turn, &format!("messages[{n}]"), marks, &mut items, notes)?;
    }
    body.set("input", items);
    body.set("store", false);
    body.set_some("max_output_tokens", bounded(request.max_tokens, model, notes).map(|tokens| tokens.max(16)));
    let sampling = &request.sampling;
    if is_openai_reasoning(model) {
        refused_by_reasoning(request, notes);
    } else {
        body.set_some("temperature", sampling.temperature);
        body.set_some("top_p", sampling.top_p);
    }
    for (given, name) in [
        (sampling.top_k.is_some(), "top_k"),
        (sampling.seed.is_some(), "seed"),
        (sampling.frequency_penalty.is_some(), "frequency_penalty"),
        (sampling.presence_penalty.is_some(), "presence_penalty"),
        (!request.stop.is_empty(), "stop"),
    ] {
        notes.dropped.note_if(given, name);
    }
    let mut tools = Vec::new();
    for tool in request.offered() {
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
    encode_reasoning(request, model, &mut body, notes);
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
    body.set_some("user", request.user.as_deref().map(short));
    body.set_some("prompt_cache_key", request.cache_key.as_deref().map(short));
    if request.stream {
        body.set("stream", true);
    }
    Ok(body)
}

fn encode_reasoning(request: &Request, model: &str, body: &mut Json, notes: &mut Notes) {
    let Some(thinking) = request.thinking else { return };
    let Some(effort) = openai_effort(model, thinking) else {
        notes.dropped.note_if(thinking != Thinking::Off, "thinking");
        return;
    };
    let mut reasoning = members! { "effort": effort };
    if thinking != Thinking::Off {
        if request.thoughts_shown {
            reasoning.set("summary", "auto");
        }
        body.set("include", vec![Json::from("reasoning.encrypted_content")]);
    }
    body.set("reasoning", reasoning);
}

fn encode_turn(
    turn: &Turn,
    place: &str,
    marks: bool,
    items: &mut Vec<Json>,
    notes: &mut Notes,
) -> Result<(), Untranslatable> {
    // What the model itself said takes no mark.
    let marks = marks && turn.role != Role::Assistant;
    let (role, kind) = match turn.role {
        Role::User => ("user", "input_text"),
        Role::Assistant => ("assistant", "output_text"),
        Role::System => ("developer", "input_text"),
    };
    let mut content: Vec<Json> = Vec::new();
    let flush = |content: &mut Vec<Json>, items: &mut Vec<Json>| {
        if !content.is_empty() {
            items.push(members! { "type": "message", "role": role, "content": std::mem::take(content) });
        }
    };
    for block in &turn.blocks {
        match &block.content {
            Content::Text(text) if !text.is_empty() => {
                content.push(marked(members! { "type": kind, "text": text }, marks && is_marked(block)));
            }
            Content::Refusal(text) => content.push(members! { "type": "refusal", "refusal": text }),
            Content::Text(_) | Content::Redacted(_) => {}
            Content::Media(media) => content.push(marked(encode_media(media, place)?, marks && is_marked(block))),
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
                if marks
                    && is_marked(block)
                    && let Some(last) = output.pop()
                {
                    output.push(marked(last, true));
                }
                let output = bare(output);
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
