//! What is looked for once a minute and told of: requests that fail, logs that are lost, a database that is nearly full, and models
//! that the catalogue does not know any more.

use crate::alerts::event::{Event, THRESHOLDS};
use crate::alerts::journal::{self, Watched};
use crate::alerts::send_worker;
use crate::base::json::json;
use crate::config::isolate_worker::config;
use crate::db::databases::Databases;
use crate::db::store::{Statement, Store, StoreError, row};
use crate::gateways::catalogue;
use crate::logs::writer_worker;
use crate::platform::{Runtime, console, now};
use serde_json::Value;
use std::cell::Cell;
use std::rc::Rc;

const MINUTE_MS: u64 = 60_000;

/// Failures are counted over so many minutes.
const SHARE_MINUTES: u64 = 10;

/// Fewer requests tell nothing of a share.
const SHARE_AT_LEAST: u64 = 20;

/// Of the requests, in percent.
const SHARE_PERCENT: u64 = 50;

/// Models that were used in the last day are those in use.
const IN_USE_MS: u64 = 24 * 60 * MINUTE_MS;

thread_local! {
    /// How many lost logs have been told of.
    static LOST: Cell<u64> = const { Cell::new(0) };
    /// In which hour the models were last looked at.
    static LOOKED: Cell<u64> = const { Cell::new(0) };
}

/// Looks, and delivers what is due. Where no webhook is there is nothing to look for.
pub async fn everything(runtime: &Rc<Runtime>) {
    let store = runtime.database();
    match journal::watched(&store).await {
        Ok(watched) if watched.is_empty() => {}
        Ok(watched) => {
            console::failed("errors_not_counted", errors(runtime, &watched).await);
            console::failed("database_not_measured", sizes(runtime, &watched).await);
            lost(runtime, &watched);
            let hour = now() / (60 * MINUTE_MS);
            if LOOKED.replace(hour) != hour {
                console::failed("models_not_looked_at", models(runtime, &watched).await);
            }
        }
        Err(error) => console::failed("webhooks_unknown", Err(error)),
    }
    console::failed("alerts_not_tidied", journal::tidy(&store, now()).await);
    send_worker::deliver(runtime).await;
}

fn event(kind: &'static str, of: &Watched, name: String, summary: String, data: Value) -> Event {
    let gateway = Some((of.key as i64, of.id.clone()));
    Event { kind, account: of.account_id.clone(), gateway, name, threshold: None, summary, data }
}

async fn errors(runtime: &Rc<Runtime>, watched: &[Watched]) -> Result<(), StoreError> {
    let (databases, window) = (runtime.databases(), now() / (SHARE_MINUTES * MINUTE_MS));
    for of in watched {
        let store = databases.of(of.shard)?;
        let (total, failed) =
            journal::errors_since(store, of.key, now().saturating_sub(SHARE_MINUTES * MINUTE_MS)).await?;
        if total >= SHARE_AT_LEAST && failed * 100 >= total * SHARE_PERCENT {
            let summary = format!("{failed} of the last {total} requests failed, within {SHARE_MINUTES} minutes.");
            let data = json!({ "failed": failed, "total": total, "minutes": SHARE_MINUTES });
            send_worker::raise(runtime, event("errors", of, window.to_string(), summary, data));
        }
    }
    Ok(())
}

/// The accounts that are told, once each.
fn accounts(watched: &[Watched]) -> Vec<&str> {
    let mut all: Vec<&str> = watched.iter().map(|of| of.account_id.as_str()).collect();
    all.dedup();
    all
}

fn of_all(runtime: &Rc<Runtime>, watched: &[Watched], event: impl Fn(&str) -> Event) {
    accounts(watched).into_iter().for_each(|account| send_worker::raise(runtime, event(account)));
}

async fn sizes(runtime: &Rc<Runtime>, watched: &[Watched]) -> Result<(), StoreError> {
    let limit = config(runtime).database_limit_mb.saturating_mul(1_000_000);
    for (shard, store) in runtime.databases().all() {
        let size = store.size().await?;
        for threshold in THRESHOLDS.into_iter().filter(|threshold| size as f64 >= limit as f64 * threshold) {
            let day = now() / IN_USE_MS;
            of_all(runtime, watched, |account| Event {
                kind: "database",
                account: account.to_owned(),
                gateway: None,
                name: format!("{shard} {threshold} {day}"),
                threshold: None,
                summary: format!(
                    "Database {shard} has {} MB, which is {:.0} % of its limit or more. Keep logs for less long, or add a database.",
                    size / 1_000_000,
                    threshold * 100.0
                ),
                data: json!({ "database": shard, "bytes": size, "limit_bytes": limit }),
            });
        }
    }
    Ok(())
}

fn lost(runtime: &Rc<Runtime>, watched: &[Watched]) {
    let (lost, _) = writer_worker::lost();
    let before = LOST.replace(lost);
    if lost > before {
        let hour = now() / (60 * MINUTE_MS);
        of_all(runtime, watched, |account| Event {
            kind: "logs_lost",
            account: account.to_owned(),
            gateway: None,
            name: hour.to_string(),
            threshold: None,
            summary: format!(
                "{} logs could not be written and are lost. The Worker's own log says why.",
                lost - before
            ),
            data: json!({ "lost": lost - before }),
        });
    }
}

row! {
    struct Used {
        provider: String,
        model: String,
    }
}

async fn models(runtime: &Rc<Runtime>, watched: &[Watched]) -> Result<(), StoreError> {
    let (databases, first) = (runtime.databases(), runtime.database());
    for of in watched {
        let used = "SELECT provider, model FROM (SELECT DISTINCT provider, model FROM \
             (SELECT provider, model FROM logs WHERE gateway = ?1 AND created_at > ?2 AND model IS NOT NULL LIMIT 5000)) LIMIT 500";
        let since = now().saturating_sub(IN_USE_MS) as i64;
        let used: Vec<Used> =
            databases.of(of.shard)?.rows(Statement::new(used, [(of.key as i64).into(), since.into()])).await?;
        let known = "SELECT provider, model FROM alert_models WHERE account_id = ?1 LIMIT 5000";
        let known: Vec<Used> = first.rows(Statement::new(known, [of.account_id.as_str().into()])).await?;
        let (_, catalogue) = catalogue::read(&first, &of.account_id).await?;
        let mut statements = Vec::new();
        for Used { provider, model } in &used {
            let was_known = known.iter().any(|known| known.provider == *provider && known.model == *model);
            let sql = match (catalogue.find(provider, model).is_some(), was_known) {
                (true, false) => "INSERT OR IGNORE INTO alert_models (account_id, provider, model) VALUES (?1, ?2, ?3)",
                (false, true) => {
                    let summary = format!(
                        "{model} of {provider} is in use, and the catalogue of models does not know it any more."
                    );
                    let data = json!({ "provider": provider, "model": model });
                    send_worker::raise(runtime, event("model", of, format!("{provider} {model}"), summary, data));
                    "DELETE FROM alert_models WHERE account_id = ?1 AND provider = ?2 AND model = ?3"
                }
                _ => continue,
            };
            statements.push(Statement::new(
                sql,
                [of.account_id.as_str().into(), provider.as_str().into(), model.as_str().into()],
            ));
        }
        if !statements.is_empty() {
            first.batch(statements).await?;
        }
    }
    Ok(())
}
