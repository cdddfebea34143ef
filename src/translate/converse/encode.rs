//! Requests as Bedrock's Converse takes them.

use crate::members;
use crate::translate::capability::{Capabilities, LEAST_BUDGET, ThinkingForm};
use crate::translate::chat::encode::parameters;
use crate::translate::json::Json;
use crate::translate::media;
use crate::translate::model::{
    Block, Cache, Choice, Content, Effort, Media, MediaKind, Notes, Output, Request, Role, Source, Thinking, Turn,
    Untranslatable,
};
use crate::translate::names::{JSON_TOOL, safe_id};
use crate::translate::schema;
use crate::translate::turns;

/// Documents in a request.
const MAX_DOCUMENTS: usize = 5;

pub fn encode(request: &Request, can: &Capabilities, notes: &mut Notes) -> Result<Json, Untranslatable> {
    let keeps = |content: &Content| match content {
        Content::Thinking(thought) => thought.is_anthropics(),
        Content::Redacted(data) => !data.is_empty(),
        _ => true,
    };
    let turns = turns::alternating(&request.turns, keeps);
    let mut messages = Vec::new();
    if turns.first().is_some_and(|turn| turn.role == Role::Assistant) {
        notes.dropped.note("the absence of a first user message");
        messages.push(members! { "role": "user", "content": vec![members! { "text": "." }] });
    }
    let mut documents = 0;
    for (n, turn) in turns.iter().enumerate() {
        let role = if turn.role == Role::User { "user" } else { "assistant" };
        let content = encode_blocks(&turn.blocks, &format!("messages[{n}]"), &mut documents, notes)?;
        messages.push(members! { "role": role, "content": content });
    }
    let mut body = members! { "messages": messages };
    let system = encode_blocks(&turns::instructions(request, notes), "system", &mut documents, notes)?;
    if !system.is_empty() {
        body.set("system", system);
    }
    encode_config(request, can, &turns, &mut body, notes);
    encode_tools(request, can, &turns, &mut body, notes);
    if let (Some(Output::Schema { name, description, schema, .. }), true) = (&request.output, can.has_schemas) {
        let schema = schema::closed(schema, &mut notes.dropped).to_string();
        let mut format = members! { "schema": schema };
        format.set_some("name", name.as_ref());
        format.set_some("description", description.as_ref());
        let format = members! { "type": "json_schema", "structure": members! { "jsonSchema": format } };
        body.set("outputConfig", members! { "textFormat": format });
    }
    if let Some(user) = &request.user {
        body.set("requestMetadata", members! { "user": metadata(user) });
    }
    Ok(body)
}

/// A value of the metadata of a request, which may have few characters.
fn metadata(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " :_@$#=/+,-.".contains(c);
    text.chars().map(|c| if is_plain(c) { c } else { '_' }).take(256).collect()
}

fn point(cache: &Cache) -> Json {
    let mut point = members! { "type": "default" };
    point.set_some("ttl", cache.ttl.as_ref());
    members! { "cachePoint": point }
}

fn encode_blocks(
    blocks: &[Block],
    place: &str,
    documents: &mut usize,
    notes: &mut Notes,
) -> Result<Vec<Json>, Untranslatable> {
    let mut all = Vec::new();
    let (is_system, before) = (place == "system", *documents);
    for block in blocks {
        match &block.content {
            Content::Text(text) | Content::Refusal(text)
                if text.is_empty() || (text.trim().is_empty() && is_system) => {}
            Content::Text(text) | Content::Refusal(text) => all.push(members! { "text": text }),
            Content::Thinking(thought) => {
                let text = members! { "text": &thought.text, "signature": thought.signature.as_deref() };
                all.push(members! { "reasoningContent": members! { "reasoningText": text } });
            }
            Content::Redacted(data) => {
                all.push(members! { "reasoningContent": members! { "redactedContent": data } });
            }
            Content::Media(media) => {
                if media.kind == MediaKind::Document {
                    *documents += 1;
                    if *documents > MAX_DOCUMENTS {
                        return Err(Untranslatable::new(place, "Bedrock takes five documents in a request at most"));
                    }
                }
                all.push(encode_media(media, *documents, place)?);
            }
            Content::ToolUse(call) => {
                let input = if call.is_custom {
                    members! { "input": &call.arguments }
                } else {
                    turns::arguments(&call.arguments)
                };
                all.push(members! { "toolUse": members! {
                    "toolUseId": safe_id(&call.id), "name": notes.names.safe(&call.name), "input": input,
                } });
            }
            Content::ToolResult(result) => {
                let mut content = encode_blocks(&result.content, place, documents, notes)?;
                if content.is_empty() {
                    content.push(members! { "text": " " });
                }
                let mut encoded = members! { "toolUseId": safe_id(&result.id), "content": content };
                if result.is_error {
                    encoded.set("status", "error");
                }
                all.push(members! { "toolResult": encoded });
            }
        }
        if !all.is_empty() {
            all.extend(block.cache.as_ref().map(point));
        }
    }
    // A document has to have a text beside it.
    if *documents > before && !all.iter().any(|block: &Json| block.get("text").is_some()) {
        all.push(members! { "text": "." });
    }
    Ok(all)
}

fn format(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/markdown" => "md",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        text if media::is_text(text) => "txt",
        _ => return None,
    })
}

fn encode_media(media: &Media, number: usize, place: &str) -> Result<Json, Untranslatable> {
    let no = |why: &str| Err(Untranslatable::new(place, why));
    let source = match &media.source {
        Source::Inline { data, .. } => members! { "bytes": data },
        Source::Text(text) => members! { "text": text },
        Source::Url(url) if url.starts_with("s3://") => members! { "s3Location": members! { "uri": url } },
        Source::Url(_) => return no("Bedrock fetches no URL, and Tollgate never does; send it inline"),
        Source::File(_) => return no("another provider keeps this file; send it inline"),
    };
    let named = |name: &str| media::type_of(name).and_then(format);
    let by_name = media.name.as_deref().and_then(named);
    let kind = match &media.source {
        Source::Inline { media_type, .. } => format(media_type).or(by_name),
        Source::Text(_) => Some(by_name.filter(|kind| matches!(*kind, "csv" | "html" | "md")).unwrap_or("txt")),
        Source::Url(url) => named(url).or(by_name),
        Source::File(_) => None,
    };
    let Some(kind) = kind else {
        return no(
            "Bedrock wants to know what kind of file this is; give its media type, or a name that ends in .pdf, .csv, .md, .txt, .html, .doc, .docx, .xls, .xlsx, .png, .jpg, .gif or .webp",
        );
    };
    let is_picture = matches!(kind, "png" | "jpeg" | "gif" | "webp");
    match media.kind {
        MediaKind::Image if !is_picture => no("Bedrock takes images as PNG, JPEG, GIF or WebP"),
        MediaKind::Document if is_picture => Ok(members! { "image": members! { "format": kind, "source": source } }),
        MediaKind::Image => Ok(members! { "image": members! { "format": kind, "source": source } }),
        MediaKind::Audio => no("Bedrock's models take no audio"),
        MediaKind::Document => {
            // Names may have few characters, and must differ.
            let name: String = media
                .name
                .as_deref()
                .unwrap_or("document")
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' })
                .collect();
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            let name = format!("{} {number}", if name.is_empty() { "document" } else { &name });
            Ok(members! { "document": members! { "format": kind, "name": name, "source": source } })
        }
    }
}

fn encode_config(request: &Request, can: &Capabilities, turns: &[Turn], body: &mut Json, notes: &mut Notes) {
    let mut config = Json::object();
    let sampling = &request.sampling;
    let max_tokens = match (request.max_tokens, can.max_output) {
        (Some(asked), Some(most)) if asked > most => {
            notes.dropped.note(format!("max_tokens above {most}"));
            Some(most)
        }
        (asked, most) => asked.or(most),
    };
    config.set_some("maxTokens", max_tokens);
    for (given, name) in [
        (sampling.seed.is_some(), "seed"),
        (sampling.frequency_penalty.is_some(), "frequency_penalty"),
        (sampling.presence_penalty.is_some(), "presence_penalty"),
    ] {
        notes.dropped.note_if(given, name);
    }
    let mut more = Json::object();
    let calls_unthought = turns.iter().rev().find(|turn| turn.role == Role::Assistant).is_some_and(|turn| {
        let has = |wanted: fn(&Content) -> bool| turn.blocks.iter().any(|block| wanted(&block.content));
        has(|content| matches!(content, Content::ToolUse(_)))
            && !has(|content| matches!(content, Content::Thinking(_) | Content::Redacted(_)))
    });
    let forced = matches!(request.choice, Some(Choice::Any | Choice::One(_))) || is_output_a_tool(request, can);
    let thinks = match request.thinking {
        None | Some(Thinking::Off) => false,
        Some(_) if calls_unthought || forced => {
            notes.dropped.note("thinking");
            false
        }
        Some(wanted) => match can.thinking {
            ThinkingForm::Budget if max_tokens.is_none_or(|most| most > LEAST_BUDGET) => {
                let budget = match wanted {
                    Thinking::Budget(tokens) => tokens,
                    Thinking::Effort(effort) => effort.budget(),
                    _ => Effort::High.budget(),
                };
                let most = max_tokens.unwrap_or(u64::MAX).saturating_sub(1);
                let budget = budget.max(LEAST_BUDGET).min(most);
                more.set("thinking", members! { "type": "enabled", "budget_tokens": budget });
                true
            }
            ThinkingForm::Adaptive => {
                if !request.is_effort_alone {
                    more.set("thinking", members! { "type": "adaptive" });
                }
                let effort = match wanted {
                    Thinking::Effort(effort) => Some(effort),
                    Thinking::Budget(tokens) => Some(Effort::of_budget(tokens)),
                    _ => None,
                };
                if let Some(effort) = effort {
                    more.set("output_config", members! { "effort": can.effort(effort) });
                }
                !request.is_effort_alone
            }
            _ => {
                notes.dropped.note("thinking");
                false
            }
        },
    };
    if can.refuses_sampling || thinks {
        notes.dropped.note_if(sampling.temperature.is_some_and(|own| !thinks || own != 1.0), "temperature");
        notes.dropped.note_if(sampling.top_p.is_some(), "top_p");
        notes.dropped.note_if(sampling.top_k.is_some(), "top_k");
    } else {
        config.set_some("temperature", sampling.temperature.map(|own| own.min(1.0)));
        notes.dropped.note_if(sampling.temperature.is_some_and(|own| own > 1.0), "temperature above 1");
        // Newer models refuse both.
        let both = sampling.temperature.is_some() && sampling.top_p.is_some() && can.max_output.is_some();
        notes.dropped.note_if(both, "top_p");
        config.set_some("topP", sampling.top_p.filter(|_| !both));
        more.set_some("top_k", sampling.top_k);
    }
    if !request.stop.is_empty() {
        config.set("stopSequences", request.stop.iter().map(Json::from).collect::<Vec<_>>());
    }
    if config != Json::object() {
        body.set("inferenceConfig", config);
    }
    if more != Json::object() {
        body.set("additionalModelRequestFields", more);
    }
}

/// Whether the form of the answer stands in the request as a tool that must be called, for want of another place.
fn is_output_a_tool(request: &Request, can: &Capabilities) -> bool {
    match request.output {
        None => false,
        Some(Output::Schema { .. }) => !can.has_schemas,
        Some(Output::Json) => true,
    }
}

fn encode_tools(request: &Request, can: &Capabilities, turns: &[Turn], body: &mut Json, notes: &mut Notes) {
    let spec = |name: String, description: Option<&String>, schema: Json| {
        let mut spec = members! { "name": name };
        spec.set_some("description", description.filter(|text| !text.is_empty()));
        spec.set("inputSchema", members! { "json": schema });
        members! { "toolSpec": spec }
    };
    let empty = || members! { "type": "object", "properties": Json::object() };
    let has_history = turns
        .iter()
        .flat_map(|turn| &turn.blocks)
        .any(|block| matches!(block.content, Content::ToolUse(_) | Content::ToolResult(_)));
    // Bedrock has no choice 'none': without tools none can be called, but a history of calls wants them.
    let wants_none = request.choice == Some(Choice::None);
    let mut tools = Vec::new();
    if !wants_none || has_history {
        for tool in request.offered() {
            let schema = parameters(tool).filter(Json::is_object).unwrap_or_else(empty);
            tools.push(spec(notes.names.safe(&tool.name), tool.description.as_ref(), schema));
            tools.extend(tool.cache.as_ref().map(point));
        }
    }
    let json = request.output.as_ref().filter(|_| is_output_a_tool(request, can)).map(|output| match output {
        Output::Schema { schema, .. } => schema::closed(schema, &mut notes.dropped),
        Output::Json => members! { "type": "object" },
    });
    let has_own = !tools.is_empty();
    // Where a tool of the caller's own has to be called, no other may be there that a model could call in its place.
    let json = json.filter(|_| !(has_own && matches!(request.choice, Some(Choice::Any | Choice::One(_)))));
    let is_json = json.is_some();
    if let Some(schema) = json {
        notes.json_tool = true;
        tools.push(spec(
            JSON_TOOL.to_owned(),
            Some(&"Answer by calling this tool with the answer as its input.".to_owned()),
            schema,
        ));
    }
    if tools.is_empty() && has_history {
        tools.push(spec("unavailable".to_owned(), Some(&"This tool is not available any more.".to_owned()), empty()));
    }
    if tools.is_empty() {
        return;
    }
    notes.dropped.note_if(request.parallel == Some(false), "parallel_tool_calls");
    notes.dropped.note_if(request.tools.iter().any(|tool| tool.strict == Some(true)), "strict");
    let mut config = members! { "tools": tools };
    let choice = match &request.choice {
        Some(Choice::Auto) | None if is_json && has_own => Some(members! { "any": Json::object() }),
        _ if is_json => Some(members! { "tool": members! { "name": JSON_TOOL } }),
        Some(Choice::Auto) => Some(members! { "auto": Json::object() }),
        Some(Choice::Any) => Some(members! { "any": Json::object() }),
        Some(Choice::One(name)) => Some(members! { "tool": members! { "name": notes.names.safe(name) } }),
        Some(Choice::None) | None => None,
    };
    config.set_some("toolChoice", choice);
    body.set("toolConfig", config);
}
