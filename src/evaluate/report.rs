//! What an evaluator found, as it is stored and shown.

use super::Evaluator;
use super::run::{Run, World};
use super::tally::Measured;
use crate::base::number;
use crate::db::store::{Bind, Statement, Store};
use serde_json::{Value, json};

/// The states of a result; Cloudflare's numbers are not documented, the words stand beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending = 0,
    Completed = 2,
    Error = 3,
}

/// What an evaluator found.
pub(super) struct Report {
    pub(super) measured: Measured,
    pub(super) groups: Vec<(String, Measured)>,
    pub(super) skipped: u64,
    pub(super) failed: u64,
    pub(super) cost: Option<f64>,
    pub(super) note: String,
    pub(super) error: Option<String>,
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
