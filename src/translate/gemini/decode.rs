//! Requests as clients of Gemini's generateContent make them. <https://ai.google.dev/api/generate-content>

use crate::translate::json::Json;
use crate::translate::model::{
    Block, Choice, Content, Effort, Media, MediaKind, Notes, Output, Request, Role, Source, Thinking, Thought, Tool,
    ToolResult, ToolUse, Turn, Untranslatable,
};
use crate::translate::signatures::NO_SIGNATURE;

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
        choices: config.count("candidateCount").filter(|n| *n > 1),
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
    made: Vec<Made>,
}

struct Made {
    id: String,
    name: String,
    is_answered: bool,
}

impl Calls {
    fn make(&mut self, id: Option<&str>, name: &str) -> String {
        let id = id.filter(|id| !id.is_empty()).map_or_else(|| format!("call_{}", self.made.len()), str::to_owned);
        self.made.push(Made { id: id.clone(), name: name.to_owned(), is_answered: false });
        id
    }

    fn answer(&mut self, id: Option<&str>, name: &str) -> String {
        let given = id.filter(|id| !id.is_empty());
        let mut open = self.made.iter_mut().filter(|made| !made.is_answered);
        let found = open.find(|made| given.map_or(made.name == name, |id| made.id == id));
        if let Some(made) = found {
            made.is_answered = true;
            return made.id.clone();
        }
        given.unwrap_or(name).to_owned()
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
        return Ok(Some(media(media_type, Source::inline(media_type, inline.text("data").unwrap_or_default()))));
    }
    if let Some(file) = either(part, "fileData", "file_data") {
        let media_type = either(file, "mimeType", "mime_type").and_then(Json::as_str).unwrap_or_default();
        let uri = either(file, "fileUri", "file_uri").and_then(Json::as_str).unwrap_or_default();
        return Ok(Some(media(media_type, Source::Url(uri.to_owned()))));
    }
    notes.dropped.note(place);
    Ok(None)
}
