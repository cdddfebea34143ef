//! Errors of providers, in the form that a client expects.

use crate::members;
use crate::translate::json::Json;
use crate::translate::model::Failure;

/// The error that a body or an event reports, if it does.
pub fn read(data: &Json) -> Option<Failure> {
    // Gemini puts it into an array.
    let data = data.as_array().and_then(|all| all.first()).unwrap_or(data);
    let error = data.get("error")?;
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let message = error.get("message").or_else(|| error.is_object().then(|| error.get("type")).flatten());
    let message = message.map_or_else(|| text(error), text);
    let kind = ["status", "type", "code"].iter().find_map(|name| error.text(name)).or_else(|| data.text("error_type"));
    let code = error.count("code").or_else(|| data.count("status")).filter(|code| (400..600).contains(code));
    let status = code.map_or_else(|| kind.map_or(500, status_of), |code| code as u16);
    Some(Failure { status, kind: kind.map(str::to_owned), message })
}

/// The error that a refused request's body reports; a body that is none of the formats is its message.
pub fn of_body(status: u16, body: &str) -> Failure {
    let json = Json::parse(body);
    let told = json.as_ref().and_then(read);
    let message =
        json.as_ref().and_then(|json| json.said("message").or_else(|| json.said("Message"))).map(str::to_owned);
    match told {
        Some(failure) => Failure { status, ..failure },
        None => {
            let plain = || body.trim().chars().take(2_000).collect::<String>();
            Failure { status, kind: None, message: message.unwrap_or_else(plain) }
        }
    }
}

fn status_of(kind: &str) -> u16 {
    match kind {
        "invalid_request_error" | "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "validationException" => 400,
        "authentication_error" | "UNAUTHENTICATED" => 401,
        "billing_error" | "insufficient_quota" => 402,
        "permission_error" | "PERMISSION_DENIED" | "accessDeniedException" => 403,
        "not_found_error" | "NOT_FOUND" => 404,
        "request_too_large" => 413,
        "rate_limit_error" | "rate_limit_exceeded" | "RESOURCE_EXHAUSTED" | "throttlingException" => 429,
        "overloaded_error" => 529,
        "UNAVAILABLE" | "serviceUnavailableException" => 503,
        "DEADLINE_EXCEEDED" => 504,
        _ => 500,
    }
}

pub fn chat(failure: &Failure) -> Json {
    let kind = match failure.status {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    let error = members! {
        "message": &failure.message, "type": kind, "param": Json::Null, "code": failure.kind.as_deref(),
    };
    members! { "error": error }
}

pub fn messages(failure: &Failure) -> Json {
    let kind = match failure.status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    members! { "type": "error", "error": members! { "type": kind, "message": &failure.message } }
}

pub fn gemini(failure: &Failure) -> Json {
    let status = match failure.status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        400..=499 => "INVALID_ARGUMENT",
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    let error = members! { "code": u64::from(failure.status), "message": &failure.message, "status": status };
    members! { "error": error }
}
