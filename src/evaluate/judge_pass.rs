//! The part of a run in which a judge is asked about answers.

use super::Evaluator;
use super::judge::{Judge, Question};
use super::keyed::Keyed;
use super::report::Report;
use super::run::{Call, Heard, MAX_SAID, Run, Stop, World, known};
use super::tally::Sums;
use super::verdicts::verdict;
use crate::conversation::Conversation;
use crate::db::store::{Bind, Statement, Store, row};
use crate::logs::filter::Next;
use crate::pricing::price;
use crate::wire;
use futures_util::stream::{FuturesUnordered, StreamExt};

/// A judge that has failed so often without a single verdict is not going to succeed.
const MAX_FIRST_FAILURES: u64 = 5;

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

// === impl Run ===

impl<S: Store, W: World> Run<'_, S, W> {
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
