//! What sort of error an error is. A topic knows that much of its errors; `http/kinds.rs` knows which status and code they have in
//! an answer.

use serde_json::Value;

/// The sorts of errors that callers are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The input is wrong, at a place that the error names.
    Invalid,
    /// The input means several things, and the caller has to say which.
    Ambiguous,
    /// The request names no provider that it could go to, or no path of one.
    NoProvider,
    /// As many requests have come as a limit lets pass.
    RateLimited,
    /// As much money was spent as a limit allows.
    SpendLimited,
    /// A budget is for certain models, and the request does not tell its model.
    ModelUnknown,
    /// A policy, or the caller's token, does not let the request pass.
    Denied,
    /// What is needed to answer does not answer now.
    Unavailable,
    /// Something failed that the caller can do nothing about.
    Internal,
}

/// An error of a topic.
pub trait Fault {
    fn kind(&self) -> Kind;

    /// What was wrong, and what to do about it, for the caller.
    fn message(&self) -> String;

    /// A short text that clients compare or take apart, where it is not the one of the kind.
    fn title(&self) -> Option<String> {
        None
    }

    /// The member `error` of an answer of the data plane, where clients know it as an object of its own.
    fn error(&self) -> Option<Value> {
        None
    }

    /// Where in the input the error is, such as `["body", "score"]`; empty where it is at no place in particular.
    fn path(&self) -> &[String] {
        &[]
    }

    /// What the operator alone is told.
    fn cause(&self) -> Option<String> {
        None
    }

    /// Further headers of the answer, such as `retry-after`.
    fn headers(&self) -> &[(&'static str, String)] {
        &[]
    }
}

/// Input that is wrong at one place, with what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub path: Vec<String>,
    pub message: String,
}

/// The beginning of something that a caller sent: enough to recognise it by.
pub fn shortened(text: &str) -> &str {
    text.split_at_checked(64).map_or(text, |(start, _)| start)
}

// === impl Invalid ===

impl Invalid {
    pub fn at<'a>(path: impl IntoIterator<Item = &'a str>, message: impl Into<String>) -> Self {
        Self { path: path.into_iter().map(str::to_owned).collect(), message: message.into() }
    }
}

impl Fault for Invalid {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }

    fn message(&self) -> String {
        self.message.clone()
    }

    fn path(&self) -> &[String] {
        &self.path
    }
}
