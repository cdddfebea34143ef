//! Logs that take the way through a queue: what its messages are, how they are sent, and how deliveries are written.
//!
//! A message is a group of its own, so that writing it twice does no harm, and it has the texts that the statements take, so
//! that nobody has to read it but SQLite.

use crate::id;
use crate::log_batch::{self, Body, Entry, Group, Key, Lost, Unwritten};
use crate::retention::WRITTEN_MS;
use crate::store::{Statement, Store, StoreError, row};
use futures_util::future::join;
use serde_json::Value;

/// How long records wait for company where a queue is bound, in milliseconds: messages are paid for by number, and nobody
/// expects their rows at once.
pub const WINDOW_MS: u64 = 100;

/// Queues take 128 KB, of which they need about a hundred bytes themselves.
const MAX_MESSAGE: usize = 127_000;

/// What a queue takes in one call: bytes, with those it adds to each message, and messages.
const MAX_BATCH: usize = 256_000;
const MAX_BATCH_MESSAGES: usize = 100;
const OVERHEAD: usize = 100;

/// Pauses before sending is tried again, in milliseconds. They leave the time to write to the database instead.
const PAUSES_MS: &[u64] = &[100, 250, 500];

/// Bytes of messages that are written in one transaction.
const MAX_TOGETHER: usize = 2_000_000;

/// After this many deliveries the entries of a message become messages of their own, so that one that D1 refuses does not
/// take others along.
const DELIVERIES_TOGETHER: u32 = 3;

/// The longest time until a message is delivered again, in seconds.
const MAX_DELAY: u32 = 300;

/// What a message begins with. Another version of the format has another number.
const MARK: &str = "tollgate-logs/1";

pub trait Outbox {
    /// Puts messages into the queue, all of them or none.
    async fn send(&self, messages: &[String]) -> Result<(), String>;
}

/// A message as it was delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: String,
    /// The database that it is for.
    pub shard: u32,
    pub entries: Vec<Entry>,
    /// How often it has been delivered, this time included.
    pub attempts: u32,
    length: usize,
}

/// Logs that are lost, and such that are only without their bodies.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub logs: Vec<Lost>,
    pub bodies: Vec<Lost>,
}

/// Sends a group through the queue. Logs that no message can hold are written at once, with their bodies, and so are messages
/// that cannot be sent.
pub async fn send(
    outbox: &impl Outbox,
    store: &impl Store,
    group: Group,
    mint: impl Fn() -> String,
    pause: impl AsyncFn(u64),
) -> Losses {
    let (messages, long) = packed(group, &mint);
    let long = async {
        if long.is_empty() {
            return Losses::default();
        }
        match log_batch::write_parts(store, vec![(mint(), long)], &pause).await {
            Ok(()) => Losses::default(),
            Err(unwritten) => without_bodies(outbox, unwritten, &pause).await,
        }
    };
    let others = async {
        let unsent = sent(outbox, messages, &pause).await;
        // By the same ids: a message that arrives although an error came back is known by then.
        let parts: Vec<_> = unsent.iter().filter_map(|message| Message::read(message, 0)).collect();
        let parts = parts.into_iter().map(|message| (message.id, message.entries)).collect();
        log_batch::write_parts(store, parts, &pause).await.err().map(Unwritten::lost).unwrap_or_default()
    };
    let (mut losses, lost) = join(long, others).await;
    losses.logs.extend(lost);
    losses
}

/// The database refused to the end: better the rows alone than nothing.
async fn without_bodies(outbox: &impl Outbox, unwritten: Unwritten, pause: &impl AsyncFn(u64)) -> Losses {
    let Unwritten { entries, reason } = unwritten;
    let mut losses = Losses::default();
    let mut messages = Vec::new();
    for (id, entry) in entries {
        let lost = Lost { id: entry.id.clone(), reason: reason.clone() };
        let bare = Entry { bodies: Vec::new(), ..entry };
        match bare.lines() {
            Some(lines) => {
                messages.push(headed(&id, &lines));
                losses.bodies.push(lost);
            }
            None => losses.logs.push(lost),
        }
    }
    let unsent = sent(outbox, messages, pause).await;
    for message in unsent.iter().filter_map(|message| Message::read(message, 0)) {
        let is_in = |lost: &Lost| message.entries.iter().any(|entry| entry.id == lost.id);
        let (logs, bodies) = losses.bodies.into_iter().partition(is_in);
        losses.bodies = bodies;
        losses.logs.extend::<Vec<Lost>>(logs);
    }
    losses
}

/// Sends messages, trying again a few times, and returns those that could not be sent.
async fn sent(outbox: &impl Outbox, messages: Vec<String>, pause: &impl AsyncFn(u64)) -> Vec<String> {
    let mut waiting = batches(messages);
    let mut pauses = PAUSES_MS.iter();
    loop {
        let mut unsent = Vec::new();
        for batch in waiting {
            if outbox.send(&batch).await.is_err() {
                unsent.push(batch);
            }
        }
        match pauses.next() {
            Some(wait) if !unsent.is_empty() => pause(*wait).await,
            _ => return unsent.into_iter().flatten().collect(),
        }
        waiting = unsent;
    }
}

/// A group as messages, and what is too long for any.
fn packed(group: Group, mint: &impl Fn() -> String) -> (Vec<String>, Vec<Entry>) {
    let (mut messages, mut long): (Vec<String>, _) = (Vec::new(), Vec::new());
    let mut next = Some(group.id);
    for record in group.records {
        let entry = Entry::of(&record);
        drop(record);
        let Some(lines) = entry.lines() else {
            long.push(entry);
            continue;
        };
        match messages.last_mut() {
            Some(message) if message.len() + lines.len() <= MAX_MESSAGE => message.push_str(&lines),
            _ => {
                let id = next.take().unwrap_or_else(mint);
                messages.push(headed(&id, &lines));
            }
        }
    }
    (messages, long)
}

/// Messages as they are sent together.
fn batches(messages: Vec<String>) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut length = 0;
    for message in messages {
        let size = message.len() + OVERHEAD;
        length += size;
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_BATCH_MESSAGES && length <= MAX_BATCH => batch.push(message),
            _ => {
                length = size;
                batches.push(vec![message]);
            }
        }
    }
    batches
}

fn headed(id: &str, lines: &str) -> String {
    format!("{MARK} {id} 0\n{lines}")
}

/// Writes what was delivered, all for one database. Says of each message whether it is done with, and what went wrong where
/// one is not.
pub async fn receive(
    store: &impl Store,
    outbox: &impl Outbox,
    messages: &[Message],
    now_ms: u64,
    is_over: impl Fn() -> bool,
) -> (Vec<bool>, Option<String>) {
    let mut cause = None;
    let mut done = match written_long_ago(store, messages, now_ms).await {
        Ok(done) => done,
        Err(error) => return (vec![false; messages.len()], Some(error.0)),
    };
    let mut next = 0;
    while next < messages.len() {
        let mut length = 0;
        let together: Vec<usize> = (next..messages.len())
            .take_while(|at| {
                length += messages.get(*at).map_or(0, |message| message.length);
                *at == next || length <= MAX_TOGETHER
            })
            .collect();
        next += together.len();
        let open: Vec<usize> = together.into_iter().filter(|at| done.get(*at) == Some(&false)).collect();
        let mut tries = vec![open.clone()];
        while let Some(these) = tries.pop() {
            let chosen = these.iter().filter_map(|at| messages.get(*at));
            let statements = chosen.flat_map(|message| log_batch::statements(&Key::of(&message.id), &message.entries));
            let statements: Vec<Statement> = statements.collect();
            if statements.is_empty() || is_over() {
                continue;
            }
            match store.batch(statements).await {
                Ok(_) => these.iter().filter_map(|at| done.get_mut(*at).map(|done| *done = true)).collect(),
                Err(error) => {
                    cause = Some(error.0);
                    if these.len() > 1 {
                        // One that is refused must not hold the others up.
                        tries = these.iter().map(|at| vec![*at]).collect();
                    }
                }
            }
        }
    }
    for (message, done) in messages.iter().zip(&mut done) {
        let refused = !*done && message.attempts > DELIVERIES_TOGETHER && message.entries.len() > 1;
        if refused && !is_over() && writes(store).await {
            *done = divided(outbox, message).await;
        }
    }
    (done, cause)
}

/// Which of the messages are so old that their groups are forgotten, and were written all the same: their rows are there.
async fn written_long_ago(store: &impl Store, messages: &[Message], now_ms: u64) -> Result<Vec<bool>, StoreError> {
    row! {
        struct Id {
            id: String,
        }
    }
    // An hour before they are, because retention may forget them at any moment from then on.
    let is_old = |message: &Message| !id::is_younger(message.group(), WRITTEN_MS - 60 * 60 * 1_000, now_ms);
    let first = |message: &Message| message.entries.first().map(|entry| entry.id.clone());
    let old: Vec<String> = messages.iter().filter(|message| is_old(message)).filter_map(first).collect();
    if old.is_empty() {
        return Ok(vec![false; messages.len()]);
    }
    let there = "SELECT id FROM logs WHERE id IN (SELECT value FROM json_each(?1))";
    let there: Vec<Id> = store.rows(Statement::new(there, [Value::from(old).to_string().into()])).await?;
    let is_there = |message: &Message| first(message).is_some_and(|id| there.iter().any(|row| row.id == id));
    Ok(messages.iter().map(|message| is_old(message) && is_there(message)).collect())
}

/// Whether the database takes anything at all.
async fn writes(store: &impl Store) -> bool {
    store.batch(vec![Statement::new("UPDATE written_groups SET id = id WHERE id = ''", [])]).await.is_ok()
}

/// Sends the entries of a message anew, each as a message of its own.
async fn divided(outbox: &impl Outbox, message: &Message) -> bool {
    let parts = log_batch::apart(&message.id, message.entries.clone()).into_iter();
    let each = parts.filter_map(|(id, entries)| Some(headed(&id, &entries.first()?.lines()?)));
    for batch in batches(each.collect()) {
        if outbox.send(&batch).await.is_err() {
            return false;
        }
    }
    true
}

/// How long a message waits before its next delivery, in seconds.
pub fn delay(attempts: u32) -> u32 {
    1_u32.checked_shl(attempts.saturating_sub(1)).map_or(MAX_DELAY, |delay| delay.min(MAX_DELAY))
}

// === impl Message ===

impl Message {
    /// Reads a message; `None` if it is not one of ours, or one of another version.
    pub fn read(text: &str, attempts: u32) -> Option<Self> {
        let mut lines = text.split_terminator('\n');
        let mut head = lines.next()?.split(' ');
        let (Some(MARK), Some(id), Some(shard), None) = (head.next(), head.next(), head.next(), head.next()) else {
            return None;
        };
        let mut entries: Vec<Entry> = Vec::new();
        for line in lines {
            let (kind, value) = line.split_once(' ')?;
            if kind == "log" {
                let mut parts = value.splitn(4, ' ');
                entries.push(Entry {
                    id: parts.next()?.to_owned(),
                    gateway: parts.next()?.parse().ok()?,
                    created_at: parts.next()?.parse().ok()?,
                    log: parts.next()?.to_owned(),
                    metadata: String::new(),
                    bodies: Vec::new(),
                });
                continue;
            }
            let entry = entries.last_mut()?;
            match kind {
                "metadata" => entry.metadata = value.to_owned(),
                "body" => entry.bodies.push(Body::Short(value.to_owned())),
                // What a newer version has to say must not be left out: that version will get it.
                _ => return None,
            }
        }
        Some(Self { id: id.to_owned(), shard: shard.parse().ok()?, entries, attempts, length: text.len() })
    }

    fn group(&self) -> &str {
        self.id.split_once('/').map_or(&self.id, |(group, _)| group)
    }
}

// === impl Entry ===

impl Entry {
    /// The entry as lines of a message; `None` if no message has room for it. JSON has no line breaks of its own.
    fn lines(&self) -> Option<String> {
        let Self { id, gateway, created_at, log, metadata, bodies } = self;
        let mut lines = format!("log {id} {gateway} {created_at} {log}\n");
        if !metadata.is_empty() {
            lines.push_str(&format!("metadata {metadata}\n"));
        }
        for body in bodies {
            match body {
                Body::Short(row) => lines.push_str(&format!("body {row}\n")),
                Body::Long(_) => return None,
            }
        }
        (lines.len() + MAX_HEAD <= MAX_MESSAGE).then_some(lines)
    }
}

/// The first line of a message is shorter than this.
const MAX_HEAD: usize = 200;

#[cfg(test)]
mod tests;
