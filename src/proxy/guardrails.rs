//! Has a model judge the prompt of a request.

use crate::guardrails::{Guardrails, Phase, Texts, Verdict};
use crate::http::refusal::Refusal;
use crate::platform::js;
use crate::proxy::arrival::Arrival;
use crate::proxy::exchange::Exchange;
use crate::proxy::judges::{Ask, Judges};
use crate::proxy::request_body::Taken;
use crate::wire::unpack_worker;
use std::rc::Rc;

/// A judge of an answer is told so much of the question, in characters.
const MOST_ASKED: usize = 2_000;

const UNREAD: &str = "the request body could not be looked at";

/// Judges the prompt of a request, and keeps what its answer will need.
pub async fn prompt(
    arrival: &Arrival<'_>,
    body: &Taken,
    guardrails: &Rc<Guardrails>,
    ask: Ask,
    exchange: &mut Exchange,
) -> Result<(), Refusal> {
    let text = match body {
        Taken::Nothing => Some(String::new()),
        Taken::Stream(_) => None,
        Taken::Whole(buffer, _) => {
            let codings = arrival.asked.headers.content_codings();
            let plain = match codings.is_empty() {
                true => Ok(buffer.clone()),
                false => unpack_worker::unpacked(buffer, &codings).await,
            };
            plain.ok().map(|plain| Texts::prompt(&String::from_utf8_lossy(&js::bytes(&plain))))
        }
    };
    let asked = text.as_deref().unwrap_or("").chars().take(MOST_ASKED).collect();
    let judges = Judges {
        guardrails: Rc::clone(guardrails),
        account: arrival.route.account.to_owned(),
        gateway: arrival.route.gateway.to_owned(),
        asked,
        ask,
    };
    let judges = Rc::new(judges);
    exchange.judges = Some(Rc::clone(&judges));
    if !guardrails.is_for(Phase::Prompt) {
        return Ok(());
    }
    let verdict = match text {
        Some(text) => judges.judged(Phase::Prompt, &text, &exchange.call.event_id, &exchange.runtime).await,
        None => Verdict { error: Some(UNREAD.to_owned()), ..Verdict::default() },
    };
    judges.noted(Phase::Prompt, &verdict, &mut exchange.call)
}
