//! Conditions of policies: a part of the Common Expression Language, which Cloudflare's policies are written in.
//! <https://github.com/google/cel-spec/blob/master/doc/langdef.md>
//!
//! It has `== != < <= > >= in && || ! ?: + ()`, lists, texts, numbers, `true`, `false`, `null`, members by `.` and `[]`, `has()`,
//! `size()`, `startsWith`, `endsWith`, `contains`, `matches`, `lowerAscii` and `exists`/`all` over lists. It has no variables of its
//! own but those of `exists` and `all`, so that an expression ends. As in CEL, an error on one side of `&&` and `||` is of no
//! account where the other side decides.

mod evaluate;
mod parse;

use crate::pattern::Pattern;
use serde_json::Value;

/// A longer expression is refused, in bytes.
pub const MOST_LENGTH: usize = 4_096;

/// Deeper expressions are refused.
const MOST_DEPTH: usize = 32;

/// An expression that was found to make sense.
#[derive(Clone, Debug)]
pub struct Expression(Node);

#[derive(Clone, Debug)]
enum Node {
    Literal(Value),
    List(Vec<Node>),
    Name(String),
    Member(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    Has(Box<Node>, String),
    Not(Box<Node>),
    Negative(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Choice(Box<Node>, Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    In(Box<Node>, Box<Node>),
    Add(Box<Node>, Box<Node>),
    Call(Function, Box<Node>, Option<Box<Node>>),
    Matches(Box<Node>, Pattern),
    /// A list, the name of its element, and what is asked of each.
    Each(Quantifier, Box<Node>, String, Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Size,
    StartsWith,
    EndsWith,
    Contains,
    LowerAscii,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    Exists,
    All,
}

/// What is wrong with an expression, and at which of its characters, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: usize,
    pub reason: String,
}

/// Why an expression has no value for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoValue {
    /// The request has no such field: `metadata.team`.
    Missing(String),
    /// What was compared or called does not go together.
    Mismatch(String),
    /// It would have taken more steps than there were.
    Exhausted,
}

// === impl Expression ===

impl Expression {
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        parse::expression(text).map(Self)
    }

    /// Its value over an object of fields.
    pub async fn value(&self, fields: &Value, steps: u64) -> Result<Value, NoValue> {
        evaluate::value(&self.0, fields, steps).await
    }

    /// Whether it holds.
    pub async fn holds(&self, fields: &Value, steps: u64) -> Result<bool, NoValue> {
        match self.value(fields, steps).await? {
            Value::Bool(holds) => Ok(holds),
            other => Err(NoValue::Mismatch(format!("a condition is true or false, and this one is {other}"))),
        }
    }
}

#[cfg(test)]
mod tests;
