//! Answers of Anthropic's Messages API, whole and streamed, as they come from a provider. <https://docs.anthropic.com/en/docs/build-with-claude/streaming>

use crate::translate::answer::{Kind, Reader, State};
use crate::translate::citations;
use crate::translate::failure;
use crate::translate::json::Json;
use crate::translate::model::{Event, Failure, Finish, Opened, Usage};
use crate::translate::names::id_and_signature;

#[derive(Debug, Default)]
pub struct MessagesReader {
    state: State,
    id: String,
    usage: Usage,
    /// The open call has had arguments.
    has_arguments: bool,
    in_call: bool,
}

// === impl MessagesReader ===

impl Reader for MessagesReader {
    fn event(&mut self, name: &str, data: &Json, out: &mut Vec<Event>) {
        let kind = if data.kind().is_empty() { name } else { data.kind() };
        match kind {
            "message_start" => {
                let message = data.get("message").unwrap_or(&Json::Null);
                // Some servers repeat the event; another id means that two answers were mixed.
                if self.state.is_started() && message.text("id") == Some(&self.id) {
                    return;
                }
                if self.state.is_started() {
                    let message = "The provider began a second answer in the same stream.".to_owned();
                    return self.state.fail(Failure { status: 502, kind: None, message }, out);
                }
                let text = |name: &str| message.text(name).unwrap_or_default();
                self.id = text("id").to_owned();
                self.state.start(text("id"), text("model"), out);
                self.use_up(message.get("usage"), out);
            }
            "content_block_start" => self.open(data.get("content_block").unwrap_or(&Json::Null), out),
            "content_block_delta" => {
                let delta = data.get("delta").unwrap_or(&Json::Null);
                let text = |name: &str| delta.text(name).unwrap_or_default();
                match delta.kind() {
                    "text_delta" => self.state.more(Kind::Text, text("text"), out),
                    "thinking_delta" => self.state.more(Kind::Thinking, text("thinking"), out),
                    "signature_delta" => self.state.signature(text("signature"), out),
                    "input_json_delta" => {
                        self.has_arguments |= !text("partial_json").is_empty();
                        self.state.arguments(text("partial_json"), out);
                    }
                    "citations_delta" => {
                        self.state.cite(citations::of_messages(delta.get("citation").unwrap_or(&Json::Null)), out);
                    }
                    _ => {}
                }
            }
            "content_block_stop" => self.close(out),
            "message_delta" => {
                if let Some(reason) = data.at(&["delta", "stop_reason"]).and_then(Json::as_str) {
                    let sequence = data.at(&["delta", "stop_sequence"]).and_then(Json::as_str).map(str::to_owned);
                    self.state.finish = Some((finish(reason), sequence));
                }
                self.use_up(data.get("usage"), out);
            }
            "message_stop" => self.end(out),
            "error" => {
                let failure = failure::read(data).unwrap_or_else(|| failure::of_body(500, &data.to_string()));
                self.state.fail(failure, out);
            }
            _ => {}
        }
    }

    fn whole(&mut self, answer: &Json, out: &mut Vec<Event>) {
        if answer.kind() == "error" {
            return self.event("error", answer, out);
        }
        let text = |name: &str| answer.text(name).unwrap_or_default();
        self.state.start(text("id"), text("model"), out);
        for block in answer.list("content") {
            self.open(block, out);
            self.close(out);
        }
        let reason = answer.text("stop_reason").unwrap_or("end_turn");
        self.state.finish = Some((finish(reason), answer.text("stop_sequence").map(str::to_owned)));
        self.use_up(answer.get("usage"), out);
        self.state.end(out);
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        self.close(out);
        self.state.end(out);
    }
}

impl MessagesReader {
    /// Opens a block with what it begins with: in a whole answer that is all of it.
    fn open(&mut self, block: &Json, out: &mut Vec<Event>) {
        self.close(out);
        let text = |name: &str| block.text(name).unwrap_or_default();
        match block.kind() {
            "text" => {
                self.state.more(Kind::Text, text("text"), out);
                for own in block.list("citations") {
                    self.state.cite(citations::of_messages(own), out);
                }
            }
            "thinking" => {
                self.state.open_thought(out);
                self.state.more(Kind::Thinking, text("thinking"), out);
                self.state.signature(text("signature"), out);
            }
            "redacted_thinking" => self.state.redacted(text("data"), out),
            "tool_use" => {
                let (id, signature) = id_and_signature(text("id"));
                let opened = Opened {
                    id: id.to_owned(),
                    name: text("name").to_owned(),
                    signature: signature.map(str::to_owned),
                    is_custom: false,
                };
                self.state.open_call(opened, out);
                (self.in_call, self.has_arguments) = (true, false);
                // In a stream the input is empty here, and comes in pieces.
                if let Some(input) =
                    block.get("input").filter(|input| input.members().is_some_and(|all| !all.is_empty()))
                {
                    self.has_arguments = true;
                    self.state.arguments(&input.to_string(), out);
                }
            }
            // What a tool says that Anthropic runs itself, and whatever is new.
            other => self.state.drop(other, out),
        }
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if std::mem::take(&mut self.in_call) && !self.has_arguments {
            self.state.arguments("{}", out);
        }
        self.state.close(out);
    }

    /// What a later event says replaces what an earlier one said, field by field.
    fn use_up(&mut self, usage: Option<&Json>, out: &mut Vec<Event>) {
        let Some(usage) = usage else { return };
        let replace = |own: &mut u64, name: &str| *own = usage.count(name).unwrap_or(*own);
        replace(&mut self.usage.input, "input_tokens");
        replace(&mut self.usage.cache_read, "cache_read_input_tokens");
        replace(&mut self.usage.output, "output_tokens");
        let within = |name: &str| usage.at(&["cache_creation", name]).and_then(Json::as_u64);
        match (within("ephemeral_5m_input_tokens"), within("ephemeral_1h_input_tokens")) {
            (None, None) => replace(&mut self.usage.cache_write_5m, "cache_creation_input_tokens"),
            (short, long) => {
                // What the two do not name was written all the same.
                let (short, long) = (short.unwrap_or(0), long.unwrap_or(0));
                let whole = usage.count("cache_creation_input_tokens").unwrap_or(0);
                self.usage.cache_write_5m = short + whole.saturating_sub(short.saturating_add(long));
                self.usage.cache_write_1h = long;
            }
        }
        self.state.use_up(self.usage, out);
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "stop_sequence" => Finish::StopSequence,
        "tool_use" => Finish::ToolUse,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "refusal" => Finish::Refused,
        "pause_turn" => Finish::Pause,
        _ => Finish::Stop,
    }
}
