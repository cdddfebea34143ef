//! Rules by model: which of a rule's budgets a request is for, before it is sent and when its answer says which model it was.

use super::rules::{Dimension, SpendRule};
use super::window::Window;
use super::{Demand, Takes};
use crate::limit::part::part_of;
use crate::providers::model::names::{answers, covers, folded};

/// The models that a request may be for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Models {
    /// As they are compared; the likeliest first.
    named: Vec<String>,
    /// Why it may be for a model that is not among these.
    pub doubt: Option<&'static str>,
}

/// A rule by model that learns of a request's cost when the answer names a model which the request did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByAnswer {
    rule: String,
    window: Window,
    limit: u64,
    models: Dimension,
    /// The values of the other dimensions that come before the model in a counter's name, and behind it.
    before: Vec<String>,
    behind: Vec<String>,
    /// The models whose budgets have been asked already.
    asked: Vec<String>,
}

/// The budgets of a rule by model that a request is for.
pub struct Budgets {
    /// The values that tell each of them from others.
    pub parts: Vec<Vec<String>>,
    pub later: ByAnswer,
    /// True when there may be others, or the rule may be about the request although it does not seem so.
    pub is_doubtful: bool,
}

// === impl Models ===

impl Models {
    pub fn new<'a>(named: impl IntoIterator<Item = &'a str>, doubt: Option<&'static str>) -> Self {
        let mut all: Vec<String> = Vec::new();
        for name in named.into_iter().map(folded) {
            if !name.is_empty() && !all.contains(&name) {
                all.push(name);
            }
        }
        Self { named: all, doubt }
    }

    pub fn named(&self) -> &[String] {
        &self.named
    }
}

// === impl SpendRule ===

impl SpendRule {
    /// The budgets that a request for these models is for, by the dimension `model` of the rule.
    pub fn budgets(&self, models: &Models, dimension: &Dimension, [before, behind]: [Vec<String>; 2]) -> Budgets {
        let asked: Vec<String> = models.named.iter().filter(|name| dimension.is_about(name)).cloned().collect();
        let is_doubtful = models.doubt.is_some() && (asked.is_empty() || *dimension == Dimension::Partition);
        let later = ByAnswer {
            rule: self.counters(),
            window: self.window(),
            limit: self.amount(),
            models: dimension.clone(),
            before,
            behind,
            asked,
        };
        let parts = match dimension {
            Dimension::Partition => later.asked.iter().map(|name| later.values(Some(name))).collect(),
            Dimension::Filter(_) => later.asked.first().map(|_| later.values(None)).into_iter().collect(),
        };
        Budgets { parts, later, is_doubtful }
    }
}

// === impl Dimension ===

impl Dimension {
    /// Whether a model, as it is compared, is one of those meant.
    fn is_about(&self, model: &str) -> bool {
        match self {
            Self::Filter(wanted) => wanted.iter().any(|wanted| covers(&folded(wanted), model)),
            Self::Partition => true,
        }
    }
}

// === impl ByAnswer ===

impl ByAnswer {
    /// The budget that an answer of this model is to be counted in, if it was not asked before the request.
    pub fn demand(&self, model: &str) -> Option<Demand> {
        let model = folded(model);
        if model.is_empty() || !self.models.is_about(&model) {
            return None;
        }
        let values = match &self.models {
            // One budget for all of them.
            Dimension::Filter(_) if !self.asked.is_empty() => return None,
            Dimension::Filter(_) => self.values(None),
            // An answer names the version of the model that was asked for.
            Dimension::Partition if self.asked.iter().any(|asked| answers(asked, &model)) => return None,
            Dimension::Partition => self.values(Some(&model)),
        };
        let part = part_of(&values);
        Some(Demand { rule: self.rule.clone(), part, window: self.window, limit: self.limit, takes: Takes::Later })
    }

    fn values(&self, model: Option<&str>) -> Vec<String> {
        let model = model.map(str::to_owned);
        self.before.iter().cloned().chain(model).chain(self.behind.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::refusal::Refusal;
    use crate::limit::plan::{LimitCheck, LimitSubject};
    use crate::limit::rules::UnknownModel;
    use crate::limit::rules::tests::limits;
    use serde_json::{Value, json};

    fn plan(rule: &Value, setting: Option<UnknownModel>, models: &Models) -> LimitCheck {
        let mut whole = json!({ "id": "s", "limit": 0.5, "limitType": "cost", "window": 60 });
        whole.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        let mut limits = limits(None, &Value::Null, &json!({ "rules": [whole] }));
        limits.unknown_model = setting;
        LimitCheck::new(
            &limits,
            &LimitSubject { provider: "openai", models: models.clone(), ..LimitSubject::default() },
            || 7,
        )
    }

    fn keys(plan: &LimitCheck) -> Vec<String> {
        plan.demands.iter().map(Demand::key).collect()
    }

    fn later(plan: &LimitCheck, model: &str) -> Vec<String> {
        plan.later.iter().filter_map(|later| later.demand(model)).map(|demand| demand.key()).collect()
    }

    fn filter() -> Value {
        json!({ "model": { "mode": "filter", "values": ["GPT-4o"] } })
    }

    fn partition() -> Value {
        json!({ "model": { "mode": "partition" }, "provider": { "mode": "partition" } })
    }

    #[test]
    fn every_spelling_of_a_model_has_one_budget() {
        for name in ["gpt-4o", "gpt-4o ", "GPT-4O", "\u{feff}gpt-4o\0", "models/gpt-4o", "gpt-4o-2024-08-06"] {
            assert_eq!(keys(&plan(&filter(), None, &Models::new([name], None))), ["spend/s "], "{name:?}");
        }
        for name in ["gpt-4o", "Gpt-4o\n", "models/gpt-4o"] {
            let models = Models::new([name], None);
            assert_eq!(keys(&plan(&partition(), None, &models)), ["spend/s [\"openai\",\"gpt-4o\"]"], "{name:?}");
        }
        assert!(keys(&plan(&filter(), None, &Models::new(["gpt-4o-mini"], None))).is_empty());
        assert_eq!(keys(&plan(&filter(), None, &Models::new(["gpt-4o-mini", "gpt-4o"], None))), ["spend/s "]);
        assert_eq!(keys(&plan(&partition(), None, &Models::new(["a", "b", "A"], None))).len(), 2);
    }

    #[test]
    fn the_answer_is_counted_where_the_request_was_not() {
        let other = plan(&filter(), None, &Models::new(["cheap"], None));
        assert_eq!(later(&other, "gpt-4o-2024-08-06"), ["spend/s "]);
        assert!(later(&other, "gpt-4o-mini").is_empty() && later(&other, "").is_empty());
        assert!(later(&plan(&filter(), None, &Models::new(["gpt-4o"], None)), "gpt-4o").is_empty());
        let asked = plan(&partition(), None, &Models::new(["gpt-4o"], None));
        assert!(later(&asked, "gpt-4o-2024-08-06").is_empty());
        assert_eq!(later(&asked, "GPT-4o-mini"), ["spend/s [\"openai\",\"gpt-4o-mini\"]"]);
        let elsewhere =
            json!({ "model": { "mode": "partition" }, "provider": { "mode": "filter", "values": ["groq"] } });
        assert!(plan(&elsewhere, None, &Models::default()).later.is_empty());
    }

    #[test]
    fn a_model_that_is_not_known_is_blocked_where_money_is_set_aside_or_the_setting_says_so() {
        use UnknownModel::{Allow, Block};
        let reserve = |mut rule: Value| {
            rule["reserve"] = true.into();
            rule
        };
        let unknown = Models::new([], Some("it is a riddle"));
        let unsure = Models::new(["gpt-4o"], Some("it is a riddle"));
        let other = Models::new(["cheap"], Some("it is a riddle"));
        for (rule, setting, models, is_blocked) in [
            (filter(), None, &unknown, false),
            (filter(), Some(Allow), &unknown, false),
            (filter(), Some(Block), &unknown, true),
            (reserve(filter()), None, &unknown, true),
            (reserve(filter()), Some(Allow), &unknown, false),
            (reserve(filter()), Some(Block), &unknown, true),
            // The rule is about it anyway, whichever of the models it is for.
            (reserve(filter()), Some(Block), &unsure, false),
            (reserve(filter()), None, &other, true),
            (partition(), None, &unsure, false),
            (partition(), Some(Block), &unsure, true),
            (reserve(partition()), None, &unsure, true),
            (reserve(json!({})), Some(Block), &unknown, false),
            (reserve(filter()), Some(Block), &Models::default(), false),
        ] {
            let plan = plan(&rule, setting, models);
            assert_eq!(plan.unknown.is_some(), is_blocked, "{rule} {setting:?} {models:?}");
            if let Some(refusal) = plan.unknown.map(Refusal::from) {
                assert_eq!((refusal.status, refusal.code), (400, 2045));
                for part in ["'s'", "it is a riddle", "unknown_model"] {
                    assert!(refusal.description.contains(part), "{}", refusal.description);
                }
            }
        }
        assert_eq!(later(&plan(&filter(), None, &unknown), "gpt-4o"), ["spend/s "]);
    }
}
