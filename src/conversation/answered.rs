//! What was answered, out of a body in any of the formats, whole or streamed. Pieces of text are put together as they are:
//! line breaks between them would be words that no model said.

use super::{arguments, call, plain};
use crate::base::json::json;
use crate::wire::sse::Events;
use serde_json::{Map, Value};

/// The answer as one of OpenAI's chat messages. `calls` is how many tool calls were made before.
pub fn read(body: &str, calls: usize) -> Option<Value> {
    let mut answered = Answered::default();
    let begins =
        |with: &[&str]| with.iter().any(|with| body.trim_start_matches('\u{feff}').trim_start().starts_with(with));
    if begins(&["data:", "event:", "id:", "retry:", ":"]) {
        let mut events = Events::new(body.as_bytes());
        while let Some(data) = events.next() {
            // Replicate's events have the bare words of a model.
            if events.name() == b"output" {
                answered.text.push_str(&String::from_utf8_lossy(&data));
            } else if let Ok(event) = serde_json::from_slice(&data) {
                answered.take(&event);
            }
        }
        if let Some(event) = events.rest().and_then(|data| serde_json::from_slice(&data).ok()) {
            answered.take(&event);
        }
    } else {
        documents(body, |document| answered.take(document));
    }
    answered.message(calls)
}

/// The documents of a body: one, a list of them, as Gemini streams, or one on each line. What broke off is left out.
fn documents(body: &str, mut take: impl FnMut(&Value)) {
    let mut rest = body.trim_start().strip_prefix('[').unwrap_or(body);
    loop {
        rest = rest.trim_start_matches(|next: char| next == ',' || next.is_ascii_whitespace());
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let Some(Ok(document)) = values.next() else { return };
        take(&document);
        rest = rest.get(values.byte_offset()..).unwrap_or_default();
    }
}

#[derive(Default)]
struct Answered {
    text: String,
    /// What a model says that does not want to answer; only OpenAI tells it from its answer.
    refusal: String,
    calls: Vec<Call>,
}

#[derive(Default)]
struct Call {
    /// Where a stream counts its calls or blocks, the number of this one.
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
    /// The format has an object for arguments, of which a stream brings the text.
    is_object: bool,
}

// === impl Answered ===

impl Answered {
    fn message(self, before: usize) -> Option<Value> {
        let text = if self.text.is_empty() { self.refusal } else { self.text };
        if text.is_empty() && self.calls.is_empty() {
            return None;
        }
        let mut message = Map::new();
        message.insert("role".to_owned(), json!("assistant"));
        message.insert("content".to_owned(), if text.is_empty() { Value::Null } else { json!(text) });
        if !self.calls.is_empty() {
            let calls = self.calls.iter().enumerate().map(|(at, made)| {
                let id = if made.id.is_empty() { format!("call_{}", before + at) } else { made.id.clone() };
                call(&id, &made.name, &made.given())
            });
            message.insert("tool_calls".to_owned(), calls.collect());
        }
        Some(Value::Object(message))
    }

    /// Adds what a document says: an answer, or an event of one.
    fn take(&mut self, answer: &Value) {
        let at = |place: &str| answer.pointer(place).unwrap_or(&Value::Null);
        let kind = ["type", "event_type"].iter().find_map(|name| answer.get(*name)?.as_str()).unwrap_or("");
        let index = answer.get("index").and_then(Value::as_u64);
        match kind {
            "response.output_text.delta" | "transcript.text.delta" => self.say(at("/delta")),
            "response.refusal.delta" => self.refuse(at("/delta")),
            "response.output_item.done" if at("/item/type") == "function_call" => self.item(at("/item")),
            // The answer as a whole, which its pieces may have told already.
            "response.completed" | "response.incomplete" | "response.failed" | "response.done" => {
                self.instead(at("/response"));
            }
            "interaction.completed" | "interaction.complete" => self.instead(at("/interaction")),
            "transcript.text.done" => self.instead(&json!({ "text": at("/text") })),
            "content_block_start" => self.block(index, at("/content_block")),
            "content_block_delta" => {
                self.say(at("/delta/text"));
                self.argue(index, at("/delta/partial_json"));
            }
            "content-delta" => self.say(at("/delta/message/content/text")),
            "tool-call-start" => self.function(index, at("/delta/message/tool_calls")),
            "tool-call-delta" => self.argue(index, at("/delta/message/tool_calls/function/arguments")),
            "text-generation" => self.say(at("/text")),
            "tool-calls-generation" => self.functions(at("/tool_calls")),
            "stream-end" => self.instead(at("/response")),
            "message.output.delta" => self.say(at("/content")),
            "function.call.delta" => self.item(answer),
            "content.start" => self.block(index, at("/content")),
            "step.start" => self.block(index, at("/step")),
            "content.delta" | "step.delta" => self.interact(index, at("/delta")),
            _ if ["response.", "interaction.", "thread."].iter().any(|family| kind.starts_with(family)) => {}
            _ => self.whole(answer),
        }
    }

    /// Takes an answer that was told as a whole in the place of its pieces, if it says anything.
    fn instead(&mut self, answer: &Value) {
        let mut whole = Self::default();
        whole.whole(answer);
        if !whole.text.is_empty() || !whole.refusal.is_empty() || !whole.calls.is_empty() {
            *self = whole;
        }
    }

    fn whole(&mut self, answer: &Value) {
        let at = |place: &str| answer.pointer(place).filter(|found| !found.is_null());
        // A message of a thread is told in pieces before, and may be its user's.
        let is_thread = answer.get("object").is_some_and(|object| object == "thread.message");
        if is_thread && (!self.text.is_empty() || answer.get("role").is_none_or(|role| role != "assistant")) {
            return;
        }
        if answer.get("success").is_some()
            && let Some(result) = at("/result")
        {
            return self.whole(result);
        }
        if let Some(later) =
            at("/response").filter(|later| later.get("object").is_some_and(|kind| kind == "chat.completion"))
        {
            return self.whole(later);
        }
        if let Some(choice) = first(answer, "choices") {
            return self.choice(choice);
        }
        if let Some(candidate) = first(answer, "candidates") {
            for part in candidate.pointer("/content/parts").and_then(Value::as_array).into_iter().flatten() {
                self.block(None, part);
            }
            return;
        }
        for list in [
            "/output",
            "/outputs",
            "/steps",
            "/content",
            "/message/content",
            "/output/message/content",
            "/delta/content",
        ] {
            let Some(list) = at(list).and_then(Value::as_array) else { continue };
            list.iter().for_each(|item| self.item(item));
            self.functions(at("/message/tool_calls").unwrap_or(&Value::Null));
            return;
        }
        self.event(answer);
        self.functions(at("/message/tool_calls").or_else(|| at("/tool_calls")).unwrap_or(&Value::Null));
        for place in [
            "/content",
            "/message/content",
            "/results/channels/0/alternatives/0/transcript",
            "/response",
            "/generated_text",
            "/generation",
            "/outputText",
            "/results/0/outputText",
            "/generations/0/text",
            "/text",
            "/summary",
            "/description",
            "/translated_text",
            "/output/content",
            "/output",
        ] {
            match at(place) {
                Some(Value::String(text)) => return self.text.push_str(text),
                // Workers AI streams numbers as such, and answers in JSON mode with an object.
                Some(found @ (Value::Number(_) | Value::Bool(_))) if place == "/response" => {
                    return self.text.push_str(&found.to_string());
                }
                Some(found @ (Value::Object(_) | Value::Array(_)))
                    if matches!(place, "/response" | "/output/content") =>
                {
                    return self.text.push_str(&found.to_string());
                }
                _ => {}
            }
        }
    }

    /// Events that are told by their members and have no type: Hugging Face's and Bedrock's.
    fn event(&mut self, event: &Value) {
        let at = |place: &str| event.pointer(place).unwrap_or(&Value::Null);
        if at("/token/special") != true && at("/generated_text").is_null() {
            self.say(at("/token/text"));
        }
        if !at("/generated_text").is_null() {
            self.text.clear();
        }
        for within in ["/contentBlockDelta", "/contentBlockStart", ""] {
            let part = |name: &str| at(&format!("{within}{name}"));
            let index = part("/contentBlockIndex").as_u64();
            if index.is_some() {
                self.say(part("/delta/text"));
                self.argue(index, part("/delta/toolUse/input"));
                if part("/start").is_object() {
                    self.block(index, part("/start"));
                }
            }
        }
    }

    fn choice(&mut self, choice: &Value) {
        let message = ["message", "delta"].iter().find_map(|name| choice.get(*name)).unwrap_or(choice);
        let at = |name: &str| message.get(name).unwrap_or(&Value::Null);
        self.say(at("content"));
        self.refuse(at("refusal"));
        self.functions(at("tool_calls"));
        if let Some(legacy) = message.get("function_call").filter(|call| call.is_object()) {
            self.function(Some(0), &json!({ "function": legacy }));
        }
        if message == choice {
            self.say(at("text"));
        }
    }

    /// An entry of a list of what a model put out.
    fn item(&mut self, item: &Value) {
        match item.get("type").and_then(Value::as_str) {
            Some("message" | "message.output" | "model_output") => match item.get("content") {
                Some(Value::Array(parts)) => parts.iter().for_each(|part| self.block(None, part)),
                Some(content) => self.say(content),
                None => {}
            },
            _ if item.is_string() => self.say(item),
            _ => self.block(None, item),
        }
    }

    /// A block of content: a text, a call, or something that is neither.
    fn block(&mut self, index: Option<u64>, block: &Value) {
        let at = |place: &str| block.pointer(place).unwrap_or(&Value::Null);
        match block.get("type").and_then(Value::as_str).unwrap_or("") {
            "text" | "output_text" => self.say(at("/text")),
            "output_audio" | "audio" => self.say(at("/transcript")),
            "refusal" => self.refuse(at("/refusal")),
            "tool_use" => self.begin(index, true, [at("/id"), at("/name"), at("/input")]),
            "function_call" | "function.call" | "function.call.delta" => {
                let id = ["/call_id", "/tool_call_id", "/id"].into_iter().find_map(|place| block.pointer(place));
                let id = id.unwrap_or(&Value::Null);
                match self.calls.iter_mut().find(|call| !call.id.is_empty() && id == &call.id) {
                    Some(begun) => begun.arguments.push_str(at("/arguments").as_str().unwrap_or("")),
                    None => self.begin(index, at("/arguments").is_object(), [id, at("/name"), at("/arguments")]),
                }
            }
            "" if at("/thought") != true => {
                self.say(at("/text"));
                if block.get("functionCall").is_some() {
                    self.begin(
                        None,
                        true,
                        [at("/functionCall/id"), at("/functionCall/name"), at("/functionCall/args")],
                    );
                }
                if block.get("toolUse").is_some() {
                    self.begin(index, true, [at("/toolUse/toolUseId"), at("/toolUse/name"), at("/toolUse/input")]);
                }
            }
            _ => {}
        }
    }

    /// A piece of one of Gemini's interactions.
    fn interact(&mut self, index: Option<u64>, delta: &Value) {
        match delta.get("type").and_then(Value::as_str) {
            Some("arguments_delta" | "arguments") => self.argue(index, delta.get("arguments").unwrap_or(&Value::Null)),
            _ => self.block(index, delta),
        }
    }

    fn say(&mut self, content: &Value) {
        self.text.push_str(&plain(content, ""));
    }

    fn refuse(&mut self, refusal: &Value) {
        self.refusal.push_str(refusal.as_str().unwrap_or(""));
    }

    fn functions(&mut self, calls: &Value) {
        for made in calls.as_array().into_iter().flatten() {
            self.function(made.get("index").and_then(Value::as_u64), made);
        }
    }

    /// A call as OpenAI has it, or a piece of one; Workers AI and Cohere's first version have no function in it.
    fn function(&mut self, index: Option<u64>, made: &Value) {
        let function = made.get("function").unwrap_or(made);
        let part = |object: &'_ Value, names: &[&str]| {
            names.iter().find_map(|name| object.get(*name)).cloned().unwrap_or(Value::Null)
        };
        let (id, given) = (part(made, &["id"]), part(function, &["arguments", "parameters"]));
        let begun = self.calls.iter_mut().rev().find(|call| index.is_some() && call.index == index);
        match begun.filter(|call| id.as_str().is_none_or(|id| id.is_empty() || id == call.id)) {
            Some(begun) => {
                begun.name.push_str(part(function, &["name"]).as_str().unwrap_or(""));
                begun.arguments.push_str(given.as_str().unwrap_or(""));
            }
            None => self.begin(index, given.is_object(), [&id, &part(function, &["name"]), &given]),
        }
    }

    fn begin(&mut self, index: Option<u64>, is_object: bool, [id, name, given]: [&Value; 3]) {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let given = match given {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            // Streams begin with an empty object, and its pieces follow.
            Value::Object(none) if none.is_empty() => String::new(),
            whole => whole.to_string(),
        };
        self.calls.push(Call { index, id: text(id), name: text(name), arguments: given, is_object });
    }

    /// A piece of the arguments of a call that began.
    fn argue(&mut self, index: Option<u64>, piece: &Value) {
        if let Some(piece) = piece.as_str()
            && let Some(begun) = self.calls.iter_mut().rev().find(|call| call.index == index)
        {
            begun.arguments.push_str(piece);
        }
    }
}

// === impl Call ===

impl Call {
    /// The arguments, which read the same whether they came as an object or as its text in pieces.
    fn given(&self) -> String {
        match serde_json::from_str::<Value>(&self.arguments) {
            Ok(object) if self.is_object => object.to_string(),
            _ => arguments(&json!(self.arguments)),
        }
    }
}

/// The first of several answers to a question: of a stream, every piece of that one.
fn first<'a>(answer: &'a Value, list: &str) -> Option<&'a Value> {
    let list = answer.get(list)?.as_array()?;
    list.iter().find(|one| one.get("index").is_none_or(|index| index == 0)).or(Some(&Value::Null))
}
