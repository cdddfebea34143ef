//! The parts of a run that read answers one by one: tests of them, and judges.

use super::Evaluator;
use super::answers::Test;
use super::judge::{Judge, Question};
use super::keyed::Keyed;
use super::report::Report;
use super::run::{Call, Heard, MAX_SAID, Run, Stop, World, known, lease};
use super::tally::Sums;
use crate::conversation::Conversation;
use crate::db::store::{Bind, Statement, Store, row};
use crate::logs::bodies;
use crate::logs::filter::{Ahead, Direction, Next};
use crate::logs::stored::Stored;
use crate::pattern::budget::{Exhausted, Meter};
use crate::pricing::price;
use crate::wire;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use std::cell::Cell;

/// Answers that are read at once, if they fit.
const ANSWERS_AT_ONCE: u32 = if cfg!(test) { 3 } else { 10 };

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

/// A judge that has failed so often without a single verdict is not going to succeed.
const MAX_FIRST_FAILURES: u64 = 5;

/// Failed answers that a test names.
const MAX_EXAMPLES: f64 = 1_000.0;

row! {
    /// A log that is to be read.
    struct Answered {
        id: String,
        grp: String,
        /// Its bodies go on in further rows, or are too long.
        longer: u8,
        /// How long they are.
        bytes: u64,
        /// There is a verdict already.
        judged: u8,
        /// What was asked and answered. It is read when it is known how long it is.
        request: Option<String>,
        response: Option<String>,
    }
}

row! {
    struct Bodies {
        id: String,
        request: Option<String>,
        response: Option<String>,
        /// What of them is in the log's object.
        request_bytes: Option<u64>,
        response_bytes: Option<u64>,
        cut: Option<u8>,
    }
}

row! {
    /// What a judge has said so far.
    #[derive(Default)]
    struct Said {
        value: u64,
        failed: u64,
        /// Verdicts whose cost is unknown.
        unpriced: u64,
        cost: f64,
        reason: Option<String>,
    }
}

impl<S: Store, W: World> Run<'_, S, W> {
    /// The next logs of a pass, with their bodies, and where to go on behind them.
    async fn answered(&mut self, position: usize, id: &str, limit: u32) -> Result<(Vec<Answered>, Next), Stop> {
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
            "(seq = 1 OR length(request) > {MAX_READ} OR length(response) > {MAX_READ} OR request_bytes > {MAX_READ} OR response_bytes > {MAX_READ})"
        );
        let length = |body: &str| format!("coalesce({body}_bytes, length(CAST({body} AS BLOB)), 0)");
        let columns = format!(
            "logs.id AS id, {group} AS grp, EXISTS (SELECT 1 FROM log_bodies WHERE log_id = logs.id AND {long}) AS longer, \
             coalesce((SELECT {} + {} FROM log_bodies WHERE log_id = logs.id AND seq = 0), 0) AS bytes, \
             EXISTS (SELECT 1 FROM verdicts WHERE evaluation_id = {evaluation} AND evaluation_type_id = {evaluator} AND log_id = logs.id) AS judged, \
             NULL AS request, NULL AS response",
            length("request"),
            length("response")
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
        let sql = "SELECT log_id AS id, request, response, request_bytes, response_bytes, cut FROM log_bodies \
             WHERE log_id IN (SELECT value FROM json_each(?1)) AND seq = 0";
        let bodies = Statement::new(sql, [Value::from(ids).to_string().into()]);
        for Bodies { id, request, response, request_bytes, response_bytes, cut } in self.counted(bodies).await? {
            let Some(row) = rows.iter_mut().find(|row| row.id == id) else { continue };
            let stored = Stored { request: request_bytes, response: response_bytes, cut: cut == Some(1) };
            [row.request, row.response] = bodies::whole(self.store, &id, stored, [request, response]).await?;
        }
        Ok(())
    }

    pub(super) async fn test(&mut self, position: usize, test: &Test) -> Result<(), Stop> {
        let id = self.id(position);
        let (rows, next) = self.answered(position, &id, ANSWERS_AT_ONCE).await?;
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

    pub(super) async fn judge(&mut self, position: usize, judge: &Judge) -> Result<(), Stop> {
        let id = self.id(position);
        let so_far = self.said(&id).await?;
        let tired = so_far.value == 0 && so_far.failed >= MAX_FIRST_FAILURES;
        let unpriced = judge.max_cost.is_some() && so_far.unpriced > 0;
        let spent = judge.max_cost.is_some_and(|most| so_far.cost >= most) || unpriced;
        let left = judge.max_logs.saturating_sub(so_far.value + so_far.failed);
        let limit = (judge.concurrency as u64).min(left) as u32;
        let enough = tired || spent || limit == 0;
        let (rows, next) =
            if enough { (Vec::new(), Next::Nothing) } else { self.answered(position, &id, limit).await? };
        if rows.is_empty() && next == Next::Nothing {
            let why = if unpriced {
                "stopped: the price of this model is unknown, so max_cost cannot be kept"
            } else if spent {
                "stopped at max_cost"
            } else if left == 0 {
                "stopped at max_logs"
            } else {
                ""
            };
            return self.judged(position, &id, judge, why).await;
        }
        let mut questions = Vec::new();
        for row in rows.iter().filter(|row| row.judged == 0) {
            match row.conversation().and_then(|conversation| judge.question(&conversation)) {
                Some(question) => questions.push((row.id.clone(), question)),
                None => self.progress.answers.at(position).skipped += 1,
            }
        }
        {
            let mut stopped = None;
            let run = &*self;
            let ask = |(log, question)| async move { (log, question, run.heard(question).await) };
            let mut asked: FuturesUnordered<_> = questions.iter().map(|(log, question)| ask((log, question))).collect();
            while let Some((log, question, heard)) = asked.next().await {
                let said = run.verdict(&id, log, judge, question, heard);
                // Each as it comes: a verdict costs money, and is not asked for twice.
                match run.store.batch(vec![run.lease(), said]).await {
                    Ok(changed) if changed.first() == Some(&1) => {}
                    // The others are heard first: what is under way has been paid for.
                    Ok(_) => stopped = Some(Stop::Replaced),
                    Err(error) => stopped = Some(Stop::Store(error)),
                }
            }
            if let Some(stopped) = stopped {
                return Err(stopped);
            }
        }
        let pass = self.progress.answers.at(position);
        let last = rows.last().map(|row| row.id.clone());
        pass.cursor = if let Next::Behind(log) = next { Some(log) } else { last };
        self.save(Vec::new()).await
    }

    async fn heard(&self, question: &Question) -> Result<Heard, String> {
        let call = Call {
            account: &self.row.account_id,
            gateway: &self.row.gateway_id,
            evaluation_id: &self.row.id,
            question,
        };
        self.world.ask(&call).await
    }

    fn verdict(
        &self,
        id: &str,
        log: &str,
        judge: &Judge,
        question: &Question,
        heard: Result<Heard, String>,
    ) -> Statement {
        let (word, cost, judge_log) = match heard {
            Err(reason) => (Err(reason), None, None),
            Ok(Heard { status, body, is_whole, log_id }) => {
                let facts = wire::read(wire::Framing::Json, status, body.as_bytes());
                let model = facts.model.as_deref().unwrap_or(&judge.model);
                let cost = price::find(&question.provider, model)
                    .or_else(|| price::find(&question.provider, &judge.model))
                    .and_then(|price| price.bill(&question.provider, &facts.usage).0.cost());
                let word = if status >= 400 {
                    Err(format!("the judge's provider answered {status}: {}", facts.error.unwrap_or_default()))
                } else if !is_whole {
                    Err(format!("the judge's answer is not read: it has more than {} KB", MAX_SAID / 1024))
                } else {
                    let answer = Conversation::read(None, Some(&body));
                    answer.output().ok_or_else(|| "the judge said nothing".to_owned()).and_then(|text| judge.word(text))
                };
                (word, facts.usage.cost.or(cost).and_then(|cost| price::bounded(cost).ok()), log_id)
            }
        };
        let (value, reason) = match word {
            Ok(word) => (Some(word.value), word.reason),
            Err(reason) => (None, Some(reason)),
        };
        verdict(&self.row.id, id, log, value, reason.as_deref(), cost, judge_log.as_deref(), self.world.now())
    }

    async fn said(&self, id: &str) -> Result<Said, Stop> {
        let sql = "SELECT count(value) AS value, count(*) - count(value) AS failed, count(value) - count(iif(value IS NULL, NULL, cost)) AS unpriced, total(cost) AS cost, \
                   max(CASE WHEN value IS NULL THEN reason END) AS reason FROM verdicts WHERE evaluation_id = ?1 AND evaluation_type_id = ?2";
        let said = self.store.row(Statement::new(sql, [self.row.id.as_str().into(), id.into()])).await?;
        Ok(said.unwrap_or_default())
    }

    /// Sums up what a judge said.
    async fn judged(&mut self, position: usize, id: &str, judge: &Judge, why: &str) -> Result<(), Stop> {
        row! {
            struct Sum {
                grp: String,
                n: f64,
                sum: f64,
                squares: f64,
            }
        }
        let said = self.said(id).await?;
        let mut binds: Vec<Bind> = vec![self.row.id.as_str().into(), id.into()];
        let group = self.group(|key| {
            binds.push(key.into());
            format!("?{}", binds.len())
        });
        let sums = format!(
            "SELECT {group} AS grp, count(said.value) AS n, total(said.value) AS sum, total(said.value * said.value) AS squares \
             FROM verdicts AS said JOIN logs ON logs.id = said.log_id \
             WHERE said.evaluation_id = ?1 AND said.evaluation_type_id = ?2 GROUP BY 1"
        );
        let sums = Statement::new(sums, binds);
        let mut groups: Keyed<String, Sums> = Keyed::default();
        for Sum { grp, n, sum, squares } in self.counted::<Sum>(sums).await? {
            let group = known(&groups, grp);
            groups.at(group).add(&Sums { n, sum, squares });
        }
        let whole = Sums::of(groups.values());
        let measured = |sums: Sums| if judge.unit() == "percent" { sums.share() } else { sums.mean() };
        let pass = self.progress.answers.at(position);
        pass.done = true;
        let report = Report {
            measured: measured(whole),
            groups: groups.iter().map(|(group, sums)| (group.clone(), measured(*sums))).collect(),
            skipped: pass.skipped,
            failed: said.failed,
            cost: Some(said.cost),
            note: why.to_owned(),
            error: (said.value == 0 && said.failed > 0)
                .then(|| format!("the judge failed every time: {}", said.reason.unwrap_or_default())),
        };
        let result = self.result(position, &Evaluator::Judge(judge.clone()), &report);
        self.save(vec![result]).await
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

    fn conversation(&self) -> Option<Conversation> {
        (self.longer == 0).then(|| Conversation::read(self.request.as_deref(), self.response.as_deref()))
    }
}

#[expect(clippy::too_many_arguments, reason = "one for each column")]
fn verdict(
    evaluation: &str,
    evaluator: &str,
    log: &str,
    value: Option<f64>,
    reason: Option<&str>,
    cost: Option<f64>,
    judge_log: Option<&str>,
    now_ms: u64,
) -> Statement {
    Statement::new(
        "INSERT OR IGNORE INTO verdicts (evaluation_id, evaluation_type_id, log_id, value, reason, cost, judge_log_id, created_at) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE EXISTS (SELECT 1 FROM evaluations WHERE id = ?1)",
        [
            evaluation.into(),
            evaluator.into(),
            log.into(),
            value.into(),
            reason.into(),
            cost.into(),
            judge_log.into(),
            Bind::Int(now_ms as i64),
        ],
    )
}
