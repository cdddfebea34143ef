//! What all policies of a gateway say of one request.

use super::expression::{Expression, NoValue};
use super::names;
use serde_json::Value;
use std::collections::BTreeMap;

/// A policy that is in force.
#[derive(Clone, Debug)]
pub struct Policy {
    pub name: String,
    /// Whom it counts apart: a text with fields in braces, such as `{cf.user.email}`. All callers together without one.
    pub actor: String,
    pub resource: Resource,
    /// It applies to every request without one.
    pub condition: Option<Expression>,
    pub action: Action,
}

/// The models that a policy is about. A list without an entry means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    pub providers: Vec<String>,
    /// Patterns; see [`names`].
    pub models: Vec<String>,
}

/// A model that a request is for, as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model<'a> {
    /// In small letters.
    Named(&'a str),
    /// The request runs no model: it lists, reads, cancels or removes something.
    None,
    /// It runs one, and does not tell which.
    Unknown,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    NoLimit,
    /// Refuses what matches; with `except`, all models that the resource does not have.
    Block {
        except: bool,
    },
    /// US dollars within a calendar period of UTC.
    Cap {
        amount: f64,
        period: Period,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    Hour,
    Day,
    /// From Monday on.
    Week,
    Month,
}

/// What policies say of a request before any spending is looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing stands in its way.
    Unlimited,
    /// Each bucket has to be below each of its caps.
    Check(Vec<Bucket>),
    Blocked(Reason),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There are policies, and none is about such a request.
    NoneMatches,
    Policy(String),
    /// The policy's name, and what it needs to know whom it blocks.
    Unknown(String, String),
}

/// Spending that is counted together.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// The resolved actor, and the resource as text.
    pub name: String,
    pub caps: BTreeMap<Period, Cap>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cap {
    pub amount: f64,
    pub policy: String,
}

/// Steps for each condition.
const STEPS: u64 = 50_000;

/// What all policies say of a request to a provider's models. `fields` is what conditions and actors name.
pub async fn decide(policies: &[Policy], fields: &Value, provider: &str, models: &[Model<'_>]) -> Decision {
    let mut limited: Vec<Bucket> = Vec::new();
    for model in models {
        match decide_one(policies, fields, provider, *model).await {
            Decision::Unlimited => {}
            Decision::Blocked(reason) => return Decision::Blocked(reason),
            Decision::Check(buckets) => {
                for bucket in buckets {
                    if !limited.iter().any(|known| known.name == bucket.name) {
                        limited.push(bucket);
                    }
                }
            }
        }
    }
    if limited.is_empty() { Decision::Unlimited } else { Decision::Check(limited) }
}

async fn decide_one(policies: &[Policy], fields: &Value, provider: &str, model: Model<'_>) -> Decision {
    if policies.is_empty() {
        return Decision::Unlimited;
    }
    let mut matched = false;
    let mut buckets: Vec<(Bucket, bool)> = Vec::new();
    for policy in policies {
        let name = || policy.name.clone();
        if !policy.may_be_about(provider, model) {
            continue;
        }
        let holds = match &policy.condition {
            Some(condition) => condition.holds(fields, STEPS).await,
            None => Ok(true),
        };
        let found = match holds {
            Ok(true) => resolved(&policy.actor, fields).map(Some),
            Ok(false) => Ok(None),
            Err(NoValue::Missing(field)) => Err(field),
            Err(NoValue::Mismatch(reason)) => Err(reason),
            Err(NoValue::Exhausted) => Err("the time for its condition".to_owned()),
        };
        match (&policy.action, found) {
            // What a block cannot tell, it blocks.
            (Action::Block { .. }, Err(field)) => return Decision::Blocked(Reason::Unknown(name(), field)),
            (Action::Block { .. }, Ok(Some(_))) if model == Model::Unknown && !policy.resource.models.is_empty() => {
                return Decision::Blocked(Reason::Unknown(name(), "the model".to_owned()));
            }
            (Action::Block { .. }, Ok(Some(_))) => return Decision::Blocked(Reason::Policy(name())),
            // The others do not match a request that they cannot tell.
            (_, Err(_) | Ok(None)) => {}
            (action, Ok(Some(actor))) => {
                matched = true;
                let name = policy.bucket(&actor);
                let place = buckets.iter().position(|(bucket, _)| bucket.name == name);
                let place = place.unwrap_or_else(|| {
                    buckets.push((Bucket { name, caps: BTreeMap::new() }, false));
                    buckets.len() - 1
                });
                let Some((bucket, is_unlimited)) = buckets.get_mut(place) else { continue };
                match action {
                    Action::Cap { amount, period } => {
                        let cap = Cap { amount: *amount, policy: policy.name.clone() };
                        let known = bucket.caps.entry(*period).or_insert_with(|| cap.clone());
                        if cap.amount > known.amount {
                            *known = cap;
                        }
                    }
                    _ => *is_unlimited = true,
                }
            }
        }
    }
    if !matched {
        return Decision::Blocked(Reason::NoneMatches);
    }
    let limited: Vec<Bucket> = buckets
        .into_iter()
        .filter(|(bucket, is_unlimited)| !is_unlimited && !bucket.caps.is_empty())
        .map(|(bucket, _)| bucket)
        .collect();
    if limited.is_empty() { Decision::Unlimited } else { Decision::Check(limited) }
}

/// An actor with the request's values in the place of fields. The error is the field that it has not.
fn resolved(actor: &str, fields: &Value) -> Result<String, String> {
    let mut made = String::new();
    let mut rest = actor;
    while let Some((before, from)) = rest.split_once('{') {
        let Some((path, after)) = from.split_once('}') else { break };
        made.push_str(before);
        let found = path.trim().split('.').try_fold(fields, |value, step| value.get(step));
        match found {
            Some(Value::String(text)) => made.push_str(text),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => made.push_str(&value.to_string()),
            _ => return Err(path.trim().to_owned()),
        }
        rest = after;
    }
    made.push_str(rest);
    Ok(made)
}

// === impl Policy ===

impl Policy {
    /// What counts together under it, for an actor with or without its fields.
    pub fn bucket(&self, actor: &str) -> String {
        format!("{actor} {}", self.resource.name())
    }

    /// Whether its condition has to be asked, by the resource alone.
    fn may_be_about(&self, provider: &str, model: Model<'_>) -> bool {
        let has_provider = self.resource.has_provider(provider);
        let has_model = match model {
            Model::Named(name) => names::any(&self.resource.models, provider, name),
            // What runs no model is blocked with a whole provider only, and passes where any of its models does.
            Model::None => self.resource.models.is_empty() || !matches!(self.action, Action::Block { except: false }),
            Model::Unknown => match self.action {
                Action::Block { except } => self.resource.models.is_empty() || !except,
                _ => self.resource.models.is_empty(),
            },
        };
        let is_about = has_provider && has_model;
        is_about != matches!(self.action, Action::Block { except: true })
    }
}

// === impl Resource ===

impl Resource {
    fn has_provider(&self, provider: &str) -> bool {
        self.providers.is_empty() || self.providers.iter().any(|known| known == provider)
    }

    fn name(&self) -> String {
        format!("{}:{}", self.providers.join(","), self.models.join(","))
    }
}

// === impl Period ===

impl Period {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "hourly" => Self::Hour,
            "daily" => Self::Day,
            "weekly" => Self::Week,
            "monthly" => Self::Month,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;
    use serde_json::json;

    fn policy(name: &str, actor: &str, models: &[&str], condition: &str, action: Action) -> Policy {
        Policy {
            name: name.to_owned(),
            actor: actor.to_owned(),
            resource: Resource {
                providers: Vec::new(),
                models: models.iter().map(|&model| model.to_owned()).collect(),
            },
            condition: (!condition.is_empty()).then(|| Expression::parse(condition).unwrap()),
            action,
        }
    }

    fn cap(amount: f64, period: Period) -> Action {
        Action::Cap { amount, period }
    }

    fn said(policies: &[Policy], model: &str) -> Decision {
        let fields = json!({"metadata": {"team": "search", "level": 2}, "cf": {"user": {"email": "ann@example.com"}}});
        block_on(decide(policies, &fields, "openai", &[Model::Named(model)]))
    }

    #[test]
    fn without_policies_all_pass_and_with_one_what_it_is_about() {
        assert_eq!(said(&[], "m"), Decision::Unlimited);
        let only = [policy("mini", "", &["*-mini"], "metadata.team == 'search'", Action::NoLimit)];
        assert_eq!(said(&only, "gpt-5-mini"), Decision::Unlimited);
        assert_eq!(said(&only, "gpt-5"), Decision::Blocked(Reason::NoneMatches));
    }

    #[test]
    fn a_block_counts_before_all_and_where_it_cannot_tell() {
        let all = policy("all", "", &[], "", Action::NoLimit);
        let block = |condition, except| policy("block", "", &[], condition, Action::Block { except });
        let blocked = || Decision::Blocked(Reason::Policy("block".to_owned()));
        assert_eq!(said(&[all.clone(), block("metadata.team == 'search'", false)], "m"), blocked());
        assert_eq!(said(&[all.clone(), block("metadata.team == 'x'", false)], "m"), Decision::Unlimited);
        // A list of what some may have: it stops the rest, and lets nothing through by itself.
        let only = |condition| policy("block", "", &["*-mini"], condition, Action::Block { except: true });
        assert_eq!(said(&[all.clone(), only("metadata.team == 'search'")], "gpt-5"), blocked());
        assert_eq!(said(&[all.clone(), only("metadata.team == 'search'")], "gpt-5-mini"), Decision::Unlimited);
        assert_eq!(said(&[all.clone(), only("metadata.team == 'x'")], "gpt-5"), Decision::Unlimited);
        assert_eq!(said(&[only("true")], "gpt-5-mini"), Decision::Blocked(Reason::NoneMatches));
        let unknown = Reason::Unknown("block".to_owned(), "cf.country".to_owned());
        assert_eq!(said(&[all.clone(), block("cf.country == 'DE'", false)], "m"), Decision::Blocked(unknown));
        // What is no block and cannot tell does not match.
        assert_eq!(
            said(&[policy("x", "{cf.country}", &[], "", Action::NoLimit)], "m"),
            Decision::Blocked(Reason::NoneMatches)
        );
    }

    #[test]
    fn caps_of_one_bucket_are_joined_and_the_highest_of_a_period_counts() {
        let of = |name, amount, period| policy(name, "{metadata.team}/{metadata.level}", &[], "", cap(amount, period));
        let policies = [
            of("low", 1.0, Period::Day),
            of("high", 5.0, Period::Day),
            of("month", 20.0, Period::Month),
            policy("person", "{cf.user.email}", &["gpt-*"], "", cap(2.0, Period::Hour)),
        ];
        let Decision::Check(buckets) = said(&policies, "gpt-5") else { panic!() };
        let shown: Vec<String> = buckets
            .iter()
            .flat_map(|bucket| {
                bucket
                    .caps
                    .iter()
                    .map(|(period, cap)| format!("{} {period:?} {} {}", bucket.name, cap.amount, cap.policy))
            })
            .collect();
        assert_eq!(
            shown,
            ["search/2 : Day 5 high", "search/2 : Month 20 month", "ann@example.com :gpt-* Hour 2 person"]
        );
        let mut free = policies.to_vec();
        free.push(policy("free", "{metadata.team}/2", &[], "", Action::NoLimit));
        let Decision::Check(buckets) = said(&free, "gpt-5") else { panic!() };
        assert_eq!(buckets.len(), 1);
    }

    #[test]
    fn a_request_without_a_model_is_told_from_one_that_hides_it() {
        let all = policy("all", "", &[], "", Action::NoLimit);
        let minis = policy("minis", "", &["*-mini"], "", Action::NoLimit);
        let no_opus = policy("no opus", "", &["*opus*"], "", Action::Block { except: false });
        let only_minis = policy("only minis", "", &["*-mini"], "", Action::Block { except: true });
        let said = |policies: &[&Policy], model| {
            let policies: Vec<Policy> = policies.iter().map(|&policy| policy.clone()).collect();
            block_on(decide(&policies, &json!({}), "openai", &[model]))
        };
        let unknown = |name: &str| Decision::Blocked(Reason::Unknown(name.to_owned(), "the model".to_owned()));
        for (policies, none, hidden) in [
            (&[&all][..], Decision::Unlimited, Decision::Unlimited),
            (&[&minis], Decision::Unlimited, Decision::Blocked(Reason::NoneMatches)),
            (&[&all, &no_opus], Decision::Unlimited, unknown("no opus")),
            (&[&all, &only_minis], Decision::Unlimited, unknown("only minis")),
        ] {
            assert_eq!((said(policies, Model::None), said(policies, Model::Unknown)), (none, hidden), "{policies:?}");
        }
        // Of several models that it may be for, each has to pass.
        let models = [Model::Named("gpt-5-mini"), Model::Named("gpt-5")];
        let decision = block_on(decide(&[minis], &json!({}), "openai", &models));
        assert_eq!(decision, Decision::Blocked(Reason::NoneMatches));
    }
}
