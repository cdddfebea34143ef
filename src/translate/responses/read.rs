//! Answers of OpenAI's Responses API, whole and streamed, as they come from a provider. <https://platform.openai.com/docs/api-reference/responses-streaming>

use crate::members;
use crate::translate::answer::{Kind, Reader, State};
use crate::translate::citations;
use crate::translate::failure;
use crate::translate::json::Json;
use crate::translate::model::{Event, Failure, Finish, Opened, Usage};
use crate::translate::names::id_and_signature;
use crate::translate::signatures::OPENAI;

/// What stands between the parts of a summary.
const PARAGRAPH: &str = "\n\n";

#[derive(Debug, Default)]
pub struct ResponsesReader {
    state: State,
    /// The item that is open, and whether pieces of it have come.
    item: Option<(u64, bool)>,
    refused: bool,
}

// === impl ResponsesReader ===

impl Reader for ResponsesReader {
    fn event(&mut self, name: &str, data: &Json, out: &mut Vec<Event>) {
        let kind = if data.kind().is_empty() { name } else { data.kind() };
        let text = |name: &str| data.text(name).unwrap_or_default();
        let index = data.count("output_index").unwrap_or(0);
        match kind {
            "response.created" | "response.in_progress" => self.start(data, out),
            "response.reasoning_summary_part.added" if data.count("summary_index").is_some_and(|n| n > 0) => {
                self.state.more(Kind::Thinking, PARAGRAPH, out);
            }
            "response.output_item.added" => {
                let item = data.get("item").unwrap_or(&Json::Null);
                self.item = Some((index, false));
                if let Some(call) = opened(item) {
                    self.state.open_call(call, out);
                    self.piece(index);
                    self.item = Some((index, false));
                }
            }
            "response.output_text.delta" => {
                self.piece(index);
                self.state.more(Kind::Text, text("delta"), out);
            }
            "response.output_text.annotation.added" => {
                self.cite(data.get("annotation").unwrap_or(&Json::Null), out);
            }
            "response.refusal.delta" => {
                self.piece(index);
                self.refused = true;
                self.state.more(Kind::Refusal, text("delta"), out);
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.piece(index);
                self.state.more(Kind::Thinking, text("delta"), out);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.piece(index);
                self.state.arguments(text("delta"), out);
            }
            // Some servers send arguments only here.
            "response.function_call_arguments.done" if !self.has_pieces(index) => {
                self.piece(index);
                self.state.arguments(text("arguments"), out);
            }
            "response.output_item.done" => self.done(index, data.get("item").unwrap_or(&Json::Null), out),
            "response.completed" | "response.incomplete" | "response.done" => {
                self.start(data, out);
                self.finish(data.get("response").unwrap_or(&Json::Null), out);
            }
            "response.failed" => {
                let response = data.get("response").unwrap_or(&Json::Null);
                if let Some(usage) = response.get("usage") {
                    self.state.use_up(read_usage(usage), out);
                }
                let message = "The provider's response failed.".to_owned();
                let failure = failure::read(response).unwrap_or(Failure { status: 500, kind: None, message });
                self.state.fail(failure, out);
            }
            "error" => {
                let told = failure::read(data).unwrap_or_else(|| Failure {
                    status: 500,
                    kind: data.text("code").map(str::to_owned),
                    message: text("message").to_owned(),
                });
                self.state.fail(told, out);
            }
            _ => {}
        }
    }

    fn whole(&mut self, answer: &Json, out: &mut Vec<Event>) {
        if let (Some(failure), None) = (
            failure::read(answer),
            answer.get("output").filter(|own| own.as_array().is_some_and(|all| !all.is_empty())),
        ) {
            return self.state.fail(failure, out);
        }
        let around = members! { "response": answer };
        self.start(&around, out);
        for (n, item) in answer.list("output").iter().enumerate() {
            self.item = None;
            self.done(n as u64, item, out);
        }
        self.finish(answer, out);
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        self.state.end(out);
    }
}

impl ResponsesReader {
    fn start(&mut self, data: &Json, out: &mut Vec<Event>) {
        let response = data.get("response").unwrap_or(&Json::Null);
        let text = |name: &str| response.text(name).unwrap_or_default();
        self.state.start(text("id"), text("model"), out);
    }

    fn cite(&mut self, annotation: &Json, out: &mut Vec<Event>) {
        match citations::of_annotation(annotation) {
            Some(citation) => self.state.cite(citation, out),
            None => self.state.drop("annotations", out),
        }
    }

    fn piece(&mut self, index: u64) {
        self.item = Some((index, true));
    }

    fn has_pieces(&self, index: u64) -> bool {
        self.item == Some((index, true))
    }

    /// An item is whole. What did not come in pieces comes now.
    fn done(&mut self, index: u64, item: &Json, out: &mut Vec<Event>) {
        let had_pieces = self.has_pieces(index);
        let was_opened = self.item == Some((index, false));
        match item.kind() {
            "message" if !had_pieces => {
                for part in item.list("content") {
                    match part.kind() {
                        "refusal" => {
                            self.refused = true;
                            self.state.more(Kind::Refusal, part.text("refusal").unwrap_or_default(), out);
                        }
                        _ => {
                            self.state.more(Kind::Text, part.text("text").unwrap_or_default(), out);
                            for own in part.list("annotations") {
                                self.cite(own, out);
                            }
                        }
                    }
                    self.state.close(out);
                }
            }
            "function_call" | "custom_tool_call" if !had_pieces => {
                if let (Some(call), false) = (opened(item), was_opened) {
                    self.state.open_call(call, out);
                }
                let arguments = item.text("arguments").or_else(|| item.text("input"));
                self.state.arguments(arguments.unwrap_or_default(), out);
            }
            "reasoning" => {
                if !had_pieces {
                    let parts = item.list("summary").iter().chain(item.list("content"));
                    let texts: Vec<&str> = parts.filter_map(|part| part.said("text")).collect();
                    self.state.more(Kind::Thinking, &texts.join(PARAGRAPH), out);
                }
                if let Some(sealed) = item.said("encrypted_content") {
                    self.state.signature(&format!("{OPENAI}{sealed}"), out);
                }
            }
            "message" | "function_call" | "custom_tool_call" => {}
            // What a tool says that OpenAI runs itself, and whatever is new.
            other => self.state.drop(other, out),
        }
        self.state.close(out);
        self.item = None;
    }

    fn finish(&mut self, response: &Json, out: &mut Vec<Event>) {
        if let Some(usage) = response.get("usage") {
            self.state.use_up(read_usage(usage), out);
        }
        let reason = response.at(&["incomplete_details", "reason"]).and_then(Json::as_str);
        if response.text("status") == Some("cancelled") {
            return self.state.fail(failure::of_body(502, "The provider's response was cancelled."), out);
        }
        let finish = match (response.text("status"), reason) {
            (_, Some("content_filter")) => Finish::Refused,
            (Some("incomplete"), _) => Finish::Length,
            _ if self.refused => Finish::Refused,
            _ => Finish::Stop,
        };
        self.state.finish = Some((finish, None));
        self.state.end(out);
    }
}

fn opened(item: &Json) -> Option<Opened> {
    let is_custom = item.kind() == "custom_tool_call";
    (is_custom || item.kind() == "function_call").then(|| {
        let id = item.said("call_id").or_else(|| item.said("id")).unwrap_or_default();
        let (id, signature) = id_and_signature(id);
        Opened {
            id: id.to_owned(),
            name: item.text("name").unwrap_or_default().to_owned(),
            signature: signature.map(str::to_owned),
            is_custom,
        }
    })
}

pub fn read_usage(usage: &Json) -> Usage {
    let within = |group: &str, name: &str| usage.at(&[group, name]).and_then(Json::as_u64).unwrap_or(0);
    let read = within("input_tokens_details", "cached_tokens");
    let written = within("input_tokens_details", "cache_write_tokens");
    let output = usage.count("output_tokens").unwrap_or(0);
    Usage {
        input: usage.count("input_tokens").unwrap_or(0).saturating_sub(read).saturating_sub(written),
        cache_read: read,
        cache_write_5m: written,
        output,
        reasoning: within("output_tokens_details", "reasoning_tokens").min(output),
        ..Usage::default()
    }
}
