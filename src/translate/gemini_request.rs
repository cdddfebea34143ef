//! Requests of Gemini's generateContent. <https://ai.google.dev/api/generate-content>

use crate::members;
use crate::translate::capability::{Capabilities, ThinkingForm};
use crate::translate::chat_request::parameters;
use crate::translate::json::Json;
use crate::translate::model::{
    Block, Choice, Content, Effort, Media, MediaKind, Output, Request, Role, Source, Thinking, Thought, Tool,
    ToolResult, ToolUse, Turn, Untranslatable,
};
use crate::translate::names::{id_and_signature, standard};
use crate::translate::{Notes, schema, turns};

/// What Gemini takes in the place of a signature that the history has lost. It is documented by Google.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

const KNOWN: &[&str] = &[
    "contents",
    "systemInstruction",
    "system_instruction",
    "tools",
    "toolConfig",
    "tool_config",
    "generationConfig",
    "generation_config",
    "model",
    "safetySettings",
    "safety_settings",
    "labels",
];

const KNOWN_CONFIG: &[&str] = &[
    "maxOutputTokens",
    "temperature",
    "topP",
    "topK",
    "stopSequences",
    "candidateCount",
    "seed",
    "frequencyPenalty",
    "presencePenalty",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "thinkingConfig",
    "responseModalities",
    "responseLogprobs",
    "logprobs",
];

/// A member under either of its spellings: Google's clients send both.
fn either<'a>(object: &'a Json, camel: &str, snake: &str) -> Option<&'a Json> {
    object.get(camel).or_else(|| object.get(snake))
}

pub fn decode(body: &Json, model: &str, stream: bool, notes: &mut Notes) -> Result<Request, Untranslatable> {
    let none = Json::Null;
    let config = either(body, "generationConfig", "generation_config").unwrap_or(&none);
    let no = |field: &str| Err(Untranslatable::new(field, "the model's provider has nothing of the kind"));
    if config.count("candidateCount").is_some_and(|n| n > 1) {
        return no("generationConfig.candidateCount");
    }
    if config.flag("responseLogprobs") == Some(true) {
        return no("generationConfig.responseLogprobs");
    }
    if config.list("responseModalities").iter().any(|kind| kind.as_str() != Some("TEXT")) {
        return no("generationConfig.responseModalities");
    }
    if body.get("cachedContent").is_some() {
        return no("cachedContent");
    }
    let mut request = Request {
        model: model.to_owned(),
        stream,
        usage_in_stream: true,
        max_tokens: config.count("maxOutputTokens"),
        ..Request::default()
    };
    for (name, _) in body.members().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        notes.dropped.note_if(!KNOWN.contains(&name.as_str()), name);
    }
    for (name, _) in config.members().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        notes.dropped.note_if(!KNOWN_CONFIG.contains(&name.as_str()), &format!("generationConfig.{name}"));
    }
    if let Some(system) = either(body, "systemInstruction", "system_instruction") {
        let texts = system.list("parts").iter().filter_map(|part| part.text("text"));
        request.system = texts.map(Block::text).collect();
    }
    let mut calls = Calls::default();
    let contents = match body.get("contents") {
        Some(Json::Array(all)) => all.as_slice(),
        _ => &[],
    };
    for (n, content) in contents.iter().enumerate() {
        let role = if content.text("role") == Some("model") { Role::Assistant } else { Role::User };
        let mut blocks = Vec::new();
        for (m, part) in content.list("parts").iter().enumerate() {
            let place = format!("contents[{n}].parts[{m}]");
            blocks.extend(decode_part(part, &place, &mut calls, notes)?.map(Block::from));
        }
        request.turns.push(Turn { role, blocks });
    }
    for tool in body.list("tools") {
        let functions = either(tool, "functionDeclarations", "function_declarations");
        if functions.is_none() {
            let name = tool.members().and_then(|members| members.first()).map_or("", |(name, _)| name.as_str());
            return Err(Untranslatable::new(
                format!("tools ({name:.60})"),
                "Google runs this tool itself, and the model's provider does not have it",
            ));
        }
        for function in functions.and_then(Json::as_array).unwrap_or_default() {
            let schema = either(function, "parametersJsonSchema", "parameters_json_schema").cloned();
            request.tools.push(Tool {
                name: function.text("name").unwrap_or_default().to_owned(),
                description: function.text("description").map(str::to_owned),
                parameters: schema.or_else(|| function.get("parameters").map(schema_of_openapi)),
                ..Tool::default()
            });
        }
    }
    let calling = either(body, "toolConfig", "tool_config")
        .and_then(|config| either(config, "functionCallingConfig", "function_calling_config"));
    if let Some(calling) = calling {
        let names: Vec<String> =
            calling.list("allowedFunctionNames").iter().filter_map(Json::as_str).map(str::to_owned).collect();
        request.choice = match (calling.text("mode"), names.as_slice()) {
            (Some("NONE"), _) => Some(Choice::None),
            (Some("ANY"), [one]) => Some(Choice::One(one.clone())),
            (Some("ANY"), _) => Some(Choice::Any),
            (Some("AUTO" | "VALIDATED"), _) => Some(Choice::Auto),
            _ => None,
        };
        request.allowed = (names.len() > 1).then_some(names);
    }
    decode_config(config, &mut request);
    Ok(request)
}

fn decode_config(config: &Json, request: &mut Request) {
    let sampling = &mut request.sampling;
    sampling.temperature = config.get("temperature").and_then(Json::as_f64);
    sampling.top_p = config.get("topP").and_then(Json::as_f64);
    sampling.top_k = config.count("topK");
    sampling.seed = config.get("seed").cloned();
    sampling.frequency_penalty = config.get("frequencyPenalty").and_then(Json::as_f64);
    sampling.presence_penalty = config.get("presencePenalty").and_then(Json::as_f64);
    request.stop = config.list("stopSequences").iter().filter_map(Json::as_str).map(str::to_owned).collect();
    let schema = config.get("responseJsonSchema").cloned();
    let schema = schema.or_else(|| config.get("responseSchema").map(schema_of_openapi));
    request.output = match (schema, config.text("responseMimeType")) {
        (Some(schema), _) => Some(Output::Schema { name: None, description: None, schema, strict: None }),
        (None, Some("application/json")) => Some(Output::Json),
        _ => None,
    };
    if let Some(thinking) = config.get("thinkingConfig") {
        request.thoughts_shown = thinking.flag("includeThoughts") == Some(true);
        let level = thinking.text("thinkingLevel").map(str::to_ascii_lowercase);
        let budget = thinking.get("thinkingBudget").and_then(Json::as_f64);
        request.thinking = match (level.as_deref().and_then(Effort::parse), budget) {
            (Some(effort), _) => Some(Thinking::Effort(effort)),
            (None, Some(0.0)) => Some(Thinking::Off),
            (None, Some(tokens)) if tokens < 0.0 => Some(Thinking::Adaptive),
            (None, Some(tokens)) => Some(Thinking::Budget(tokens as u64)),
            (None, None) => None,
        };
    }
}

/// Google writes types in capitals, and `nullable` beside them.
fn schema_of_openapi(schema: &Json) -> Json {
    match schema {
        Json::Object(members) => {
            let mut out = Json::object();
            let nullable = schema.flag("nullable") == Some(true);
            for (name, value) in members.iter().filter(|(name, _)| name != "nullable") {
                match (name.as_str(), value) {
                    ("type", Json::String(kind)) if nullable => {
                        out.set("type", vec![Json::from(kind.to_ascii_lowercase()), Json::from("null")]);
                    }
                    ("type", Json::String(kind)) => out.set("type", kind.to_ascii_lowercase()),
                    ("enum" | "default" | "required" | "example", value) => out.set(name, value.clone()),
                    (_, value) => out.set(name, schema_of_openapi(value)),
                }
            }
            out
        }
        Json::Array(all) => Json::Array(all.iter().map(schema_of_openapi).collect()),
        other => other.clone(),
    }
}

/// Gemini may leave out the ids of calls: then the n-th result with a name belongs to the n-th call with it.
#[derive(Default)]
struct Calls {
    made: Vec<(String, String)>,
    answered: usize,
}

impl Calls {
    fn make(&mut self, id: Option<&str>, name: &str) -> String {
        let id = id.filter(|id| !id.is_empty()).map_or_else(|| format!("call_{}", self.made.len()), str::to_owned);
        self.made.push((id.clone(), name.to_owned()));
        id
    }

    fn answer(&mut self, id: Option<&str>, name: &str) -> String {
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            return id.to_owned();
        }
        let open = self.made.iter().enumerate().skip(self.answered).find(|(_, (_, own))| own == name);
        match open {
            Some((at, (id, _))) => {
                if at == self.answered {
                    self.answered += 1;
                }
                id.clone()
            }
            None => name.to_owned(),
        }
    }
}

fn decode_part(
    part: &Json,
    place: &str,
    calls: &mut Calls,
    notes: &mut Notes,
) -> Result<Option<Content>, Untranslatable> {
    let signature = either(part, "thoughtSignature", "thought_signature").and_then(Json::as_str).map(str::to_owned);
    if let Some(call) = either(part, "functionCall", "function_call") {
        let name = call.text("name").unwrap_or_default();
        return Ok(Some(Content::ToolUse(ToolUse {
            id: calls.make(call.text("id"), name),
            name: name.to_owned(),
            arguments: call.get("args").map_or_else(|| "{}".to_owned(), Json::to_string),
            signature: signature.filter(|own| own != NO_SIGNATURE),
            is_custom: false,
        })));
    }
    if let Some(answer) = either(part, "functionResponse", "function_response") {
        let name = answer.text("name").unwrap_or_default();
        let response = answer.get("response").cloned().unwrap_or_else(Json::object);
        let (text, is_error) = match (response.get("output").or_else(|| response.get("result")), response.get("error"))
        {
            (_, Some(error)) => (error.as_str().map_or_else(|| error.to_string(), str::to_owned), true),
            (Some(output), None) if response.members().is_some_and(|all| all.len() == 1) => {
                (output.as_str().map_or_else(|| output.to_string(), str::to_owned), false)
            }
            _ => (response.to_string(), false),
        };
        let mut content = vec![Block::text(text)];
        for inner in answer.list("parts") {
            content.extend(decode_part(inner, place, calls, notes)?.map(Block::from));
        }
        return Ok(Some(Content::ToolResult(ToolResult {
            id: calls.answer(answer.text("id"), name),
            content,
            is_error,
        })));
    }
    if let Some(text) = part.text("text") {
        if part.flag("thought") == Some(true) {
            return Ok(Some(Content::Thinking(Thought { text: text.to_owned(), signature })));
        }
        return Ok(Some(Content::Text(text.to_owned())));
    }
    let media = |media_type: &str, source| {
        let kind = match media_type.split('/').next() {
            Some("image") => MediaKind::Image,
            Some("audio") => MediaKind::Audio,
            _ => MediaKind::Document,
        };
        Content::Media(Media { kind, source, name: None, detail: None })
    };
    if let Some(inline) = either(part, "inlineData", "inline_data") {
        let media_type = either(inline, "mimeType", "mime_type").and_then(Json::as_str).unwrap_or_default();
        let data = inline.text("data").unwrap_or_default().to_owned();
        return Ok(Some(media(media_type, Source::Inline { media_type: media_type.to_owned(), data })));
    }
    if let Some(file) = either(part, "fileData", "file_data") {
        let media_type = either(file, "mimeType", "mime_type").and_then(Json::as_str).unwrap_or_default();
        let uri = either(file, "fileUri", "file_uri").and_then(Json::as_str).unwrap_or_default();
        return Ok(Some(media(media_type, Source::Url(uri.to_owned()))));
    }
    notes.dropped.note(place);
    Ok(None)
}

pub fn encode(request: &Request, model: &str, can: &Capabilities, notes: &mut Notes) -> Result<Json, Untranslatable> {
    let mut body = Json::object();
    let turns = turns::alternating(
        &request.turns,
        |content| matches!(content, Content::Thinking(thought) if thought.signature.as_deref().is_some_and(|own| own.starts_with(GOOGLE))),
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
    let system: Vec<Json> = request
        .system
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
    let config = encode_config(request, can, notes);
    if config != Json::object() {
        body.set("generationConfig", config);
    }
    Ok(body)
}

/// What a signature of Gemini begins with where another format holds it.
pub const GOOGLE: &str = "google:";

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
                let mut part = members! { "text": &thought.text, "thought": true };
                part.set_some(
                    "thoughtSignature",
                    thought.signature.as_deref().and_then(|own| own.strip_prefix(GOOGLE)),
                );
                parts.push(part);
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
        results.sort_by_key(|result| order.iter().position(|(id, _)| *id == id_and_signature(&result.id).0));
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
            Ok(members! { "fileData": members! { "fileUri": url } })
        }
        Source::Url(_) => {
            Err(Untranslatable::new(place, "Gemini does not fetch this URL, and Tollgate never does; send it inline"))
        }
        Source::File(_) => Err(Untranslatable::new(place, "another provider keeps this file; send it inline")),
    }
}

fn encode_tools(request: &Request, body: &mut Json, notes: &mut Notes) {
    let allowed = |tool: &&Tool| request.allowed.as_ref().is_none_or(|names| names.contains(&tool.name));
    let mut functions = Vec::new();
    for tool in request.tools.iter().filter(allowed) {
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

fn encode_config(request: &Request, can: &Capabilities, notes: &mut Notes) -> Json {
    let mut config = Json::object();
    let sampling = &request.sampling;
    config.set_some("maxOutputTokens", request.max_tokens);
    config.set_some("temperature", sampling.temperature);
    config.set_some("topP", sampling.top_p);
    config.set_some("topK", sampling.top_k);
    config.set_some("seed", sampling.seed.as_ref());
    config.set_some("frequencyPenalty", sampling.frequency_penalty);
    config.set_some("presencePenalty", sampling.presence_penalty);
    if !request.stop.is_empty() {
        notes.dropped.note_if(request.stop.len() > 5, "stop sequences beyond five");
        config.set("stopSequences", request.stop.iter().take(5).map(|text| Json::from(text)).collect::<Vec<_>>());
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
            Some(members! { "thinkingLevel": level(effort) })
        }
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

fn level(effort: Effort) -> &'static str {
    match effort {
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::Xhigh | Effort::Max => "high",
    }
}
