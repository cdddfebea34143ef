//! What answers say beside their counts that matters to what they cost: classes of service, calls of tools, and whether they
//! are about something that can be asked for again.

use super::details::{Count, Tier};
use super::places::Node;
use crate::wire::facts::{Facts, Usage};
use crate::wire::usage;
use serde_json::Value;

/// The words of providers for what is not done yet.
const OPEN: &[&str] = &[
    "queued",
    "created",
    "starting",
    "processing",
    "in_progress",
    "pending",
    "validating",
    "finalizing",
    "cancelling",
    "canceling",
    "requires_action",
];

/// The model of a batch whose requests were for several.
const SEVERAL: &str = "several models";

impl Facts {
    /// What the price of an answer may depend on besides counts of tokens.
    pub(super) fn take_beside(&mut self, answer: &Node<'_>) {
        let details = &mut self.usage.details;
        let tier = answer.text("service_tier").or_else(|| answer.get("serviceTier")?.text("type"));
        details.tier = tier.and_then(Tier::parse).or(details.tier);
        if answer.text("prompt_cache_retention") == Some("24h") {
            details.set(Count::CacheWriteDay, self.usage.cache_write);
        }
        if matches!(answer.text("object"), Some("response" | "realtime.response")) {
            usage::count_calls(answer.list("output"), details);
        }
        let queries = answer.list("candidates").iter().filter_map(|candidate| {
            candidate.get("groundingMetadata")?.json("webSearchQueries")?.as_array().map(|queries| queries.len() as u64)
        });
        let queries = queries.fold(0, u64::saturating_add);
        details.set(
            Count::WebSearches,
            crate::wire::counts::latest(details.get(Count::WebSearches), (queries > 0).then_some(queries)),
        );
        self.take_thing(answer);
    }

    /// What can be asked for again: by the kind of the object, because others may have ids as well.
    fn take_thing(&mut self, answer: &Node<'_>) {
        let object = answer.first_text(&["object", "type"]).unwrap_or("");
        let thing = &mut self.thing;
        let id = match object {
            "response" | "thread.run" | "batch" | "message_batch" => answer.text("id"),
            // A step's tokens are a part of its run's, which count when all of them are known.
            "thread.run.step" if thing.id.is_none() => {
                thing.is_open = true;
                return;
            }
            _ => None,
        };
        // Gemini's have no kind, and are named by their path.
        let id = id.or_else(|| answer.text("name").filter(|name| object.is_empty() && name.starts_with("batches/")));
        if let Some(id) = id {
            thing.id = Some(id.to_owned());
        }
        // Other objects of a stream have a status of their own.
        if let Some(status) =
            answer.text("status").filter(|_| id.is_some() || object.is_empty() || object == "interaction")
        {
            // An interaction that wants a tool's result is over: another one brings it.
            let is_over = object == "interaction" && status == "requires_action";
            thing.is_open = !is_over && OPEN.iter().any(|open| open.eq_ignore_ascii_case(status));
        }
        if answer.json("store") == Some(&Value::Bool(false)) {
            thing.is_dropped = true;
        }
        if object == "batch" {
            self.usage.is_sum = true;
            self.usage.details.tier = Some(Tier::Batch);
        }
    }

    /// Adds a line of the results of a batch, each of which is an answer of its own.
    pub(super) fn add_of_batch(&mut self, message: Option<&Node<'_>>) {
        let Some(counts) = message.and_then(|message| message.json("usage")) else { return };
        let mut line: Usage = usage::read(counts);
        usage::add_up(&mut line);
        usage::add(&mut self.usage, line);
        self.usage.is_sum = true;
        self.usage.details.tier = Some(Tier::Batch);
        if let Some(model) = message.and_then(|message| message.text("model")) {
            // One price cannot be right for all of them.
            let is_same = self.model.as_deref().is_none_or(|known| known == model);
            self.model = Some(if is_same { model } else { SEVERAL }.to_owned());
        }
    }
}
