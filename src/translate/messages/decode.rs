//! Requests as clients of Anthropic's Messages API make them. <https://docs.anthropic.com/en/api/messages>

use crate::translate::chat::decode::instruct;
use crate::translate::json::Json;
use crate::translate::model::{
    Block, Cache, Choice, Content, Effort, Media, MediaKind, Notes, Output, Request, Role, Source, Thinking, Thought,
    Tool, ToolResult, ToolUse, Turn, Untranslatable,
};
use crate::translate::names::{id_and_signature, standard};

const KNOWN: &[&str] = &[
    "model",
    "messages",
    "system",
    "max_tokens",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "output_format",
    "metadata",
    "service_tier",
    "anthropic_version",
    "anthropic_beta",
    "betas",
];

/// Members that mean something which other formats cannot say.
const MEANINGFUL: &[&str] = &["mcp_servers", "container"];

pub fn decode(body: &Json, notes: &mut Notes) -> Result<Request, Untranslatable> {
    let mut request = Request {
        model: body.text("model").unwrap_or_default().to_owned(),
        stream: body.flag("stream").unwrap_or(false),
        usage_in_stream: true,
        max_tokens: body.count("max_tokens"),
        thoughts_shown: true,
        ..Request::default()
    };
    for (name, value) in body.members().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let is_empty = value.as_array().is_some_and(<[Json]>::is_empty);
        if MEANINGFUL.contains(&name.as_str()) && !is_empty {
            return Err(Untranslatable::new(name, "the model's provider has nothing of the kind"));
        }
        notes.dropped.note_if(!KNOWN.contains(&name.as_str()) && !is_empty, name);
    }
    request.system = match body.get("system") {
        Some(Json::String(text)) => vec![Block::text(text)],
        Some(Json::Array(blocks)) => blocks.iter().filter_map(|block| text_block(block, notes)).collect(),
        _ => Vec::new(),
    };
    for (n, message) in body.list("messages").iter().enumerate() {
        let role = match message.text("role") {
            Some("assistant") => Role::Assistant,
            Some("system") => {
                instruct(&mut request, content(message, &format!("messages[{n}]"), notes)?);
                continue;
            }
            _ => Role::User,
        };
        request.turns.push(Turn { role, blocks: content(message, &format!("messages[{n}]"), notes)? });
    }
    for tool in body.list("tools") {
        request.tools.extend(decode_tool(tool)?);
    }
    if let Some(choice) = body.get("tool_choice") {
        request.choice = match choice.kind() {
            "auto" => Some(Choice::Auto),
            "none" => Some(Choice::None),
            "any" => Some(Choice::Any),
            "tool" => Some(Choice::One(choice.text("name").unwrap_or_default().to_owned())),
            _ => None,
        };
        request.parallel = choice.flag("disable_parallel_tool_use").map(|off| !off);
    }
    request.sampling.temperature = body.get("temperature").and_then(Json::as_f64);
    request.sampling.top_p = body.get("top_p").and_then(Json::as_f64);
    request.sampling.top_k = body.count("top_k");
    request.stop = body.list("stop_sequences").iter().filter_map(Json::as_str).map(str::to_owned).collect();
    let effort = body.at(&["output_config", "effort"]).and_then(Json::as_str).and_then(Effort::parse);
    request.thinking = match body.get("thinking").map(Json::kind) {
        Some("disabled") => Some(Thinking::Off),
        Some("enabled") => body.at(&["thinking", "budget_tokens"]).and_then(Json::as_u64).map(Thinking::Budget),
        Some("adaptive") => Some(effort.map_or(Thinking::Adaptive, Thinking::Effort)),
        _ => effort.map(Thinking::Effort),
    };
    request.is_effort_alone = body.get("thinking").is_none_or(Json::is_null) && effort.is_some();
    let format = body.at(&["output_config", "format"]).or_else(|| body.get("output_format"));
    request.output = format.and_then(|format| format.get("schema")).map(|schema| Output::Schema {
        name: None,
        description: None,
        schema: schema.clone(),
        strict: None,
    });
    request.user = body.at(&["metadata", "user_id"]).and_then(Json::as_str).map(str::to_owned);
    Ok(request)
}

fn cache(block: &Json) -> Option<Cache> {
    let mark = block.get("cache_control")?;
    Some(Cache { ttl: mark.text("ttl").map(str::to_owned) })
}

fn text_block(block: &Json, notes: &mut Notes) -> Option<Block> {
    notes.dropped.note_if(block.flag("citations.enabled").is_some(), "citations");
    Some(Block { cache: cache(block), ..Block::text(block.text("text")?) })
}

fn content(message: &Json, place: &str, notes: &mut Notes) -> Result<Vec<Block>, Untranslatable> {
    match message.get("content") {
        Some(Json::String(text)) => Ok(vec![Block::text(text)]),
        Some(Json::Array(blocks)) => {
            let mut all = Vec::new();
            for (n, block) in blocks.iter().enumerate() {
                all.extend(decode_block(block, &format!("{place}.content[{n}]"), notes)?);
            }
            Ok(all)
        }
        _ => Ok(Vec::new()),
    }
}

fn decode_block(block: &Json, place: &str, notes: &mut Notes) -> Result<Option<Block>, Untranslatable> {
    let text = |name: &str| block.text(name).unwrap_or_default().to_owned();
    let content = match block.kind() {
        "text" => Content::Text(text("text")),
        "thinking" => {
            Content::Thinking(Thought { text: text("thinking"), signature: block.said("signature").map(str::to_owned) })
        }
        "redacted_thinking" => Content::Redacted(text("data")),
        "image" => Content::Media(decode_media(block, MediaKind::Image, place)?),
        "document" => {
            notes.dropped.note_if(block.at(&["citations", "enabled"]) == Some(&Json::Bool(true)), "citations");
            Content::Media(decode_media(block, MediaKind::Document, place)?)
        }
        "tool_use" => {
            let (id, signature) = id_and_signature(block.text("id").unwrap_or_default());
            Content::ToolUse(ToolUse {
                id: id.to_owned(),
                name: text("name"),
                arguments: block.get("input").map_or_else(|| "{}".to_owned(), Json::to_string),
                signature: signature.map(standard),
                is_custom: false,
            })
        }
        "tool_result" => Content::ToolResult(ToolResult {
            id: id_and_signature(block.text("tool_use_id").unwrap_or_default()).0.to_owned(),
            content: self::content(block, place, notes)?,
            is_error: block.flag("is_error").unwrap_or(false),
        }),
        other => {
            notes.dropped.note(format!("{place} ({other:.40})"));
            return Ok(None);
        }
    };
    Ok(Some(Block { cache: cache(block), ..content.into() }))
}

fn decode_media(block: &Json, kind: MediaKind, place: &str) -> Result<Media, Untranslatable> {
    let source = block.get("source").unwrap_or(&Json::Null);
    let text = |name: &str| source.text(name).unwrap_or_default().to_owned();
    let source = match source.kind() {
        "base64" => Source::inline(&text("media_type"), &text("data")).named(block.text("title")),
        "url" => Source::Url(text("url")),
        "file" => Source::File(text("file_id")),
        "text" => Source::Text(text("data")),
        "content" => Source::Text(source.list("content").iter().filter_map(|part| part.text("text")).collect()),
        _ => return Err(Untranslatable::new(place, "its source is of a kind that Tollgate does not know")),
    };
    Ok(Media { kind, source, name: block.text("title").map(str::to_owned), detail: None })
}

fn decode_tool(tool: &Json) -> Result<Option<Tool>, Untranslatable> {
    match tool.kind() {
        "" | "custom" => Ok(Some(Tool {
            name: tool.text("name").unwrap_or_default().to_owned(),
            description: tool.text("description").map(str::to_owned),
            parameters: tool.get("input_schema").cloned(),
            strict: tool.flag("strict"),
            cache: cache(tool),
            is_custom: false,
        })),
        other => Err(Untranslatable::new(
            format!("tools ({other:.60})"),
            "Anthropic runs this tool itself, and the model's provider does not have it",
        )),
    }
}
