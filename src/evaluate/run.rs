//! Carries out an evaluation in slices. After each slice everything that is known is in the database, so that a run
//! can end at any moment and go on later, elsewhere.

use super::judge::Question;
use super::keyed::Keyed;
use super::report::{Report, Status};
use super::tally::{Sums, Tally};
use super::{Evaluator, Plan};
use crate::base::json::json;
use crate::db::put_aside::{self, EVALUATIONS};
use crate::db::store::{Bind, FromRow, Row, Statement, Store, StoreError, row};
use crate::db::whose::Whose;
use crate::logs::filter::{self, Ahead, Direction, Filters, Selection};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a run needs besides the database.
pub trait World {
    fn now(&self) -> u64;
    /// Lets others go first who share the isolate.
    async fn rest(&self);
    /// Sends a judge's question through the gateway.
    async fn ask(&self, call: &Call<'_>) -> Result<Heard, String>;
}

/// A question on its way to a judge.
pub struct Call<'a> {
    pub account: &'a str,
    pub gateway: &'a str,
    pub evaluation_id: &'a str,
    pub question: &'a Question,
}

/// A judge's answer has this many bytes at most: a verdict and its reason, with the thoughts that some models send along.
pub const MAX_SAID: usize = 256 * 1024;

/// What came back.
pub struct Heard {
    pub status: u16,
    pub body: String,
    /// Whether `body` is all of it: of more than [`MAX_SAID`] bytes it is the beginning.
    pub is_whole: bool,
    pub log_id: Option<String>,
}

/// How far a run is. What it needs to go on is here and in `verdicts`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    /// The last log whose figures are in `groups`.
    pub(super) cursor: Option<String>,
    pub(super) figures_done: bool,
    pub(super) groups: Keyed<String, Tally>,
    /// By position in the plan.
    pub(super) answers: Keyed<usize, AnswerPass>,
    pub(super) rows_read: u64,
    /// How often the database failed since the last slice that was saved, and why it did so last.
    pub(super) failures: u32,
    pub(super) failure: Option<String>,
    /// How often the next slice was begun without an end that was noted: the Worker ended in it.
    pub(super) begun: u32,
}

/// How far the evaluator of answers is that goes through the logs one by one.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AnswerPass {
    pub(super) cursor: Option<String>,
    pub(super) done: bool,
    /// Of tests; what judges said is in `verdicts`.
    pub(super) groups: Keyed<String, Sums>,
    /// Logs without an answer to read.
    pub(super) skipped: u64,
    /// Steps that a test has left.
    pub(super) steps: Option<u64>,
}

/// How long a runner may be silent before another takes over, in milliseconds. A judge's answer takes its time.
const LEASE_MS: u64 = 30_000;

/// Failures of the database in a row.
const MAX_FAILURES: u32 = 5;

/// A slice that was begun so often and never ended is not begun again.
const MAX_BEGUN: u32 = 2;

/// How long before its end a runner begins no more questions, in milliseconds: the patience with judges, less what the
/// platform allows beyond a runner's time.
const JUDGING_MS: u64 = 16_000;

/// How long an evaluation rests after the database failed, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// Groups beyond these are counted together.
const MAX_GROUPS: usize = 25;
const OTHER_GROUPS: &str = "(other)";

row! {
    pub(super) struct Evaluation {
        pub(super) id: String,
        pub(super) gateway: i64,
        pub(super) account_id: String,
        pub(super) gateway_id: String,
        pub(super) datasets: String,
        pub(super) plan: String,
        pub(super) progress: Option<String>,
        pub(super) created_at: u64,
    }
}

pub(super) struct Run<'a, S, W> {
    pub(super) store: &'a S,
    pub(super) world: &'a W,
    pub(super) runner: &'a str,
    pub(super) row: Evaluation,
    pub(super) plan: Plan,
    pub(super) sets: Vec<Filters>,
    /// When this runner has to be done.
    pub(super) until_ms: u64,
    pub(super) progress: Progress,
    /// How far the pass looks that is under way.
    pub(super) ahead: Ahead,
}

/// The ids of evaluations that wait for an isolate to go on with them, those that have waited longest first.
pub async fn waiting(store: &impl Store, whose: &Whose, now_ms: u64) -> Result<Vec<String>, StoreError> {
    let sql = format!(
        "SELECT id FROM evaluations WHERE processed = 0 AND lease_until < ?1 AND {} ORDER BY lease_until LIMIT 100",
        whose.holds("evaluations.gateway", 2)
    );
    let binds: Vec<Bind> = [Bind::Int(now_ms as i64)].into_iter().chain(whose.binds()).collect();
    store.ids(Statement::new(sql, binds)).await
}

/// Works on an evaluation until `turn_ms`; by `until_ms` everything that it began has to be done. Does nothing while another
/// isolate works on it. True when it is done.
pub async fn run(
    store: &impl Store,
    world: &impl World,
    id: &str,
    runner: &str,
    turn_ms: u64,
    until_ms: u64,
) -> Result<bool, StoreError> {
    let now = world.now();
    let lease = Statement::new(
        "UPDATE evaluations SET runner = ?2, lease_until = ?3, progress = json_set(iif(json_valid(progress), progress, '{}'), \
         '$.begun', coalesce(iif(json_valid(progress), progress ->> 'begun', 0), 0) + 1) WHERE id = ?1 AND processed = 0 AND lease_until < ?4",
        [id.into(), runner.into(), Bind::Int((now + LEASE_MS) as i64), Bind::Int(now as i64)],
    );
    if store.batch(vec![lease]).await?.first() != Some(&1) {
        return Ok(false);
    }
    let row = Statement::new(
        "SELECT evaluations.id, gateway, account_id, gateways.id AS gateway_id, datasets, plan, progress, evaluations.created_at \
         FROM evaluations JOIN gateways ON gateways.key = evaluations.gateway WHERE evaluations.id = ?1",
        [id.into()],
    );
    let (mut rows, others) = store.readable::<Evaluation>(row).await?;
    if let Some((row, reason)) = others.first() {
        let content = Value::Object(row.clone()).to_string();
        return unreadable(store, id, &reason.0, &content, now).await.map(|()| true);
    }
    let Some(row) = rows.pop() else { return Ok(true) };
    let progress: Progress =
        row.progress.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    // What was begun just now counts, too.
    let unended = progress.begun.saturating_sub(1);
    if unended > MAX_BEGUN {
        // Not even giving up came to its end.
        return store.batch(ended(&row.id, &never_ended(), now)).await.map(|_| true);
    }
    let Some((plan, sets)) = understood(&row) else {
        let content = json!([row.plan, row.datasets]).to_string();
        return unreadable(store, &row.id, "its plan or its datasets", &content, now).await.map(|()| true);
    };
    let mut run = Run { store, world, runner, plan, sets, until_ms, progress, ahead: Ahead::default(), row };
    if unended == MAX_BEGUN {
        run.give_up(never_ended()).await?;
    } else if run.progress.failures >= MAX_FAILURES {
        let reason = run.progress.failure.take().unwrap_or_default();
        run.give_up(format!("the database failed {MAX_FAILURES} times: {reason}")).await?;
    }
    while world.now() < turn_ms.min(until_ms) {
        match run.step().await {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(Stop::Replaced) => return Ok(false),
            Err(Stop::Enough) => break,
            Err(Stop::Store(error)) => {
                // What this slice had found out is half-done: the next run begins it anew from what was saved last.
                run.failed(&error).await?;
                return Err(error);
            }
        }
    }
    // The next isolate need not wait for the lease to end, and begins with the evaluation that has waited longest.
    let release = "UPDATE evaluations SET lease_until = ?3, progress = json_set(progress, '$.begun', 0) WHERE id = ?1 AND runner = ?2";
    let released = Bind::Int(world.now().saturating_sub(1) as i64);
    store.batch(vec![Statement::new(release, [id.into(), runner.into(), released])]).await?;
    Ok(false)
}

/// What is to be measured, and over which logs.
fn understood(row: &Evaluation) -> Option<(Plan, Vec<Filters>)> {
    let plan: Value = serde_json::from_str(&row.plan).ok()?;
    let datasets: Vec<Value> = serde_json::from_str(&row.datasets).ok()?;
    let sets: Option<Vec<Filters>> = datasets
        .iter()
        .map(|dataset| filter::from_json(dataset.get("filters").unwrap_or(&Value::Null), &["filters"]).ok())
        .collect();
    Some((Plan::parse(plan.as_object()?).ok()?, sets?))
}

fn never_ended() -> String {
    format!("given up: this was begun {MAX_BEGUN} times, and each time the Worker ended before it came to an end")
}

/// Ends an evaluation that this version of Tollgate does not understand.
async fn unreadable(store: &impl Store, id: &str, reason: &str, content: &str, now: u64) -> Result<(), StoreError> {
    let mut statements = ended(id, "the plan or the datasets of this evaluation cannot be read", now);
    statements.push(put_aside::kept(EVALUATIONS, id, reason, content, now));
    store.batch(statements).await.map(drop)
}

/// Ends an evaluation of which nothing more can be worked out.
fn ended(id: &str, why: &str, now: u64) -> Vec<Statement> {
    let results =
        "UPDATE evaluation_results SET status = ?3, status_description = ?2 WHERE evaluation_id = ?1 AND status = ?4";
    let done = "UPDATE evaluations SET processed = 1, modified_at = ?2 WHERE id = ?1";
    vec![
        Statement::new(
            results,
            [id.into(), why.into(), Bind::Int(Status::Error as i64), Bind::Int(Status::Pending as i64)],
        ),
        Statement::new(done, [id.into(), Bind::Int(now as i64)]),
    ]
}

pub(super) enum Stop {
    /// Another runner took over, or the evaluation was deleted.
    Replaced,
    Store(StoreError),
    /// There is no time left for the next slice.
    Enough,
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

// === impl Run ===

impl<S: Store, W: World> Run<'_, S, W> {
    /// Does the next slice. True when there was none left.
    pub(super) async fn step(&mut self) -> Result<bool, Stop> {
        if !self.progress.figures_done {
            return self.figures().await.map(|()| false);
        }
        let next = self.plan.evaluators.iter().enumerate().find_map(|(position, (_, evaluator))| {
            let done = self.progress.answers.get(&position).is_some_and(|pass| pass.done);
            match evaluator {
                _ if done => None,
                Evaluator::Figure(_) => None,
                other => Some((position, other.clone())),
            }
        });
        match next {
            Some((position, Evaluator::Test(test))) => self.test(position, &test).await.map(|()| false),
            // What is asked must be heard before the platform ends this work, or it is paid for twice.
            Some((_, Evaluator::Judge(_))) if self.world.now() > self.until_ms.saturating_sub(JUDGING_MS) => {
                Err(Stop::Enough)
            }
            Some((position, Evaluator::Judge(judge))) => self.judge(position, &judge).await.map(|()| false),
            _ => {
                let done = "UPDATE evaluations SET processed = 1, runner = NULL, modified_at = ?3 WHERE id = ?1 AND runner = ?2";
                let binds = [self.row.id.as_str().into(), self.runner.into(), Bind::Int(self.world.now() as i64)];
                self.store.batch(vec![Statement::new(done, binds)]).await?;
                Ok(true)
            }
        }
    }

    /// The logs to evaluate: those of the datasets when the evaluation was made, without what judges and guardrails caused.
    pub(super) fn logs(&self, cursor: Option<&str>) -> Selection {
        let mut logs = Selection::any(self.row.gateway, &self.sets);
        logs.and("logs.evaluation_id IS NULL AND logs.request_type IS NOT 'guardrail'".to_owned());
        logs.until(self.row.created_at);
        if let Some(cursor) = cursor {
            logs.beyond(cursor, Direction::Descending);
        }
        logs
    }

    /// SQL for the group of a log; `bind` binds a key.
    pub(super) fn group(&self, bind: impl FnOnce(&str) -> String) -> String {
        self.plan.group_by.as_ref().map_or_else(|| "''".to_owned(), |group| group.sql(bind))
    }

    pub(super) async fn selected(&mut self, statement: Statement) -> Result<Vec<Row>, Stop> {
        let (rows, read) = self.store.select(statement).await?;
        self.progress.rows_read += read;
        Ok(rows)
    }

    pub(super) async fn counted<T: FromRow>(&mut self, statement: Statement) -> Result<Vec<T>, Stop> {
        let rows: Result<Vec<T>, StoreError> = self.selected(statement).await?.into_iter().map(T::from_row).collect();
        Ok(rows?)
    }

    /// Writes down how far the run is, together with what the slice found out, and keeps the lease.
    pub(super) async fn save(&mut self, found: Vec<Statement>) -> Result<(), Stop> {
        let now = self.world.now();
        let total: u64 = self.progress.groups.values().map(|tally| tally.logs).sum();
        (self.progress.failures, self.progress.failure) = (0, None);
        // Also notes that the next slice begins.
        self.progress.begun = 1;
        let progress = serde_json::to_string(&self.progress).unwrap_or_default();
        let saved = Statement::new(
            "UPDATE evaluations SET progress = ?3, lease_until = ?4, total_logs = ?5, modified_at = ?6 WHERE id = ?1 AND runner = ?2",
            [
                self.row.id.as_str().into(),
                self.runner.into(),
                progress.into(),
                Bind::Int((now + LEASE_MS) as i64),
                Bind::Int(total as i64),
                Bind::Int(now as i64),
            ],
        );
        let statements = std::iter::once(saved).chain(found).collect();
        if self.store.batch(statements).await?.first() == Some(&1) { Ok(()) } else { Err(Stop::Replaced) }
    }

    /// Keeps the place of this runner while a slice takes its time.
    pub(super) fn lease(&self) -> Statement {
        lease(&self.row.id, self.runner, self.world.now())
    }

    pub(super) fn id(&self, position: usize) -> String {
        self.plan.evaluators.get(position).map(|(id, _)| id.clone()).unwrap_or_default()
    }

    /// Notes why the database failed, and lets go of the evaluation for a moment.
    async fn failed(&self, error: &StoreError) -> Result<(), StoreError> {
        let later = Bind::Int((self.world.now() + RETRY_MS) as i64);
        let sql = "UPDATE evaluations SET progress = json_set(progress, '$.failure', ?3, '$.begun', 0, '$.failures', \
             coalesce(progress ->> 'failures', 0) + 1), lease_until = ?4 WHERE id = ?1 AND runner = ?2";
        let binds = [self.row.id.as_str().into(), self.runner.into(), error.0.as_str().into(), later];
        self.store.batch(vec![Statement::new(sql, binds)]).await.map(drop)
    }

    /// Marks what cannot be worked out as failed, so that the rest can go on.
    async fn give_up(&mut self, reason: String) -> Result<(), StoreError> {
        let mut failed = Vec::new();
        let figures = !self.progress.figures_done;
        self.progress.figures_done = true;
        for (position, (_, evaluator)) in self.plan.evaluators.iter().enumerate() {
            let is_figure = matches!(evaluator, Evaluator::Figure(_));
            let done = self.progress.answers.get(&position).is_some_and(|pass| pass.done);
            if figures != is_figure || done {
                continue;
            }
            let error = Some(reason.clone());
            failed.push(self.result(position, evaluator, &Report { error, ..Report::default() }));
            if !is_figure {
                self.progress.answers.at(position).done = true;
                break;
            }
        }
        match self.save(failed).await {
            Err(Stop::Store(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

pub(super) fn lease(id: &str, runner: &str, now_ms: u64) -> Statement {
    let sql = "UPDATE evaluations SET lease_until = ?3 WHERE id = ?1 AND runner = ?2";
    Statement::new(sql, [id.into(), runner.into(), Bind::Int((now_ms + LEASE_MS) as i64)])
}

/// The group a log is counted in.
pub(super) fn known<T>(groups: &Keyed<String, T>, group: String) -> String {
    if groups.get(&group).is_some() || groups.len() < MAX_GROUPS { group } else { OTHER_GROUPS.to_owned() }
}
