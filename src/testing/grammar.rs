//! What a stream of each API may look like. What is written for clients is held against it, event by event: when every event is
//! accepted, so is every beginning of the stream.

use serde_json::{Value, json};

/// The clients' formats, each with what it has seen so far.
pub enum Grammar {
    Chat(Chat),
    Messages(Messages),
    Responses(Responses),
    Gemini(Gemini),
}

#[derive(Default)]
pub struct Chat {
    id: Option<Value>,
    calls: usize,
    finish: Option<String>,
    has_usage: bool,
    is_over: bool,
    failed: bool,
}

#[derive(Default)]
pub struct Messages {
    is_started: bool,
    blocks: u64,
    open: Option<Block>,
    calls: u64,
    reason: Option<String>,
    is_over: bool,
    failed: bool,
}

struct Block {
    kind: String,
    text: String,
    is_signed: bool,
}

#[derive(Default)]
pub struct Responses {
    events: u64,
    id: Option<Value>,
    open: Option<Item>,
    done: Vec<Value>,
    is_over: bool,
    failed: bool,
}

struct Item {
    item: Value,
    part: Option<Value>,
    text: String,
    is_whole: bool,
}

#[derive(Default)]
pub struct Gemini {
    id: Option<Value>,
    reason: Option<String>,
    is_over: bool,
    failed: bool,
}

type Accepted = Result<(), String>;

macro_rules! hold {
    ($truth:expr, $($why:tt)*) => {
        if !$truth { return Err(format!($($why)*)); }
    };
}

fn text<'a>(data: &'a Value, pointer: &str) -> Result<&'a str, String> {
    data.pointer(pointer).and_then(Value::as_str).ok_or_else(|| format!("no text at {pointer} in {data}"))
}

fn number(data: &Value, pointer: &str) -> Result<u64, String> {
    data.pointer(pointer).and_then(Value::as_u64).ok_or_else(|| format!("no number at {pointer} in {data}"))
}

// === impl Grammar ===

impl Grammar {
    /// Takes the next event: its name, which is empty where the format has none, and its data.
    pub fn event(&mut self, name: &str, data: &Value) -> Accepted {
        match self {
            Self::Chat(own) => own.event(name, data),
            Self::Messages(own) => own.event(name, data),
            Self::Responses(own) => own.event(name, data),
            Self::Gemini(own) => own.event(name, data),
        }
    }

    /// Whether the stream may end here; with an error it may.
    pub fn end(&self) -> Accepted {
        let is_over = match self {
            Self::Chat(own) => own.is_over,
            Self::Messages(own) => own.is_over,
            Self::Responses(own) => own.is_over,
            Self::Gemini(own) => own.is_over,
        };
        if is_over { Ok(()) } else { Err("the stream ends without its end".to_owned()) }
    }

    /// True for a stream that ended with an error.
    pub fn has_failed(&self) -> bool {
        match self {
            Self::Chat(own) => own.failed,
            Self::Messages(own) => own.failed,
            Self::Responses(own) => own.failed,
            Self::Gemini(own) => own.failed,
        }
    }
}

// === impl Chat ===

impl Chat {
    fn event(&mut self, name: &str, data: &Value) -> Accepted {
        hold!(!self.is_over, "something follows the end: {data}");
        hold!(name.is_empty(), "chat completions name no event: {name}");
        if data == "[DONE]" {
            hold!(self.finish.is_some(), "[DONE] without a finish_reason");
            self.is_over = true;
            return Ok(());
        }
        if data.get("error").is_some() {
            text(data, "/error/message")?;
            text(data, "/error/type")?;
            (self.is_over, self.failed) = (true, true);
            return Ok(());
        }
        hold!(data["object"] == "chat.completion.chunk", "no chunk: {data}");
        let is_first = self.id.is_none();
        hold!(self.id.get_or_insert_with(|| data["id"].clone()) == &data["id"], "another id: {data}");
        text(data, "/id")?;
        text(data, "/model")?;
        number(data, "/created")?;
        let choices = data["choices"].as_array().ok_or("no choices")?;
        let [choice] = choices.as_slice() else {
            hold!(choices.is_empty() && self.finish.is_some() && !self.has_usage, "choices: {data}");
            let sum = number(data, "/usage/prompt_tokens")?.saturating_add(number(data, "/usage/completion_tokens")?);
            hold!(number(data, "/usage/total_tokens")? == sum, "the total is no sum: {data}");
            self.has_usage = true;
            return Ok(());
        };
        hold!(self.finish.is_none(), "a choice after the finish_reason: {data}");
        hold!(choice["index"] == 0, "index: {data}");
        let delta = choice["delta"].as_object().ok_or("no delta")?;
        hold!(delta.contains_key("role") == is_first, "the role stands in the first delta and in no other: {data}");
        for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            self.call(call)?;
        }
        for member in ["content", "reasoning_content", "refusal"] {
            hold!(delta.get(member).is_none_or(Value::is_string), "{member} is no text: {data}");
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            hold!(["stop", "length", "tool_calls", "content_filter"].contains(&reason), "finish_reason: {data}");
            hold!((reason != "tool_calls") || self.calls > 0, "no call is there: {data}");
            self.finish = Some(reason.to_owned());
        }
        Ok(())
    }

    fn call(&mut self, call: &Value) -> Accepted {
        let index = usize::try_from(number(call, "/index")?).map_err(|error| error.to_string())?;
        let custom = call.get("custom");
        if index == self.calls {
            self.calls += 1;
            hold!(!text(call, "/id")?.is_empty(), "a call without an id: {call}");
            text(call, "/type")?;
            let name = if custom.is_some() { "/custom/name" } else { "/function/name" };
            hold!(!text(call, name)?.is_empty(), "a call without a name: {call}");
        } else {
            hold!(index + 1 == self.calls, "an earlier call goes on: {call}");
            hold!(call.get("id").is_none() && call.pointer("/function/name").is_none(), "named twice: {call}");
        }
        text(call, if custom.is_some() { "/custom/input" } else { "/function/arguments" }).map(drop)
    }
}

// === impl Messages ===

impl Messages {
    fn event(&mut self, name: &str, data: &Value) -> Accepted {
        hold!(!self.is_over, "something follows the end: {data}");
        hold!(data["type"] == name, "the name {name} is not the type: {data}");
        match name {
            "ping" => {}
            "error" => {
                text(data, "/error/message")?;
                text(data, "/error/type")?;
                (self.is_over, self.failed) = (true, true);
            }
            "message_start" => {
                hold!(!self.is_started, "a second message_start");
                self.is_started = true;
                text(data, "/message/id")?;
                text(data, "/message/model")?;
                hold!(data["message"]["role"] == "assistant" && data["message"]["content"] == json!([]), "{data}");
                hold!(data["message"]["stop_reason"].is_null(), "a reason at the start: {data}");
                number(data, "/message/usage/input_tokens")?;
                number(data, "/message/usage/output_tokens")?;
            }
            "content_block_start" => {
                hold!(self.is_started && self.open.is_none() && self.reason.is_none(), "a block inside of one: {data}");
                hold!(number(data, "/index")? == self.blocks, "the blocks are not counted: {data}");
                self.blocks += 1;
                let kind = text(data, "/content_block/type")?.to_owned();
                match kind.as_str() {
                    "text" => hold!(text(data, "/content_block/text")?.is_empty(), "{data}"),
                    "thinking" => hold!(text(data, "/content_block/thinking")?.is_empty(), "{data}"),
                    "redacted_thinking" => hold!(!text(data, "/content_block/data")?.is_empty(), "{data}"),
                    "tool_use" => {
                        self.calls += 1;
                        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                        let id = text(data, "/content_block/id")?;
                        hold!(!id.is_empty() && id.chars().all(is_plain), "an id that Anthropic refuses: {data}");
                        hold!(!text(data, "/content_block/name")?.is_empty(), "a call without a name: {data}");
                        hold!(data["content_block"]["input"] == json!({}), "input comes in deltas: {data}");
                    }
                    _ => return Err(format!("block: {data}")),
                }
                self.open = Some(Block { kind, text: String::new(), is_signed: false });
            }
            "content_block_delta" => {
                let index = number(data, "/index")?;
                hold!(index + 1 == self.blocks, "not the open block: {data}");
                let open = self.open.as_mut().ok_or("a delta outside of a block")?;
                match (open.kind.as_str(), text(data, "/delta/type")?) {
                    ("text", "text_delta") => open.text.push_str(text(data, "/delta/text")?),
                    ("tool_use", "input_json_delta") => open.text.push_str(text(data, "/delta/partial_json")?),
                    ("thinking", "thinking_delta") => {
                        hold!(!open.is_signed, "a thought goes on behind its signature: {data}");
                        open.text.push_str(text(data, "/delta/thinking")?);
                    }
                    ("text", "citations_delta") => {
                        text(data, "/delta/citation/type")?;
                    }
                    ("thinking", "signature_delta") => {
                        hold!(!std::mem::replace(&mut open.is_signed, true), "signed twice: {data}");
                        text(data, "/delta/signature")?;
                    }
                    (kind, _) => return Err(format!("a delta of another kind than {kind}: {data}")),
                }
            }
            "content_block_stop" => {
                hold!(number(data, "/index")? + 1 == self.blocks, "not the open block: {data}");
                self.open.take().ok_or("no block is open")?;
            }
            "message_delta" => {
                hold!(self.is_started && self.open.is_none() && self.reason.is_none(), "message_delta: {data}");
                let reason = text(data, "/delta/stop_reason")?;
                let known = ["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"];
                hold!(known.contains(&reason), "stop_reason: {data}");
                hold!(reason != "tool_use" || self.calls > 0, "no call is there: {data}");
                number(data, "/usage/output_tokens")?;
                self.reason = Some(reason.to_owned());
            }
            "message_stop" => {
                hold!(self.reason.is_some(), "message_stop without a reason");
                self.is_over = true;
            }
            _ => return Err(format!("an event of another API: {name}")),
        }
        Ok(())
    }
}

// === impl Responses ===

impl Responses {
    fn event(&mut self, name: &str, data: &Value) -> Accepted {
        hold!(!self.is_over, "something follows the end: {data}");
        hold!(data["type"] == name, "the name {name} is not the type: {data}");
        hold!(number(data, "/sequence_number")? == self.events, "the events are not counted: {data}");
        self.events += 1;
        match (self.events, name) {
            (_, "error") => {
                text(data, "/message")?;
                (self.is_over, self.failed) = (true, true);
                return Ok(());
            }
            (1, "response.created") | (2, "response.in_progress") => return self.response(data, "in_progress"),
            (1 | 2, _) => return Err(format!("before response.in_progress: {data}")),
            (_, "response.completed" | "response.incomplete" | "response.failed") => return self.last(name, data),
            _ => {}
        }
        let index = number(data, "/output_index")?;
        hold!(index == self.done.len() as u64, "the items are not counted: {data}");
        if name == "response.output_item.added" {
            hold!(self.open.is_none(), "an item inside of one: {data}");
            text(data, "/item/id")?;
            let item = data["item"].clone();
            self.open = Some(Item { item, part: None, text: String::new(), is_whole: false });
            return Ok(());
        }
        let open = self.open.as_mut().ok_or_else(|| format!("no item is open: {data}"))?;
        if name == "response.output_item.done" {
            hold!(data["item"]["id"] == open.item["id"], "another id: {data}");
            hold!(data["item"]["type"] == open.item["type"], "another type: {data}");
            hold!(open.part.is_none(), "a part is open: {data}");
            let said = ["/arguments", "/input", "/content/0/text", "/content/0/refusal"];
            if let Some(said) = said.iter().find_map(|pointer| data["item"].pointer(pointer)?.as_str()) {
                hold!(open.is_whole && said == open.text, "the item is not what came in pieces: {data}");
            }
            self.done.push(data["item"].clone());
            self.open = None;
            return Ok(());
        }
        hold!(data["item_id"] == open.item["id"], "another item: {data}");
        let kind = open.item["type"].as_str().unwrap_or_default().to_owned();
        let mut piece = |member: &str| -> Accepted {
            open.text.push_str(text(data, &format!("/{member}"))?);
            Ok(())
        };
        match (kind.as_str(), name) {
            ("message", "response.output_text.delta" | "response.refusal.delta")
            | ("reasoning", "response.reasoning_summary_text.delta") => {
                piece("delta")?;
                hold!(open.part.is_some(), "no part is open: {data}");
            }
            ("function_call", "response.function_call_arguments.delta")
            | ("custom_tool_call", "response.custom_tool_call_input.delta") => piece("delta")?,
            ("message", "response.content_part.added") | ("reasoning", "response.reasoning_summary_part.added") => {
                hold!(open.part.is_none(), "a part inside of one: {data}");
                open.part = Some(data["part"].clone());
            }
            ("message", "response.content_part.done") | ("reasoning", "response.reasoning_summary_part.done") => {
                hold!(open.is_whole && open.part.take().is_some(), "the part is not whole: {data}");
            }
            ("message", "response.output_text.done") | ("reasoning", "response.reasoning_summary_text.done") => {
                open.whole(data, "/text")?;
            }
            ("message", "response.output_text.annotation.added") => {
                hold!(open.part.is_some() && data["annotation"]["url"].is_string(), "an annotation of no text: {data}");
            }
            ("message", "response.refusal.done") => open.whole(data, "/refusal")?,
            ("function_call", "response.function_call_arguments.done") => open.whole(data, "/arguments")?,
            ("custom_tool_call", "response.custom_tool_call_input.done") => open.whole(data, "/input")?,
            _ => return Err(format!("{name} in an item of the type {kind}")),
        }
        Ok(())
    }

    fn response(&mut self, data: &Value, status: &str) -> Accepted {
        let response = &data["response"];
        hold!(response["status"] == status && response["object"] == "response", "{data}");
        hold!(text(response, "/id")?.starts_with("resp_"), "{data}");
        hold!(self.id.get_or_insert_with(|| response["id"].clone()) == &response["id"], "another id: {data}");
        for member in ["created_at", "model", "output", "tools", "tool_choice", "parallel_tool_calls", "metadata"] {
            hold!(response.get(member).is_some(), "{member} is missing: {data}");
        }
        Ok(())
    }

    fn last(&mut self, name: &str, data: &Value) -> Accepted {
        let status = name.trim_start_matches("response.");
        self.response(data, status)?;
        self.is_over = true;
        self.failed = status == "failed";
        if self.failed {
            text(data, "/response/error/code")?;
            text(data, "/response/error/message")?;
            return Ok(());
        }
        hold!(self.open.is_none(), "an item is open");
        hold!(data["response"]["output"] == Value::from(self.done.clone()), "the output is not its items: {data}");
        let usage = &data["response"]["usage"];
        let sum = number(usage, "/input_tokens")?.saturating_add(number(usage, "/output_tokens")?);
        hold!(number(usage, "/total_tokens")? == sum, "the total is no sum: {data}");
        hold!(status != "incomplete" || text(data, "/response/incomplete_details/reason").is_ok(), "why? {data}");
        Ok(())
    }
}

// === impl Item ===

impl Item {
    fn whole(&mut self, data: &Value, pointer: &str) -> Accepted {
        hold!(text(data, pointer)? == self.text, "done, and not what came in pieces: {data}");
        self.is_whole = true;
        Ok(())
    }
}

// === impl Gemini ===

impl Gemini {
    fn event(&mut self, name: &str, data: &Value) -> Accepted {
        hold!(!self.is_over, "something follows the end: {data}");
        hold!(name.is_empty(), "Gemini names no event: {name}");
        if data.get("error").is_some() {
            text(data, "/error/status")?;
            text(data, "/error/message")?;
            number(data, "/error/code")?;
            (self.is_over, self.failed) = (true, true);
            return Ok(());
        }
        hold!(self.id.get_or_insert_with(|| data["responseId"].clone()) == &data["responseId"], "another id: {data}");
        text(data, "/modelVersion")?;
        hold!(data["candidates"].as_array().is_some_and(|all| all.len() == 1), "candidates: {data}");
        let candidate = &data["candidates"][0];
        hold!(candidate["content"]["role"] == "model", "{data}");
        for part in candidate["content"]["parts"].as_array().ok_or("no parts")? {
            match part.get("functionCall") {
                Some(call) => {
                    hold!(!text(call, "/name")?.is_empty() && call["args"].is_object(), "a call: {data}");
                }
                None => hold!(part["text"].is_string(), "a part: {data}"),
            }
        }
        if let Some(reason) = candidate["finishReason"].as_str() {
            hold!(["STOP", "MAX_TOKENS", "SAFETY"].contains(&reason), "finishReason: {data}");
            let usage = &data["usageMetadata"];
            let thoughts = usage["thoughtsTokenCount"].as_u64().unwrap_or(0);
            let said = number(usage, "/candidatesTokenCount")?.saturating_add(thoughts);
            let sum = number(usage, "/promptTokenCount")?.saturating_add(said);
            hold!(number(usage, "/totalTokenCount")? == sum, "the total is no sum: {data}");
            self.reason = Some(reason.to_owned());
            self.is_over = true;
        }
        Ok(())
    }
}
