//! The statements that show what evaluators found.

use super::Evaluator;
use super::report::Report;
use super::run::{Run, World};
use super::tally::Measured;
use crate::base::json::json;
use crate::base::number;
use crate::db::store::{Bind, Statement, Store};
use crate::evaluate::report::Status;
use serde_json::Value;

impl<S: Store, W: World> Run<'_, S, W> {
    /// The statement that shows what an evaluator found.
    pub(super) fn result(&self, position: usize, evaluator: &Evaluator, report: &Report) -> Statement {
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
}

/// Nine digits behind the point: enough for fractions of a cent, without the noise of floating point.
fn rounded(value: f64) -> f64 {
    let scaled = (value * 1e9).round();
    if scaled.is_finite() { scaled / 1e9 } else { value }
}
