//! The places where the formats of answers have their facts, and how facts are gathered from the documents of an answer.
//!
//! What is not named here is not read: messages, tool arguments, structured outputs, results of tools, metadata, echoed
//! instructions and schemas are words of models and users, and say nothing about an answer, whatever they look like.
//! Where the same name is a provider's in one format and a user's in another, something that only a provider can write
//! beside it tells which: the type of an event, the kind of an object.

use super::places::{Node, Take, shape};
use crate::wire::facts::{Facts, shortened};
use crate::wire::usage;
use serde_json::Value;

use Take::{Inside, Json, Length, Seen, Text, TextOrInside};

shape! {
    /// An answer, or one event of a streamed one.
    pub answer {
        "id" => Text,
        "responseId" => Text,
        "generation_id" => Text,
        "response_id" => Text,
        "transcription_id" => Text,
        "request_id" => Text,
        "requestId" => Text,
        "run_id" => Text,
        "x_request_id" => Text,
        "model" => Text,
        "modelVersion" => Text,
        "model_id" => Text,
        "modelId" => Text,
        "type" => Text,
        "object" => Text,
        "event_type" => Text,
        "finish_reason" => Text,
        "stop_reason" => Text,
        "stopReason" => Text,
        "completionReason" => Text,
        "incomplete_details" => Inside(incomplete),
        "usage" => Json,
        "usageMetadata" => Json,
        "amazon-bedrock-invocationMetrics" => Json,
        "meta" => Json,
        "metrics" => Json,
        "x_groq" => Inside(groq),
        "prompt_token_count" => Json,
        "generation_token_count" => Json,
        "inputTextTokenCount" => Json,
        "totalOutputTextTokenCount" => Json,
        "service_tier" => Text,
        "serviceTier" => Inside(bedrock_tier),
        "error" => Json,
        "errors" => Json,
        "err_msg" => Text,
        "last_error" => Json,
        "error_message" => Text,
        "errorMessage" => Text,
        "error_description" => Text,
        "Message" => Text,
        "msg" => Text,
        "detail" => Json,
        // Of Anthropic an object that begins a stream, of errors a text, of Mistral's errors an object, of Cohere the
        // model's words.
        "message" => TextOrInside(message),
        "delta" => Inside(delta),
        "choices" => Inside(choice),
        "candidates" => Inside(candidate),
        "output" => Inside(item),
        "outputs" => Inside(ended),
        "generations" => Inside(ended),
        "results" => Inside(titan),
        "details" => Inside(hugging),
        "response" => Inside(response),
        "interaction" => Inside(response),
        "result" => Inside(result),
        "metadata" => Inside(metadata),
        "messageStop" => Inside(ended),
        "name" => Text,
        "custom_id" => Seen,
        "success" => Seen,
        "generated_text" => Seen,
        "token" => Seen,
        "status" => Text,
        "store" => Json,
        "prompt_cache_retention" => Text,
        "created_at" => Seen,
        "status_details" => Inside(incomplete),
        "usage_info" => Json,
        "text" => Seen,
        "duration" => Json,
        "audio_duration_secs" => Json,
        "data" => Inside(made),
        "predictions" => Inside(made),
        "image" => Inside(made),
        "images" => Length,
        "b64_json" => Seen,
        "size" => Json,
        "quality" => Text,
    }
}

shape! {
    /// The response of an event of OpenAI's responses and realtime sessions, the interaction of one of Gemini's, what ends
    /// a stream of Cohere, and what Perplexity answers who asks for an answer later.
    response {
        "id" => Text,
        "generation_id" => Text,
        "response_id" => Text,
        "object" => Text,
        "model" => Text,
        "usage" => Json,
        "meta" => Json,
        "service_tier" => Text,
        "error" => Json,
        "incomplete_details" => Inside(incomplete),
        "status_details" => Inside(incomplete),
        "choices" => Inside(choice),
        "output" => Inside(item),
        "status" => Text,
        "store" => Json,
        "prompt_cache_retention" => Text,
    }
}

shape! {
    /// What Cloudflare puts into an envelope. A model that was asked for JSON has it below `response`.
    result {
        "status" => Text,
        "store" => Json,
        // Of a line of a batch's results at Anthropic.
        "message" => Inside(message),
        "id" => Text,
        "request_id" => Text,
        "object" => Text,
        "model" => Text,
        "usage" => Json,
        "metrics" => Json,
        "transcription_info" => Inside(heard),
        "service_tier" => Text,
        "finish_reason" => Text,
        "stop_reason" => Text,
        "incomplete_details" => Inside(incomplete),
        "choices" => Inside(choice),
        "output" => Inside(item),
    }
}

shape! {
    message {
        "id" => Text,
        "model" => Text,
        "stop_reason" => Text,
        "usage" => Json,
        "detail" => Json,
        "message" => Text,
    }
}

shape! { delta { "stop_reason" => Text, "finish_reason" => Text, "usage" => Json, "error" => Json, } }
// What vLLM calls `stop_reason` there is the text the user wanted it to stop at.
shape! { choice { "finish_reason" => Text, "error" => Json, } }
shape! { candidate { "finishReason" => Text, "groundingMetadata" => Inside(grounding), } }
shape! { grounding { "webSearchQueries" => Json, } }
shape! { item { "type" => Text, "action" => Inside(action), "container_id" => Text, } }
shape! { action { "type" => Text, } }
shape! { ended { "finish_reason" => Text, "stop_reason" => Text, "stopReason" => Text, } }
shape! { titan { "completionReason" => Text, "tokenCount" => Json, } }
shape! { hugging { "finish_reason" => Text, "generated_tokens" => Json, } }
shape! { groq { "usage" => Json, "error" => Json, } }
shape! { incomplete { "reason" => Text, } }
shape! { bedrock_tier { "type" => Text, } }
shape! { metadata { "usage" => Json, "request_id" => Text, "duration" => Json, } }
shape! { heard { "duration" => Json, } }
// An image: of OpenAI's API and those like it, and of Google's Imagen.
shape! { made { "b64_json" => Seen, "url" => Seen, "bytesBase64Encoded" => Seen, "embeddings" => Inside(vertex), } }
shape! { vertex { "statistics" => Inside(statistics), } }
shape! { statistics { "token_count" => Json, } }

/// Where a document stands, as far as that tells what it may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The status, or what carries the document, says that it is an error.
    pub failed: bool,
    /// It is an event of Bedrock's, whose `metadata` is Amazon's own.
    pub bedrock: bool,
}

impl Facts {
    /// Adds what a document says: an answer as a whole, or an event of one.
    pub(super) fn take(&mut self, answer: &Node<'_>, place: Place) {
        // A line of a batch's input or results: each is about a request of its own.
        if answer.has("custom_id") {
            return self.add_of_batch(answer.get("result").and_then(|result| result.get("message")));
        }
        let kind = answer.first_text(&["type", "event_type"]).unwrap_or("");
        let object = answer.text("object").unwrap_or("");
        self.take_error(answer, kind, object, place);
        let inner = |name: &str| answer.get(name);
        match kind {
            _ if kind.starts_with("response.") => return self.take_event(kind, inner("response"), "response"),
            _ if kind.starts_with("interaction.") => return self.take_event(kind, inner("interaction"), "interaction"),
            "message_start" => {
                if let Some(message) = inner("message") {
                    self.take_named(message);
                    self.take_ends(message);
                    self.take_usage(message);
                }
            }
            "message_delta" | "message-end" => {
                if let Some(delta) = inner("delta") {
                    self.take_ends(delta);
                    self.take_usage(delta);
                }
            }
            "stream-end" => {
                self.take_ends(answer);
                return self.take_response(inner("response"));
            }
            _ => {}
        }
        self.take_named(answer);
        self.take_ends(answer);
        self.take_usage(answer);
        self.take_beside(answer);
        self.take_counts(answer, object);
        self.take_units(answer, kind, object);
        if answer.has("success") {
            let result = inner("result");
            self.take_response(result);
            if let Some(result) = result {
                self.count(result.json("metrics"));
                self.take_heard(result);
            }
        }
        if answer.has("status") && answer.has("created_at") {
            let later = inner("response").filter(|later| later.text("object") == Some("chat.completion"));
            self.take_response(later);
        }
        if let Some(metadata) = inner("metadata") {
            if place.bedrock {
                self.count(metadata.json("usage"));
            } else if object.is_empty() && answer.has("results") && self.response_id.is_none() {
                // Deepgram's; what a user sends to be echoed it has in `extra`.
                self.response_id = metadata.text("request_id").map(str::to_owned);
            }
        }
        if let Some(stop) = inner("messageStop").filter(|_| place.bedrock) {
            self.take_ends(stop);
        }
    }

    pub(super) fn take_response(&mut self, response: Option<&Node<'_>>) {
        if let Some(response) = response {
            self.take_named(response);
            self.take_ends(response);
            self.take_usage(response);
            self.take_beside(response);
            self.count(response.json("meta").filter(|meta| has_units(meta)));
        }
    }

    /// The names of an answer: its model, where the last word counts, and its id, where the first does.
    fn take_named(&mut self, named: &Node<'_>) {
        if let Some(model) = named.first_text(&["model", "modelVersion", "model_id", "modelId"]) {
            self.model = Some(model.to_owned());
        }
        if self.response_id.is_none() {
            let ids = [
                "id",
                "responseId",
                "generation_id",
                "response_id",
                "transcription_id",
                "request_id",
                "requestId",
                "run_id",
                "x_request_id",
            ];
            self.response_id = named.first_text(&ids).map(str::to_owned);
        }
    }

    fn take_usage(&mut self, counted: &Node<'_>) {
        self.count(counted.json("usage"));
        self.count(counted.json("usageMetadata"));
        self.count(counted.json("amazon-bedrock-invocationMetrics"));
        if let Some(groq) = counted.get("x_groq") {
            self.count(groq.json("usage"));
        }
    }

    /// Counts that stand elsewhere than in an object named for them.
    fn take_counts(&mut self, answer: &Node<'_>, object: &str) {
        let alone = |into: &mut Self, name: &str, value: Option<&Value>| {
            if let Some(value) = value {
                into.count(Some(&Value::Object(crate::base::object::of([(name.to_owned(), value.clone())]))));
            }
        };
        alone(self, "prompt_tokens", answer.json("prompt_token_count"));
        alone(self, "completion_tokens", answer.json("generation_token_count"));
        alone(self, "inputTokens", answer.json("inputTextTokenCount"));
        alone(self, "outputTokens", answer.json("totalOutputTextTokenCount"));
        if answer.has("inputTextTokenCount") {
            let outs = answer
                .list("results")
                .iter()
                .filter_map(|result| crate::wire::counts::whole(result.json("tokenCount")?));
            if let Some(out) = outs.reduce(u64::saturating_add) {
                alone(self, "outputTokens", Some(&out.into()));
            }
        }
        // Of Vertex AI's embeddings each has its own.
        let embedded = answer.list("predictions").iter().filter_map(|made| made.get("embeddings")?.get("statistics"));
        let embedded = embedded.filter_map(|own| crate::wire::counts::whole(own.json("token_count")?));
        if let Some(all) = embedded.reduce(u64::saturating_add) {
            alone(self, "inputTokens", Some(&all.into()));
        }
        if answer.has("generated_text") || answer.has("token") {
            let details = answer.get("details");
            alone(self, "completion_tokens", details.and_then(|details| details.json("generated_tokens")));
            if let Some(details) = details {
                self.take_ends(details);
            }
        }
        // OpenAI's objects have a `metadata` and no such members; others' objects of this kind may echo what was sent.
        if object.is_empty() && !answer.has("usage") {
            self.count(answer.json("meta").filter(|meta| has_units(meta)));
            self.count(answer.json("metrics"));
        }
    }

    pub(super) fn count(&mut self, counts: Option<&Value>) {
        if let Some(counts) = counts {
            usage::merge(&mut self.usage, usage::read(counts));
        }
    }

    fn take_error(&mut self, answer: &Node<'_>, kind: &str, object: &str, place: Place) {
        let json = |node: Option<&Node<'_>>, name: &str| node.and_then(|node| node.json(name)).and_then(explained);
        let told = json(Some(answer), "error")
            // A batch says there what is wrong with its lines.
            .or_else(|| {
                answer.json("errors").filter(|errors| object.is_empty() && !errors.is_object()).and_then(explained)
            })
            .or_else(|| answer.text("err_msg").map(str::to_owned))
            .or_else(|| json(answer.get("response").filter(|_| kind.starts_with("response.")), "error"))
            .or_else(|| json(answer.get("interaction").filter(|_| kind.starts_with("interaction.")), "error"))
            .or_else(|| json(answer.get("delta").filter(|_| kind == "message-end"), "error"))
            .or_else(|| json(answer.get("x_groq"), "error"))
            .or_else(|| answer.json("last_error").filter(|_| object == "thread.run").and_then(explained))
            .or_else(|| answer.list("choices").iter().find_map(|choice| json(Some(choice), "error")))
            .or_else(|| {
                let failed =
                    ["error", "response.failed"].contains(&kind) || kind.ends_with(".error") || object == "error";
                (place.failed || failed).then(|| said(answer)).flatten().or_else(|| failed.then(|| kind.to_owned()))
            });
        if let Some(error) = told {
            self.error = Some(shortened(&error));
        }
    }
}

/// What Cohere bills.
fn has_units(meta: &Value) -> bool {
    meta.get("billed_units").is_some() || meta.get("tokens").is_some()
}

/// The text of an error. Many answers say `"error": null`, `""`, `{}`, `[]` or `{"code": null, "message": null}` to say
/// that there was none.
fn explained(error: &Value) -> Option<String> {
    match error {
        Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Value::Array(errors) => errors.iter().find_map(explained),
        Value::Object(fields) => {
            let texts = ["message", "msg", "detail", "error", "code", "type"];
            let told = texts.iter().find_map(|name| explained(fields.get(*name)?));
            told.or_else(|| {
                fields.get("code").filter(|code| code.as_i64().is_some_and(|code| code != 0)).map(Value::to_string)
            })
        }
        _ => None,
    }
}

/// What a document says that is known to be an error as a whole.
fn said(answer: &Node<'_>) -> Option<String> {
    let message = answer.get("message");
    let names = ["error_message", "errorMessage", "error_description", "Message", "msg"];
    answer
        .text("message")
        .or_else(|| message?.text("message"))
        .map(str::to_owned)
        .or_else(|| message?.json("detail").and_then(explained))
        .or_else(|| match answer.json("detail")? {
            Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
            Value::Null => None,
            detail => Some(detail.to_string()),
        })
        .or_else(|| answer.first_text(&names).map(str::to_owned))
}
