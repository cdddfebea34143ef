//! What a request of the unified API is to the provider that its model names.

use crate::catalogue::resolve::Named;
use crate::http::refusal::Refusal;
use crate::logs::session;
use crate::providers::fault::Fault;
use crate::providers::formats::{self, Place};
use crate::providers::table::KeyForm;
use crate::providers::upstream::{CustomProvider, Upstream};
use crate::proxy::responses::Keeping;
use crate::proxy::unified::Unified;
use crate::proxy::unified::beyond;
use crate::proxy::unified::door::{Door, Work};
use crate::proxy::unified::translation::Translation;
use crate::translate::capability::is_openai_reasoning;
use crate::translate::json::Json;
use crate::translate::{self, Format};
use crate::wire::request::Said;
use serde::Deserialize;
use serde_json::value::RawValue;

/// How a caller wants its request translated: the header `cf-aig-translate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    WhereNeeded,
    /// Also where the provider's endpoint for clients of OpenAI's does what the request asks.
    Always,
    /// Nothing is left out.
    Strict,
}

/// A request of the unified API.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub door: &'a Door,
    pub is_compat: bool,
    pub body: &'a [u8],
    pub mode: Mode,
    pub past: Past<'a>,
    /// Finds what the name of a model means.
    pub resolve: &'a dyn Fn(&str) -> Result<Named, Fault>,
    /// Makes room for the translation of the body, or refuses it.
    pub room: &'a dyn Fn() -> Result<(), Refusal>,
}

/// What a request has to do with responses that are kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past<'a> {
    /// By what its caller finds its own responses again.
    pub owner: Option<&'a str>,
    /// The response from which it goes on.
    pub previous_id: Option<&'a str>,
    /// How many of its items are its own, where the others are of what is kept.
    pub own: Option<usize>,
}

#[derive(Debug)]
pub struct Plan {
    pub provider: String,
    pub rest: String,
    /// `None` where the caller's own goes on.
    pub query: Option<&'static str>,
    pub body: String,
    pub unified: Unified,
    /// What was left out of the request, for `cf-aig-warning`; empty where nothing was.
    pub dropped: String,
}

/// No more is said of what was left out, in characters.
const MAX_DROPPED: usize = 500;

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
}

/// Where a request goes, and what it becomes there.
pub fn plan(asked: &Asked<'_>, custom: &[CustomProvider]) -> Result<Plan, Refusal> {
    let Asked { door, .. } = *asked;
    let whose = if asked.is_compat {
        "chat completion for compat".to_owned()
    } else {
        format!("request in the format '{}'", door.format.name())
    };
    let bad = |what: &str| Refusal::bad_chat(format!("The body is no {whose}: {what}."));
    let body = std::str::from_utf8(asked.body).map_err(|_| bad("it is not UTF-8"))?;
    let body = body.trim_start_matches('\u{feff}').trim_end_matches('\0');
    // An array would be read as the fields in their order.
    if !body.trim_start().starts_with('{') {
        return Err(bad("it is no JSON object"));
    }
    let head: Head<'_> = serde_json::from_str(body).map_err(|error| bad(&error.to_string()))?;
    match head.messages {
        None if door.format == Format::Chat => return Err(bad("missing field `messages`")),
        Some(messages) if door.format == Format::Chat && !messages.get().starts_with('[') => {
            return Err(bad("messages is no array"));
        }
        _ => {}
    }
    let model = match (&door.model, head.model) {
        (Some(model), _) => model.clone(),
        (None, Some(model)) => serde_json::from_str(model.get()).map_err(|_| bad("the model is no string"))?,
        (None, None) => return Err(bad("missing field `model`")),
    };
    let Named { provider, model: name, .. } = (asked.resolve)(&model)?;
    let upstream = Upstream::find(&provider, custom)?;
    let slug = upstream.slug();
    let chat_endpoint = formats::chat_endpoint(slug)
        .filter(|_| asked.is_compat && asked.mode != Mode::Always && !beyond::asks(slug, body));
    if let Some(rest) = chat_endpoint {
        let place = Place { rest: rest.to_owned(), query: "", model: name, version: None };
        return untranslated(upstream, Format::Chat, place, asked, body, head.model);
    }
    let spoken = formats::of(upstream, &name);
    if spoken.is_empty() {
        return Err(Refusal::bad_path(format!(
            "{slug} has no models that converse; call it by its own name, as {slug}/…, instead."
        )));
    }
    // What is kept may be of another provider, and is put into this one's words.
    if spoken.contains(&door.format) && asked.past.own.is_none() {
        let stream = door.streams();
        let place = formats::place(upstream, door.format, &name, stream)?;
        return untranslated(upstream, door.format, place, asked, body, head.model);
    }
    translated(upstream, spoken, asked, body, &name)
}

/// A request to a provider that speaks its format: all but the model goes on as the caller wrote it.
fn untranslated(
    upstream: Upstream<'_>,
    format: Format,
    place: Place,
    asked: &Asked<'_>,
    body: &str,
    model: Option<&RawValue>,
) -> Result<Plan, Refusal> {
    let key_form = formats::key_form(upstream, format, &place.rest);
    let body = match (place.version, model) {
        (Some(version), _) => in_path(body, version),
        (None, Some(model)) if asked.door.model.is_none() => {
            replaced(body, model.get(), &serde_json::Value::from(place.model.as_str()).to_string())
        }
        _ => body.to_owned(),
    };
    let rest = match (asked.door.work, format) {
        (Work::Count, Format::Gemini) => place.rest.replace(":generateContent", ":countTokens"),
        (Work::Count, _) if place.version.is_some() => return Err(Refusal::uncounted(upstream.slug())),
        (Work::Count, _) => format!("{}/count_tokens", place.rest),
        _ => place.rest,
    };
    let unified = unified(asked, key_form, None);
    Ok(Plan { provider: upstream.slug().to_owned(), rest, query: None, body, unified, dropped: String::new() })
}

fn unified(asked: &Asked<'_>, key_form: KeyForm, translation: Option<Translation>) -> Unified {
    Unified { caller: asked.door.format, speaks_it: !asked.is_compat, session: None, key_form, translation }
}

fn translated(
    upstream: Upstream<'_>,
    spoken: &[Format],
    asked: &Asked<'_>,
    body: &str,
    name: &str,
) -> Result<Plan, Refusal> {
    let Asked { door, mode, .. } = *asked;
    let (from, slug) = (door.format, upstream.slug());
    (asked.room)()?;
    let mut json =
        Json::parse(body).ok_or_else(|| Refusal::bad_chat("The body is nested too deeply to be translated."))?;
    let counts = door.work == Work::Count;
    if let Some(inner) = json.get("generateContentRequest").filter(|_| counts) {
        json = inner.clone();
    }
    let to = if counts { spoken.first().copied().unwrap_or(Format::Chat) } else { target(spoken, &json, name) };
    let stream = door.streams() || json.flag("stream") == Some(true);
    let place = formats::place(upstream, to, name, stream)?;
    let translated = translate::request(from, to, &json, name, stream, &place.model).map_err(|untranslatable| {
        let translate::model::Problem { field, why } = &*untranslatable;
        Refusal::bad_chat(format!(
            "{field}: {why} (the model's provider is {slug}, and the request is translated for it)"
        ))
    })?;
    let dropped = left_out(translated.notes.dropped.fields(), mode, slug)?;
    let (rest, text) = match counts {
        false => (place.rest, translated.body.to_string()),
        true => {
            let body = translate::count::body(to, &place.model, &translated.body, slug == "google-ai-studio");
            let counted = formats::counted(slug, to, &place.rest).zip(body);
            let (rest, body) = counted.ok_or_else(|| Refusal::uncounted(slug))?;
            (rest, body.to_string())
        }
    };
    let text = match place.version {
        Some(version) => in_path(&text, version),
        None => text,
    };
    let key_form = formats::key_form(upstream, to, &rest);
    let user_id = json.at(&["metadata", "user_id"]).and_then(Json::as_str).map(str::to_owned);
    let session = session::of_user(&Said { user_id, ..Said::default() });
    let keeps = from == Format::Responses && json.flag("store") != Some(false);
    let Past { owner, previous_id, own } = asked.past;
    let keeping = keeps.then(|| Keeping::new(owner, previous_id, json.get("input"), own));
    json.set_some("previous_response_id", previous_id);
    let mut translation = Translation::new(from, to, translated, json, place.model, keeping);
    translation.counts = counts;
    translation.is_array = door.work == Work::Array;
    let unified = Unified { session, ..unified(asked, key_form, Some(translation)) };
    Ok(Plan { provider: slug.to_owned(), rest, query: Some(place.query), body: text, unified, dropped })
}

/// What is said of the fields that a provider has no place for, if they may be left out.
pub fn left_out(fields: &[String], mode: Mode, slug: &str) -> Result<String, Refusal> {
    let all = fields.join(",");
    if mode == Mode::Strict && !all.is_empty() {
        return Err(Refusal::bad_chat(format!(
            "cf-aig-translate is strict, and {slug} has no place for: {all}. Leave these out, or the header."
        )));
    }
    Ok(all.chars().filter(|char| matches!(char, '!'..='~')).take(MAX_DROPPED).collect())
}

/// The provider's format that a request is translated to. Responses have no sequences to stop at, and give one answer. OpenAI's models
/// that think take no such sequences in either format, and the newer ones take tools in Responses only.
fn target(spoken: &[Format], body: &Json, model: &str) -> Format {
    let config = |name| body.at(&["generationConfig", name]);
    let stops = !body.list("stop_sequences").is_empty() || config("stopSequences").is_some();
    let several = config("candidateCount").and_then(Json::as_u64).is_some_and(|n| n > 1);
    let wants_chat = several || (stops && !is_openai_reasoning(model));
    let first = spoken.first().copied().unwrap_or(Format::Chat);
    if first == Format::Responses && wants_chat && spoken.contains(&Format::Chat) { Format::Chat } else { first }
}

/// A body in Anthropic's format as another vendor takes it whose path names the model.
fn in_path(body: &str, version: &str) -> String {
    match Json::parse(body) {
        Some(Json::Object(mut members)) => {
            members.retain(|(name, _)| name != "model");
            let mut body = Json::Object(members);
            if body.get("anthropic_version").is_none() {
                body.set("anthropic_version", version);
            }
            body.to_string()
        }
        _ => body.to_owned(),
    }
}

/// The body with another text in the place of `part`, which is a slice of it.
fn replaced(body: &str, part: &str, with: &str) -> String {
    let start = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let (before, after) = body.split_at_checked(start).unwrap_or((body, ""));
    let after = after.get(part.len()..).unwrap_or("");
    [before, with, after].concat()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
