//! Requests as clients of Bedrock's Converse make them. <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>

use crate::translate::json::Json;
use crate::translate::model::{
    Block, Cache, Choice, Content, Media, MediaKind, Notes, Request, Role, Source, Thinking, Thought, Tool, ToolResult,
    ToolUse, Turn, Untranslatable,
};

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

fn media_type(format: &str) -> &'static str {
    match format {
        "csv" => "text/csv",
        "html" => "text/html",
        "md" => "text/markdown",
        "txt" => "text/plain",
        _ => "application/pdf",
    }
}
