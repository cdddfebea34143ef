//! Conditions over a request, in the language that MongoDB's queries have: `{"metadata.plan": {"$eq": "free"}}`.
//! <https://www.mongodb.com/docs/manual/reference/operator/query/>
//!
//! A condition is checked whole when it is stored; what is asked later cannot fail. Values are compared as they are: a number is not
//! equal to its text, but for metadata, whose values callers send as texts.

mod parse;

use crate::base::number;
use crate::pattern::Pattern;
use crate::pattern::budget::{Exhausted, Meter};
use serde_json::Value;

/// A longer text is not looked through, in bytes.
const MOST_SUBJECT: usize = 65_536;

/// A condition that was found to make sense.
#[derive(Clone, Debug)]
pub enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Field(Field, Test),
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Metadata(String),
    /// In small letters.
    Header(String),
    /// The members on the way to a value of the body.
    Body(Vec<String>),
    Model,
    Provider,
    Path,
    TokenId,
    TokenName,
    TokenOwner,
    /// A value of the metadata that the token itself has.
    TokenMetadata(String),
    EstimatedInput,
    HourUtc,
}

#[derive(Clone, Debug)]
pub enum Test {
    Equal(Value),
    Order(Order, Value),
    In(Vec<Value>),
    Exists(bool),
    Matches(Pattern),
    Contains(Value),
    StartsWith(String),
    EndsWith(String),
    Size(u64),
    Element(Box<Test>),
    /// An element of a list for which all of these hold, each at its path within the element.
    Members(Vec<(Vec<String>, Self)>),
    Type(&'static str),
    /// All of them.
    Each(Vec<Self>),
    Not(Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// What is wrong with a condition, and where: `$and[1].metadata.plan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub path: String,
    pub reason: String,
}

/// A request, as conditions see it.
pub trait Facts {
    /// What a field holds; `None` where the request has none.
    fn value(&self, field: &Field) -> Option<Value>;
}

// === impl Condition ===

impl Condition {
    pub fn parse(given: &Value) -> Result<Self, Wrong> {
        parse::condition(given)
    }

    /// Whether it holds. A pattern costs steps of the meter.
    pub async fn holds(&self, facts: &impl Facts, meter: &Meter<impl AsyncFn()>) -> Result<bool, Exhausted> {
        match self {
            Self::All(all) => {
                for one in all {
                    if !Box::pin(one.holds(facts, meter)).await? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(all) => {
                for one in all {
                    if Box::pin(one.holds(facts, meter)).await? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(one) => Ok(!Box::pin(one.holds(facts, meter)).await?),
            Self::Field(field, test) => {
                let value = facts.value(field);
                test.passes(value.as_ref(), field.is_text(), meter).await
            }
        }
    }
}

// === impl Field ===

impl Field {
    /// Whether a caller can send numbers as texts only.
    fn is_text(&self) -> bool {
        matches!(self, Self::Metadata(_) | Self::TokenMetadata(_) | Self::Header(_))
    }

    pub(in crate::routes) fn parse(name: &str) -> Result<Self, String> {
        let rest = |prefix: &str| name.strip_prefix(prefix).filter(|rest| !rest.is_empty()).map(str::to_owned);
        if let Some(key) = rest("metadata.") {
            return Ok(Self::Metadata(key));
        }
        if let Some(key) = rest("token.metadata.") {
            return Ok(Self::TokenMetadata(key));
        }
        if let Some(header) = rest("headers.") {
            return Ok(Self::Header(header.to_ascii_lowercase()));
        }
        if let Some(path) = rest("body.") {
            return Ok(Self::Body(path.split('.').map(str::to_owned).collect()));
        }
        Ok(match name {
            "model" => Self::Model,
            "provider" => Self::Provider,
            "path" => Self::Path,
            "token.id" => Self::TokenId,
            "token.name" => Self::TokenName,
            "token.owner" => Self::TokenOwner,
            "tokens.estimated_input" => Self::EstimatedInput,
            "time.hour_utc" => Self::HourUtc,
            _ => {
                return Err(format!(
                    "{name} is no field of a request: they are metadata.<key>, headers.<name>, body.<path>, model, provider, path, \
                     token.id, token.name, token.owner, token.metadata.<key>, tokens.estimated_input and time.hour_utc"
                ));
            }
        })
    }
}

/// A value of a body by its path. A number in the path is a place in a list.
pub fn member<'v>(body: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(body, |value, step| match value {
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

// === impl Test ===

impl Test {
    async fn passes(
        &self,
        value: Option<&Value>,
        is_text: bool,
        meter: &Meter<impl AsyncFn()>,
    ) -> Result<bool, Exhausted> {
        let text = value.and_then(Value::as_str).filter(|text| text.len() <= MOST_SUBJECT);
        Ok(match self {
            Self::Exists(wanted) => value.is_some() == *wanted,
            Self::Not(test) => !Box::pin(test.passes(value, is_text, meter)).await?,
            Self::Each(all) => {
                for test in all {
                    if !Box::pin(test.passes(value, is_text, meter)).await? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Matches(pattern) => match text {
                Some(text) => pattern.is_in(text, meter).await?,
                None => false,
            },
            Self::Element(test) => {
                for element in value.and_then(Value::as_array).into_iter().flatten() {
                    if Box::pin(test.passes(Some(element), is_text, meter)).await? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Members(all) => {
                for element in value.and_then(Value::as_array).into_iter().flatten() {
                    let mut holds = true;
                    for (path, test) in all {
                        holds = Box::pin(test.passes(member(element, path), is_text, meter)).await?;
                        if !holds {
                            break;
                        }
                    }
                    if holds {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Equal(wanted) => value.is_some_and(|value| is_equal(value, wanted, is_text)),
            Self::In(all) => value.is_some_and(|value| all.iter().any(|wanted| is_equal(value, wanted, is_text))),
            Self::Order(order, wanted) => value.is_some_and(|value| order.holds(value, wanted, is_text)),
            Self::Contains(wanted) => match value {
                Some(Value::Array(list)) => list.iter().any(|element| is_equal(element, wanted, is_text)),
                _ => text.zip(wanted.as_str()).is_some_and(|(text, part)| text.contains(part)),
            },
            Self::StartsWith(part) => text.is_some_and(|text| text.starts_with(part.as_str())),
            Self::EndsWith(part) => text.is_some_and(|text| text.ends_with(part.as_str())),
            Self::Size(size) => match value {
                Some(Value::Array(list)) => list.len() as u64 == *size,
                _ => false,
            },
            Self::Type(name) => value.is_some_and(|value| type_of(value) == *name),
        })
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A number, also of a text where only texts can be sent.
fn number(value: &Value, is_text: bool) -> Option<f64> {
    let read = || number::parse(value.as_str().filter(|_| is_text)?.trim());
    value.as_f64().or_else(read)
}

fn is_equal(value: &Value, wanted: &Value, is_text: bool) -> bool {
    match (number(value, is_text && wanted.is_number()), wanted.as_f64()) {
        (Some(value), Some(wanted)) => value == wanted,
        _ => {
            value == wanted
                || (is_text
                    && matches!((value, wanted), (Value::String(text), Value::Bool(flag)) if text == &flag.to_string()))
        }
    }
}

// === impl Order ===

impl Order {
    fn holds(self, value: &Value, wanted: &Value, is_text: bool) -> bool {
        let ordering = match (wanted, value) {
            (Value::Number(wanted), value) => {
                number(value, is_text).zip(wanted.as_f64()).and_then(|(value, wanted)| value.partial_cmp(&wanted))
            }
            (Value::String(wanted), Value::String(value)) => Some(value.as_str().cmp(wanted.as_str())),
            _ => None,
        };
        ordering.is_some_and(|ordering| match self {
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
        })
    }
}

#[cfg(test)]
mod tests;
