//! What an expression is worth for a request.

use super::{Comparison, Function, NoValue, Node, Quantifier};
use crate::base::json::json;
use crate::pattern::budget::Meter;
use serde_json::Value;
use std::cmp::Ordering;
use std::future::Future;
use std::pin::Pin;

/// Fields of the request, and the elements that `exists` and `all` have given names to; the last one counts.
struct Fields<'a> {
    of: &'a Value,
    named: Vec<(&'a str, Value)>,
    steps: u64,
}

pub(super) async fn value(node: &Node, fields: &Value, steps: u64) -> Result<Value, NoValue> {
    Fields { of: fields, named: Vec::new(), steps }.value(node).await
}

type Worth<'f> = Pin<Box<dyn Future<Output = Result<Value, NoValue>> + 'f>>;

// === impl Fields ===

impl<'a> Fields<'a> {
    fn value<'f>(&'f mut self, node: &'a Node) -> Worth<'f> {
        Box::pin(async move {
            self.steps = self.steps.checked_sub(1).ok_or(NoValue::Exhausted)?;
            match node {
                Node::Literal(value) => Ok(value.clone()),
                Node::List(nodes) => {
                    let mut list = Vec::with_capacity(nodes.len());
                    for node in nodes {
                        list.push(self.value(node).await?);
                    }
                    Ok(Value::Array(list))
                }
                Node::Name(name) => self.named(name),
                Node::Member(of, name) => {
                    let of_value = self.value(of).await?;
                    of_value.get(name).cloned().ok_or_else(|| NoValue::Missing(format!("{}.{name}", path(of))))
                }
                Node::Index(of, index) => {
                    let (of_value, index) = (self.value(of).await?, self.value(index).await?);
                    let found = match (&of_value, &index) {
                        (Value::Array(list), Value::Number(place)) => {
                            place.as_u64().and_then(|place| list.get(usize::try_from(place).ok()?))
                        }
                        (Value::Object(object), Value::String(name)) => object.get(name),
                        _ => return Err(NoValue::Mismatch(format!("{} has no member {index}", kind(&of_value)))),
                    };
                    found.cloned().ok_or_else(|| NoValue::Missing(format!("{}[{index}]", path(of))))
                }
                Node::Has(of, name) => match self.value(of).await {
                    Ok(value) => Ok(Value::Bool(value.get(name).is_some_and(|member| !member.is_null()))),
                    Err(NoValue::Missing(_)) => Ok(Value::Bool(false)),
                    Err(other) => Err(other),
                },
                Node::Not(node) => self.bool(node).await.map(|holds| Value::Bool(!holds)),
                Node::Negative(node) => match self.value(node).await? {
                    Value::Number(number) => Ok(number
                        .as_i64()
                        .and_then(i64::checked_neg)
                        .map_or_else(|| json!(number.as_f64().map(|number| -number)), Value::from)),
                    other => Err(NoValue::Mismatch(format!("- before {}", kind(&other)))),
                },
                Node::And(left, right) => self.either(left, right, false).await,
                Node::Or(left, right) => self.either(left, right, true).await,
                Node::Choice(condition, yes, no) => {
                    let chosen = if self.bool(condition).await? { yes } else { no };
                    self.value(chosen).await
                }
                Node::Compare(comparison, left, right) => {
                    let (left, right) = (self.value(left).await?, self.value(right).await?);
                    comparison.holds(&left, &right).map(Value::Bool)
                }
                Node::In(left, right) => {
                    let (left, right) = (self.value(left).await?, self.value(right).await?);
                    match &right {
                        Value::Array(list) => Ok(Value::Bool(list.iter().any(|element| is_equal(element, &left)))),
                        Value::Object(object) => {
                            Ok(Value::Bool(left.as_str().is_some_and(|name| object.contains_key(name))))
                        }
                        other => Err(NoValue::Mismatch(format!("in takes a list, not {}", kind(other)))),
                    }
                }
                Node::Add(left, right) => match (self.value(left).await?, self.value(right).await?) {
                    (Value::String(left), Value::String(right)) => Ok(Value::String(left + &right)),
                    (Value::Number(left), Value::Number(right)) => {
                        let whole = left.as_i64().zip(right.as_i64()).and_then(|(left, right)| left.checked_add(right));
                        Ok(whole.map_or_else(
                            || json!(left.as_f64().unwrap_or(0.0) + right.as_f64().unwrap_or(0.0)),
                            Value::from,
                        ))
                    }
                    (left, right) => Err(NoValue::Mismatch(format!("{} + {}", kind(&left), kind(&right)))),
                },
                Node::Call(function, of, argument) => {
                    let of = self.value(of).await?;
                    let argument = match argument {
                        Some(argument) => Some(self.value(argument).await?),
                        None => None,
                    };
                    function.of(&of, argument.as_ref())
                }
                Node::Matches(of, pattern) => match self.value(of).await? {
                    Value::String(text) => {
                        let meter = Meter::new(self.steps, async || {});
                        let found = pattern.is_in(&text, &meter).await.map_err(|_| NoValue::Exhausted)?;
                        self.steps = meter.left();
                        Ok(Value::Bool(found))
                    }
                    other => Err(NoValue::Mismatch(format!("matches looks through a text, not {}", kind(&other)))),
                },
                Node::Each(quantifier, of, name, each) => {
                    let list = match self.value(of).await? {
                        Value::Array(list) => list,
                        other => {
                            return Err(NoValue::Mismatch(format!(
                                "exists and all go through a list, not {}",
                                kind(&other)
                            )));
                        }
                    };
                    let stops_at = *quantifier == Quantifier::Exists;
                    for element in list {
                        self.named.push((name, element));
                        let holds = self.bool(each).await;
                        self.named.pop();
                        if holds? == stops_at {
                            return Ok(Value::Bool(stops_at));
                        }
                    }
                    Ok(Value::Bool(!stops_at))
                }
            }
        })
    }

    async fn bool(&mut self, node: &'a Node) -> Result<bool, NoValue> {
        match self.value(node).await? {
            Value::Bool(holds) => Ok(holds),
            other => Err(NoValue::Mismatch(format!("true or false is wanted, not {}", kind(&other)))),
        }
    }

    /// `&&` and `||`: the side that is `decides` decides, and what is wrong with the other side is of no account then.
    async fn either(&mut self, left: &'a Node, right: &'a Node, decides: bool) -> Result<Value, NoValue> {
        let left = self.bool(left).await;
        if left == Ok(decides) || left == Err(NoValue::Exhausted) {
            return left.map(Value::Bool);
        }
        let right = self.bool(right).await;
        match (left, right) {
            (_, Ok(right)) if right == decides => Ok(Value::Bool(decides)),
            (Err(left), _) => Err(left),
            (_, right) => right.map(Value::Bool),
        }
    }

    fn named(&self, name: &str) -> Result<Value, NoValue> {
        let own = self.named.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value);
        own.or_else(|| self.of.get(name)).cloned().ok_or_else(|| NoValue::Missing(name.to_owned()))
    }
}

fn path(node: &Node) -> String {
    match node {
        Node::Name(name) => name.clone(),
        Node::Member(of, name) => format!("{}.{name}", path(of)),
        _ => "…".to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Numbers are equal whatever they are written as.
fn is_equal(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

// === impl Comparison ===

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> Result<bool, NoValue> {
        let ordering = match (left, right) {
            (Value::Number(left), Value::Number(right)) => {
                left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right))
            }
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            _ => None,
        };
        let ordered = |test: fn(Ordering) -> bool| {
            let mismatch = || NoValue::Mismatch(format!("{} and {} have no order", kind(left), kind(right)));
            ordering.map(test).ok_or_else(mismatch)
        };
        match self {
            Self::Equal => Ok(is_equal(left, right)),
            Self::Unequal => Ok(!is_equal(left, right)),
            Self::Less => ordered(Ordering::is_lt),
            Self::LessOrEqual => ordered(Ordering::is_le),
            Self::Greater => ordered(Ordering::is_gt),
            Self::GreaterOrEqual => ordered(Ordering::is_ge),
        }
    }
}

// === impl Function ===

impl Function {
    fn of(self, of: &Value, argument: Option<&Value>) -> Result<Value, NoValue> {
        let mismatch = || NoValue::Mismatch(format!("no such function of {}", kind(of)));
        if self == Self::Size {
            return match of {
                Value::String(text) => Ok(json!(text.chars().count())),
                Value::Array(list) => Ok(json!(list.len())),
                Value::Object(object) => Ok(json!(object.len())),
                _ => Err(mismatch()),
            };
        }
        let text = of.as_str().ok_or_else(mismatch)?;
        if self == Self::LowerAscii {
            return Ok(Value::String(text.to_ascii_lowercase()));
        }
        let part = argument
            .and_then(Value::as_str)
            .ok_or_else(|| NoValue::Mismatch("the function takes a text".to_owned()))?;
        Ok(Value::Bool(match self {
            Self::StartsWith => text.starts_with(part),
            Self::EndsWith => text.ends_with(part),
            _ => text.contains(part),
        }))
    }
}
