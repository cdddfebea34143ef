//! Responses that clients ask for later, and that a request goes on from: <https://platform.openai.com/docs/api-reference/responses>.

pub mod stored_worker;

use crate::http::query::{self, Query};
use crate::logs::responses::StoredResponse;
use crate::members;
use crate::translate::json::Json;
use crate::translate::responses::write::{Written, response_id};
use std::cell::Cell;

/// What is asked of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Get,
    Delete,
    Items,
    Cancel,
}

/// What a translated request leaves for a response that is to be kept.
#[derive(Clone, Debug, Default)]
pub struct Keeping {
    /// Who may ask for it; nothing for a caller who could not be told from others.
    pub owner: Option<String>,
    pub previous_id: Option<String>,
    /// The items of the request, without those of the responses before it.
    pub input: String,
    pub is_on: Cell<bool>,
    pub written: Written,
}

/// What becomes of a request that goes on from what is kept.
#[derive(Debug, PartialEq)]
pub struct GoneOn {
    /// The request with the whole conversation in the place of references.
    pub body: String,
    pub previous_id: Option<String>,
    /// How many of its items, at the end, are its own.
    pub own: usize,
}

/// What a request refers to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct References {
    pub previous_id: Option<String>,
    /// The responses that its items are part of.
    pub of_items: Vec<String>,
}

/// Items on a page, where the caller does not say how many, and at most.
const USUAL_PAGE: usize = 20;
const MAX_PAGE: usize = 100;

/// Responses that a request's items may refer to.
const MOST_REFERENCES: usize = 500;

/// Below the segment `ai`: the id of a response, and what is asked of it.
pub fn asked(path: &str, method: &str) -> Option<(String, Asked)> {
    // Clients whose base URL has the version send it twice.
    let path = path.trim_end_matches('/').trim_start_matches("v1/").strip_prefix("responses/")?;
    let (id, below) = path.split_once('/').unwrap_or((path, ""));
    let what = match (method, below) {
        ("GET", "") => Asked::Get,
        ("DELETE", "") => Asked::Delete,
        ("GET", "input_items") => Asked::Items,
        ("POST", "cancel") => Asked::Cancel,
        _ => return None,
    };
    let id = query::understood(id).into_owned();
    (!id.is_empty()).then_some((id, what))
}

/// The same of a response with an id of OpenAI's: its id, and the path below it.
pub fn of_openai(path: &str, method: &str) -> Option<(String, &'static str)> {
    let (id, what) = asked(path, method).filter(|(id, _)| is_openais(id))?;
    let below = match what {
        Asked::Get | Asked::Delete => "",
        Asked::Items => "/input_items",
        Asked::Cancel => "/cancel",
    };
    Some((id, below))
}

/// Whether an id is one that OpenAI gave: nothing with it is on its way to the database here.
pub fn is_openais(id: &str) -> bool {
    id.strip_prefix("resp_").is_some_and(|rest| rest.len() >= 40 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What a request refers to that may be kept; `None` for a request that refers to nothing.
pub fn references(body: &[u8]) -> Option<(Json, References)> {
    let has = |part: &str| memchr::memmem::find(body, part.as_bytes()).is_some();
    if !has("previous_response_id") && !has("item_reference") {
        return None;
    }
    let json = Json::parse(std::str::from_utf8(body).ok()?)?;
    let mut of_items: Vec<String> = Vec::new();
    for item in json.list("input").iter().filter(|item| item.kind() == "item_reference") {
        if let Some(response) = item.text("id").and_then(response_of)
            && !of_items.contains(&response)
            && of_items.len() < MOST_REFERENCES
        {
            of_items.push(response);
        }
    }
    let previous_id = json.text("previous_response_id").map(str::to_owned);
    let references = References { previous_id, of_items };
    (references != References::default()).then_some((json, references))
}

/// The response that an item is part of, as ids are made here: `msg_{response}_{n}`.
fn response_of(item: &str) -> Option<String> {
    let (_, rest) = item.split_once('_')?;
    let (response, _) = rest.rsplit_once('_')?;
    Some(response_id(response))
}

/// The request with the items that it refers to. `before` are the responses of its conversation, the oldest first; `referred` those
/// of its items. A reference to what is not there stays, and is refused where it has to be understood.
pub fn gone_on(mut json: Json, before: &[StoredResponse], referred: &[StoredResponse]) -> Result<GoneOn, String> {
    let previous_id = json.text("previous_response_id").map(str::to_owned);
    let mut all = Vec::new();
    if let Some(first) = before.first() {
        if let Some(missing) = &first.previous_id {
            return Err(format!(
                "the response {missing:.100}, from which its conversation goes on, is not kept any more, or the conversation is \
                 longer than 12 MB; send the items of the conversation instead"
            ));
        }
        for stored in before {
            all.extend(inputs(stored));
            all.extend(outputs(stored));
        }
        if let Json::Object(members) = &mut json {
            members.retain(|(name, _)| name != "previous_response_id");
        }
    }
    let known: Vec<Json> =
        referred.iter().flat_map(|stored| inputs(stored).into_iter().chain(outputs(stored))).collect();
    let own = items(json.get("input")).into_iter().map(|item| {
        let found = item.text("id").filter(|_| item.kind() == "item_reference");
        let found = found.and_then(|id| known.iter().find(|known| known.text("id") == Some(id)));
        found.cloned().unwrap_or(item)
    });
    let own: Vec<Json> = own.collect();
    let count = own.len();
    all.extend(own);
    json.set("input", all);
    Ok(GoneOn { body: json.to_string(), previous_id: previous_id.filter(|_| !before.is_empty()), own: count })
}

/// The items that an input is: a text is a message.
fn items(input: Option<&Json>) -> Vec<Json> {
    match input {
        Some(Json::String(text)) => {
            let part = members! { "type": "input_text", "text": text };
            vec![members! { "type": "message", "role": "user", "content": vec![part] }]
        }
        Some(Json::Array(items)) => items.clone(),
        _ => Vec::new(),
    }
}

/// The items of a request, each with an id.
fn inputs(stored: &StoredResponse) -> Vec<Json> {
    let all = Json::parse(&stored.input).unwrap_or_default();
    let name = stored.id.trim_start_matches("resp_");
    let with_id = |(n, item): (usize, &Json)| {
        if !item.is_object() || item.said("id").is_some() {
            return item.clone();
        }
        let prefix = match item.kind() {
            "" | "message" => "msg",
            "function_call" => "fc",
            "function_call_output" => "fco",
            "custom_tool_call" => "ctc",
            "reasoning" => "rs",
            _ => "item",
        };
        item.clone().with("id", format!("{prefix}_{name}_in{n}"))
    };
    all.as_array().unwrap_or_default().iter().enumerate().map(with_id).collect()
}

fn outputs(stored: &StoredResponse) -> Vec<Json> {
    Json::parse(&stored.response).map(|response| response.list("output").to_vec()).unwrap_or_default()
}

/// A page of the items that a response was made of. The error says what is wrong with the query.
pub fn input_items(conversation: &[StoredResponse], wanted: &Query) -> Result<Json, String> {
    let limit = match wanted.get("limit") {
        None => USUAL_PAGE,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
            limit.ok_or_else(|| format!("limit: expected an integer from 1 to {MAX_PAGE}"))?
        }
    };
    let mut all = Vec::new();
    for (n, stored) in conversation.iter().enumerate() {
        all.extend(inputs(stored));
        if n + 1 < conversation.len() {
            all.extend(outputs(stored));
        }
    }
    match wanted.get("order") {
        None | Some("desc") => all.reverse(),
        Some("asc") => {}
        Some(_) => return Err("order: expected asc or desc".to_owned()),
    }
    let at = |name: &str| match wanted.get(name) {
        None => Ok(None),
        Some(id) => {
            let found = all.iter().position(|item| item.text("id") == Some(id));
            found.map(Some).ok_or_else(|| format!("{name}: the response has no item of that id"))
        }
    };
    let (after, before) = (at("after")?, at("before")?);
    let start = after.map_or(0, |after| after + 1);
    let rest = before.unwrap_or(all.len());
    let end = start.saturating_add(limit).min(rest);
    let page = all.get(start..end).unwrap_or_default();
    let id = |item: Option<&Json>| item.and_then(|item| item.get("id")).cloned();
    Ok(members! {
        "object": "list", "data": page.to_vec(), "first_id": id(page.first()), "last_id": id(page.last()), "has_more": end < rest,
    })
}

// === impl Keeping ===

impl Keeping {
    /// Of a request with `input`, of whose items the last `own` are its own.
    pub fn new(owner: Option<&str>, previous_id: Option<&str>, input: Option<&Json>, own: Option<usize>) -> Self {
        let mut all = items(input);
        let own = all.split_off(all.len().saturating_sub(own.unwrap_or(usize::MAX)));
        let previous_id = previous_id.map(str::to_owned);
        Self { owner: owner.map(str::to_owned), previous_id, input: Json::Array(own).to_string(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests;
