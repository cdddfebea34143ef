//! Feedback that waits for its log: settled behind requests.

use crate::base::join_all::Work;
use crate::db::databases::Databases;
use crate::db::store::StoreError;
use crate::feedback::pending;
use crate::gateways::shards::carry;
use crate::gateways::shards_worker;
use crate::platform::d1::D1Store;
use crate::platform::{Runtime, console, now, pause};
use std::cell::Cell;
use std::rc::Rc;

/// The platform ends background work 30 s after the answer.
const BUDGET_MS: u64 = 25_000;

/// How often kept feedback looks for its log, in milliseconds.
const ATTACH_EVERY_MS: u64 = 250;

thread_local! {
    /// True while this isolate has kept feedback for a log that is not written yet.
    static PENDING: Cell<bool> = const { Cell::new(false) };
}

/// Waits for the logs that feedback was kept for. Those that do not come in time are settled by [`written`], when
/// a caller reads them, or by the next run of the cron trigger.
pub async fn attach(runtime: &Rc<Runtime>) {
    PENDING.set(true);
    let until = now() + BUDGET_MS;
    while now() < until {
        pause(ATTACH_EVERY_MS).await;
        match settled(runtime).await {
            Ok(0) => return PENDING.set(false),
            Ok(_) => {}
            Err(error) => return console::failed("settle_failed", Err(error)),
        }
    }
}

/// Rows were written: feedback may have waited for them.
pub fn written(runtime: Rc<Runtime>) -> Work<'static> {
    Box::pin(async move {
        if PENDING.get()
            && let Ok(0) = settled(&runtime).await
        {
            PENDING.set(false);
        }
    })
}

/// Logs were written that had been handed in elsewhere: feedback for them may be there.
pub async fn attach_now(store: &D1Store, runtime: &Runtime) {
    console::failed(
        "feedback_undelivered",
        carry::all_pending(&runtime.databases().within(shards_worker::TELLING_MS)).await,
    );
    console::failed("settle_failed", pending::attach(store, None, now()).await);
}

/// Settles what can be, and says how much cannot yet.
async fn settled(runtime: &Runtime) -> Result<u64, StoreError> {
    let databases = runtime.databases();
    let mut sum = carry::all_pending(&databases).await.map(|()| 0);
    for (_, store) in databases.all() {
        let left = async {
            pending::attach(store, None, now()).await?;
            pending::waiting(store).await
        };
        // One that does not answer keeps nothing from the others.
        sum = match (sum, left.await) {
            (Ok(sum), Ok(left)) => Ok(sum + left),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
    }
    sum
}
