//! Work that no answer waits for: evaluations, kept feedback, retention, and what deleted gateways leave behind. It is
//! done behind requests and once a minute, and can end at any moment without harm.

use crate::base::id;
use crate::base::join_all::{Work, join_all};
use crate::base::json::json;
use crate::config::isolate_worker::config;
use crate::credentials::vault_worker;
use crate::db::databases::Databases;
use crate::db::put_aside;
use crate::db::whose::Whose;
use crate::entry::{batches, judge, watching};
use crate::evaluate::run;
use crate::feedback::pending;
use crate::gateways::shards_worker;
use crate::logpush::send_worker;
use crate::logs::bodies;
use crate::logs::pieces::{moves, release};
use crate::logs::removal;
use crate::logs::reprice;
use crate::logs::responses;
use crate::logs::retention;
use crate::logs::rollup::merge;
use crate::logs::route_figures;
use crate::logs::writer_worker;
use crate::platform::bodies::Bodies;
use crate::platform::d1::D1Store;
use crate::platform::{Runtime, console, counted, now, random};
use crate::tracing::send_worker as tracing;
use std::cell::Cell;
use std::rc::Rc;

/// The platform ends background work 30 s after the answer.
const BUDGET_MS: u64 = 25_000;

/// How long an evaluation is worked on before the next one gets its turn, in milliseconds.
const TURN_MS: u64 = 5_000;

/// How many logs of a deleted gateway go in one transaction; D1 ends a statement after 30 s.
const DELETED_AT_ONCE: u32 = 2_000;

/// Slices of old bodies that one invocation moves: it may send D1 a thousand statements.
const MOVES_AT_ONCE: u32 = 200;

/// Slices of pieces that are removed behind one request.
const RELEASED_BEHIND: u32 = 20;

thread_local! {
    /// How many rows are put aside because they could not be read, as far as this isolate knows.
    static ASIDE: Cell<u64> = const { Cell::new(0) };
}

/// What there is to do in each database.
#[derive(Clone, Copy)]
pub enum Task {
    AttachFeedback,
    Sweep,
    Reprices,
    Rollup,
    Retention,
    Evaluations,
}

/// All of it, once.
pub async fn everything(runtime: &Rc<Runtime>) {
    vault_worker::reseal(runtime, &config(runtime).encryption_keys).await;
    shards_worker::tell(runtime).await;
    let all = [Task::AttachFeedback, Task::Sweep, Task::Reprices, Task::Rollup, Task::Retention, Task::Evaluations];
    everywhere(runtime, &all, &Whose::All).await;
    expired(runtime).await;
    console::failed("routes_not_learned", route_figures::renew(&runtime.databases().unhurried(), now()).await);
    pieces(runtime).await;
    objects(runtime).await;
    unread(runtime).await;
    tracing::deliver(runtime).await;
    batches::due(runtime).await;
    watching::everything(runtime).await;
    // Last, because it may wait for the hosts of others.
    Box::pin(send_worker::everything(runtime)).await;
    counted::write(runtime).await;
}

/// Tells the operator of rows that were put aside because they could not be read.
async fn unread(runtime: &Runtime) {
    let mut sum = 0;
    for (_, store) in runtime.databases().all() {
        match put_aside::report(store, now()).await {
            Ok((rows, n)) => {
                sum += n;
                for put_aside::Unreported { source, id, reason } in rows {
                    let line = json!({ "level": "error", "event": "row_put_aside", "source": source, "id": id, "reason": reason });
                    console::error(&line);
                }
            }
            Err(error) => console::failed("put_aside_unknown", Err(error)),
        }
    }
    ASIDE.set(sum);
}

/// How many rows are put aside, as far as this isolate knows.
pub fn aside() -> u64 {
    ASIDE.get()
}

/// Does some of it in all databases at once, so that one that hangs keeps nothing from the others. Feedback and rollups are few
/// statements, of all gateways; of all else a request does what is its gateway's.
pub async fn everywhere(runtime: &Rc<Runtime>, tasks: &[Task], whose: &Whose) {
    let databases = runtime.databases().unhurried();
    let slices = Cell::new(0);
    let mut each: Vec<Work<'_>> = Vec::new();
    for (shard, store) in databases.all() {
        let (databases, slices) = (&databases, &slices);
        each.push(Box::pin(async move {
            for task in tasks {
                match task {
                    Task::AttachFeedback => console::failed("settle_failed", pending::attach(store, None, now()).await),
                    Task::Sweep => {
                        console::failed("sweep_failed", removal::sweep(store, whose, now(), DELETED_AT_ONCE).await)
                    }
                    Task::Reprices => {
                        console::failed(
                            "reprice_failed",
                            reprice::run_all(databases, shard, whose, now, now() + BUDGET_MS).await,
                        );
                    }
                    Task::Rollup => rollup(store).await,
                    Task::Retention => retention(store, whose, slices).await,
                    Task::Evaluations => evaluations(store, whose, runtime).await,
                }
            }
        }));
    }
    join_all(each).await;
}

/// Goes on with the evaluations of a database that no isolate works on, each for a while in turn.
async fn evaluations(store: &D1Store, whose: &Whose, runtime: &Rc<Runtime>) {
    let until = now() + BUDGET_MS;
    let world = judge::Gateway::new(runtime);
    let runner = id::mint(now(), random());
    // One that fails is left to the next time: those of others go on.
    let mut failed: Vec<String> = Vec::new();
    let worked = async {
        // One that has just been left, and another that has no time for its next slice, are not begun again at once.
        let mut left: Vec<String> = Vec::new();
        while now() < until {
            let waiting = run::waiting(store, whose, now()).await?;
            let is_put_off = |id: &String| left.contains(id) || failed.contains(id);
            let Some(next) = waiting.into_iter().find(|id| !is_put_off(id)) else { break };
            let begun = now();
            match run::run(store, &world, &next, &runner, begun + TURN_MS, until).await {
                Ok(true) => {}
                Ok(false) if now() < begun + TURN_MS => left.push(next),
                Ok(false) => {}
                Err(error) => {
                    console::failed("evaluation_failed", Err(error));
                    failed.push(next);
                }
            }
        }
        Ok(())
    };
    console::failed("evaluation_failed", worked.await);
}

/// Removes the responses that have been kept for long enough.
async fn expired(runtime: &Runtime) {
    for (_, store) in runtime.databases().unhurried().all() {
        for _ in 0..responses::SLICES {
            let expired = responses::expire(store, now()).await;
            let has_more = matches!(expired, Ok(true));
            console::failed("responses_failed", expired.map(drop));
            if !has_more {
                break;
            }
        }
    }
}

/// Removes the pieces of bodies that nothing refers to, and moves bodies of older versions to where long ones are now.
async fn pieces(runtime: &Runtime) {
    let until = now() + BUDGET_MS;
    let moved = Cell::new(0);
    let is_over = || moved.replace(moved.get() + 1) >= MOVES_AT_ONCE || now() > until;
    for (_, store) in runtime.databases().unhurried().all() {
        console::failed("pieces_failed", release::run(store, release::SLICE, || now() > until).await);
        console::failed("moves_failed", moves::run(store, &writer_worker::naming(), moves::SLICE, is_over).await);
    }
}

/// Removes the bodies in the bucket that no log has any more.
pub async fn objects(runtime: &Rc<Runtime>) {
    let bucket = Bodies::new(&runtime.env);
    if !bucket.is_bound() {
        return;
    }
    let until = now() + BUDGET_MS;
    let is_over = || now() > until;
    let databases = runtime.databases();
    for (_, store) in databases.all() {
        console::failed("objects_failed", bodies::clear(store, &bucket, is_over).await);
    }
    let missing = async |ids| bodies::missing(&databases, ids).await;
    console::failed("objects_failed", bodies::search(&databases.first, &bucket, missing, now(), is_over).await);
}

/// Removes some of them, behind a request that may have made some. Notes of objects do not tell whose they are, so this is
/// bounded instead: one slice of each.
pub async fn some_objects(runtime: &Runtime) {
    for (_, store) in runtime.databases().all() {
        let slices = Cell::new(0);
        let is_over = || slices.replace(slices.get() + 1) >= RELEASED_BEHIND;
        console::failed("pieces_failed", release::run(store, release::SLICE, is_over).await);
    }
    let bucket = Bodies::new(&runtime.env);
    if !bucket.is_bound() {
        return;
    }
    for (_, store) in runtime.databases().all() {
        let slices = Cell::new(0);
        let is_over = || slices.replace(slices.get() + 1) > 0;
        console::failed("objects_failed", bodies::clear(store, &bucket, is_over).await);
    }
    let databases = runtime.databases();
    let missing = async |ids| bodies::missing(&databases, ids).await;
    console::failed("objects_failed", bodies::search(&databases.first, &bucket, missing, now(), || true).await);
}

/// Adds up what charts show.
async fn rollup(store: &D1Store) {
    let begun = now();
    console::failed("rollup_failed", merge::run(store, begun, &|| now() > begun + BUDGET_MS).await);
}

/// Removes what gateways are not to keep, and says so. `slices` counts for all databases together, because the platform
/// limits what one invocation may ask of them.
async fn retention(store: &D1Store, whose: &Whose, slices: &Cell<u32>) {
    let begun = now();
    let is_over = || {
        slices.set(slices.get() + 1);
        now() > begun + BUDGET_MS || slices.get() > retention::MAX_SLICES
    };
    let report = retention::run(store, whose, begun, is_over).await;
    if let Ok(report) = &report
        && report.logs + report.bodies > 0
    {
        let (logs, bodies, unfinished) = (report.logs, report.bodies, report.unfinished);
        let line = json!({ "level": "info", "event": "retention", "logs_removed": logs, "bodies_removed": bodies, "unfinished": unfinished });
        console::info(&line);
    }
    console::failed("retention_failed", report.map(drop));
}
