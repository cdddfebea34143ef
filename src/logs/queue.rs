//! Logs that take the way through a queue: what its messages are, how they are sent, and how deliveries are written.
//!
//! A message is a group of its own, so that writing it twice does no harm, and it has the texts that the statements take, so
//! that only SQLite has to read it.

use crate::base::id;
use crate::db::put_aside::{self, QUEUE};
use crate::db::store::{Statement, Store, StoreError};
use crate::logs::group_commit::{self, Unwritten};
use crate::logs::part::{Bodies, Entry, Group, Lost, Part};
use crate::logs::pieces::name::NamingKey;
use crate::logs::pieces::plan::{self, Plan};
use crate::logs::retention::WRITTEN_MS;
use crate::logs::rollup::Tally;
use crate::logs::row;
use crate::logs::rows;

mod body;

/// How long records wait for company where a queue is bound, in milliseconds: messages are paid for by number, and callers do not
/// expect their rows at once.
pub const WINDOW_MS: u64 = 100;

/// Queues take 128 KB, of which they need about a hundred bytes themselves.
const MAX_MESSAGE: usize = 127_000;

/// How much of a message entries fill, one alone or several. The rest is for what they add up to.
const MAX_ENTRY: usize = 122_000;
const MAX_ENTRIES: usize = 110_000;

/// About how long the claim of a log is.
const CLAIM: usize = 1_500;

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

/// After this many deliveries, a quarter of an hour, a message that cannot be understood is put aside.
const STRANGE_DELIVERIES: u32 = 10;

/// The longest time until a message is delivered again, in seconds.
const MAX_DELAY: u32 = 300;

/// How long a group is certainly known: retention may forget it at any moment from then on.
const KNOWN_MS: u64 = WRITTEN_MS - 60 * 60 * 1_000;

/// What a message begins with. Another version of the format has another number.
const MARK: &str = "tollgate-logs/1";

pub trait Outbox {
    /// Puts messages into the queue, all of them or none.
    async fn send(&self, messages: &[String]) -> Result<(), String>;

    /// Whether there is a queue at all.
    fn is_bound(&self) -> bool;
}

/// A message as it was delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub part: Part,
    /// The database that it is for.
    pub shard: u32,
    /// How often it has been delivered, this time included.
    pub attempts: u32,
    /// Whether it is written, and need not be delivered again.
    pub done: bool,
    length: usize,
}

/// Logs that are lost, and such that are only without their bodies.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub logs: Vec<Lost>,
    pub bodies: Vec<Lost>,
}

/// Sends a group through the queue. Logs that no message can hold are written at once, with their bodies, and so is what
/// cannot be sent; without a queue, everything.
pub async fn send(
    outbox: &impl Outbox,
    store: &impl Store,
    group: &Group,
    naming: NamingKey,
    mint: impl Fn() -> String,
    pause: &impl AsyncFn(u64),
) -> Losses {
    let (messages, mut parts) = packed(group, naming, outbox.is_bound(), &mint);
    let unsent = sent(outbox, messages, pause).await;
    // By the same ids: a message that arrives although an error came back is known by then.
    parts.extend(unsent.iter().filter_map(|message| Message::read(message, naming, 0)).map(|message| message.part));
    let mut losses = Losses::default();
    let Err(Unwritten { parts, reason }) = group_commit::write_parts(store, parts, pause).await else { return losses };
    for mut part in parts {
        // The database refused to the end: better the rows alone than nothing.
        part.entries.iter_mut().for_each(|entry| entry.bodies = Bodies::default());
        let message = text(&part, group.shard).filter(|_| unsent.is_empty() && outbox.is_bound());
        let is_sent = match message {
            Some(message) => outbox.send(&[message]).await.is_ok(),
            None => false,
        };
        let lost = part.lost(&reason).into_iter();
        match is_sent {
            // The counts went along.
            true => losses.bodies.extend(lost.filter(|lost| lost.id.is_some())),
            false => losses.logs.extend(lost),
        }
    }
    losses
}

/// Sends messages, trying again a few times, and returns those that could not be sent.
async fn sent(outbox: &impl Outbox, mut messages: Vec<String>, pause: &impl AsyncFn(u64)) -> Vec<String> {
    let mut pauses = PAUSES_MS.iter();
    while !messages.is_empty() {
        let (mut together, mut length) = (0, 0);
        for message in messages.iter().take(MAX_BATCH_MESSAGES) {
            length += message.len() + OVERHEAD;
            if length > MAX_BATCH {
                break;
            }
            together += 1;
        }
        if outbox.send(messages.get(..together).unwrap_or_default()).await.is_ok() {
            messages.drain(..together);
            continue;
        }
        let Some(wait) = pauses.next() else { break };
        pause(*wait).await;
    }
    messages
}

/// A part that is being made.
#[derive(Default)]
struct Draft {
    part: Part,
    tally: Tally,
    length: usize,
}

/// A group as messages, and as what is to be written at once.
fn packed(group: &Group, naming: NamingKey, sends: bool, mint: &impl Fn() -> String) -> (Vec<String>, Vec<Part>) {
    let (mut drafts, mut long): (Vec<Draft>, Draft) = (Vec::new(), Draft::default());
    long.part.unlogged = group.unlogged.attempts();
    long.tally = group.unlogged.clone();
    if sends {
        drafts.push(std::mem::take(&mut long));
    }
    for record in &group.records {
        let entry = Entry::of(record);
        // Without a queue it is of no interest, and takes a look at every byte.
        let length = if sends { entry.length() } else { 0 };
        let draft = match drafts.last_mut() {
            _ if !sends || length > MAX_ENTRY => &mut long,
            Some(draft) if draft.length + length <= MAX_ENTRIES || draft.part.entries.is_empty() => draft,
            _ => {
                drafts.push(Draft::default());
                drafts.last_mut().unwrap_or(&mut long)
            }
        };
        draft.tally.count(record);
        draft.length += length + record.claim.as_ref().map_or(0, |_| CLAIM);
        draft.part.entries.push(entry);
    }
    let (mut messages, mut parts) = (Vec::new(), Vec::new());
    let mut id = Some(group.id.clone());
    drafts.push(long);
    for Draft { mut part, tally, length } in drafts {
        if tally.is_empty() {
            continue;
        }
        part.id = id.take().unwrap_or_else(mint);
        part.naming = naming;
        part.tally = tally.json();
        part.claims = tally.claims().to_vec();
        let is_short = sends && (length <= MAX_ENTRIES || part.entries.len() == 1);
        match is_short.then(|| text(&part, group.shard)).flatten() {
            Some(message) => messages.push(message),
            None => parts.push(part),
        }
    }
    (messages, parts)
}

/// A part as a message for a database; `None` if no message has room for it. JSON has no line breaks of its own.
fn text(part: &Part, shard: u32) -> Option<String> {
    let Part { id, naming: _, entries, tally, unlogged, claims } = part;
    let mut text = format!("{MARK} {id} {shard}\n");
    if !tally.is_empty() {
        text.push_str(&format!("tally {unlogged} {tally}\n"));
    }
    for claim in claims {
        text.push_str(&format!("claim {claim}\n"));
    }
    for entry in entries {
        let Entry { id, gateway, created_at, log, metadata, bodies, .. } = entry;
        text.push_str(&format!("log {id} {gateway} {created_at} {log}\n"));
        for (name, _) in entry.flags().into_iter().filter(|(_, holds)| *holds) {
            text.push_str(&format!("{name} -\n"));
        }
        if !metadata.is_empty() {
            text.push_str(&format!("metadata {metadata}\n"));
        }
        if bodies.length() > MAX_MESSAGE {
            return None;
        }
        if let Some(row) = bodies.row(id) {
            text.push_str(&format!("body {row}\n"));
        }
    }
    (text.len() <= MAX_MESSAGE).then_some(text)
}

/// Writes what was delivered for one database and marks what is done with. Returns what went wrong last.
pub async fn receive(
    store: &impl Store,
    shard: u32,
    outbox: &impl Outbox,
    messages: &mut [Message],
    now_ms: u64,
    is_over: impl Fn() -> bool,
) -> Option<String> {
    if let Err(error) = find_written_ones(store, shard, messages, now_ms).await {
        return Some(error.0);
    }
    let mut cause = None;
    // Many in one transaction. Then each for itself, because one that is refused must not hold the others up.
    for alone in [false, true] {
        let mut end = 0;
        while end < messages.len() && !is_over() {
            let (begin, mut length) = (end, 0);
            while let Some(message) = messages.get(end) {
                length += message.length;
                if end > begin && (alone || length > MAX_TOGETHER) {
                    break;
                }
                end += 1;
            }
            let together = messages.get(begin..end).unwrap_or_default();
            let parts: Vec<&Part> = together.iter().filter(|one| one.waits_for(shard)).map(|one| &one.part).collect();
            if parts.is_empty() {
                continue;
            }
            let statements = match plan::look_up(store, &parts).await {
                Ok((drafts, mut known)) => {
                    let each = parts.iter().zip(&drafts);
                    each.flat_map(|(part, drafts)| rows::statements(part, Plan::of(part, drafts, &mut known))).collect()
                }
                Err(error) => {
                    cause = Some(error.0);
                    continue;
                }
            };
            match store.batch(statements).await {
                Ok(_) => {
                    for message in messages.get_mut(begin..end).unwrap_or_default() {
                        message.done |= message.shard == shard;
                    }
                }
                Err(error) => {
                    if let Some([message]) = messages.get_mut(begin..end)
                        && error.is_of_the_rows()
                        && !message.part.is_several()
                    {
                        message.done = put_aside(store, message, &error.0, now_ms).await;
                    }
                    cause = Some(error.0);
                }
            }
        }
    }
    for message in messages {
        let divides = message.attempts > DELIVERIES_TOGETHER && message.part.is_several();
        if divides && message.waits_for(shard) && !is_over() && writes(store).await {
            message.done = divided(outbox, message).await;
        }
    }
    cause
}

/// Finds messages that were written so long ago that their groups may be forgotten: their rows are there.
async fn find_written_ones(
    store: &impl Store,
    shard: u32,
    messages: &mut [Message],
    now_ms: u64,
) -> Result<(), StoreError> {
    for message in messages {
        let group = message.part.id.split('/').next().unwrap_or_default();
        if let Some(first) = message.part.entries.first()
            && message.waits_for(shard)
            && !id::is_younger(group, KNOWN_MS, now_ms)
        {
            message.done = row::exists(store, None, &first.id).await?;
        }
    }
    Ok(())
}

/// Keeps a message that no delivery gets into the database, and nothing can be divided of.
async fn put_aside(store: &impl Store, message: &Message, reason: &str, now_ms: u64) -> bool {
    let content = text(&message.part, message.shard).unwrap_or_default();
    store.batch(vec![put_aside::kept(QUEUE, &message.part.id, reason, &content, now_ms)]).await.is_ok()
}

/// Keeps what is no message that this version knows. False while there is hope that a newer one is going to be asked.
pub async fn put_strange_aside(store: &impl Store, id: &str, content: &str, attempts: u32, now_ms: u64) -> bool {
    let reason = "no message that this version of Tollgate knows";
    attempts >= STRANGE_DELIVERIES
        && store.batch(vec![put_aside::kept(QUEUE, id, reason, content, now_ms)]).await.is_ok()
}

/// Whether the database takes anything at all.
async fn writes(store: &impl Store) -> bool {
    store.batch(vec![Statement::new("UPDATE written_groups SET id = id WHERE id = ''", [])]).await.is_ok()
}

/// Sends what a message holds anew, each log as a message of its own.
async fn divided(outbox: &impl Outbox, message: &Message) -> bool {
    let parts = message.part.clone().apart();
    sent(outbox, parts.iter().filter_map(|part| text(part, message.shard)).collect(), &async |_| {}).await.is_empty()
}

/// How long a message waits before its next delivery, in seconds.
pub fn delay(attempts: u32) -> u32 {
    1_u32.checked_shl(attempts.saturating_sub(1)).map_or(MAX_DELAY, |delay| delay.min(MAX_DELAY))
}

// === impl Message ===

impl Message {
    /// Reads a message; `None` if it is not one of ours, or one of another version.
    pub fn read(text: &str, naming: NamingKey, attempts: u32) -> Option<Self> {
        let mut lines = text.split_terminator('\n');
        let mut head = lines.next()?.split(' ');
        let (Some(MARK), Some(id), Some(shard), None) = (head.next(), head.next(), head.next(), head.next()) else {
            return None;
        };
        let mut part = Part { id: id.to_owned(), naming, ..Part::default() };
        for line in lines {
            let (kind, value) = line.split_once(' ')?;
            if kind == "tally" {
                let (unlogged, tally) = value.split_once(' ')?;
                part.unlogged = unlogged.parse().ok()?;
                part.tally = tally.to_owned();
                continue;
            }
            if kind == "claim" {
                part.claims.push(value.to_owned());
                continue;
            }
            if kind == "log" {
                let mut values = value.splitn(4, ' ');
                part.entries.push(Entry {
                    id: values.next()?.to_owned(),
                    gateway: values.next()?.parse().ok()?,
                    created_at: values.next()?.parse().ok()?,
                    log: values.next()?.to_owned(),
                    metadata: String::new(),
                    bodies: Bodies::default(),
                    object: false,
                    has_log_limit: false,
                    is_pushed: false,
                    continues: false,
                });
                continue;
            }
            let entry = part.entries.last_mut()?;
            match kind {
                "metadata" => entry.metadata = value.to_owned(),
                "object" => entry.object = true,
                "limited" => entry.has_log_limit = true,
                "pushed" => entry.is_pushed = true,
                "continues" => entry.continues = true,
                "body" => entry.bodies.add(value)?,
                // What a newer version has to say must not be left out: that version will get it.
                _ => return None,
            }
        }
        Some(Self { part, shard: shard.parse().ok()?, attempts, done: false, length: text.len() })
    }

    fn waits_for(&self, shard: u32) -> bool {
        !self.done && self.shard == shard
    }
}

#[cfg(test)]
mod tests;
