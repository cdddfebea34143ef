//! Writes log records behind the answers, a group at a time; see [`crate::logs::group_commit`] and [`crate::logs::queue`].

use crate::base::id;
use crate::base::join_all::{Work, join_all};
use crate::base::json::json;
use crate::logs::bodies;
use crate::logs::group_commit::{self, Waiting};
use crate::logs::part::{Group, Lost};
use crate::logs::pieces::name::NamingKey;
use crate::logs::queue::{self, Outbox};
use crate::logs::queue_worker::Queue;
use crate::logs::record::LogRecord;
use crate::platform::bodies::{self as bucket, Bodies};
use crate::platform::{Runtime, console, counted, now, pause, random};
use futures_util::FutureExt;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread::LocalKey;

/// How long one attempt to write may take, in milliseconds. A database that hangs must not cost all the time there is;
/// writing again does no harm where the first attempt takes effect after all.
pub const PATIENCE_MS: u64 = 5_000;

/// Pauses before an object is put into the bucket again, in milliseconds, and how long to go on. The rest of the time that
/// the platform leaves is for the row.
const PUT_PAUSES_MS: &[u64] = &[100, 250, 500, 1_000, 2_000, 4_000];
const PUT_BUDGET_MS: u64 = 12_000;

/// How long a request waits for what is to be written before it, and how often it looks, in milliseconds.
const FLUSH_MS: u64 = 500;
const LOOK_MS: u64 = 5;

/// How long the last logs may take before the process ends, in milliseconds.
const DRAIN_MS: u64 = 20_000;
/// How long after a loss, without another, all is well again although nothing has been written since, in milliseconds.
const DEGRADED_MS: u64 = 60_000;

/// What follows when rows were written, such as feedback that waited for them.
pub type Written = fn(Rc<Runtime>) -> Work<'static>;

/// What has been begun, and when. The platform may end the work, and then it stays here.
type Underway<T> = RefCell<Vec<(u64, Rc<T>)>>;

thread_local! {
    /// What pieces of bodies are named with. Nothing is shared before it is known.
    static NAMING: Cell<NamingKey> = Cell::new(NamingKey::default());
    static WAITING: RefCell<Waiting> = RefCell::new(Waiting::default());
    /// What is on its way to the database.
    static WRITING: Underway<Group> = const { RefCell::new(Vec::new()) };
    /// The logs whose bodies are on their way to the bucket, and which come to the database behind them.
    static PUTTING: Underway<String> = const { RefCell::new(Vec::new()) };
    /// The databases that logs were lost to, and when; what was lost with an instance that crashed has no database.
    static LOSING: RefCell<Vec<(Option<u32>, u64)>> = const { RefCell::new(Vec::new()) };
}

/// Says what pieces of bodies are named with; once in each instance.
pub fn begin_naming(key: NamingKey) {
    NAMING.set(key);
}

/// What pieces of bodies are named with.
pub fn naming() -> NamingKey {
    NAMING.get()
}

/// Hands in a record, of which nothing but its figures is kept where `is_logged` is false. The first one after a quiet
/// moment also writes those that follow it within the window, or sends them where a queue is bound, so this has to run as
/// background work of a request.
pub async fn submit(
    mut record: LogRecord,
    is_logged: bool,
    mark: Option<Rc<impl Sized>>,
    runtime: &Rc<Runtime>,
    then: Written,
) {
    if is_logged && bodies::is_long(&record) {
        let bodies = Bodies::new(&runtime.env);
        if bodies.is_bound() {
            put_apart(&mut record, &bodies).boxed_local().await;
        }
    }
    let window = match Queue::new(&runtime.env).is_bound() {
        true => queue::WINDOW_MS,
        false if is_logged => group_commit::WINDOW_MS,
        false => group_commit::COUNT_WINDOW_MS,
    };
    let leads = WAITING.with_borrow_mut(|waiting| match is_logged {
        true => waiting.push(record, now(), window),
        false => waiting.count(&record, now(), window),
    });
    drop(mark);
    if !leads {
        return;
    }
    pause(window).await;
    if WAITING.with_borrow(|waiting| waiting.is_due(now())) {
        write(begin(), runtime, then).await;
    }
}

/// Takes what is waiting.
fn begin() -> Vec<Rc<Group>> {
    let groups = WAITING.with_borrow_mut(|waiting| waiting.take(mint));
    let groups: Vec<Rc<Group>> = groups.into_iter().map(Rc::new).collect();
    WRITING.with_borrow_mut(|writing| writing.extend(groups.iter().map(|group| (now(), Rc::clone(group)))));
    groups
}

async fn write(groups: Vec<Rc<Group>>, runtime: &Rc<Runtime>, then: Written) {
    if groups.is_empty() {
        return;
    }
    let queue = Queue::new(&runtime.env);
    // Each group retries on its own, so that none waits until the platform ends the background work.
    join_all(groups.into_iter().map(|group| Box::pin(deliver(group, &queue, runtime)) as Work<'_>).collect()).await;
    then(Rc::clone(runtime)).await;
}

/// Puts long bodies into the bucket. This comes before the row, which then can say what is there, and each request does it
/// for itself: an invocation may only call so often.
async fn put_apart(record: &mut LogRecord, bodies: &Bodies) {
    let weight = record.weight();
    // Where too much waits, the bodies are going to be left out.
    if !WAITING.with_borrow_mut(|waiting| waiting.hold(weight, now())) {
        return;
    }
    let object = bucket::joined(bodies::detach(record));
    let log = Rc::new(record.id.clone());
    PUTTING.with_borrow_mut(|putting| putting.push((now(), Rc::clone(&log))));
    let until = now() + PUT_BUDGET_MS;
    let mut pauses = PUT_PAUSES_MS.iter();
    let failed = loop {
        match bodies.put(&record.id, &object).await {
            Ok(()) => break None,
            Err(error) => match pauses.next() {
                Some(wait) if now() < until => pause(*wait).await,
                _ => break Some(error.0),
            },
        }
    };
    PUTTING.with_borrow_mut(|putting| putting.retain(|(_, other)| !Rc::ptr_eq(other, &log)));
    record.stored.cut = failed.is_some();
    WAITING.with_borrow_mut(|waiting| waiting.settled(weight, 0));
    if let Some(reason) = failed {
        lose_bodies(vec![Lost { id: Some(record.id.clone()), requests: 1, reason }]);
    }
}

async fn deliver(group: Rc<Group>, queue: &Queue, runtime: &Runtime) {
    let store = runtime.database_of(group.shard).within(PATIENCE_MS);
    let weight = group.records.iter().map(LogRecord::weight).sum();
    let lost = queue::send(queue, &store, &group, naming(), mint, &pause).await;
    WRITING.with_borrow_mut(|writing| writing.retain(|(_, other)| !Rc::ptr_eq(other, &group)));
    let number = lost.logs.iter().map(|lost| lost.requests).sum();
    if number > 0 {
        counted::add(counted::ALL, "lost", String::new(), number);
    }
    WAITING.with_borrow_mut(|waiting| waiting.settled(weight, number));
    losing(Some(group.shard), !lost.logs.is_empty());
    say("log_lost", lost.logs, self::lost().0);
    lose_bodies(lost.bodies);
}

fn lose_bodies(lost: Vec<Lost>) {
    WAITING.with_borrow_mut(|waiting| waiting.cut += lost.len() as u64);
    say("body_lost", lost, self::lost().1);
}

/// Tells the operator by name what is lost.
pub fn say(event: &str, lost: Vec<Lost>, sum: u64) {
    for Lost { id, requests, reason } in lost {
        let line =
            json!({ "level": "error", "event": event, "id": id, "requests": requests, "reason": reason, "lost": sum });
        console::error(&line);
    }
}

/// Takes note of whether logs were lost to a database, or were written there.
fn losing(shard: Option<u32>, is_lost: bool) {
    // Read also by what a crash leaves behind, where a panic would be one too many.
    LOSING.with(|losing| {
        if let Ok(mut losing) = losing.try_borrow_mut() {
            losing.retain(|(known, _)| *known != shard);
            if is_lost {
                losing.push((shard, now()));
            }
        }
    });
}

/// Whether logs are being lost: some were a moment ago, and none has been written to their database since.
pub fn is_losing() -> bool {
    let recent = |at: u64| now().saturating_sub(at) < DEGRADED_MS;
    LOSING.with_borrow(|losing| losing.iter().any(|(_, at)| recent(*at)))
}

/// Counts what was lost elsewhere.
pub fn lose(number: u64) {
    if number > 0 {
        losing(None, true);
    }
    WAITING.with(|waiting| {
        if let Ok(mut waiting) = waiting.try_borrow_mut() {
            waiting.lost += number;
        }
    });
}

/// How many records are lost and what is still to be written, for the instance that comes after a crash.
pub fn unfinished(mint: impl Fn() -> String) -> (u64, Vec<Rc<Group>>) {
    let writing = WRITING.with(|writing| writing.try_borrow().map(|writing| writing.clone()).unwrap_or_default());
    let mut groups: Vec<Rc<Group>> = writing.into_iter().map(|(_, group)| group).collect();
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

/// Writes what this isolate has waiting, or sends it to the queue, before a caller who asks for logs is answered. Waits for that
/// half a second at most.
pub async fn flush(runtime: &Rc<Runtime>, then: Written) {
    let until = now() + FLUSH_MS;
    write_now(runtime, then);
    if !recent(&PUTTING).is_empty() {
        ended(&PUTTING, until).await;
        write_now(runtime, then);
    }
    ended(&WRITING, until).await;
}

/// Writes everything there is, for the server that is about to end the process: waits for as long as writing may take.
pub async fn drain(runtime: &Rc<Runtime>, then: Written) {
    let until = now() + DRAIN_MS;
    loop {
        write_now(runtime, then);
        let is_busy = |all: &'static LocalKey<Underway<Group>>| all.with_borrow(|all| !all.is_empty());
        if !is_busy(&WRITING) && PUTTING.with_borrow(Vec::is_empty) {
            return;
        }
        if now() >= until {
            return;
        }
        pause(LOOK_MS).await;
    }
}

fn write_now(runtime: &Rc<Runtime>, then: Written) {
    let begun = begin();
    if !begun.is_empty() {
        let later = Rc::clone(runtime);
        runtime.beside(async move { write(begun, &later, then).await });
    }
}

/// Waits until what is under way has ended. What begins meanwhile is not waited for, as under load there is no end to it, nor
/// is what takes longer than any caller waits.
async fn ended<T>(all: &'static LocalKey<Underway<T>>, until: u64) {
    let some = recent(all);
    let goes_on = |one: &Rc<T>| all.with_borrow(|all| all.iter().any(|(_, other)| Rc::ptr_eq(one, other)));
    while some.iter().any(goes_on) && now() < until {
        pause(LOOK_MS).await;
    }
}

fn recent<T>(all: &'static LocalKey<Underway<T>>) -> Vec<Rc<T>> {
    let since = now().saturating_sub(FLUSH_MS);
    all.with_borrow(|all| all.iter().filter(|(begun, _)| *begun >= since).map(|(_, one)| Rc::clone(one)).collect())
}

/// How many records this isolate has lost for good, and how many it has left without the whole of their bodies.
pub fn lost() -> (u64, u64) {
    WAITING.with(|waiting| waiting.try_borrow().map_or((0, 0), |waiting| (waiting.lost, waiting.cut)))
}
