//! Counters of what is no request, for `GET /metrics`: an isolate gathers them, and adds them to those in the database behind an answer.

use crate::db::store::{Statement, Store};
use crate::platform::{Runtime, console, pause};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// How long an isolate gathers, in milliseconds.
const WINDOW_MS: u64 = 1_000;

/// An isolate gathers no more counters at once, so that a database that is down costs no memory.
const MOST: usize = 1_000;

/// The key of what is no gateway's.
pub const ALL: i64 = 0;

type Key = (i64, &'static str, String);

thread_local! {
    static GATHERED: RefCell<BTreeMap<Key, (u64, Option<u64>)>> = const { RefCell::new(BTreeMap::new()) };
    static AWAITED: Cell<bool> = const { Cell::new(false) };
}

/// Counts something of a gateway. `label` has the values of its labels, with a space between two.
pub fn add(gateway: i64, name: &'static str, label: String, number: u64) {
    gather((gateway, name, label), number, None);
}

/// Counts circuits that open, and notes until when this isolate leaves the provider alone.
pub fn circuit(gateway: i64, provider: &str, opened: bool, until: u64) {
    gather((gateway, "circuit", provider.to_owned()), u64::from(opened), Some(until));
}

fn gather(key: Key, number: u64, until: Option<u64>) {
    GATHERED.with_borrow_mut(|gathered| {
        if gathered.len() < MOST || gathered.contains_key(&key) {
            let (sum, last) = gathered.entry(key).or_default();
            *sum += number;
            *last = until.or(*last);
        }
    });
}

/// Has what was gathered written soon.
pub fn settle(runtime: &Rc<Runtime>) {
    if GATHERED.with_borrow(BTreeMap::is_empty) || AWAITED.replace(true) {
        return;
    }
    let kept = Rc::clone(runtime);
    runtime.beside(async move {
        pause(WINDOW_MS).await;
        AWAITED.set(false);
        write(&kept).await;
    });
}

/// Writes what was gathered. What cannot be written waits for the next time.
pub async fn write(runtime: &Runtime) {
    let gathered = GATHERED.take();
    if gathered.is_empty() {
        return;
    }
    let rows: Vec<Value> = gathered
        .iter()
        .map(|((gateway, name, label), (number, until))| {
            Value::from(vec![
                (*gateway).into(),
                (*name).into(),
                label.as_str().into(),
                (*number).into(),
                Value::from(*until),
            ])
        })
        .collect();
    let sql = "INSERT INTO counted (gateway, name, label, number, until) \
         SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each(?1) \
         WHERE value->>0 = 0 OR EXISTS (SELECT 1 FROM gateways WHERE key = value->>0) \
         ON CONFLICT DO UPDATE SET number = number + excluded.number, until = coalesce(excluded.until, until)";
    let written = runtime.database().batch(vec![Statement::new(sql, [Value::from(rows).to_string().into()])]).await;
    if written.is_err() {
        gathered.into_iter().for_each(|(key, (number, until))| gather(key, number, until));
    }
    console::failed("not_counted", written.map(drop));
}
