//! A crash of the wasm instance, by a panic or a trap. The runtime goes on: it makes a new instance of the same module for the
//! next request. `src/logs/crash.js` hands over what the old one knew.

use crate::base::id;
use crate::logs::crash_recovery::{self, Underway, Unfinished};
use crate::logs::part::{Lost, Part};
use crate::logs::pieces::name::NamingKey;
use crate::logs::pieces::plan::Plan;
use crate::logs::rows::statements;
use crate::logs::writer_worker;
use crate::platform::d1::D1Store;
use crate::platform::{now, pause, promise, random};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use wasm_bindgen::prelude::*;
use worker::{Context, Env};

const REASON: &str = "the Worker crashed while the request was under way";

/// Whether this instance has crashed, and where in its memory the text is that it leaves: the address and the length.
static GRAVE: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

thread_local! {
    static UNDERWAY: RefCell<Underway> = RefCell::new(Underway::default());
    /// What is still to be written of what the instance before has left: this one may crash, too.
    static INHERITED: RefCell<Vec<Rc<str>>> = const { RefCell::new(Vec::new()) };
    /// For the groups that are made after a crash, when nothing can be asked for randomness.
    static SPARE_ID: OnceCell<String> = const { OnceCell::new() };
}

#[wasm_bindgen(module = "/src/logs/crash.js")]
extern "C" {
    #[wasm_bindgen(js_name = begin)]
    fn begin_watch(memory: JsValue, address: u32) -> Option<String>;
}

/// Marks a request under way that is to leave a row.
pub struct Mark(usize);

/// Called once in each instance: takes over from the one before, should there have been one, and prepares to hand over.
pub fn begin(env: &Env, context: &Context) {
    SPARE_ID.with(|spare| spare.set(id::mint(now(), random())).ok());
    // In place of worker's own handler, which makes the new instance for whatever calls next. That may be a callback of
    // the old one, and its pointers mean nothing in the new one.
    wasm_bindgen::handler::set_on_abort(hand_over);
    let Some(text) = begin_watch(wasm_bindgen::memory(), GRAVE.as_ptr() as u32) else { return };
    let mut lines = text.lines();
    let (count, lost) = lines.next().and_then(crash_recovery::read_lost).unwrap_or_default();
    writer_worker::lose(count);
    let lost = lost.into_iter().map(|id| Lost { id: Some(id), requests: 1, reason: REASON.to_owned() }).collect();
    writer_worker::say("log_lost", lost, writer_worker::lost().0);
    for line in lines {
        let Some(unfinished) = Unfinished::read(line) else { continue };
        let store = D1Store::new(env, unfinished.shard).within(writer_worker::PATIENCE_MS);
        let line: Rc<str> = line.into();
        INHERITED.with_borrow_mut(|inherited| inherited.push(Rc::clone(&line)));
        let finish = async move {
            let lost = unfinished.write(&store, pause).await;
            INHERITED.with_borrow_mut(|inherited| inherited.retain(|other| !Rc::ptr_eq(other, &line)));
            writer_worker::lose(lost.len() as u64);
            writer_worker::say("log_lost", lost, writer_worker::lost().0);
        };
        promise::beside(context, Box::pin(finish));
    }
}

/// Runs in the instance that crashed, behind the last thing it did. It relies on nothing that this may have left half done,
/// and calls nothing outside: that would end it.
fn hand_over() {
    let [has_crashed, address, length] = &GRAVE;
    has_crashed.store(1, Ordering::Relaxed);
    let leave = |text: &str| {
        address.store(text.as_ptr() as u32, Ordering::Relaxed);
        length.store(text.len() as u32, Ordering::Relaxed);
    };
    let lost = UNDERWAY.with(|underway| underway.try_borrow().map(|underway| underway.ids()).unwrap_or_default());
    let made = RefCell::new(0);
    let mint = || {
        *made.borrow_mut() += 1;
        format!("{}/{}", SPARE_ID.with(|spare| spare.get().cloned().unwrap_or_default()), made.borrow())
    };
    let (before, groups) = writer_worker::unfinished(mint);
    let first = crash_recovery::lost(before + lost.len() as u64, &lost);
    let first = first.leak();
    // In place before the rest is done: that takes memory, and there may be none.
    leave(first);
    let mut all = first.to_owned();
    for group in groups {
        let logs = group.records.iter().map(|record| record.id.clone()).collect();
        let statements = {
            // In rows of their own: the database cannot be asked now what it has.
            let part = Part::of(&group, NamingKey::default());
            let plan = Plan::alone(&part);
            statements(&part, plan)
        };
        all.push('\n');
        all.push_str(&Unfinished { logs, shard: group.shard, statements }.to_text());
    }
    let inherited = INHERITED.with(|inherited| inherited.try_borrow().map(|all| all.clone()).unwrap_or_default());
    for line in inherited {
        all.push('\n');
        all.push_str(&line);
    }
    leave(all.leak());
}

/// The requests under way that are to leave a row.
pub fn underway() -> Vec<String> {
    UNDERWAY.with_borrow(Underway::ids)
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
