//! `…/evaluations/{id}/export`: what was said of single logs, in the words of other tools.

use crate::api::Place;
use crate::base::json::json;
use crate::base::timestamp;
use crate::db::store::{Bind, Statement, Store, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::params::{chosen, number};
use crate::http::query::Query;
use serde_json::{Map, Value};

/// Verdicts of one piece.
const MOST: u64 = 5_000;

row! {
    struct Run {
        name: String,
        created_at: u64,
        /// The figure of each evaluator: a JSON object.
        report: String,
    }
}

row! {
    struct Verdict {
        evaluator: String,
        log_id: String,
        /// The id that callers know the log by.
        name: String,
        value: Option<f64>,
        reason: Option<String>,
        created_at: u64,
    }
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/evaluations/{id}/export`
///
/// `?format=openai-evals` has the lines that OpenAI Evals records of a run, `langfuse` the scores that Langfuse takes. `x-next-cursor`
/// says where the next piece begins, if there is one.
pub async fn export(store: &impl Store, place: &Place<'_>, id: &str, query: &Query) -> Result<Reply, ApiError> {
    let is_langfuse = chosen(query, "format", &["openai-evals", "langfuse"])? == "langfuse";
    let limit = number(query, "limit", 1, MOST)?.unwrap_or(MOST);
    let (evaluator, log) = query.get("cursor").unwrap_or("").split_once('/').unwrap_or(("", ""));
    let sql = "SELECT name, created_at, (SELECT json_group_object(evaluation_type_id, result) FROM evaluation_results \
         WHERE evaluation_id = evaluations.id) AS report FROM evaluations WHERE id = ?1 AND gateway = ?2";
    let run = store.row::<Run>(Statement::new(sql, [id.into(), place.key.into()])).await?;
    let run = run.ok_or_else(ApiError::not_found)?;
    let sql = "SELECT evaluation_type_id AS evaluator, log_id, value, reason, created_at, \
         coalesce((SELECT ingested_id FROM logs WHERE logs.id = log_id), log_id) AS name \
         FROM verdicts WHERE evaluation_id = ?1 AND (evaluation_type_id, log_id) > (?2, ?3) \
         ORDER BY evaluation_type_id, log_id LIMIT ?4";
    let binds = [id.into(), evaluator.into(), log.into(), Bind::Int(limit as i64)];
    let verdicts: Vec<Verdict> = store.rows(Statement::new(sql, binds)).await?;
    let mut body = String::new();
    let mut add = |line: Value| {
        body.push_str(&line.to_string());
        body.push('\n');
    };
    if !is_langfuse && log.is_empty() {
        let begun = timestamp::format(run.created_at);
        add(json!({ "spec": {
            "eval_name": run.name, "base_eval": run.name, "split": "logs", "completion_fns": [], "run_config": {},
            "created_by": "tollgate", "run_id": id, "created_at": begun,
        } }));
        add(json!({ "final_report": report(&run.report) }));
    }
    for verdict in &verdicts {
        let time = timestamp::format(verdict.created_at);
        match (is_langfuse, verdict.value) {
            (true, Some(value)) => add(json!({
                "id": format!("{id}-{}-{}", verdict.evaluator, verdict.name), "traceId": verdict.name,
                "name": verdict.evaluator, "value": value, "dataType": "NUMERIC", "comment": verdict.reason,
                "metadata": { "evaluation": run.name, "evaluation_id": id, "created_at": time },
            })),
            // Langfuse knows no score without a value.
            (true, None) => {}
            (false, value) => add(json!({
                "run_id": id, "event_id": format!("{}/{}", verdict.evaluator, verdict.name), "sample_id": verdict.name,
                "type": "metrics", "data": { (verdict.evaluator.as_str()): value, "reason": verdict.reason },
                "created_by": "tollgate", "created_at": time,
            })),
        }
    }
    let name = if is_langfuse { "scores.jsonl" } else { "evals.jsonl" };
    let headers = vec![
        ("content-disposition", format!("attachment; filename=\"{name}\"")),
        ("x-content-type-options", "nosniff".to_owned()),
    ];
    let reply = Reply { status: 200, content_type: "application/x-ndjson", headers, body, object: None };
    Ok(match verdicts.last().filter(|_| verdicts.len() as u64 == limit) {
        Some(last) => reply.with_header("x-next-cursor", format!("{}/{}", last.evaluator, last.log_id)),
        None => reply,
    })
}

/// The figures as numbers, where they are some.
fn report(figures: &str) -> Map<String, Value> {
    let mut report: Map<String, Value> = serde_json::from_str(figures).unwrap_or_default();
    for value in report.values_mut() {
        if let Some(number) = value.as_str().and_then(crate::base::number::parse) {
            *value = json!(number);
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sqlite::Sqlite;
    use pollster::block_on;

    const PLACE: Place<'static> = Place { account: "a", gateway: "gw", key: 1 };

    fn with_verdicts() -> Sqlite {
        let store = Sqlite::new();
        let rows = [
            "INSERT INTO evaluations (id, gateway, name, processed, total_logs, datasets, plan, lease_until, created_at, modified_at) \
             VALUES ('e', 1, 'All', 1, 3, '[]', '{}', 0, 0, 0)",
            "INSERT INTO evaluation_results (id, evaluation_id, position, evaluation_type_id, status, status_description, result, total_logs, \
             detail, created_at, modified_at) VALUES ('r', 'e', 0, 'llm_judge', 2, '', '0.5', 3, '{}', 0, 0)",
            "INSERT INTO verdicts (evaluation_id, evaluation_type_id, log_id, value, reason, created_at) VALUES \
             ('e', 'llm_judge', 'a', 1, 'well \"said\"', 0), ('e', 'llm_judge', 'b', 0, NULL, 0), ('e', 'llm_judge', 'c', NULL, 'no answer', 0), \
             ('other', 'llm_judge', 'a', 1, NULL, 0)",
        ];
        block_on(store.batch(rows.map(|sql| Statement::new(sql, [])).into())).unwrap();
        store
    }

    fn lines(store: &Sqlite, query: &str) -> (Vec<Value>, Option<String>) {
        let reply = block_on(export(store, &PLACE, "e", &Query::parse(query))).unwrap();
        let cursor = reply.headers.iter().find(|(name, _)| *name == "x-next-cursor").map(|(_, value)| value.clone());
        (reply.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), cursor)
    }

    #[test]
    fn verdicts_are_told_as_openai_evals_records_them() {
        let (lines, cursor) = lines(&with_verdicts(), "");
        assert_eq!((lines.len(), cursor), (5, None));
        assert_eq!((&lines[0]["spec"]["eval_name"], &lines[0]["spec"]["run_id"]), (&json!("All"), &json!("e")));
        assert_eq!(lines[1], json!({ "final_report": { "llm_judge": 0.5 } }));
        assert_eq!(lines[2]["data"], json!({ "llm_judge": 1.0, "reason": "well \"said\"" }));
        assert_eq!((&lines[4]["sample_id"], &lines[4]["data"]["llm_judge"]), (&json!("c"), &Value::Null));
    }

    #[test]
    fn langfuse_gets_scores_piece_by_piece() {
        let store = with_verdicts();
        let (first, cursor) = lines(&store, "format=langfuse&limit=1");
        assert_eq!(
            (&first[0]["traceId"], &first[0]["value"], &first[0]["name"]),
            (&json!("a"), &json!(1.0), &json!("llm_judge"))
        );
        let (rest, cursor) = lines(&store, &format!("format=langfuse&limit=5&cursor={}", cursor.unwrap()));
        assert_eq!((rest.len(), &rest[0]["traceId"], cursor), (1, &json!("b"), None));
        let elsewhere = block_on(export(&store, &Place { key: 2, ..PLACE }, "e", &Query::parse("")));
        assert_eq!(elsewhere.unwrap_err().status, 404);
        assert_eq!(block_on(export(&store, &PLACE, "e", &Query::parse("format=csv"))).unwrap_err().status, 400);
    }
}
