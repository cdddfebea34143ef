//! The part of a run that adds up figures of the logs: sums, and histograms of times.

use super::keyed::Keyed;
use super::report::Report;
use super::run::{Run, Stop, World, known};
use super::tally::{Histogram, Pairs, Sums, Tally, bucket_sql};
use super::{COST, Evaluator, Figure, Timing};
use crate::db::store::{Store, row};
use crate::logs::filter::Direction;
use serde_json::Value;

impl<S: Store, W: World> Run<'_, S, W> {
    pub(super) async fn figures(&mut self) -> Result<(), Stop> {
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
        let at_once = self.store.pace().added_up;
        let end = if logs.looks_through() {
            // However few of them are meant: what a statement looks at is what it costs.
            logs.end(Direction::Descending, at_once.into())
        } else {
            let rest = format!("ORDER BY {} LIMIT 1 OFFSET {}", logs.in_time(Direction::Descending), at_once - 1);
            logs.select("logs.id AS id", &rest)
        };
        let end = self.counted::<Id>(end).await?.pop().map(|last| last.id);
        let slice = |run: &Self| {
            let mut logs = run.logs(cursor.as_deref());
            if let Some(end) = &end {
                logs.down_to(end);
            }
            let group = run.group(|key| logs.bind(key));
            (logs, group)
        };
        let mut found: Keyed<String, Tally> = Keyed::default();

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
                Evaluator::Figure(Figure::CostPerThumbsUp) => columns.push_str(&format!(
                    ", count({COST}) AS pairs, total({COST}) AS pair_cost, total({COST} * {COST}) AS pair_squares, \
                     total({COST} IS NOT NULL AND logs.feedback = 1) AS pair_ups, total(iif(logs.feedback = 1, {COST}, 0)) AS pair_product",
                )),
                _ => {}
            }
        }
        for row in self.selected(logs.select(&columns, "GROUP BY 1")).await? {
            let figure = |name: &str| row.get(name).and_then(Value::as_f64).unwrap_or(0.0);
            let mut tally = Tally { logs: figure("logs") as u64, ..Tally::default() };
            for (position, (id, _)) in self.plan.evaluators.iter().enumerate() {
                if row.contains_key(&format!("n{position}")) {
                    let of = |kind: char| figure(&format!("{kind}{position}"));
                    *tally.sums.at(id.clone()) = Sums { n: of('n'), sum: of('s'), squares: of('q') };
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
            found.at(group).add(&tally);
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
                let histograms = &mut found.at(grp).histograms;
                let histogram: &mut Histogram = histograms.at(timing.sql().to_owned());
                *histogram.0.at(time) += n;
            }
        }
        for (group, tally) in found.iter() {
            let group = known(&self.progress.groups, group.clone());
            self.progress.groups.at(group).add(tally);
        }
        self.progress.figures_done = end.is_none();
        self.progress.cursor = end.or(cursor);
        let mut results = Vec::new();
        if self.progress.figures_done {
            let groups = &self.progress.groups;
            let whole = groups.values().fold(Tally::default(), |mut whole, tally| {
                whole.add(tally);
                whole
            });
            for (position, (id, evaluator)) in self.plan.evaluators.iter().enumerate() {
                if let Evaluator::Figure(figure) = evaluator {
                    let groups = groups.iter().map(|(group, tally)| (group.clone(), tally.figure(id, figure)));
                    let report =
                        Report { measured: whole.figure(id, figure), groups: groups.collect(), ..Report::default() };
                    results.push(self.result(position, evaluator, &report));
                }
            }
            // The figures are told; from here on only the number of logs counts.
            for tally in self.progress.groups.values_mut() {
                *tally = Tally { logs: tally.logs, ..Tally::default() };
            }
        }
        self.save(results).await
    }
}
