//! The parts of a run that read answers one by one: tests of them, and judges.

use super::Evaluator;
use super::answers::Test;
use super::report::Report;
use super::run::{Run, Stop, World, known, lease};
use super::tally::Sums;
use super::verdicts::verdict;
use crate::conversation::Conversation;
use crate::db::store::{Store, row};
use crate::logs::bodies;
use crate::logs::filter::{Ahead, Direction, Next};
use crate::logs::pieces::read;
use crate::pattern::budget::{Exhausted, Meter};
use std::cell::Cell;

/// Bytes of bodies that are read at once, unless one log alone has more.
const BYTES_AT_ONCE: u64 = 2 * 1024 * 1024;

/// Characters of a body that is read: an isolate has 128 MB, and a text is in it several times.
const MAX_READ: u32 = 300_000;

/// Steps that a test may take beside those for what it reads, and those for each byte of that. Ordinary patterns and schemas take up
/// to ten for a byte.
const STEPS: u64 = 20_000_000;
const STEPS_FOR_A_BYTE: u64 = 50;

/// Bytes of JSON that are read in a step.
const BYTES_IN_A_STEP: u64 = 4;

/// A slice of tests ends after so many milliseconds, long before its lease does.
const TESTING_MS: u64 = 5_000;

/// How often a test that takes long keeps its place, in milliseconds.
const RENEW_MS: u64 = 10_000;

/// Failed answers that a test names.
const MAX_EXAMPLES: f64 = 1_000.0;

row! {
    /// A log that is to be read.
    pub(super) struct Answered {
        pub id: String,
        pub grp: String,
        /// Its bodies go on in further rows, or are too long.
        pub longer: u8,
        /// How long they are.
        pub bytes: u64,
        /// There is a verdict already.
        pub judged: u8,
        /// What was asked and answered. It is read when it is known how long it is.
        pub request: Option<String>,
        pub response: Option<String>,
    }
}

impl<S: Store, W: World> Run<'_, S, W> {
    /// The next logs of a pass, with their bodies, and where to go on behind them.
    pub(super) async fn answered(
        &mut self,
        position: usize,
        id: &str,
        limit: u32,
    ) -> Result<(Vec<Answered>, Next), Stop> {
        let cursor = self.progress.answers.at(position).cursor.clone();
        let mut logs = self.logs(cursor.as_deref());
        if cursor.is_none() {
            // Where another pass ended says nothing of this one.
            self.ahead = Ahead::default();
        }
        self.progress.rows_read += self.ahead.bound(self.store, &mut logs, Direction::Descending).await?;
        let group = self.group(|key| logs.bind(key));
        let (evaluation, evaluator) = (logs.bind(self.row.id.as_str()), logs.bind(id));
        let long = format!(
            "(seq = 1 OR length(request) > {MAX_READ} OR length(response) > {MAX_READ} OR request_bytes > {MAX_READ} OR response_bytes > {MAX_READ} \
             OR layout->>0 > {MAX_READ} OR layout->>1 > {MAX_READ})"
        );
        let length = |body: &str, place: u8| {
            format!("coalesce({body}_bytes, layout->>{place}, length(CAST({body} AS BLOB)), 0)")
        };
        let columns = format!(
            "logs.id AS id, {group} AS grp, EXISTS (SELECT 1 FROM log_bodies WHERE log_id = logs.id AND {long}) AS longer, \
             coalesce((SELECT {} + {} FROM log_bodies WHERE log_id = logs.id AND seq = 0), 0) AS bytes, \
             EXISTS (SELECT 1 FROM verdicts WHERE evaluation_id = {evaluation} AND evaluation_type_id = {evaluator} AND log_id = logs.id) AS judged, \
             NULL AS request, NULL AS response",
            length("request", 0),
            length("response", 1)
        );
        let rest = format!("ORDER BY {} LIMIT {limit}", logs.in_time(Direction::Descending));
        let mut rows: Vec<Answered> = self.counted(logs.select(&columns, &rest)).await?;
        let full = rows.len() == limit as usize;
        let most = fitting(&rows);
        let next = self.ahead.next(full || most < rows.len());
        rows.truncate(most);
        self.read(&mut rows).await?;
        Ok((rows, next))
    }

    /// Reads the bodies of logs.
    async fn read(&mut self, rows: &mut [Answered]) -> Result<(), Stop> {
        let ids: Vec<&str> = rows.iter().filter(|row| row.longer == 0).map(|row| row.id.as_str()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let (all, read) = read::rows(self.store, &ids).await?;
        self.progress.rows_read += read;
        for read::Rows { id, request, response, stored } in all {
            let Some(row) = rows.iter_mut().find(|row| row.id == id) else { continue };
            [row.request, row.response] = bodies::whole(self.store, &id, stored, [request, response]).await?;
        }
        Ok(())
    }

    pub(super) async fn test(&mut self, position: usize, test: &Test) -> Result<(), Stop> {
        let id = self.id(position);
        let (rows, next) = self.answered(position, &id, self.store.pace().texts).await?;
        let begun = self.world.now();
        let mut found = Vec::new();
        let pass = self.progress.answers.at(position);
        let (store, world, evaluation, runner) = (self.store, self.world, self.row.id.as_str(), self.runner);
        let leased = Cell::new(begun);
        let rest = async || {
            world.rest().await;
            let now = world.now();
            // Where others take most of the time, a single answer may outlast the lease.
            if now > leased.get() + RENEW_MS {
                leased.set(now);
                let _ = store.batch(vec![lease(evaluation, runner, now)]).await;
            }
        };
        let meter = Meter::new(pass.steps.unwrap_or(STEPS), rest);
        let mut last = None;
        let mut exhausted = false;
        for row in &rows {
            let now = self.world.now();
            if last.is_some() && now > self.until_ms.min(begun + TESTING_MS) {
                break;
            }
            last = Some(row.id.clone());
            meter.allow(STEPS_FOR_A_BYTE * row.bytes(), STEPS);
            let checked = async {
                meter.spend(row.bytes() / BYTES_IN_A_STEP).await?;
                let conversation = row.conversation();
                match conversation.as_ref().and_then(Conversation::output) {
                    Some(output) => test.check(output, &meter).await.map(Some),
                    None => Ok(None),
                }
            };
            let (passes, reason) = match checked.await {
                Ok(Some(checked)) => checked,
                Ok(None) => {
                    pass.skipped += 1;
                    continue;
                }
                Err(Exhausted) => {
                    exhausted = true;
                    break;
                }
            };
            let failed: f64 = pass.groups.values().map(|sums| sums.n - sums.sum).sum();
            let group = known(&pass.groups, row.grp.clone());
            pass.groups.at(group).push(f64::from(passes));
            if !passes && failed < MAX_EXAMPLES {
                found.push(verdict(&self.row.id, &id, &row.id, Some(0.0), reason.as_deref(), None, None, now));
            }
        }
        pass.steps = Some(meter.left());
        let all = rows.last().map(|row| &row.id) == last.as_ref();
        pass.done = exhausted || all && next == Next::Nothing;
        let error = exhausted.then(|| too_costly(pass.groups.values(), last.as_deref().unwrap_or_default()));
        let reached = if let Next::Behind(log) = next { Some(log).filter(|_| all) } else { None };
        pass.cursor = reached.or(last).or(pass.cursor.take());
        if pass.done {
            let whole = Sums::of(pass.groups.values());
            let groups = pass.groups.iter().map(|(group, sums)| (group.clone(), sums.share())).collect();
            let report = Report { measured: whole.share(), groups, skipped: pass.skipped, error, ..Report::default() };
            found.push(self.result(position, &Evaluator::Test(test.clone()), &report));
        }
        self.save(found).await
    }
}

/// How many of the logs are read at once.
fn fitting(rows: &[Answered]) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take_while(|row| {
        bytes += if row.longer == 0 { row.bytes } else { 0 };
        bytes <= BYTES_AT_ONCE
    });
    fits.count().max(1).min(rows.len())
}

/// Why a test is given up that takes too many steps.
fn too_costly<'s>(groups: impl Iterator<Item = &'s Sums>, log: &str) -> String {
    let tested = Sums::of(groups).n;
    format!(
        "given up at log {log}, after {tested} others: the pattern or the schema takes too many steps for what it is used on. A test \
         may take {STEPS} steps, and {STEPS_FOR_A_BYTE} more for each byte it reads"
    )
}

// === impl Answered ===

impl Answered {
    /// How long what is read of the log is.
    fn bytes(&self) -> u64 {
        [&self.request, &self.response].into_iter().flatten().map(|body| body.len() as u64).sum()
    }

    pub(super) fn conversation(&self) -> Option<Conversation> {
        (self.longer == 0).then(|| Conversation::read(self.request.as_deref(), self.response.as_deref()))
    }
}
