//! Writes log records behind the answers, a group at a time; see [`crate::log_batch`].

use super::d1::D1Store;
use super::{background, now, pause, random};
use crate::id;
use crate::log_batch::{self, Group, Lost, Waiting};
use crate::record::LogRecord;
use futures_util::future::join_all;
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;

/// How long one attempt to write may take, in milliseconds. A database that hangs must not cost all the time there is;
/// writing again does no harm where the first attempt takes effect after all.
pub const PATIENCE_MS: u64 = 5_000;

thread_local! {
    static WAITING: RefCell<Waiting> = RefCell::new(Waiting::default());
    /// What is on its way to the database.
    static WRITING: RefCell<Vec<Rc<Group>>> = const { RefCell::new(Vec::new()) };
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
    let groups = WAITING.with_borrow_mut(|waiting| waiting.take(mint));
    join_all(groups.into_iter().map(|group| write(group, store))).await;
    background::written(store).await;
}

async fn write(group: Group, store: &D1Store) {
    let weight = group.records.iter().map(LogRecord::weight).sum();
    let group = Rc::new(group);
    WRITING.with_borrow_mut(|writing| writing.push(Rc::clone(&group)));
    let lost = log_batch::deliver(store, &group, pause).await;
    WRITING.with_borrow_mut(|writing| writing.retain(|other| !Rc::ptr_eq(other, &group)));
    WAITING.with_borrow_mut(|waiting| waiting.settled(weight, lost.len()));
    tell("log_lost", &lost);
}

/// Tells the operator by name what is lost.
pub fn tell(event: &str, all: &[Lost]) {
    for Lost { id, reason } in all {
        worker::console_error!(
            "{}",
            json!({ "level": "error", "event": event, "id": id, "reason": reason, "lost": self::lost() })
        );
    }
}

/// Counts what was lost elsewhere.
pub fn lose(number: u64) {
    WAITING.with(|waiting| {
        if let Ok(mut waiting) = waiting.try_borrow_mut() {
            waiting.lost += number;
        }
    });
}

/// How many records are lost and what is still to be written, for whoever comes after a crash.
pub fn unfinished(mint: impl Fn() -> String) -> (u64, Vec<Rc<Group>>) {
    let mut groups = WRITING.with(|writing| writing.try_borrow().map(|writing| writing.clone()).unwrap_or_default());
    let lost = WAITING.with(|waiting| match waiting.try_borrow_mut() {
        Ok(mut waiting) => {
            groups.extend(waiting.take(mint).into_iter().map(Rc::new));
            waiting.lost
        }
        Err(_) => 0,
    });
    (lost, groups)
}

fn mint() -> String {
    id::mint(now(), random())
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
    WAITING.with(|waiting| waiting.try_borrow().map_or(0, |waiting| waiting.lost))
}
