//! Has the prompt of a request judged.

use crate::base::object;
use crate::dlp::is_media;
use crate::guardrails::{Guardrails, Phase, Seen, Texts, Verdict};
use crate::http::refusal::Refusal;
use crate::logs::call::RequestType;
use crate::platform::js;
use crate::proxy::arrival::Arrival;
use crate::proxy::exchange::Exchange;
use crate::proxy::judges::{Ask, Judges};
use crate::proxy::request_body::Taken;
use crate::proxy::request_screening::begins_as_text;
use crate::wire::{form, unpack_worker};
use serde_json::Value;
use std::rc::Rc;

/// A judge of an answer is told so much of the question, in characters.
const MOST_ASKED: usize = 2_000;

const UNREAD: &str = "the request body could not be looked at";
const WEBSOCKET: &str = "messages of a WebSocket are not looked at";

/// Judges the prompt of a request, and keeps what its answer will need.
pub async fn prompt(
    arrival: &Arrival<'_>,
    body: &Taken,
    guardrails: &Rc<Guardrails>,
    ask: Ask,
    exchange: &mut Exchange,
) -> Result<(), Refusal> {
    let text = text(arrival, body, guardrails.system).await;
    let mut metadata = exchange.call.metadata.entries.clone();
    let mut event_id = exchange.call.event_id.clone();
    if let Some(screening) = &exchange.screening {
        screening.conceal_words(&mut metadata, &mut event_id);
    }
    let judges = Rc::new(Judges {
        guardrails: Rc::clone(guardrails),
        account: arrival.route.account.to_owned(),
        gateway: arrival.route.gateway.to_owned(),
        asked: text.as_deref().unwrap_or("").chars().take(MOST_ASKED).collect(),
        names: metadata.iter().map(|(name, _)| name.clone()).collect(),
        metadata: Value::Object(object::of(metadata)),
        event_id,
        ask,
        trace: exchange.traced.as_ref().map(|traced| traced.trace),
    });
    if exchange.call.request_type == RequestType::WebSocket {
        for phase in [Phase::Prompt, Phase::Response].into_iter().filter(|phase| guardrails.is_for(*phase)) {
            let verdict = Verdict::unsure(WEBSOCKET.to_owned(), guardrails.blocks(phase));
            noted(&judges, phase, &verdict, exchange)?;
        }
        return Ok(());
    }
    exchange.judges = Some(Rc::clone(&judges));
    if !guardrails.is_for(Phase::Prompt) {
        return Ok(());
    }
    let verdict = match &text {
        Some(text) => {
            let seen = Seen { text, content: text, length: text.chars().count(), is_whole: true };
            judges.judged(Phase::Prompt, &seen, &exchange.runtime).await
        }
        None => Verdict::unsure(UNREAD.to_owned(), guardrails.blocks(Phase::Prompt)),
    };
    noted(&judges, Phase::Prompt, &verdict, exchange)
}

/// Keeps a verdict for the row, tells the caller where there is none, and refuses what must not go on.
pub fn noted(judges: &Judges, phase: Phase, verdict: &Verdict, exchange: &mut Exchange) -> Result<(), Refusal> {
    judges.noted(phase, verdict, &mut exchange.call)?;
    if verdict.error.is_some() {
        exchange.warn(match phase {
            Phase::Prompt => "guardrails: unscanned: the prompt was not judged, or not all of it; the log says why",
            Phase::Response => "guardrails: unscanned: the answer was not judged, or not all of it; the log says why",
        });
    }
    Ok(())
}

/// What is judged of a request. `None` where that cannot be read.
async fn text(arrival: &Arrival<'_>, body: &Taken, system: bool) -> Option<String> {
    let headers = &arrival.asked.headers;
    let kind = headers.get("content-type").unwrap_or("application/json");
    let codings = headers.content_codings();
    let buffer = match body {
        Taken::Nothing => return Some(String::new()),
        Taken::Whole(buffer, _) if !(is_media(kind) && codings.is_empty() && !begins_as_text(buffer)) => buffer,
        _ if is_media(kind) => return Some(String::new()),
        Taken::Stream(_) | Taken::Whole(..) => return None,
    };
    let plain = match codings.is_empty() {
        true => js::bytes(buffer),
        false => js::bytes(&unpack_worker::unpacked(buffer, &codings).await.ok()?),
    };
    match form::boundary(kind) {
        Some(boundary) => Texts::form(&plain, &boundary),
        // JSON in UTF-16 is no text that could be judged.
        None => Some(Texts::prompt(std::str::from_utf8(&plain).ok().filter(|text| !text.contains('\0'))?, system)),
    }
}
