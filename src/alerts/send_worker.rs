//! Notes events and delivers them, always behind an answer: no request waits for a webhook.

use crate::alerts::event::{Event, formatted, signature};
use crate::alerts::journal::{self, Due, bound};
use crate::base::id;
use crate::base::join_all::{Work, join_all};
use crate::config::isolate_worker::config;
use crate::credentials::vault::{Sealed, Vault};
use crate::credentials::vault_worker::EnvVault;
use crate::db::store::StoreError;
use crate::platform::{Runtime, console, js, now, random, within};
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

/// The runtime holds six connections at once, of which the database may need one.
const AT_ONCE: usize = 5;

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

/// Delivers what is due, a few at once: a webhook that does not answer keeps no other waiting for long.
pub async fn deliver(runtime: &Rc<Runtime>) {
    match journal::due(&runtime.database(), now()).await {
        Ok(all) => {
            for some in all.chunks(AT_ONCE) {
                join_all(some.iter().map(|due| Box::pin(deliver_one(runtime, due)) as Work<'_>).collect()).await;
            }
        }
        Err(error) => console::failed("alerts_not_delivered", Err(error)),
    }
}

async fn deliver_one(runtime: &Rc<Runtime>, due: &Due) {
    let store = runtime.database();
    let delivered = async {
        if journal::claim(&store, due, now()).await? {
            let sent = sent(runtime, due).await;
            journal::settle(&store, due, sent, now()).await?;
        }
        Ok::<(), StoreError>(())
    };
    console::failed("alerts_not_delivered", delivered.await);
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
