//! What must not leave in a request: it is looked at before it is sent and before anything of it is stored.

use crate::dlp::{Body, Check, Dlp, Examiner, Redactor, begins_in_text, is_media};
use crate::http::headers::Headers;
use crate::http::refusal::Refusal;
use crate::logs::call::RequestType;
use crate::platform::allotment::GrowingAllotment;
use crate::platform::js;
use crate::proxy::exchange::Exchange;
use crate::proxy::request_body::{Changed, Taken};
use crate::proxy::screening::{HEADER, Screening, is_looked_at};
use crate::proxy::upstream_request::Unsent;
use crate::wire::request::{self, RequestFacts};
use crate::wire::{body, form, unpack_worker};
use futures_util::FutureExt;
use js_sys::{ArrayBuffer, Uint8Array};
use std::rc::Rc;

const WEBSOCKET: &str = "messages of a WebSocket are not looked at";
const TOO_LONG: &str = "the request body is too long to be looked at";
const NO_ROOM: &str = "there is no memory to look at the request body";
const NO_TEXT: &str = "the request body, or a file in it, is no text";

const KEPT_IN: &str = "The request has something in it that this gateway's setting dlp keeps from leaving; the header cf-aig-dlp \
     says which profiles it belongs to. It was not sent.";

/// Looks at what a request says beside its body.
fn beside(headers: &Headers, exchange: &mut Exchange) -> Result<(), Unsent> {
    let Some(screening) = exchange.screening.clone().filter(|screening| screening.dlp.is_for(Check::Request)) else {
        return Ok(());
    };
    let body = exchange.call.body.take();
    let report = std::mem::take(&mut exchange.call.dlp);
    let mut examiner = screening.conceal(&mut exchange.call.clone(), report);
    for (name, value) in headers.0.iter().filter(|(name, _)| is_looked_at(name)) {
        examiner.text(value, name, true, value.as_bytes());
    }
    exchange.call.body = body;
    let is_blocked = examiner.is_blocked();
    exchange.call.dlp = examiner.report;
    tell(exchange);
    if is_blocked { Err(Refusal::data_loss(false, KEPT_IN).into()) } else { Ok(()) }
}

/// Looks through a request. Gives what is to be sent, and how it differs.
pub async fn of_request(
    body: Taken,
    headers: &Headers,
    dlp: &Rc<Dlp>,
    exchange: &mut Exchange,
) -> Result<(Taken, Option<Changed>), Unsent> {
    let screening = |redactor| Some(Rc::new(Screening { dlp: Rc::clone(dlp), redactor }));
    exchange.screening = screening(Redactor::default());
    beside(headers, exchange)?;
    if exchange.call.request_type == RequestType::WebSocket {
        for check in [Check::Request, Check::Response].into_iter().filter(|check| dlp.is_for(*check)) {
            unread(dlp, check, WEBSOCKET, exchange)?;
        }
        return Ok((body, None));
    }
    if !dlp.is_for(Check::Request) {
        return Ok((body, None));
    }
    let content_type = headers.get("content-type").unwrap_or("application/json");
    let codings = headers.content_codings();
    let (buffer, share) = match body {
        Taken::Whole(buffer, share) if !(is_media(content_type) && codings.is_empty() && !begins_as_text(&buffer)) => {
            (buffer, share)
        }
        _ if is_media(content_type) => return Ok((body, None)),
        Taken::Nothing | Taken::Whole(..) => return Ok((body, None)),
        Taken::Stream(_) => {
            let seen = unread(dlp, Check::Request, TOO_LONG, exchange);
            if seen.is_err() {
                discard(&body).await;
            }
            return seen.map(|()| (body, None));
        }
    };
    let mut room = GrowingAllotment::default();
    let plain = match codings.is_empty() {
        true => Ok(buffer.clone()),
        false => unpack_worker::unpacked(&buffer, &codings).boxed_local().await.map_err(|packed| packed.of_request()),
    };
    let plain =
        plain.and_then(|plain| if room.add(2 * u64::from(plain.byte_length())) { Ok(plain) } else { Err(NO_ROOM) });
    let bytes = match plain {
        Ok(plain) => js::bytes(&plain),
        Err(why) => return unread(dlp, Check::Request, why, exchange).map(|()| (Taken::Whole(buffer, share), None)),
    };
    let report = std::mem::take(&mut exchange.call.dlp);
    let mut examiner = Examiner::new(Rc::clone(dlp), Check::Request, Redactor::default(), report);
    let boundary = form::boundary(content_type);
    let Body { rewritten, is_read } = examiner.read(&bytes, boundary.as_deref());
    let is_blocked = examiner.is_blocked();
    let Examiner { redactor, report, .. } = examiner;
    exchange.call.dlp = report;
    exchange.screening = screening(redactor);
    let changed = if codings.is_empty() { Changed::Rewritten } else { Changed::Unpacked };
    let sent = rewritten.map(|rewritten| {
        let sent = Uint8Array::from(rewritten.as_slice()).buffer();
        stored(rewritten, content_type, exchange);
        sent
    });
    if is_blocked {
        tell(exchange);
        return Err(Refusal::data_loss(false, KEPT_IN).into());
    }
    if !is_read {
        unread(dlp, Check::Request, NO_TEXT, exchange)?;
    }
    tell(exchange);
    Ok(match sent {
        Some(sent) => (Taken::Whole(sent, share), Some(changed)),
        None => (Taken::Whole(buffer, share), None),
    })
}

/// Whether a body begins as no picture, sound or film does. What its content type says of it is then not believed.
pub fn begins_as_text(buffer: &ArrayBuffer) -> bool {
    const BEGINNING: u32 = 512;
    begins_in_text(&js::bytes(&buffer.slice_with_end(0, BEGINNING)))
}

/// From now on the row knows the request as it has become.
fn stored(rewritten: Vec<u8>, content_type: &str, exchange: &mut Exchange) {
    let facts = request::read_request(Some(content_type), &rewritten);
    let before = std::mem::take(&mut exchange.call.facts);
    exchange.call.facts = RequestFacts { unread: before.unread.or(facts.unread), ..facts };
    if exchange.call.body.is_some() {
        exchange.call.body = Some(body::text(rewritten));
    }
}

/// What is not looked at does not go on where something must not leave. Elsewhere it is marked.
pub fn unread(dlp: &Dlp, check: Check, why: &'static str, exchange: &mut Exchange) -> Result<(), Unsent> {
    exchange.call.dlp.unscanned(check, why);
    tell(exchange);
    if !dlp.is_strict(check) {
        return Ok(());
    }
    // Nothing of it is stored, either.
    exchange.call.body = None;
    let what = format!(
        "Tollgate could not look at it: {why}. This gateway's setting dlp lets nothing pass that it has not seen."
    );
    Err(Refusal::data_loss(check == Check::Response, what).into())
}

/// Has the answer say what was found so far.
pub fn tell(exchange: &mut Exchange) {
    let Some(said) = exchange.call.dlp.header() else { return };
    exchange.gateway_headers.retain(|(name, _)| *name != HEADER);
    exchange.gateway_headers.push((HEADER, said));
}

async fn discard(body: &Taken) {
    use crate::platform::{blocks, within};
    use wasm_bindgen::JsCast;
    let Taken::Stream(stream) = body else { return };
    let _ = within(30_000, blocks::drained(stream.unchecked_ref())).boxed_local().await;
}
