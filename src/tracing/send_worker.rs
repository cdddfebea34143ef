//! Sends spans behind the answers, those of many requests together: no request waits for a destination. Where a queue is bound its
//! consumer sends them, so that they outlive the isolate.

use crate::alerts::event::Event;
use crate::alerts::send_worker::raise;
use crate::base::join_all::{Work, join_all};
use crate::base::json::json;
use crate::config::isolate_worker::config;
use crate::credentials::vault::Vault;
use crate::credentials::vault_worker::EnvVault;
use crate::db::store::{Bind, Statement, Store};
use crate::gateways::exporters::{self, Exporter, Exporters};
use crate::gateways::gateway;
use crate::logs::queue::{self, Outbox as _};
use crate::logs::queue_worker::Queue;
use crate::logs::record::LogRecord;
use crate::platform::blocks;
use crate::platform::js::{self, Watch};
use crate::platform::{Runtime, console, now, pause, random, within};
use crate::providers::resolver_worker;
use crate::providers::upstream::CustomProvider;
use crate::telemetry::answer::Answer;
use crate::telemetry::context::{Trace, is_taken};
use crate::tracing::messages::Content;
use crate::tracing::outbox::{self, Count, Counted, Outbox};
use crate::tracing::parcel::{Body, MAX_MESSAGE, Parcel};
use crate::tracing::spans::{self, Sent};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use web_sys::{Headers, RequestInit, RequestRedirect};

/// A destination that takes longer is tried again later, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// Longer answers are not read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// After so many deliveries a message is dropped: that is more than an hour.
const MOST_DELIVERIES: u32 = 25;

/// So many messages are sent to the queue in one call.
const MESSAGES_AT_ONCE: usize = 2;

/// How long the last spans may take before the process ends, in milliseconds.
const DRAIN_MS: u64 = 5_000;
const HOUR_MS: u64 = 3_600_000;

thread_local! {
    static OUTBOX: RefCell<Outbox> = RefCell::new(Outbox::default());
}

/// How a parcel fared.
enum Fate {
    Settled,
    /// To be sent again, after so many milliseconds where the destination says so.
    Again(Option<u64>),
}

/// Hands in what a log is as spans.
pub fn submit(
    runtime: &Rc<Runtime>,
    exporters: &[Rc<Exporter>],
    (record, trace): (&LogRecord, &Trace),
    sent: Option<&Sent<'_>>,
) {
    let wants_content = exporters.iter().any(|exporter| exporter.destination.content);
    let content = Content::of(record, wants_content && record.answered);
    let mut leads = false;
    for exporter in exporters {
        let is_sampled = is_taken(&trace.id, exporter.destination.sample);
        // Of what failed, the client's own answer is told in any case.
        if !is_sampled && (record.success || !record.answered) {
            continue;
        }
        let request = record.answered.then(|| spans::of_request(record, trace, exporter, content.as_ref()));
        let attempt = sent.map(|sent| spans::of_attempt(record, trace, sent));
        for span in request.into_iter().chain(attempt) {
            leads |= OUTBOX.with_borrow_mut(|outbox| outbox.push(exporter, span, now()));
        }
    }
    if leads {
        let kept = Rc::clone(runtime);
        runtime.beside(async move {
            pause(outbox::WINDOW_MS).await;
            flush(&kept).await;
        });
    }
}

/// Sends what waits.
pub async fn flush(runtime: &Rc<Runtime>) {
    let queue = Queue::new(&runtime.env);
    let most = if queue.is_bound() { MAX_MESSAGE - 1_000 } else { outbox::MOST_BYTES };
    let parcels = OUTBOX.with_borrow_mut(|outbox| outbox.pack(most, now()));
    let mut direct = Vec::new();
    let mut messages = Vec::new();
    for (exporter, parcel) in parcels {
        match parcel.message().filter(|_| queue.is_bound()) {
            Some(message) => messages.push((message, exporter, parcel)),
            None => direct.push((exporter, parcel)),
        }
    }
    for some in messages.chunks(MESSAGES_AT_ONCE) {
        let texts: Vec<String> = some.iter().map(|(text, ..)| text.clone()).collect();
        if queue.send(&texts).await.is_err() {
            direct.extend(some.iter().map(|(_, exporter, parcel)| (Rc::clone(exporter), parcel.clone())));
        }
    }
    OUTBOX.with_borrow_mut(|outbox| direct.into_iter().for_each(|(exporter, parcel)| outbox.hold(exporter, parcel)));
    deliver(runtime).await;
}

/// Sends the parcels that wait, to all destinations at once, and notes what became of them.
pub async fn deliver(runtime: &Rc<Runtime>) {
    let due = OUTBOX.with_borrow_mut(|outbox| outbox.due(now()));
    join_all(due.into_iter().map(|exporter| Box::pin(deliver_to(exporter, runtime)) as Work<'_>).collect()).await;
    note(runtime).await;
}

async fn deliver_to(exporter: Rc<Exporter>, runtime: &Rc<Runtime>) {
    let until = now() + outbox::RUN_MS;
    let mut failures = 0;
    let failed = loop {
        let Some((exporter, parcel)) = OUTBOX.with_borrow_mut(|outbox| outbox.next(&exporter)) else { break None };
        let Fate::Again(wait) = sent(runtime, &exporter, &parcel).await else {
            failures = 0;
            continue;
        };
        failures += 1;
        OUTBOX.with_borrow_mut(|outbox| outbox.hold(exporter, parcel));
        let wait = wait.unwrap_or_else(|| outbox::pause(failures, random() as u64));
        if now() + wait > until {
            break Some(wait);
        }
        pause(wait).await;
    };
    OUTBOX.with_borrow_mut(|outbox| outbox.rest(&exporter, failed, now()));
}

/// Sends a parcel, and counts what became of it.
async fn sent(runtime: &Runtime, exporter: &Rc<Exporter>, parcel: &Parcel) -> Fate {
    let answer = match Box::pin(posted(runtime, exporter, parcel)).await {
        Ok((status, answer)) => (answer, format!("it answered with the status {status}")),
        Err(cause) => (Answer::Busy(None), cause),
    };
    let (fate, count) = match answer {
        (Answer::Taken { rejected, why }, _) => {
            let rejected = rejected.min(parcel.spans);
            let error = (rejected > 0).then(|| format!("it rejected {rejected} spans: {why}"));
            (Fate::Settled, Count { exported: parcel.spans - rejected, rejected, error, dropped: 0 })
        }
        (Answer::Busy(wait), cause) => (Fate::Again(wait), Count { error: Some(cause), ..Count::default() }),
        (Answer::Refused, cause) => {
            (Fate::Settled, Count { dropped: parcel.spans, error: Some(cause), ..Count::default() })
        }
    };
    OUTBOX.with_borrow_mut(|outbox| outbox.count(exporter, count));
    fate
}

async fn posted(runtime: &Runtime, exporter: &Exporter, parcel: &Parcel) -> Result<(u16, Answer), String> {
    let config = config(runtime);
    let host = CustomProvider {
        slug: "otel".to_owned(),
        base_url: exporter.destination.url.clone(),
        headers: Vec::new(),
        enable: true,
        checked: exporter.checked,
        version: 0,
        formats: Vec::new(),
    };
    resolver_worker::admit(&host, config.allow_internal_upstreams, &config.dns_over_https_url)
        .await
        .map_err(|_| "its host may not be called: it leads to an internal address, or is not found".to_owned())?;
    let mut headers = Map::new();
    for (name, value) in exporter.destination.preset.headers() {
        headers.insert((*name).to_owned(), Value::from(*value));
    }
    if let Some(sealed) = &exporter.sealed {
        let vault = EnvVault { env: &runtime.env, keys: &config.encryption_keys };
        let opened = vault.open(sealed, &exporter.bound()).await;
        let opened = opened.map_err(|cause| format!("its headers cannot be opened: {cause}"))?;
        headers.extend(serde_json::from_str::<Map<String, Value>>(&opened).unwrap_or_default());
    }
    let is_protobuf = matches!(parcel.body, Body::Protobuf(_));
    let kind = if is_protobuf { "application/x-protobuf" } else { "application/json" };
    headers.insert("content-type".to_owned(), kind.into());
    headers.insert("user-agent".to_owned(), concat!("Tollgate/", env!("CARGO_PKG_VERSION")).into());
    let called = async {
        let sent = Headers::new().map_err(|error| js::message(&error))?;
        for (name, value) in &headers {
            sent.set(name, value.as_str().unwrap_or_default())
                .map_err(|_| format!("the header {name} cannot be sent"))?;
        }
        let init = RequestInit::new();
        init.set_method("POST");
        init.set_headers(&sent);
        init.set_body(&match &parcel.body {
            Body::Json(text) => JsValue::from_str(text),
            Body::Protobuf(bytes) => js_sys::Uint8Array::from(bytes.as_slice()).into(),
        });
        init.set_redirect(RequestRedirect::Manual);
        let answer = js::fetch(&exporter.destination.endpoint(), &init).await?;
        let retry_after = answer.headers().get("retry-after").ok().flatten();
        let body = match answer.body() {
            Some(stream) => match blocks::beginning(&stream, MAX_ANSWER, &Watch::default()).await {
                Ok((buffer, _, _share)) => js::bytes(&buffer),
                Err(_) => Vec::new(),
            },
            None => Vec::new(),
        };
        let status = answer.status();
        Ok((status, Answer::of(status, retry_after.as_deref(), is_protobuf, &body)))
    };
    within(PATIENCE_MS, called).await.unwrap_or_else(|| Err(format!("it did not answer within {PATIENCE_MS} ms")))
}

/// Writes what was counted where an operator looks, and tells of what was dropped.
async fn note(runtime: &Rc<Runtime>) {
    let counted = OUTBOX.with_borrow_mut(Outbox::counted);
    if counted.is_empty() {
        return;
    }
    let time = |is_wanted: bool| if is_wanted { Bind::Int(now() as i64) } else { Bind::Null };
    let statement = |Counted { exporter, count }: &Counted| {
        Statement::new(
            "UPDATE otel_destinations SET exported = exported + ?3, rejected = rejected + ?4, dropped = dropped + ?5, \
             exported_at = coalesce(?6, exported_at), failed_at = coalesce(?7, failed_at), error = coalesce(?8, error) \
             WHERE gateway = ?1 AND id = ?2",
            [
                exporter.gateway.into(),
                exporter.destination.id.as_str().into(),
                Bind::Int(count.exported as i64),
                Bind::Int(count.rejected as i64),
                Bind::Int(count.dropped as i64),
                time(count.exported > 0),
                time(count.error.is_some()),
                count.error.clone().into(),
            ],
        )
    };
    let noted = runtime.database().batch(counted.iter().map(statement).collect()).await;
    for Counted { exporter, count } in &counted {
        if noted.is_err() {
            // For the next time.
            OUTBOX.with_borrow_mut(|outbox| outbox.count(exporter, count.clone()));
        } else if count.dropped > 0 {
            tell(runtime, exporter, count);
        }
    }
    console::failed("spans_not_counted", noted.map(drop));
}

fn tell(runtime: &Rc<Runtime>, exporter: &Exporter, count: &Count) {
    let (destination, why) = (&exporter.destination, count.error.as_deref().unwrap_or_default());
    let line = json!({ "level": "error", "event": "spans_dropped", "gateway": exporter.gateway_id,
        "destination": destination.id, "spans": count.dropped, "reason": why });
    console::error(&line);
    raise(
        runtime,
        Event {
            kind: "telemetry",
            account: exporter.account.clone(),
            gateway: Some((exporter.gateway, exporter.gateway_id.clone())),
            name: format!("{} {}", destination.id, now() / HOUR_MS),
            threshold: None,
            summary: format!("{} spans did not reach {} and are lost: {why}.", count.dropped, destination.url),
            data: json!({ "destination": destination.id, "url": destination.url, "dropped": count.dropped }),
        },
    );
}

/// Sends what a queue has delivered, each with how often it has been delivered. Returns for each after how many seconds it is to come
/// again; `None` for what is settled.
pub async fn receive(runtime: &Rc<Runtime>, parcels: &[(Parcel, u32)]) -> Vec<Option<u32>> {
    let mut known: Vec<(i64, Option<Exporters>)> = Vec::new();
    let mut fates = Vec::new();
    for (parcel, attempts) in parcels {
        let again = queue::delay(*attempts);
        if !known.iter().any(|(gateway, _)| *gateway == parcel.gateway) {
            match of_gateway(runtime, parcel.gateway).await {
                Ok(found) => known.push((parcel.gateway, found)),
                Err(error) => {
                    console::failed("destinations_unknown", Err(error));
                    fates.push(Some(again));
                    continue;
                }
            }
        }
        let all = known.iter().find(|(gateway, _)| *gateway == parcel.gateway).and_then(|(_, all)| all.as_deref());
        let exporter = all.and_then(|all| all.iter().find(|one| one.destination.id == parcel.destination));
        // Where the destination is no more, there is none to count for.
        let Some(exporter) = exporter else {
            fates.push(None);
            continue;
        };
        // A destination that has just failed is not called once more for each message.
        let fate = match OUTBOX.with_borrow(|outbox| outbox.is_resting(exporter, now())) {
            true => Fate::Again(None),
            false => sent(runtime, exporter, parcel).await,
        };
        fates.push(match fate {
            Fate::Settled => None,
            Fate::Again(_) if *attempts >= MOST_DELIVERIES => {
                let why = "the destination did not take them for more than an hour";
                OUTBOX.with_borrow_mut(|outbox| outbox.drop_spans(exporter, parcel.spans, why));
                None
            }
            Fate::Again(wait) => {
                OUTBOX.with_borrow_mut(|outbox| outbox.rest_anew(exporter, now()));
                Some(again.max(wait.unwrap_or(0).div_ceil(1_000) as u32))
            }
        });
    }
    note(runtime).await;
    fates
}

async fn of_gateway(runtime: &Runtime, key: i64) -> Result<Option<Exporters>, crate::db::store::StoreError> {
    let store = runtime.database();
    match gateway::by_key(&store, key).await? {
        Some(gateway) => exporters::by_key(&store, &gateway).await,
        None => Ok(None),
    }
}

/// Sends the last spans before the process ends. What is not taken by then is dropped, and counted.
pub async fn drain(runtime: &Rc<Runtime>) {
    if OUTBOX.with_borrow(Outbox::is_empty) {
        return;
    }
    within(DRAIN_MS, flush(runtime)).await;
    OUTBOX.with_borrow_mut(|outbox| outbox.abandon(now()));
    note(runtime).await;
}
