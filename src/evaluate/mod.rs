//! Evaluations: what is measured over the logs of a dataset, and how it is described.
//!
//! `tally` has the statistics, `answers` tests what was answered, `judge` asks a model, and `run` does the work in
//! slices.

pub mod answers;
mod figures;
pub mod judge;
mod judge_pass;
mod keyed;
mod passes;
pub mod report;
mod results;
pub mod run;
pub mod tally;
#[cfg(test)]
mod tests;
mod verdicts;

use crate::base::fault::Invalid;
use crate::base::json::json;
use answers::Test;
use judge::Judge;
use serde_json::{Map, Value};

/// A kind of evaluator, as `evaluation-types` lists it. Cloudflare's three come first.
pub struct EvaluationType {
    pub id: &'static str,
    pub name: &'static str,
    pub description: &'static str,
    pub kind: &'static str,
    pub mandatory: bool,
}

const fn of(id: &'static str, name: &'static str, kind: &'static str, description: &'static str) -> EvaluationType {
    EvaluationType { id, name, description, kind, mandatory: false }
}

pub const TYPES: &[EvaluationType] = &[
    EvaluationType {
        mandatory: true,
        ..of("cost", "Cost", "cost", "Mean cost in US dollars of the logs that have one")
    },
    EvaluationType { mandatory: true, ..of("speed", "Speed", "speed", "Mean duration in milliseconds") },
    EvaluationType {
        mandatory: true,
        ..of("human_feedback", "Human feedback", "performance", "Thumbs-up in percent of the logs that have a thumb")
    },
    of("success_rate", "Success rate", "reliability", "Successful requests in percent"),
    of("cache_hit_rate", "Cache hit rate", "cost", "Requests answered from the cache, in percent"),
    of("p50_duration", "Duration, median", "speed", "Half of the requests took at most this many milliseconds"),
    of(
        "p95_duration",
        "Duration, 95th percentile",
        "speed",
        "95 % of the requests took at most this many milliseconds",
    ),
    of(
        "p99_duration",
        "Duration, 99th percentile",
        "speed",
        "99 % of the requests took at most this many milliseconds",
    ),
    of(
        "p50_first_byte",
        "Time to first byte, median",
        "speed",
        "Milliseconds until an answer began, for half of the requests",
    ),
    of(
        "p95_first_byte",
        "Time to first byte, 95th percentile",
        "speed",
        "Milliseconds until an answer began, for 95 % of the requests",
    ),
    of(
        "p99_first_byte",
        "Time to first byte, 99th percentile",
        "speed",
        "Milliseconds until an answer began, for 99 % of the requests",
    ),
    of("tokens_in", "Input tokens", "cost", "Mean input tokens of the logs that have them"),
    of("tokens_out", "Output tokens", "cost", "Mean output tokens of the logs that have them"),
    of(
        "cost_per_thumbs_up",
        "Cost per thumbs-up",
        "cost",
        "US dollars spent for one thumbs-up, over the logs that have a cost",
    ),
    of("score", "Score", "performance", "Mean score (0 to 100) of the logs that have one"),
    of(
        "feedback",
        "Feedback value",
        "performance",
        "Mean of a numeric feedback key: write it as feedback:<key>, e.g. feedback:rating",
    ),
    of(
        "json_valid",
        "JSON validity",
        "answer",
        "Answers in percent that are JSON; with {\"schema\": …} in settings, JSON of that schema",
    ),
    of(
        "answer_matches",
        "Answer matches",
        "answer",
        "Answers in percent that contain a text or match a pattern: settings {\"contains\": …} or {\"regex\": …}; without, that say anything",
    ),
    of(
        "llm_judge",
        "LLM judge",
        "answer",
        "What a model says about each answer: settings {\"prompt\", \"provider\", \"model\", \"verdict\": \"number\" or \"boolean\", \"max_logs\", \"max_cost\", \"concurrency\"}",
    ),
];

/// What one entry of `evaluation_type_ids` measures.
#[derive(Clone, Debug)]
pub enum Evaluator {
    /// Statistics over fields of the logs.
    Figure(Figure),
    /// A test of each answer.
    Test(Test),
    /// A model's word on each answer.
    Judge(Judge),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    Mean(Metric),
    Share(Metric),
    Percentile(Timing, f64),
    CostPerThumbsUp,
}

/// Something that a log has one number of, or none.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    Cost,
    Duration,
    ThumbsUp,
    Success,
    Cached,
    TokensIn,
    TokensOut,
    Score,
    Feedback(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    Duration,
    FirstByte,
}

/// What the figures of an evaluation are broken down by.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupBy {
    Model,
    Provider,
    Metadata(String),
}

/// What is to be measured: the part of `POST evaluations` that is not about logs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// With the id each was asked for by.
    pub evaluators: Vec<(String, Evaluator)>,
    pub group_by: Option<GroupBy>,
}

const MAX_EVALUATORS: usize = 30;

// === impl Plan ===

impl Plan {
    /// Reads `evaluation_type_ids`, `settings` and `group_by`. Errors say where in the body they are.
    pub fn parse(body: &Map<String, Value>) -> Result<Self, Invalid> {
        let none = Map::new();
        let settings = match body.get("settings") {
            None | Some(Value::Null) => &none,
            Some(Value::Object(settings)) => settings,
            Some(_) => {
                return Err(Invalid::at(["body", "settings"], "Expected an object: evaluator id → its settings"));
            }
        };
        let ids = body.get("evaluation_type_ids").and_then(Value::as_array).filter(|ids| !ids.is_empty());
        let Some(ids) = ids.filter(|ids| ids.len() <= MAX_EVALUATORS) else {
            let rule = format!("Expected an array of 1 to {MAX_EVALUATORS} ids of evaluation types");
            return Err(Invalid::at(["body", "evaluation_type_ids"], rule));
        };
        let mut evaluators: Vec<(String, Evaluator)> = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            let place = index.to_string();
            let place = ["body", "evaluation_type_ids", place.as_str()];
            let id = id.as_str().unwrap_or("");
            if evaluators.iter().any(|(known, _)| known == id) {
                return Err(Invalid::at(
                    place,
                    "This evaluator is there already; a suffix makes a second one, e.g. llm_judge:tone",
                ));
            }
            let evaluator = Evaluator::parse(id, settings.get(id), &place)?;
            evaluators.push((id.to_owned(), evaluator));
        }
        if let Some(name) = settings.keys().find(|name| !evaluators.iter().any(|(id, _)| id == *name)) {
            return Err(Invalid::at(["body", "settings", name], "There is no such id in evaluation_type_ids"));
        }
        let group_by = match body.get("group_by") {
            None | Some(Value::Null) => None,
            Some(name) => Some(name.as_str().and_then(GroupBy::parse).ok_or_else(|| {
                Invalid::at(["body", "group_by"], "Expected 'model', 'provider' or 'metadata.<key>'")
            })?),
        };
        Ok(Self { evaluators, group_by })
    }
}

// === impl Evaluator ===

impl Evaluator {
    fn parse(id: &str, settings: Option<&Value>, place: &[&str]) -> Result<Self, Invalid> {
        let (kind, suffix) = id.split_once(':').unwrap_or((id, ""));
        let unknown = || {
            let names: Vec<String> = TYPES.iter().map(|known| format!("'{}'", known.id)).collect();
            Invalid::at(place.iter().copied(), format!("Invalid enum value. Expected {}", names.join(" | ")))
        };
        let wrong = |(field, rule): (&str, String)| {
            let path: Vec<&str> =
                ["body", "settings", id].into_iter().chain(field.split('.').filter(|part| !part.is_empty())).collect();
            Invalid::at(path, rule)
        };
        let none = json!({});
        let given = settings.unwrap_or(&none);
        match kind {
            "json_valid" => return Test::json(given).map(Self::Test).map_err(wrong),
            "answer_matches" => return Test::text(given).map(Self::Test).map_err(wrong),
            "llm_judge" => return Judge::parse(given).map(Self::Judge).map_err(wrong),
            _ => {}
        }
        if settings.is_some() {
            return Err(wrong(("", "This evaluator takes no settings".to_owned())));
        }
        if kind == "feedback" {
            return match suffix {
                "" => Err(Invalid::at(place.iter().copied(), "Expected feedback:<key>, e.g. feedback:rating")),
                key => Ok(Self::Figure(Figure::Mean(Metric::Feedback(key.to_owned())))),
            };
        }
        let figure = match id {
            "cost" => Figure::Mean(Metric::Cost),
            "speed" => Figure::Mean(Metric::Duration),
            "human_feedback" => Figure::Share(Metric::ThumbsUp),
            "success_rate" => Figure::Share(Metric::Success),
            "cache_hit_rate" => Figure::Share(Metric::Cached),
            "p50_duration" => Figure::Percentile(Timing::Duration, 0.50),
            "p95_duration" => Figure::Percentile(Timing::Duration, 0.95),
            "p99_duration" => Figure::Percentile(Timing::Duration, 0.99),
            "p50_first_byte" => Figure::Percentile(Timing::FirstByte, 0.50),
            "p95_first_byte" => Figure::Percentile(Timing::FirstByte, 0.95),
            "p99_first_byte" => Figure::Percentile(Timing::FirstByte, 0.99),
            "tokens_in" => Figure::Mean(Metric::TokensIn),
            "tokens_out" => Figure::Mean(Metric::TokensOut),
            "cost_per_thumbs_up" => Figure::CostPerThumbsUp,
            "score" => Figure::Mean(Metric::Score),
            _ => return Err(unknown()),
        };
        Ok(Self::Figure(figure))
    }

    pub fn unit(&self) -> &'static str {
        match self {
            Self::Figure(Figure::Mean(Metric::Cost)) => "US dollars",
            Self::Figure(Figure::Mean(Metric::Duration) | Figure::Percentile(..)) => "milliseconds",
            Self::Figure(Figure::Mean(Metric::TokensIn | Metric::TokensOut)) => "tokens",
            Self::Figure(Figure::Mean(_)) => "points",
            Self::Figure(Figure::Share(_)) | Self::Test(_) => "percent",
            Self::Figure(Figure::CostPerThumbsUp) => "US dollars per thumbs-up",
            Self::Judge(judge) => judge.unit(),
        }
    }
}

/// SQL for what a log cost. Logs of an older version may have figures that are no cost, and what another log used is counted there.
pub(crate) const COST: &str = "iif(logs.cost <= 10000 AND logs.usage_of IS NULL, logs.cost, NULL)";

// === impl Metric ===

impl Metric {
    /// SQL that is a number, or null where a log has none; a feedback key is bound by the caller.
    pub fn sql(&self, bind: impl FnOnce(&str) -> String) -> String {
        match self {
            Self::Cost => COST.to_owned(),
            Self::Duration => "logs.duration".to_owned(),
            Self::ThumbsUp => "CASE WHEN logs.feedback IS NOT NULL THEN logs.feedback = 1 END".to_owned(),
            Self::Success => "logs.success".to_owned(),
            Self::Cached => "logs.cached".to_owned(),
            Self::TokensIn => "iif(logs.usage_of IS NULL, logs.tokens_in, NULL)".to_owned(),
            Self::TokensOut => "iif(logs.usage_of IS NULL, logs.tokens_out, NULL)".to_owned(),
            Self::Score => "logs.score".to_owned(),
            Self::Feedback(key) => format!(
                "(SELECT value FROM log_feedback WHERE log_id = logs.id AND key = {} AND typeof(value) IN ('integer', 'real') AND abs(value) <= 1e15)",
                bind(key)
            ),
        }
    }
}

// === impl Timing ===

impl Timing {
    pub fn sql(self) -> &'static str {
        match self {
            Self::Duration => "logs.duration",
            Self::FirstByte => "logs.first_byte",
        }
    }
}

// === impl GroupBy ===

impl GroupBy {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "model" => Some(Self::Model),
            "provider" => Some(Self::Provider),
            _ => name.strip_prefix("metadata.").filter(|key| !key.is_empty()).map(|key| Self::Metadata(key.to_owned())),
        }
    }

    pub fn sql(&self, bind: impl FnOnce(&str) -> String) -> String {
        match self {
            Self::Model => "coalesce(logs.model, '')".to_owned(),
            Self::Provider => "logs.provider".to_owned(),
            Self::Metadata(key) => format!(
                "coalesce((SELECT CAST(value AS TEXT) FROM log_metadata WHERE log_id = logs.id AND key = {}), '')",
                bind(key)
            ),
        }
    }
}
