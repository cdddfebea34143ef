//! A policy as it is written down: `name`, `actor`, `resource`, `condition` and `action`, as Cloudflare's API has them.

use super::decide::{Action, Period, Policy, Resource};
use super::expression::Expression;
use crate::base::fault::Invalid;
use serde_json::{Map, Value};

/// The members of a policy, in the order in which they are shown.
pub const FIELDS: &[&str] = &["name", "actor", "resource", "condition", "action"];

const MOST_NAME: usize = 200;
const MOST_ACTOR: usize = 500;
const MOST_VALUES: usize = 100;
const MOST_VALUE: usize = 256;
const MOST_DOLLARS: f64 = 1e7;

/// Reads a policy. What is wrong with it is named.
pub fn read(given: &Map<String, Value>) -> Result<Policy, Invalid> {
    let text = |field: &str, most: usize| {
        let text = given.get(field).and_then(Value::as_str).filter(|text| text.chars().count() <= most);
        text.ok_or_else(|| wrong(&[field], format!("Expected a text of at most {most} characters")))
    };
    let name = text("name", MOST_NAME)?.trim();
    if name.is_empty() {
        return Err(wrong(&["name"], "Expected a name of 1 to 200 characters"));
    }
    let actor = text("actor", MOST_ACTOR)?;
    check_actor(actor)?;
    let condition = match given.get("condition") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.trim() == "true" => None,
        Some(Value::String(text)) => Some(Expression::parse(text).map_err(|fault| {
            wrong(&["condition"], format!("Expected a CEL expression; at character {}: {}", fault.at, fault.reason))
        })?),
        Some(_) => return Err(wrong(&["condition"], "Expected a CEL expression as a text, such as \"true\"")),
    };
    Ok(Policy {
        name: name.to_owned(),
        actor: actor.to_owned(),
        resource: resource(given.get("resource").unwrap_or(&Value::Null))?,
        condition,
        action: action(given.get("action").unwrap_or(&Value::Null))?,
    })
}

/// Policies as a gateway's snapshot has them: a JSON array. One that cannot be read matches nothing, and keeps what no other
/// matches out.
pub fn all(json: &str) -> Vec<Policy> {
    let stored: Vec<Value> = serde_json::from_str(json).unwrap_or_default();
    let read = |value: &Value| value.as_object().and_then(|object| read(object).ok());
    stored.iter().map(|value| read(value).unwrap_or_else(unreadable)).collect()
}

fn unreadable() -> Policy {
    let resource = Resource { providers: vec![String::new()], models: Vec::new() };
    Policy { name: "?".to_owned(), actor: String::new(), resource, condition: None, action: Action::NoLimit }
}

fn check_actor(actor: &str) -> Result<(), Invalid> {
    let mut rest = actor;
    while let Some((_, from)) = rest.split_once('{') {
        let path = from.split_once('}').map(|(path, after)| (path.trim(), after));
        let is_path = |path: &str| {
            let is_step =
                |step: &str| !step.is_empty() && !step.contains(|char: char| char.is_whitespace() || char == '{');
            path.split('.').all(is_step)
        };
        match path {
            Some((path, after)) if is_path(path) => rest = after,
            _ => return Err(wrong(&["actor"], "Expected a text with fields in braces, such as user:{cf.user.email}")),
        }
    }
    Ok(())
}

fn resource(given: &Value) -> Result<Resource, Invalid> {
    const RULE: &str = "Expected \"*\", or an object with model, provider or both, each a text or an array of texts";
    if given == "*" {
        return Ok(Resource::default());
    }
    let object = given.as_object().filter(|object| !object.is_empty()).ok_or_else(|| wrong(&["resource"], RULE))?;
    if let Some(other) = object.keys().find(|name| !matches!(name.as_str(), "model" | "provider")) {
        return Err(wrong(&["resource", other], RULE));
    }
    Ok(Resource { providers: texts(object, "provider")?, models: texts(object, "model")? })
}

fn texts(object: &Map<String, Value>, name: &str) -> Result<Vec<String>, Invalid> {
    let given = match object.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect(),
        Some(one) => vec![one.as_str()],
    };
    let is_text = |text: &&str| !text.trim().is_empty() && text.chars().count() <= MOST_VALUE;
    let texts: Option<Vec<String>> =
        given.into_iter().map(|text| text.filter(is_text).map(|text| text.trim().to_lowercase())).collect();
    let texts = texts.filter(|texts| (1..=MOST_VALUES).contains(&texts.len()));
    let rule = || format!("Expected a text, or 1 to {MOST_VALUES} texts, of 1 to {MOST_VALUE} characters");
    let texts = texts.ok_or_else(|| wrong(&["resource", name], rule()))?;
    // All of them is the same as no list.
    Ok(if texts.iter().any(|text| text == "*") && name == "provider" { Vec::new() } else { texts })
}

fn action(given: &Value) -> Result<Action, Invalid> {
    let wrong = |field: &str, rule: &str| wrong(&["action", field], rule);
    let text = |field: &str| given.get(field).and_then(Value::as_str);
    match text("type") {
        Some("no-limit") => Ok(Action::NoLimit),
        Some("block") => match given.get("except") {
            None | Some(Value::Null) => Ok(Action::Block { except: false }),
            Some(Value::Bool(except)) => Ok(Action::Block { except: *except }),
            Some(_) => Err(wrong("except", "Expected true or false")),
        },
        Some("limit") => {
            let amount = given.get("amount").and_then(Value::as_f64);
            let amount = amount.filter(|amount| *amount >= 1e-9 && *amount <= MOST_DOLLARS);
            let amount = amount.ok_or_else(|| wrong("amount", "Expected US dollars, above 0 and at most 10000000"))?;
            let period = text("period").and_then(Period::parse);
            let period = period.ok_or_else(|| wrong("period", "Expected hourly, daily, weekly or monthly"))?;
            match given.get("technique") {
                None | Some(Value::Null) => {}
                Some(technique) if technique == "named-interval" => {}
                Some(_) => return Err(wrong("technique", "Expected named-interval")),
            }
            Ok(Action::Cap { amount, period })
        }
        _ => Err(wrong("type", "Expected no-limit, block or limit")),
    }
}

fn wrong(path: &[&str], rule: impl Into<String>) -> Invalid {
    Invalid::at(["body"].into_iter().chain(path.iter().copied()), rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn whole() -> Value {
        json!({ "name": "n", "actor": "user:{cf.user.id}", "resource": { "model": "OpenAI/gpt-*", "provider": ["openai"] },
            "condition": "\"a\" in cf.user.groups", "action": { "type": "limit", "amount": 5, "period": "daily", "technique": "named-interval" } })
    }

    fn with(path: &str, value: Value) -> Result<Policy, Invalid> {
        let mut all = whole();
        *all.pointer_mut(path).unwrap() = value;
        read(all.as_object().unwrap())
    }

    #[test]
    fn a_policy_is_read_as_cloudflare_writes_it() {
        let policy = read(whole().as_object().unwrap()).unwrap();
        assert_eq!((policy.name.as_str(), policy.actor.as_str()), ("n", "user:{cf.user.id}"));
        assert_eq!(policy.resource, Resource { providers: vec!["openai".into()], models: vec!["openai/gpt-*".into()] });
        assert_eq!(policy.action, Action::Cap { amount: 5.0, period: Period::Day });
        assert_eq!(with("/resource", json!("*")).unwrap().resource, Resource::default());
        assert_eq!(
            with("/action", json!({ "type": "block", "except": true })).unwrap().action,
            Action::Block { except: true }
        );
        assert!(with("/condition", json!("true")).unwrap().condition.is_none());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (path, value, place) in [
            ("/name", json!(" "), "name"),
            ("/name", json!(7), "name"),
            ("/actor", json!("user:{cf.user.id"), "actor"),
            ("/actor", json!("user:{}"), "actor"),
            ("/actor", json!("{a..b}"), "actor"),
            ("/resource", json!({}), "resource"),
            ("/resource", Value::Null, "resource"),
            ("/resource", json!({ "modle": "x" }), "resource.modle"),
            ("/resource", json!({ "model": [] }), "resource.model"),
            ("/resource", json!({ "model": [7] }), "resource.model"),
            ("/condition", json!("cf.country =="), "condition"),
            ("/condition", json!(true), "condition"),
            ("/action", Value::Null, "action.type"),
            ("/action/type", json!("allow"), "action.type"),
            ("/action/amount", json!(0), "action.amount"),
            ("/action/period", json!("yearly"), "action.period"),
            ("/action/technique", json!("sliding"), "action.technique"),
        ] {
            let fault = with(path, value.clone()).unwrap_err();
            assert_eq!(fault.path.join("."), format!("body.{place}"), "{path} {value}");
        }
        assert!(with("/condition", json!("cf.country ==")).unwrap_err().message.contains("at character 14"));
    }

    #[test]
    fn one_that_cannot_be_read_lets_nothing_through() {
        let read = all(&json!([whole(), { "name": "broken" }]).to_string());
        assert_eq!((read.len(), read[1].resource.providers.as_slice()), (2, &[String::new()][..]));
        assert!(all("nonsense").is_empty());
    }
}
