//! Work that no answer waits for: evaluations, kept feedback, retention, and what deleted gateways leave behind. It is
//! done behind requests and once a minute, and can end at any moment without harm.

use super::bodies::Bodies;
use super::{Around, judge, now, pause, random};
use crate::api::{feedback, gateways, provider_configs};
use crate::body_object;
use crate::evaluate::run;
use crate::id;
use crate::reprice;
use crate::retention;
use crate::rollup::merge;
use crate::store::StoreError;
use serde_json::json;
use std::cell::Cell;
use std::rc::Rc;

/// The platform ends background work 30 s after the answer.
const BUDGET_MS: u64 = 25_000;

/// How many logs of a deleted gateway go in one transaction; D1 ends a statement after 30 s.
const DELETED_AT_ONCE: u32 = 2_000;

/// How often kept feedback looks for its log, in milliseconds.
const SETTLE_EVERY_MS: u64 = 250;

thread_local! {
    /// True while this isolate has kept feedback for a log that is not written yet.
    static PENDING: Cell<bool> = const { Cell::new(false) };
}

/// All of it, once.
pub async fn everything(around: &Rc<Around>) {
    told("settle_failed", feedback::settle(&around.database(), None, now()).await);
    sweep(around).await;
    reprices(around).await;
    reseal(around).await;
    rollup(around).await;
    retention(around).await;
    objects(around).await;
    evaluations(around).await;
}

/// Goes on with the new prices that nobody works on.
pub async fn reprices(around: &Rc<Around>) {
    told("reprice_failed", reprice::run_all(&around.database(), now, now() + BUDGET_MS).await);
}

/// Goes on with the evaluations that nobody works on.
pub async fn evaluations(around: &Rc<Around>) {
    let until = now() + BUDGET_MS;
    let store = around.database();
    let world = judge::Gateway::new(around);
    let runner = id::mint(now(), random());
    let worked = async {
        while now() < until {
            let waiting = run::waiting(&store, now()).await?;
            let Some(next) = waiting.first() else { break };
            if !run::run(&store, &world, next, &runner, until).await? {
                break;
            }
        }
        Ok(())
    };
    told("evaluation_failed", worked.await);
}

/// Removes what deleted gateways have left.
pub async fn sweep(around: &Rc<Around>) {
    told("sweep_failed", gateways::sweep(&around.database(), now(), DELETED_AT_ONCE).await);
}

/// Seals stored keys with the newest encryption key.
pub async fn reseal(around: &Rc<Around>) {
    told("reseal_failed", provider_configs::reseal(&around.database(), &**around).await);
}

/// Removes the bodies in the bucket that no log has any more.
pub async fn objects(around: &Rc<Around>) {
    let bucket = Bodies::new(&around.env);
    if !bucket.is_bound() {
        return;
    }
    let until = now() + BUDGET_MS;
    let is_over = || now() > until;
    let store = around.database();
    let removed = async {
        body_object::clear(&store, &bucket, is_over).await?;
        let missing = async |ids| body_object::missing(&store, ids).await;
        body_object::search(&store, &bucket, missing, now(), is_over).await
    };
    told("objects_failed", removed.await);
}

/// Adds up what charts show.
pub async fn rollup(around: &Rc<Around>) {
    let begun = now();
    told("rollup_failed", merge::run(&around.database(), begun, &|| now() > begun + BUDGET_MS).await);
}

/// Removes what gateways are not to keep, and says so.
pub async fn retention(around: &Rc<Around>) {
    let begun = now();
    let report = retention::run(&around.database(), begun, || now() > begun + BUDGET_MS).await;
    if let Ok(report) = &report
        && report.logs + report.bodies > 0
    {
        let (logs, bodies, unfinished) = (report.logs, report.bodies, report.unfinished);
        let line = json!({ "level": "info", "event": "retention", "logs_removed": logs, "bodies_removed": bodies, "unfinished": unfinished });
        worker::console_log!("{line}");
    }
    told("retention_failed", report.map(drop));
}

/// Waits for the logs that feedback was kept for. Those that do not come in time are settled by [`written`], when
/// somebody reads them, or by the next [`everything`].
pub async fn settle(around: &Rc<Around>) {
    PENDING.set(true);
    let until = now() + BUDGET_MS;
    let store = around.database();
    while now() < until {
        pause(SETTLE_EVERY_MS).await;
        match settled(&store).await {
            Ok(0) => return PENDING.set(false),
            Ok(_) => {}
            Err(error) => return told("settle_failed", Err(error)),
        }
    }
}

/// Rows were written: feedback may have waited for them.
pub async fn written(store: &super::d1::D1Store) {
    if PENDING.get()
        && let Ok(0) = settled(store).await
    {
        PENDING.set(false);
    }
}

/// Logs were written that had been handed in elsewhere: feedback for them may be there.
pub async fn settle_now(store: &super::d1::D1Store) {
    told("settle_failed", feedback::settle(store, None, now()).await);
}

/// Settles what can be, and says how much cannot yet.
async fn settled(store: &super::d1::D1Store) -> Result<u64, StoreError> {
    feedback::settle(store, None, now()).await?;
    feedback::waiting(store).await
}

fn told(event: &str, result: Result<(), StoreError>) {
    if let Err(error) = result {
        worker::console_error!("{}", json!({ "level": "error", "event": event, "cause": error.0 }));
    }
}
