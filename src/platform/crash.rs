//! A crash of the wasm instance, by a panic or a trap. The runtime goes on: it makes a new instance of the same module for the
//! next request. What the old one knew is handed over through the isolate's global object.

use super::d1::D1Store;
use super::{log_writer, pause};
use crate::log_batch::{Key, Lost, statements};
use crate::remains::{Underway, Unfinished};
use js_sys::{Array, Reflect};
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use worker::{Context, Env};

const REASON: &str = "the Worker crashed while the request was under way";

/// Where the next instance looks.
const REMAINS: &str = "__tollgate_remains";

thread_local! {
    static UNDERWAY: RefCell<Underway> = RefCell::new(Underway::default());
}

/// Marks a request under way that is to leave a row.
pub struct Mark(usize);

/// Called once in each instance: takes over from the one before, should there have been one, and prepares to hand over.
pub fn begin(env: &Env, context: &Context) {
    // In place of worker's own handler, which makes the new instance for whatever calls next. That may be a callback of
    // the old one, and its pointers mean nothing in the new one. Requests get theirs from worker's shim all the same.
    wasm_bindgen::handler::set_on_abort(hand_over);
    let global = js_sys::global();
    let remains =
        Reflect::get(&global, &JsValue::from_str(REMAINS)).ok().and_then(|found| found.dyn_into::<Array>().ok());
    let Some(remains) = remains else { return };
    let _ = Reflect::delete_property(&global, &JsValue::from_str(REMAINS));
    let lost = remains.shift().as_f64().unwrap_or(0.0);
    log_writer::lose(lost as u64);
    let store = D1Store::new(env).within(log_writer::PATIENCE_MS);
    context.wait_until(async move {
        for text in remains.iter().filter_map(|text| text.as_string()) {
            let Some(unfinished) = Unfinished::read(&text) else { continue };
            let lost = unfinished.write(&store, pause).await;
            log_writer::lose(lost.len() as u64);
            log_writer::tell("log_lost", &lost);
        }
    });
}

/// Runs in the instance that crashed, behind the last thing it did. Nothing here may rely on what it was doing.
fn hand_over() {
    let global = js_sys::global();
    // For traps: panics say so themselves. The shim then makes the new instance, before the next request.
    if let Ok(state) = Reflect::get(&global, &JsValue::from_str("__worker_init_state")) {
        let _ = Reflect::set(&state, &JsValue::from_str("criticalError"), &JsValue::TRUE);
    }
    let lost: Vec<Lost> = UNDERWAY
        .try_with(|underway| match underway.try_borrow() {
            Ok(underway) => underway.ids().map(|id| Lost { id: id.to_owned(), reason: REASON.to_owned() }).collect(),
            Err(_) => Vec::new(),
        })
        .unwrap_or_default();
    log_writer::lose(lost.len() as u64);
    let (all_lost, groups) = log_writer::unfinished();
    let remains = Array::of1(&JsValue::from_f64(all_lost as f64));
    // In place before the rest is done: that takes memory, and there may be none.
    let _ = Reflect::set(&global, &JsValue::from_str(REMAINS), &remains);
    for group in groups {
        let logs = group.records.iter().map(|record| record.id.clone()).collect();
        let statements = statements(&Key::of(&group.id), &group.records);
        remains.push(&JsValue::from_str(&Unfinished { logs, statements }.to_text()));
    }
    log_writer::tell("log_lost", &lost);
}

// === impl Mark ===

impl Mark {
    pub fn new(id: &str) -> Self {
        Self(UNDERWAY.with_borrow_mut(|underway| underway.begun(id)))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        UNDERWAY.with_borrow_mut(|underway| underway.ended(self.0));
    }
}
