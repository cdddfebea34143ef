//! Writes log records behind the answers, a group at a time; see [`crate::log_batch`].

use super::d1::D1Store;
use super::{background, now, pause, random};
use crate::id;
use crate::log_batch::{self, Group, Waiting};
use crate::record::LogRecord;
use futures_util::future::join_all;
use serde_json::json;
use std::cell::RefCell;

/// How long one attempt to write may take, in milliseconds. A database that hangs must not cost all the time there is;
/// writing again does no harm where the first attempt takes effect after all.
pub const PATIENCE_MS: u64 = 5_000;

thread_local! {
    static WAITING: RefCell<Waiting> = RefCell::new(Waiting::default());
}

/// Hands in a record. The first one after a quiet moment also writes those that follow it within the window, so this
/// has to run as background work of a request.
pub async fn submit(record: LogRecord, store: &D1Store) {
    let leads = WAITING.with_borrow_mut(|waiting| waiting.push(record, now()));
    if !leads {
        return;
    }
    pause(log_batch::WINDOW_MS).await;
    // Each group retries on its own, so that none waits until the platform ends the background work.
    let groups = WAITING.with_borrow_mut(|waiting| waiting.take(|| id::mint(now(), random())));
    join_all(groups.into_iter().map(|group| write(group, store))).await;
    background::written(store).await;
}

async fn write(group: Group, store: &D1Store) {
    let weight = group.records.iter().map(LogRecord::weight).sum();
    let lost = log_batch::write(store, group, pause).await;
    WAITING.with_borrow_mut(|waiting| waiting.settled(weight, lost.len()));
    for record in lost {
        let line = json!({ "level": "error", "event": "log_lost", "id": record.id, "reason": record.reason, "lost": self::lost() });
        worker::console_error!("{line}");
    }
}

/// Waits, for half a second at most, until what this isolate has to write is written. Of several logs with the same event
/// id the newest is meant, and it may be on its way.
pub async fn idle() {
    for _ in 0..50 {
        if WAITING.with_borrow(Waiting::is_empty) {
            return;
        }
        pause(10).await;
    }
}

/// How many records this isolate has lost for good.
pub fn lost() -> u64 {
    WAITING.with_borrow(|waiting| waiting.lost)
}
