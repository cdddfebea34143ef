//! Carries out an evaluation in slices. After each slice everything that is known is in the database, so that a run
//! can end at any moment and go on later, elsewhere.

use super::answers::Test;
use super::judge::{Judge, Question};
use super::tally::{Histogram, Measured, Pairs, Sums, Tally, bucket_sql};
use super::{Evaluator, Figure, Plan, Timing};
use crate::conversation::Conversation;
use crate::filter::{self, Direction, Filters, Selection};
use crate::number;
use crate::price;
use crate::store::{Bind, FromRow, Row, Statement, Store, StoreError, row};
use crate::wire;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a run needs besides the database.
pub trait World {
    fn now(&self) -> u64;
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

/// What came back.
pub struct Heard {
    pub status: u16,
    pub body: String,
    pub log_id: Option<String>,
}

/// How far a run is. What it needs to go on is here and in `verdicts`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    /// The last log whose figures are in `groups`.
    cursor: Option<String>,
    figures_done: bool,
    groups: BTreeMap<String, Tally>,
    /// By position in the plan.
    answers: BTreeMap<usize, AnswerPass>,
    rows_read: u64,
    /// Failures of the database in a row.
    failures: u32,
}

/// How far the evaluator of answers is that goes through the logs one by one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct AnswerPass {
    cursor: Option<String>,
    done: bool,
    /// Of tests; what judges said is in `verdicts`.
    groups: BTreeMap<String, Sums>,
    /// Logs without an answer to read.
    skipped: u64,
    /// Why the evaluator gave up.
    error: Option<String>,
}

/// Logs whose figures are added up by one statement; D1 ends a statement after 30 s.
const FIGURES_AT_ONCE: u32 = 20_000;

/// Answers that are read at once: each may have 900 KB.
const ANSWERS_AT_ONCE: u32 = 20;

/// How long a runner may be silent before another takes over, in milliseconds. A judge's answer takes its time.
const LEASE_MS: u64 = 30_000;

/// Groups beyond these are counted together.
const MAX_GROUPS: usize = 25;
const OTHER_GROUPS: &str = "(other)";

/// A judge that has failed so often without a single verdict is not going to succeed.
const MAX_FIRST_FAILURES: u64 = 5;

const MAX_STORE_FAILURES: u32 = 5;

/// Failed answers that a test names.
const MAX_EXAMPLES: f64 = 1_000.0;

row! {
    struct Evaluation {
        id: String,
        gateway: i64,
        account_id: String,
        gateway_id: String,
        datasets: String,
        plan: String,
        progress: Option<String>,
        created_at: u64,
    }
}

struct Run<'a, S, W> {
    store: &'a S,
    world: &'a W,
    runner: &'a str,
    row: Evaluation,
    plan: Plan,
    sets: Vec<Filters>,
    progress: Progress,
}

/// The ids of evaluations that wait for somebody to go on with them.
pub async fn waiting(store: &impl Store, now_ms: u64) -> Result<Vec<String>, StoreError> {
    row! {
        struct Id {
            id: String,
        }
    }
    let sql = "SELECT id FROM evaluations WHERE processed = 0 AND lease_until < ?1 ORDER BY lease_until LIMIT 10";
    Ok(store.rows::<Id>(Statement::new(sql, [Bind::Int(now_ms as i64)])).await?.into_iter().map(|row| row.id).collect())
}

/// Works on an evaluation until `until_ms`. Does nothing while somebody else does. True when it is done.
pub async fn run(
    store: &impl Store,
    world: &impl World,
    id: &str,
    runner: &str,
    until_ms: u64,
) -> Result<bool, StoreError> {
    let now = world.now();
    let lease = Statement::new(
        "UPDATE evaluations SET runner = ?2, lease_until = ?3 WHERE id = ?1 AND processed = 0 AND lease_until < ?4",
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
    let Some(row) = store.row::<Evaluation>(row).await? else { return Ok(true) };
    let progress = row.progress.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let unreadable = |what: &str| StoreError(format!("the {what} of evaluation {} cannot be read", row.id));
    let plan: Value = serde_json::from_str(&row.plan).map_err(|_| unreadable("plan"))?;
    let plan = plan.as_object().and_then(|plan| Plan::parse(plan).ok()).ok_or_else(|| unreadable("plan"))?;
    let datasets: Vec<Value> = serde_json::from_str(&row.datasets).map_err(|_| unreadable("datasets"))?;
    let sets: Result<Vec<Filters>, StoreError> = datasets
        .iter()
        .map(|dataset| {
            let filters = dataset.get("filters").unwrap_or(&Value::Null);
            filter::from_json(filters, &["filters"]).map_err(|_| unreadable("filters"))
        })
        .collect();
    let mut run = Run { store, world, runner, plan, sets: sets?, progress, row };
    while world.now() < until_ms {
        match run.step().await {
            Ok(true) => return Ok(true),
            Ok(false) => run.progress.failures = 0,
            Err(Stop::Replaced) => return Ok(false),
            Err(Stop::Store(error)) => {
                run.progress.failures += 1;
                if run.progress.failures >= MAX_STORE_FAILURES {
                    run.give_up(&error.0).await?;
                } else {
                    run.save(Vec::new()).await.ok();
                    return Err(error);
                }
            }
        }
    }
    // Whoever comes next need not wait for the lease to end.
    let release = "UPDATE evaluations SET lease_until = 0 WHERE id = ?1 AND runner = ?2";
    store.batch(vec![Statement::new(release, [id.into(), runner.into()])]).await?;
    Ok(false)
}

enum Stop {
    /// Another runner took over, or the evaluation was deleted.
    Replaced,
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

row! {
    /// A log with what was asked and answered.
    struct Answered {
        id: String,
        grp: String,
        request: Option<String>,
        response: Option<String>,
        /// The bodies go on in further rows.
        longer: u8,
        /// There is a verdict already.
        judged: u8,
    }
}

// === impl Run ===

impl<S: Store, W: World> Run<'_, S, W> {
    /// Does the next slice. True when there was none left.
    async fn step(&mut self) -> Result<bool, Stop> {
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
            Some((position, Evaluator::Judge(judge))) => self.judge(position, &judge).await.map(|()| false),
            _ => {
                let done = "UPDATE evaluations SET processed = 1, runner = NULL, modified_at = ?3 WHERE id = ?1 AND runner = ?2";
                let binds = [self.row.id.as_str().into(), self.runner.into(), Bind::Int(self.world.now() as i64)];
                self.store.batch(vec![Statement::new(done, binds)]).await?;
                Ok(true)
            }
        }
    }

    /// The logs to evaluate: those of the datasets when the evaluation was made, without what judges caused.
    fn logs(&self, cursor: Option<&str>) -> Selection {
        let mut logs = Selection::any(self.row.gateway, &self.sets);
        logs.and("logs.evaluation_id IS NULL".to_owned());
        logs.until(self.row.created_at);
        if let Some(cursor) = cursor {
            logs.beyond(cursor, Direction::Descending);
        }
        logs
    }

    fn group(&self, logs: &mut Selection) -> String {
        match &self.plan.group_by {
            None => "''".to_owned(),
            Some(group) => group.sql(|key| logs.bind(key)),
        }
    }

    async fn selected(&mut self, statement: Statement) -> Result<Vec<Row>, Stop> {
        let (rows, read) = self.store.select(statement).await?;
        self.progress.rows_read += read;
        Ok(rows)
    }

    async fn counted<T: FromRow>(&mut self, statement: Statement) -> Result<Vec<T>, Stop> {
        let rows: Result<Vec<T>, StoreError> = self.selected(statement).await?.into_iter().map(T::from_row).collect();
        Ok(rows?)
    }

    /// Writes down how far the run is, together with what the slice found out, and keeps the lease.
    async fn save(&mut self, found: Vec<Statement>) -> Result<(), Stop> {
        let now = self.world.now();
        let total: u64 = self.progress.groups.values().map(|tally| tally.logs).sum();
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

    async fn figures(&mut self) -> Result<(), Stop> {
        row! {
            struct Id {
                id: String,
            }
        }
        row! {
            struct Bucket {
                grp: String,
                time: u64,
                n: u64,
            }
        }
        let cursor = self.progress.cursor.clone();
        let logs = self.logs(cursor.as_deref());
        let end = format!("ORDER BY {} LIMIT 1 OFFSET {}", logs.in_time(Direction::Descending), FIGURES_AT_ONCE - 1);
        let end = self.counted::<Id>(logs.select("logs.id AS id", &end)).await?.pop().map(|last| last.id);
        let slice = |run: &Self| {
            let mut logs = run.logs(cursor.as_deref());
            if let Some(end) = &end {
                logs.down_to(end);
            }
            let group = run.group(&mut logs);
            (logs, group)
        };
        let mut found: BTreeMap<String, Tally> = BTreeMap::new();

        let (mut logs, group) = slice(self);
        let mut columns = format!("{group} AS grp, count(*) AS logs");
        for (position, (_, evaluator)) in self.plan.evaluators.iter().enumerate() {
            match evaluator {
                Evaluator::Figure(Figure::Mean(metric) | Figure::Share(metric)) => {
                    let value = metric.sql(|key| logs.bind(key));
                    columns.push_str(&format!(
                        ", count({value}) AS n{position}, total({value}) AS s{position}, total(({value}) * ({value})) AS q{position}"
                    ));
                }
                Evaluator::Figure(Figure::CostPerThumbsUp) => columns.push_str(
                    ", count(logs.cost) AS pairs, total(logs.cost) AS pair_cost, total(logs.cost * logs.cost) AS pair_squares, \
                     total(logs.cost IS NOT NULL AND logs.feedback = 1) AS pair_ups, total(iif(logs.feedback = 1, logs.cost, 0)) AS pair_product",
                ),
                _ => {}
            }
        }
        for row in self.selected(logs.select(&columns, "GROUP BY 1")).await? {
            let figure = |name: &str| row.get(name).and_then(Value::as_f64).unwrap_or(0.0);
            let mut tally = Tally { logs: figure("logs") as u64, ..Tally::default() };
            for (position, (id, _)) in self.plan.evaluators.iter().enumerate() {
                if row.contains_key(&format!("n{position}")) {
                    let of = |kind: char| figure(&format!("{kind}{position}"));
                    tally.sums.insert(id.clone(), Sums { n: of('n'), sum: of('s'), squares: of('q') });
                }
            }
            if row.contains_key("pairs") {
                tally.pairs = Some(Pairs {
                    n: figure("pairs"),
                    cost: figure("pair_cost"),
                    cost_squares: figure("pair_squares"),
                    ups: figure("pair_ups"),
                    cost_of_ups: figure("pair_product"),
                });
            }
            let group = row.get("grp").and_then(Value::as_str).unwrap_or("").to_owned();
            found.entry(group).or_default().add(&tally);
        }
        for timing in [Timing::Duration, Timing::FirstByte] {
            let wanted = |evaluator: &Evaluator| matches!(evaluator, Evaluator::Figure(Figure::Percentile(own, _)) if *own == timing);
            if !self.plan.evaluators.iter().any(|(_, evaluator)| wanted(evaluator)) {
                continue;
            }
            let (mut logs, group) = slice(self);
            logs.and(format!("{} IS NOT NULL", timing.sql()));
            let columns = format!("{group} AS grp, {} AS time, count(*) AS n", bucket_sql(timing));
            for Bucket { grp, time, n } in self.counted::<Bucket>(logs.select(&columns, "GROUP BY 1, 2")).await? {
                let histograms = &mut found.entry(grp).or_default().histograms;
                let histogram: &mut Histogram = histograms.entry(timing.sql().to_owned()).or_default();
                *histogram.0.entry(time).or_default() += n;
            }
        }
        for (group, tally) in found {
            let group = known(&self.progress.groups, group);
            self.progress.groups.entry(group).or_default().add(&tally);
        }
        self.progress.figures_done = end.is_none();
        self.progress.cursor = end.or(cursor);
        let mut results = Vec::new();
        if self.progress.figures_done {
            for (position, (id, evaluator)) in self.plan.evaluators.iter().enumerate() {
                if let Evaluator::Figure(figure) = evaluator {
                    let whole = self.progress.groups.values().fold(Tally::default(), |mut sum, tally| {
                        sum.add(tally);
                        sum
                    });
                    let groups =
                        self.progress.groups.iter().map(|(group, tally)| (group.clone(), tally.figure(id, figure)));
                    let report =
                        Report { measured: whole.figure(id, figure), groups: groups.collect(), ..Report::default() };
                    results.push(self.result(position, evaluator, &report));
                }
            }
        }
        self.save(results).await
    }

    /// The next logs of a pass, with their bodies.
    async fn answered(&mut self, position: usize, id: &str, limit: u32) -> Result<Vec<Answered>, Stop> {
        let cursor = self.progress.answers.entry(position).or_default().cursor.clone();
        let mut logs = self.logs(cursor.as_deref());
        let group = self.group(&mut logs);
        let (evaluation, evaluator) = (logs.bind(self.row.id.as_str()), logs.bind(id));
        let columns = format!(
            "logs.id AS id, {group} AS grp, \
             (SELECT request FROM log_bodies WHERE log_id = logs.id AND seq = 0) AS request, \
             (SELECT response FROM log_bodies WHERE log_id = logs.id AND seq = 0) AS response, \
             EXISTS (SELECT 1 FROM log_bodies WHERE log_id = logs.id AND seq = 1) AS longer, \
             EXISTS (SELECT 1 FROM verdicts WHERE evaluation_id = {evaluation} AND evaluation_type_id = {evaluator} AND log_id = logs.id) AS judged"
        );
        let rest = format!("ORDER BY {} LIMIT {limit}", logs.in_time(Direction::Descending));
        self.counted(logs.select(&columns, &rest)).await
    }

    fn id(&self, position: usize) -> String {
        self.plan.evaluators.get(position).map(|(id, _)| id.clone()).unwrap_or_default()
    }

    async fn test(&mut self, position: usize, test: &Test) -> Result<(), Stop> {
        let id = self.id(position);
        let rows = self.answered(position, &id, ANSWERS_AT_ONCE).await?;
        let mut found = Vec::new();
        let pass = self.progress.answers.entry(position).or_default();
        for row in &rows {
            let conversation = row.conversation();
            let Some(output) = conversation.as_ref().and_then(Conversation::output) else {
                pass.skipped += 1;
                continue;
            };
            let (passes, reason) = test.check(output);
            let failed: f64 = pass.groups.values().map(|sums| sums.n - sums.sum).sum();
            let group = known(&pass.groups, row.grp.clone());
            pass.groups.entry(group).or_default().push(f64::from(passes));
            if !passes && failed < MAX_EXAMPLES {
                found.push(verdict(
                    &self.row.id,
                    &id,
                    &row.id,
                    Some(0.0),
                    reason.as_deref(),
                    None,
                    None,
                    self.world.now(),
                ));
            }
        }
        pass.cursor = rows.last().map(|row| row.id.clone()).or(pass.cursor.take());
        pass.done = rows.len() < ANSWERS_AT_ONCE as usize;
        if pass.done {
            let whole = pass.groups.values().fold(Sums::default(), |mut sum, sums| {
                sum.add(sums);
                sum
            });
            let groups = pass.groups.iter().map(|(group, sums)| (group.clone(), sums.share())).collect();
            let report = Report { measured: whole.share(), groups, skipped: pass.skipped, ..Report::default() };
            found.push(self.result(position, &Evaluator::Test(test.clone()), &report));
        }
        self.save(found).await
    }

    async fn judge(&mut self, position: usize, judge: &Judge) -> Result<(), Stop> {
        let id = self.id(position);
        let so_far = self.said(&id).await?;
        let tired = so_far.value == 0 && so_far.failed >= MAX_FIRST_FAILURES;
        let spent = judge.max_cost.is_some_and(|most| so_far.cost >= most);
        let left = judge.max_logs.saturating_sub(so_far.value + so_far.failed);
        let limit = (judge.concurrency as u64).min(left) as u32;
        let rows = if tired || spent || limit == 0 { Vec::new() } else { self.answered(position, &id, limit).await? };
        if rows.is_empty() {
            let why = if spent {
                "stopped at max_cost"
            } else if left == 0 {
                "stopped at max_logs"
            } else {
                ""
            };
            return self.judged(position, &id, judge, tired, why).await;
        }
        let mut questions = Vec::new();
        for row in rows.iter().filter(|row| row.judged == 0) {
            match row.conversation().and_then(|conversation| judge.question(&conversation)) {
                Some(question) => questions.push((row.id.clone(), question)),
                None => self.progress.answers.entry(position).or_default().skipped += 1,
            }
        }
        {
            let run = &*self;
            let ask = |(log, question)| async move { (log, question, run.heard(question).await) };
            let mut asked: FuturesUnordered<_> = questions.iter().map(|(log, question)| ask((log, question))).collect();
            while let Some((log, question, heard)) = asked.next().await {
                let said = run.verdict(&id, log, judge, question, heard);
                // Each as it comes: a verdict costs money, and is not asked for twice.
                let now = run.world.now();
                let alive = Statement::new(
                    "UPDATE evaluations SET lease_until = ?3 WHERE id = ?1 AND runner = ?2",
                    [run.row.id.as_str().into(), run.runner.into(), Bind::Int((now + LEASE_MS) as i64)],
                );
                if run.store.batch(vec![alive, said]).await?.first() != Some(&1) {
                    return Err(Stop::Replaced);
                }
            }
        }
        let pass = self.progress.answers.entry(position).or_default();
        pass.cursor = rows.last().map(|row| row.id.clone());
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
            Ok(Heard { status, body, log_id }) => {
                let facts = wire::read(wire::Framing::Json, status, body.as_bytes());
                let model = facts.model.as_deref().unwrap_or(&judge.model);
                let cost = price::find(&question.provider, model)
                    .or_else(|| price::find(&question.provider, &judge.model))
                    .and_then(|price| price.cost(&facts.usage));
                let word = if status >= 400 {
                    Err(format!("the judge's provider answered {status}: {}", facts.error.unwrap_or_default()))
                } else {
                    let answer = Conversation::read(None, Some(&body));
                    answer.output().ok_or_else(|| "the judge said nothing".to_owned()).and_then(|text| judge.word(text))
                };
                (word, facts.usage.cost.or(cost), log_id)
            }
        };
        let (value, reason) = match word {
            Ok(word) => (Some(word.value), word.reason),
            Err(reason) => (None, Some(reason)),
        };
        verdict(&self.row.id, id, log, value, reason.as_deref(), cost, judge_log.as_deref(), self.world.now())
    }

    async fn said(&self, id: &str) -> Result<Said, Stop> {
        let sql = "SELECT count(value) AS value, count(*) - count(value) AS failed, total(cost) AS cost, \
                   max(CASE WHEN value IS NULL THEN reason END) AS reason FROM verdicts WHERE evaluation_id = ?1 AND evaluation_type_id = ?2";
        let said = self.store.row(Statement::new(sql, [self.row.id.as_str().into(), id.into()])).await?;
        Ok(said.unwrap_or_default())
    }

    /// Sums up what a judge said.
    async fn judged(&mut self, position: usize, id: &str, judge: &Judge, tired: bool, why: &str) -> Result<(), Stop> {
        row! {
            struct Sum {
                grp: String,
                n: f64,
                sum: f64,
                squares: f64,
            }
        }
        let said = self.said(id).await?;
        let mut logs = Selection::new(self.row.gateway, &Filters::default());
        let group = self.group(&mut logs);
        let (evaluation, evaluator) = (logs.bind(self.row.id.as_str()), logs.bind(id));
        logs.and(format!("said.evaluation_id = {evaluation} AND said.evaluation_type_id = {evaluator}"));
        let sums = logs.select(
            &format!("{group} AS grp, count(said.value) AS n, total(said.value) AS sum, total(said.value * said.value) AS squares"),
            "GROUP BY 1",
        );
        let sums = Statement {
            sql: sums.sql.replacen("FROM logs", "FROM verdicts AS said JOIN logs ON logs.id = said.log_id", 1).into(),
            ..sums
        };
        let mut groups: BTreeMap<String, Sums> = BTreeMap::new();
        for Sum { grp, n, sum, squares } in self.counted::<Sum>(sums).await? {
            let group = known(&groups, grp);
            groups.entry(group).or_default().add(&Sums { n, sum, squares });
        }
        let whole = groups.values().fold(Sums::default(), |mut sum, sums| {
            sum.add(sums);
            sum
        });
        let measured = |sums: Sums| if judge.unit() == "percent" { sums.share() } else { sums.mean() };
        let pass = self.progress.answers.entry(position).or_default();
        pass.done = true;
        let report = Report {
            measured: measured(whole),
            groups: groups.into_iter().map(|(group, sums)| (group, measured(sums))).collect(),
            skipped: pass.skipped,
            failed: said.failed,
            cost: Some(said.cost),
            note: why.to_owned(),
            error: tired.then(|| {
                format!("the judge failed {} times in a row: {}", said.failed, said.reason.unwrap_or_default())
            }),
        };
        let result = self.result(position, &Evaluator::Judge(judge.clone()), &report);
        self.save(vec![result]).await
    }

    /// The statement that shows what an evaluator found.
    fn result(&self, position: usize, evaluator: &Evaluator, report: &Report) -> Statement {
        let grouped = self.plan.group_by.is_some();
        let shown = |measured: &Measured| {
            let interval = measured.interval.map(|(low, high)| json!([rounded(low), rounded(high)]));
            (measured.value.map(|value| number::text(rounded(value))).unwrap_or_default(), measured.n, interval)
        };
        let (result, n, interval) = shown(&report.measured);
        let groups: Vec<Value> = report
            .groups
            .iter()
            .filter(|_| grouped)
            .map(|(group, measured)| {
                let (result, n, interval) = shown(measured);
                json!({ "group": group, "result": result, "total_logs": n, "confidence_interval": interval })
            })
            .collect();
        let mut detail = json!({ "unit": evaluator.unit(), "confidence_interval": interval, "groups": groups });
        if let (Some(detail), false) = (detail.as_object_mut(), matches!(evaluator, Evaluator::Figure(_))) {
            detail.insert("skipped".to_owned(), json!(report.skipped));
            detail.insert("failed".to_owned(), json!(report.failed));
            detail.insert("cost".to_owned(), json!(report.cost));
        }
        let (status, description) = match &report.error {
            Some(error) => (Status::Error, error.clone()),
            None => (Status::Completed, report.description()),
        };
        Statement::new(
            "UPDATE evaluation_results SET status = ?3, status_description = ?4, result = ?5, total_logs = ?6, detail = ?7, \
             modified_at = ?8 WHERE evaluation_id = ?1 AND position = ?2",
            [
                self.row.id.as_str().into(),
                Bind::Int(position as i64),
                Bind::Int(status as i64),
                description.into(),
                result.into(),
                Bind::Int(n as i64),
                detail.to_string().into(),
                Bind::Int(self.world.now() as i64),
            ],
        )
    }

    /// Marks what cannot be worked out as failed, so that the rest can go on.
    async fn give_up(&mut self, reason: &str) -> Result<(), StoreError> {
        let mut failed = Vec::new();
        let figures = !self.progress.figures_done;
        self.progress.figures_done = true;
        for (position, (_, evaluator)) in self.plan.evaluators.iter().enumerate() {
            let is_figure = matches!(evaluator, Evaluator::Figure(_));
            let done = self.progress.answers.get(&position).is_some_and(|pass| pass.done);
            if figures != is_figure || done {
                continue;
            }
            let error = Some(format!("the database failed {MAX_STORE_FAILURES} times: {reason}"));
            failed.push(self.result(position, evaluator, &Report { error, ..Report::default() }));
            if !is_figure {
                self.progress.answers.entry(position).or_default().done = true;
                break;
            }
        }
        self.progress.failures = 0;
        match self.save(failed).await {
            Err(Stop::Store(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

row! {
    #[derive(Default)]
    struct Said {
        value: u64,
        failed: u64,
        cost: f64,
        reason: Option<String>,
    }
}

/// The states of a result; Cloudflare's numbers are not documented, the words stand beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending = 0,
    Completed = 2,
    Error = 3,
}

/// What an evaluator found.
struct Report {
    measured: Measured,
    groups: Vec<(String, Measured)>,
    skipped: u64,
    failed: u64,
    cost: Option<f64>,
    note: String,
    error: Option<String>,
}

impl Default for Report {
    fn default() -> Self {
        let measured = Measured { n: 0, value: None, interval: None };
        Self { measured, groups: Vec::new(), skipped: 0, failed: 0, cost: None, note: String::new(), error: None }
    }
}

impl Report {
    fn description(&self) -> String {
        let mut said = if self.measured.value.is_some() {
            "completed".to_owned()
        } else {
            "completed: no log has what this measures".to_owned()
        };
        if self.skipped > 0 {
            said.push_str(&format!("; {} logs without an answer to read", self.skipped));
        }
        if self.failed > 0 {
            said.push_str(&format!("; {} without a verdict", self.failed));
        }
        if !self.note.is_empty() {
            said.push_str(&format!("; {}", self.note));
        }
        said
    }
}

// === impl Answered ===

impl Answered {
    fn conversation(&self) -> Option<Conversation> {
        (self.longer == 0).then(|| Conversation::read(self.request.as_deref(), self.response.as_deref()))
    }
}

/// The group a log is counted in.
fn known<T>(groups: &BTreeMap<String, T>, group: String) -> String {
    if groups.contains_key(&group) || groups.len() < MAX_GROUPS { group } else { OTHER_GROUPS.to_owned() }
}

/// Nine digits behind the point: enough for fractions of a cent, without the noise of floating point.
fn rounded(value: f64) -> f64 {
    let scaled = (value * 1e9).round();
    if scaled.is_finite() { scaled / 1e9 } else { value }
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
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
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
