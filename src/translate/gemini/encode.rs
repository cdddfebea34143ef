//! Requests as Gemini's generateContent takes them.

use crate::base::sorted;
use crate::members;
use crate::translate::capability::{Capabilities, ThinkingForm};
use crate::translate::chat::encode::parameters;
use crate::translate::json::Json;
use crate::translate::media;
use crate::translate::model::{
    Choice, Content, Effort, Media, Notes, Output, Request, Role, Source, Thinking, ToolResult, Turn, Untranslatable,
};
use crate::translate::names::{id_and_signature, standard};
use crate::translate::schema;
use crate::translate::signatures::{GOOGLE, GOOGLE_TEXT, NO_SIGNATURE};
use crate::translate::turns;

pub fn encode(request: &Request, model: &str, can: &Capabilities, notes: &mut Notes) -> Result<Json, Untranslatable> {
    let mut body = Json::object();
    let turns = turns::alternating(
        &request.turns,
        |content| matches!(content, Content::Thinking(thought) if thought.signature.as_deref().is_some_and(|own| own.starts_with(GOOGLE) || own.starts_with(GOOGLE_TEXT))),
    );
    let mut contents = Vec::new();
    if turns.first().is_some_and(|turn| turn.role == Role::Assistant) {
        notes.dropped.note("the absence of a first user message");
        contents.push(members! { "role": "user", "parts": vec![members! { "text": "." }] });
    }
    for (n, turn) in turns.iter().enumerate() {
        encode_turn(turn, &turns, model, &format!("messages[{n}]"), &mut contents, notes)?;
    }
    body.set("contents", contents);
    let system: Vec<Json> = turns::instructions(request, notes)
        .iter()
        .filter_map(|block| match &block.content {
            Content::Text(text) if !text.is_empty() => Some(members! { "text": text }),
            _ => None,
        })
        .collect();
    if !system.is_empty() {
        body.set("systemInstruction", members! { "parts": system });
    }
    encode_tools(request, &mut body, notes);
    let config = encode_config(request, model, can, notes);
    if config != Json::object() {
        body.set("generationConfig", config);
    }
    Ok(body)
}

fn encode_turn(
    turn: &Turn,
    all: &[Turn],
    model: &str,
    place: &str,
    contents: &mut Vec<Json>,
    notes: &mut Notes,
) -> Result<(), Untranslatable> {
    let role = if turn.role == Role::User { "user" } else { "model" };
    let (mut results, mut parts) = (Vec::new(), Vec::new());
    let mut is_first_call = true;
    for block in &turn.blocks {
        match &block.content {
            Content::Text(text) | Content::Refusal(text) => parts.push(members! { "text": text }),
            Content::Thinking(thought) => {
                let signature = thought.signature.as_deref().unwrap_or_default();
                match (signature.strip_prefix(GOOGLE_TEXT), parts.last_mut()) {
                    (Some(of_text), Some(last)) if last.text("text").is_some() && last.get("thought").is_none() => {
                        last.set("thoughtSignature", of_text)
                    }
                    (Some(of_text), _) => parts.push(members! { "text": "", "thoughtSignature": of_text }),
                    (None, _) => {
                        let mut part = members! { "text": &thought.text, "thought": true };
                        part.set_some("thoughtSignature", signature.strip_prefix(GOOGLE));
                        parts.push(part);
                    }
                }
            }
            Content::Redacted(_) => {}
            Content::Media(media) => parts.push(encode_media(media, place)?),
            Content::ToolUse(call) => {
                let args = if call.is_custom {
                    members! { "input": &call.arguments }
                } else {
                    turns::arguments(&call.arguments)
                };
                let mut part =
                    members! { "functionCall": members! { "name": notes.names.safe(&call.name), "args": args } };
                match &call.signature {
                    Some(signature) => part.set("thoughtSignature", standard(signature)),
                    // Gemini 3 wants one on the first call of each step.
                    None if is_first_call && model.contains("gemini-3") => part.set("thoughtSignature", NO_SIGNATURE),
                    None => {}
                }
                is_first_call = false;
                parts.push(part);
            }
            Content::ToolResult(result) => results.push(result),
        }
    }
    if !results.is_empty() {
        let order = calls_of(all);
        sorted::by_key(&mut results, |result| order.iter().position(|(id, _)| *id == id_and_signature(&result.id).0));
        let mut answers = Vec::new();
        for result in results {
            let id = id_and_signature(&result.id).0;
            let name = order.iter().rev().find(|(own, _)| *own == id).map_or(id, |(_, name)| name);
            let (response, media) = encode_result(result, place)?;
            let mut answer = members! { "name": notes.names.safe(name), "response": response };
            if !media.is_empty() && model.contains("gemini-3") {
                answer.set("parts", media);
            } else {
                parts.extend(media);
            }
            answers.push(members! { "functionResponse": answer });
        }
        // Gemini refuses anything beside the answers of functions.
        contents.push(members! { "role": "user", "parts": answers });
    }
    if !parts.is_empty() {
        contents.push(members! { "role": role, "parts": parts });
    }
    Ok(())
}

/// The calls of all turns, in their order.
fn calls_of(turns: &[Turn]) -> Vec<(&str, &str)> {
    let blocks = turns.iter().flat_map(|turn| &turn.blocks);
    blocks
        .filter_map(|block| match &block.content {
            Content::ToolUse(call) => Some((id_and_signature(&call.id).0, call.name.as_str())),
            _ => None,
        })
        .collect()
}

fn encode_result(result: &ToolResult, place: &str) -> Result<(Json, Vec<Json>), Untranslatable> {
    let (mut texts, mut media) = (Vec::new(), Vec::new());
    for block in &result.content {
        match &block.content {
            Content::Text(text) | Content::Refusal(text) => texts.push(text.as_str()),
            Content::Media(own) => media.push(encode_media(own, place)?),
            _ => {}
        }
    }
    let text = texts.join("\n");
    let response = match Json::parse(&text) {
        Some(object @ Json::Object(_)) if !result.is_error => object,
        _ if result.is_error => members! { "error": text },
        _ => members! { "output": text },
    };
    Ok((response, media))
}

fn encode_media(media: &Media, place: &str) -> Result<Json, Untranslatable> {
    match &media.source {
        Source::Inline { media_type, data } => {
            let media_type = if media_type.is_empty() { "application/octet-stream" } else { media_type };
            Ok(members! { "inlineData": members! { "mimeType": media_type, "data": data } })
        }
        Source::Text(text) => Ok(members! { "text": text }),
        Source::Url(url) if url.starts_with("gs://") || url.contains("generativelanguage.googleapis.com") => {
            let mut file = members! { "fileUri": url };
            file.set_some("mimeType", media::type_of(url));
            Ok(members! { "fileData": file })
        }
        Source::Url(_) => {
            Err(Untranslatable::new(place, "Gemini does not fetch this URL, and Tollgate never does; send it inline"))
        }
        Source::File(_) => Err(Untranslatable::new(place, "another provider keeps this file; send it inline")),
    }
}

fn encode_tools(request: &Request, body: &mut Json, notes: &mut Notes) {
    let mut functions = Vec::new();
    for tool in request.offered() {
        let mut function = members! { "name": notes.names.safe(&tool.name) };
        function.set_some("description", tool.description.as_ref());
        let reduced = parameters(tool).and_then(|own| schema::openapi(&own, &mut notes.dropped));
        function.set_some("parameters", reduced);
        functions.push(function);
    }
    if functions.is_empty() {
        return;
    }
    body.set("tools", vec![members! { "functionDeclarations": functions }]);
    notes.dropped.note_if(request.parallel == Some(false), "parallel_tool_calls");
    notes.dropped.note_if(request.tools.iter().any(|tool| tool.strict == Some(true)), "strict");
    let config = match &request.choice {
        None => return,
        Some(Choice::Auto) => members! { "mode": "AUTO" },
        Some(Choice::None) => members! { "mode": "NONE" },
        Some(Choice::Any) => members! { "mode": "ANY" },
        Some(Choice::One(name)) => {
            members! { "mode": "ANY", "allowedFunctionNames": vec![Json::from(notes.names.safe(name))] }
        }
    };
    body.set("toolConfig", members! { "functionCallingConfig": config });
}

fn encode_config(request: &Request, model: &str, can: &Capabilities, notes: &mut Notes) -> Json {
    let mut config = Json::object();
    let sampling = &request.sampling;
    config.set_some("maxOutputTokens", request.max_tokens);
    config.set_some("candidateCount", request.choices);
    config.set_some("temperature", sampling.temperature);
    config.set_some("topP", sampling.top_p);
    config.set_some("topK", sampling.top_k);
    config.set_some("seed", sampling.seed.as_ref());
    config.set_some("frequencyPenalty", sampling.frequency_penalty);
    config.set_some("presencePenalty", sampling.presence_penalty);
    if !request.stop.is_empty() {
        notes.dropped.note_if(request.stop.len() > 5, "stop sequences beyond five");
        config.set("stopSequences", request.stop.iter().take(5).map(Json::from).collect::<Vec<_>>());
    }
    match &request.output {
        None => {}
        Some(Output::Json) => config.set("responseMimeType", "application/json"),
        Some(Output::Schema { schema, .. }) => {
            config.set("responseMimeType", "application/json");
            config.set_some("responseSchema", schema::openapi(schema, &mut notes.dropped));
        }
    }
    let thinking = request.thinking.and_then(|thinking| match (can.thinking, thinking) {
        (ThinkingForm::None, Thinking::Off) => None,
        (ThinkingForm::None, _) => {
            notes.dropped.note("thinking");
            None
        }
        (ThinkingForm::Level | ThinkingForm::Adaptive, Thinking::Off) => None,
        (ThinkingForm::Level | ThinkingForm::Adaptive, thinking) => {
            let effort = match thinking {
                Thinking::Effort(effort) => effort,
                Thinking::Budget(tokens) => Effort::of_budget(tokens),
                _ => Effort::High,
            };
            Some(members! { "thinkingLevel": level(effort, model) })
        }
        // This one always thinks.
        (ThinkingForm::Budget, Thinking::Off) if model.contains("gemini-2.5-pro") => None,
        (ThinkingForm::Budget, Thinking::Off) => Some(members! { "thinkingBudget": 0_u64 }),
        (ThinkingForm::Budget, Thinking::Budget(tokens)) => Some(members! { "thinkingBudget": tokens.min(32_768) }),
        (ThinkingForm::Budget, Thinking::Effort(effort)) => Some(members! { "thinkingBudget": effort.budget() }),
        (ThinkingForm::Budget, Thinking::Adaptive) => Some(members! { "thinkingBudget": -1.0 }),
    });
    if let Some(mut thinking) = thinking {
        if request.thoughts_shown && request.thinking != Some(Thinking::Off) {
            thinking.set("includeThoughts", true);
        }
        config.set("thinkingConfig", thinking);
    }
    config
}

fn level(effort: Effort, model: &str) -> &'static str {
    match effort {
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium if !model.contains("gemini-3-pro") => "medium",
        Effort::Medium => "high",
        Effort::High | Effort::Xhigh | Effort::Max => "high",
    }
}
