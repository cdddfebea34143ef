//! Notes events and delivers them, always behind an answer: no request waits for a webhook.

use crate::alerts::event::{Event, formatted, signature};
use crate::alerts::journal::{self, Due, bound};
use crate::base::id;
use crate::base::join_all::{Work, join_all};
use crate::config::isolate_worker::config;
use crate::credentials::vault::{Sealed, Vault};
use crate::credentials::vault_worker::EnvVault;
use crate::db::store::StoreError;
use crate::platform::{Runtime, console, counted, js, now, random, within};
use crate::providers::address;
use crate::providers::resolver_worker;
use crate::providers::upstream::CustomProvider;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use web_sys::{Headers, RequestInit, RequestRedirect};

/// A webhook that takes longer is tried again later, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// How long deliveries are begun in one run, in milliseconds, and to how many webhooks at once: the runtime holds six connections, of
/// which the database may need one.
const BUDGET_MS: u64 = 20_000;
const LANES: usize = 5;

/// So many events are remembered as told, so that the database is not asked for each request.
const MAX_KNOWN: usize = 2_000;

thread_local! {
    static KNOWN: RefCell<HashSet<String>> = RefCell::new(HashSet::new());
}

/// Has an event noted and delivered behind the answer, unless this isolate knows that it was.
pub fn raise(runtime: &Rc<Runtime>, event: Event) {
    let is_new = KNOWN.with_borrow_mut(|known| {
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(format!("{} {}", event.account, event.key()))
    });
    if is_new {
        let kept = Rc::clone(runtime);
        runtime.context.wait_until(async move { raised(&kept, event).await });
    }
}

async fn raised(runtime: &Rc<Runtime>, event: Event) {
    match journal::raise(&runtime.database(), &event, &id::mint(now(), random()), now()).await {
        Ok(true) => deliver(runtime).await,
        Ok(false) => {}
        Err(error) => {
            // It may be noted the next time.
            KNOWN.with_borrow_mut(|known| known.remove(&format!("{} {}", event.account, event.key())));
            console::failed("alert_not_noted", Err(error));
        }
    }
}

/// Delivers what is due, to some webhooks at once: one that hangs keeps nothing from the others, and is left after a failure.
pub async fn deliver(runtime: &Rc<Runtime>) {
    let due = match journal::due(&runtime.database(), now()).await {
        Ok(due) => due,
        Err(error) => return console::failed("alerts_not_delivered", Err(error)),
    };
    let mut by_webhook: Vec<Vec<Due>> = Vec::new();
    for due in due {
        match by_webhook.iter_mut().find(|all| all.first().is_some_and(|first| first.webhook_id == due.webhook_id)) {
            Some(all) => all.push(due),
            None => by_webhook.push(vec![due]),
        }
    }
    let until = now() + BUDGET_MS;
    let waiting = RefCell::new(by_webhook.into_iter());
    let lane = async || {
        loop {
            let Some(all) = waiting.borrow_mut().next() else { break };
            for due in all {
                let is_over = now() >= until;
                match if is_over { Ok(false) } else { told(runtime, &due).await } {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => return console::failed("alerts_not_delivered", Err(error)),
                }
            }
        }
    };
    join_all((0..LANES).map(|_| Box::pin(lane()) as Work<'_>).collect()).await;
    counted::settle(runtime);
}

/// Tells a webhook of an event. False where it was not reached.
async fn told(runtime: &Rc<Runtime>, due: &Due) -> Result<bool, StoreError> {
    let store = runtime.database();
    if !journal::claim(&store, due, now()).await? {
        return Ok(true);
    }
    let status = journal::settle(&store, due, sent(runtime, due).await, now()).await?;
    if status != "pending" {
        counted::add(counted::ALL, "alerts", format!("{} {status}", due.account_id), 1);
    }
    Ok(status == "delivered")
}

async fn sent(runtime: &Rc<Runtime>, due: &Due) -> Result<(), String> {
    let config = config(runtime);
    let host = CustomProvider {
        slug: "alerts".to_owned(),
        base_url: due.url.clone(),
        headers: Vec::new(),
        enable: true,
        checked: due.checked == 1,
        version: 0,
        formats: Vec::new(),
    };
    resolver_worker::admit(&host, config.allow_internal_upstreams, &config.dns_over_https_url)
        .await
        .map_err(|_| "Its host may not be called: it leads to an internal address, or is not found".to_owned())?;
    let vault = EnvVault { env: &runtime.env, keys: &config.encryption_keys };
    let sealed = Sealed { text: due.secret.clone(), key_id: due.key_id.clone() };
    let origin = address::origin_of(&due.url);
    let secret = vault.open(&sealed, &bound(&due.account_id, &due.webhook_id, origin)).await?;
    let body = formatted(&due.body, &due.format);
    let signature = signature(&secret, now() / 1_000, &body);
    let called = async {
        let headers = Headers::new().map_err(|error| js::message(&error))?;
        for (name, value) in [
            ("content-type", "application/json"),
            ("user-agent", "Tollgate"),
            ("tollgate-event-id", &due.alert_id),
            ("tollgate-signature", &signature),
        ] {
            headers.set(name, value).map_err(|error| js::message(&error))?;
        }
        let init = RequestInit::new();
        init.set_method("POST");
        init.set_headers(&headers);
        init.set_body(&JsValue::from_str(&body));
        init.set_redirect(RequestRedirect::Manual);
        let answer = js::fetch(&due.url, &init).await?;
        if let Some(body) = answer.body() {
            drop(body.cancel());
        }
        match answer.status() {
            200..=299 => Ok(()),
            status => Err(format!("It answered with the status {status}")),
        }
    };
    within(PATIENCE_MS, called).await.unwrap_or_else(|| Err(format!("It did not answer within {PATIENCE_MS} ms")))
}
