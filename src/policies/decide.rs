//! What all policies of a gateway say of one request.

use super::expression::{Expression, NoValue};
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
    /// Names, in which `*` stands for any characters but `/`.
    pub models: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    NoLimit,
    /// Refuses what matches; with `except`, what does not.
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
    /// The policy's name, and the field that it needs to know whom it blocks.
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

/// What all policies say of a request to a provider's model. `fields` is what conditions and actors name.
pub async fn decide(policies: &[Policy], fields: &Value, provider: &str, model: &str) -> Decision {
    if policies.is_empty() {
        return Decision::Unlimited;
    }
    let mut matched = false;
    let mut buckets: Vec<(Bucket, bool)> = Vec::new();
    for policy in policies.iter().filter(|policy| policy.resource.has(provider, model)) {
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
            (Action::Block { .. }, Err(field)) => {
                return Decision::Blocked(Reason::Unknown(policy.name.clone(), field));
            }
            (Action::Block { except }, Ok(found)) if found.is_some() != *except => {
                return Decision::Blocked(Reason::Policy(policy.name.clone()));
            }
            // The others do not match a request that they cannot tell.
            (Action::Block { except }, Ok(_)) => matched |= *except,
            (_, Err(_) | Ok(None)) => {}
            (action, Ok(Some(actor))) => {
                matched = true;
                let name = format!("{actor} {}", policy.resource.name());
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

// === impl Resource ===

impl Resource {
    fn has(&self, provider: &str, model: &str) -> bool {
        let is_provider = self.providers.is_empty() || self.providers.iter().any(|known| known == provider);
        is_provider && (self.models.is_empty() || self.models.iter().any(|known| is_like(known, model)))
    }

    fn name(&self) -> String {
        format!("{}:{}", self.providers.join(","), self.models.join(","))
    }
}

/// Whether a name is like a pattern, in which `*` stands for any characters but `/`.
pub fn is_like(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // Where the last star stands, and what has been behind it: it may take one character more.
    let mut star: Option<(&str, &str)> = None;
    loop {
        let (mut pattern_rest, mut name_rest) = (pattern.chars(), name.chars());
        match (pattern_rest.next(), name_rest.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((pattern_rest.as_str(), name));
                pattern = pattern_rest.as_str();
                continue;
            }
            (Some(wanted), Some(given)) if wanted == given => {
                (pattern, name) = (pattern_rest.as_str(), name_rest.as_str());
                continue;
            }
            _ => {}
        }
        let Some((behind, at)) = star else { return false };
        let mut more = at.chars();
        match more.next() {
            Some(character) if character != '/' => {
                star = Some((behind, more.as_str()));
                (pattern, name) = (behind, more.as_str());
            }
            _ => return false,
        }
    }
}

// === impl Period ===

impl Period {
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
        block_on(decide(policies, &fields, "openai", model))
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
        assert_eq!(said(&[all.clone(), block("metadata.team == 'x'", true)], "m"), blocked());
        assert_eq!(said(&[block("metadata.team == 'search'", true)], "m"), Decision::Unlimited);
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
    fn a_star_stays_within_a_part_of_a_name() {
        for (pattern, name, is_alike) in [
            ("gpt-*", "gpt-5-mini", true),
            ("*", "a", true),
            ("*", "", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("meta/*-8b", "meta/llama-3-8b", true),
            ("meta/*-8b", "meta/llama/x-8b", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "aXbY", false),
            ("", "", true),
            ("gpt", "gpt-5", false),
            ("é*", "éx", true),
        ] {
            assert_eq!(is_like(pattern, name), is_alike, "{pattern} {name}");
        }
        assert!(!is_like(&"a*".repeat(50), &"a".repeat(40)));
    }
}
