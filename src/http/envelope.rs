//! The JSON around every answer of the control plane, and around the data plane's errors.

use crate::base::fault::{Fault, Kind};
use crate::base::json::{self, json};
use crate::http::kinds;
use serde::Serialize;
use serde_json::Value;
use std::ops::Deref;

/// A whole answer before it becomes the platform's response.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    /// Further headers, such as `allow`.
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// What is the body instead, where it comes from the bucket.
    pub object: Option<Span>,
}

/// A part of an object in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub id: String,
    pub offset: u64,
    pub length: u64,
}

/// Where a page of a list stands in the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ResultInfo {
    pub count: u64,
    pub page: u64,
    pub per_page: u64,
    pub total_count: u64,
}

/// Why the control plane refuses, with a text for the caller and a cause for the operator only. Nearly every function of the control
/// plane hands one on, and each would carry code to move all of its fields, so they are on the heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError(Box<Refused>);

/// What an [`ApiError`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub code: u32,
    pub message: String,
    /// Where in the input the fault is, e.g. `["body", "cache_ttl"]`; empty when it is nowhere in particular.
    pub path: Vec<String>,
    /// What the operator's log says beyond the message.
    pub cause: Option<String>,
    /// When it may be tried again, in seconds.
    pub retry_after: Option<u64>,
}

// === impl Reply ===

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, content_type: "application/json", headers: Vec::new(), body: body.to_string(), object: None }
    }

    pub fn result(result: impl Serialize) -> Self {
        Self::enveloped(json::of(&result), None)
    }

    /// With notes for the caller, each with a `code` and a `message`.
    pub fn noted(result: impl Serialize, notes: Vec<Value>) -> Self {
        Self::json(200, &json!({ "result": json::of(&result), "success": true, "errors": [], "messages": notes }))
    }

    pub fn list(result: impl Serialize, info: impl Serialize) -> Self {
        Self::enveloped(json::of(&result), Some(json::of(&info)))
    }

    fn enveloped(result: Value, info: Option<Value>) -> Self {
        let mut body = json!({ "result": result, "success": true, "errors": [], "messages": [] });
        if let (Some(body), Some(info)) = (body.as_object_mut(), info) {
            body.insert("result_info".to_owned(), info);
        }
        Self::json(200, &body)
    }

    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

// === impl ApiError ===

impl ApiError {
    fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Refused { status, code, message, path: Vec::new(), cause: None, retry_after: None }))
    }

    /// The same error with something said otherwise.
    pub fn with(mut self, change: impl FnOnce(&mut Refused)) -> Self {
        change(&mut self.0);
        self
    }

    /// An error of a sort, as all topics have them.
    pub(super) fn of(kind: Kind, message: impl Into<String>) -> Self {
        let (status, code) = kinds::control(kind);
        Self::new(status, code, message)
    }

    /// The input at `path` is wrong; the message says what is allowed there.
    pub fn invalid<'a>(path: impl IntoIterator<Item = &'a str>, message: impl Into<String>) -> Self {
        let path = path.into_iter().map(str::to_owned).collect();
        Self::of(Kind::Invalid, message).with(|error| error.path = path)
    }

    pub fn not_found() -> Self {
        Self::new(404, 7002, "Not Found")
    }

    /// What is to be changed is not what the caller has seen of it.
    pub fn changed(message: impl Into<String>) -> Self {
        Self::new(412, 7001, message).with(|error| error.path = vec!["header".to_owned(), "if-match".to_owned()])
    }

    pub fn method_not_allowed(method: &str) -> Self {
        Self::new(405, 7001, format!("{method} not supported for requested URI."))
    }

    pub fn unauthenticated() -> Self {
        Self::new(401, 10000, "Authentication error")
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, 10000, message)
    }

    /// A request that was meant for another host; the words are those of the data plane.
    pub fn misdirected(message: impl Into<String>) -> Self {
        Self::new(421, 7004, message)
    }

    /// Too many wrong tokens came from where this one comes from.
    pub fn barred(seconds: u64) -> Self {
        let message = format!(
            "Too many wrong tokens came from this address, so tokens from there are not looked at: try again in {seconds} s"
        );
        Self::new(429, 10000, message).with(|error| error.retry_after = Some(seconds))
    }

    /// The body has not arrived in its time.
    pub fn too_slow(seconds: u64) -> Self {
        let message = format!("The body did not arrive within {seconds} seconds");
        Self::new(408, 7001, message).with(|error| error.path = vec!["body".to_owned()])
    }

    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, 7001, message).with(|error| error.path = vec!["body".to_owned()])
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::of(Kind::Unavailable, message)
    }

    pub fn internal(cause: impl Into<String>) -> Self {
        Self::of(Kind::Internal, "Internal Error").with(|error| error.cause = Some(cause.into()))
    }

    pub fn reply(&self) -> Reply {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(error), false) = (error.as_object_mut(), self.path.is_empty()) {
            error.insert("path".to_owned(), json!(self.path));
        }
        let reply =
            Reply::json(self.status, &json!({ "result": null, "success": false, "errors": [error], "messages": [] }));
        match self.retry_after {
            Some(seconds) => reply.with_header("retry-after", seconds.to_string()),
            None => reply,
        }
    }
}

impl<F: Fault> From<F> for ApiError {
    fn from(fault: F) -> Self {
        Self::of(fault.kind(), fault.message()).with(|error| {
            error.path = fault.path().to_vec();
            error.cause = fault.cause();
        })
    }
}

impl Deref for ApiError {
    type Target = Refused;

    fn deref(&self) -> &Refused {
        &self.0
    }
}
