//! What is said of one log, as it is stored.

use crate::db::store::{Bind, Statement};

#[expect(clippy::too_many_arguments, reason = "one for each column")]
pub fn verdict(
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
