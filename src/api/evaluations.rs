//! `…/evaluations`: what came out when the logs of datasets were measured. The work itself is in [`crate::evaluate`].

use super::{Place, datasets, name, object, only};
use crate::api::effect::{Effect, Handled};
use crate::base::json::json;
use crate::base::number;
use crate::base::timestamp;
use crate::config::bounds::Most;
use crate::db::audit::Actor;
use crate::db::store::{Bind, Statement, Store, row};
use crate::evaluate::report::Status;
use crate::evaluate::{Plan, TYPES};
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::params::flag;
use crate::http::query::Query;
use crate::logs::filter::MAX_FILTERS;
use serde_json::{Map, Value};

const MAX_PER_PAGE: u64 = 100;

const MAX_DATASETS: usize = 10;

const MAX_COMPARED: usize = 10;

/// Of the hundred values a statement may bind, those for filters and evaluators.
const MAX_BINDS: usize = 90;

const COLUMNS: &str = "id, name, processed, total_logs, datasets, plan, progress ->> 'rows_read' AS rows_read, \
     progress IS NOT NULL OR runner IS NOT NULL AS begun, created_at, modified_at";

row! {
    struct Evaluation {
        id: String,
        name: String,
        processed: u8,
        total_logs: u64,
        datasets: String,
        plan: String,
        rows_read: Option<u64>,
        begun: u8,
        created_at: u64,
        modified_at: u64,
    }
}

row! {
    struct Outcome {
        id: String,
        evaluation_id: String,
        evaluation_type_id: String,
        status: u8,
        status_description: String,
        result: String,
        total_logs: u64,
        detail: String,
        created_at: u64,
        modified_at: u64,
    }
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/evaluations`
pub async fn list(store: &impl Store, place: &Place<'_>, query: &Query) -> Handled {
    Handled::always([Effect::Evaluate(place.own())], async {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let matching = "evaluations WHERE gateway = ?1 AND (?2 IS NULL OR name = ?2) AND (?3 IS NULL OR processed = ?3) \
         AND (?4 IS NULL OR instr(lower(id), ?4) > 0 OR instr(lower(name), ?4) > 0)";
    let binds = vec![
        place.key.into(),
        query.get("name").into(),
        flag(query, "processed")?.into(),
        query.get("search").map(str::to_ascii_lowercase).into(),
    ];
    let (rows, info) = page.read::<Evaluation>(store, COLUMNS, matching, "created_at DESC, id DESC", binds).await?;
    let shown = with_results(store, place, &rows).await?;
    Ok(Reply::list(shown, info))
    })
    .await
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/evaluations/{id}`
pub async fn get(store: &impl Store, place: &Place<'_>, id: &str) -> Handled {
    Handled::always([Effect::Evaluate(place.own())], async {
        let evaluation = existing(store, place, id).await?;
        Ok(Reply::result(with_results(store, place, &[evaluation]).await?.pop()))
    })
    .await
}

async fn existing(store: &impl Store, place: &Place<'_>, id: &str) -> Result<Evaluation, ApiError> {
    let row = Statement::new(
        format!("SELECT {COLUMNS} FROM evaluations WHERE id = ?1 AND gateway = ?2"),
        [id.into(), place.key.into()],
    );
    store.row::<Evaluation>(row).await?.ok_or_else(ApiError::not_found)
}

async fn results(store: &impl Store, ids: &[&str]) -> Result<Vec<Outcome>, ApiError> {
    let rows = Statement::new(
        "SELECT id, evaluation_id, evaluation_type_id, status, status_description, result, total_logs, detail, created_at, modified_at \
         FROM evaluation_results WHERE evaluation_id IN (SELECT value FROM json_each(?1)) ORDER BY evaluation_id, position",
        [Value::from(ids).to_string().into()],
    );
    Ok(store.rows(rows).await?)
}

async fn with_results(store: &impl Store, place: &Place<'_>, rows: &[Evaluation]) -> Result<Vec<Value>, ApiError> {
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let outcomes = results(store, &ids).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let own = outcomes.iter().filter(|outcome| outcome.evaluation_id == row.id);
            row.show(place, own.map(|outcome| outcome.show(row.begun == 1)).collect())
        })
        .collect())
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/evaluations`
///
/// Makes an evaluation. The logs that are there already are what it is about; it runs behind the answer.
pub async fn create(
    store: &impl Store,
    place: &Place<'_>,
    body: &[u8],
    id: &str,
    actor: &Actor<'_>,
    bound: &Most,
) -> Handled {
    Handled::always([Effect::Evaluate(place.own())], async {
    let body = object(body)?;
    only(&body, &["name", "dataset_ids", "evaluation_type_ids", "settings", "group_by"], &["body"])?;
    let name = name(&body)?;
    let plan = Plan::parse(&body)?;
    let datasets = chosen(store, place, &body, plan.evaluators.len()).await?;
    let mut kept = Map::new();
    for name in ["evaluation_type_ids", "settings", "group_by"] {
        if let Some(value) = body.get(name) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    let insert = Statement::new(
        "INSERT INTO evaluations (id, gateway, name, processed, total_logs, datasets, plan, lease_until, created_at, modified_at) \
         SELECT ?1, ?2, ?3, 0, 0, ?4, ?5, 0, ?6, ?6 WHERE (SELECT count(*) FROM evaluations WHERE gateway = ?2) < ?7 \
         ON CONFLICT (gateway, name) DO NOTHING",
        [
            id.into(),
            place.key.into(),
            name.into(),
            Value::from(datasets).to_string().into(),
            Value::Object(kept).to_string().into(),
            Bind::Int(actor.now_ms as i64),
            bound.bind(),
        ],
    );
    let types: Vec<Value> = plan
        .evaluators
        .iter()
        .enumerate()
        .map(|(position, (kind, evaluator))| {
            json!([format!("{id}-{position:02}"), position, kind, json!({ "unit": evaluator.unit() }).to_string()])
        })
        .collect();
    // Only where the insert above took effect, and not for the evaluation that has the name already.
    let results = Statement::new(
        "INSERT INTO evaluation_results (id, evaluation_id, position, evaluation_type_id, status, status_description, result, total_logs, detail, created_at, modified_at) \
         SELECT value->>0, ?1, value->>1, value->>2, ?4, 'pending', '', 0, value->>3, ?3, ?3 FROM json_each(?2) \
         WHERE EXISTS (SELECT 1 FROM evaluations WHERE id = ?1)",
        [
            id.into(),
            Value::from(types).to_string().into(),
            Bind::Int(actor.now_ms as i64),
            Bind::Int(Status::Pending as i64),
        ],
    );
    let row = actor.row(&place.change("evaluation.create", id, &body));
    if store.batch(vec![insert, row, results]).await?.first() != Some(&1) {
        let of_that_name = "SELECT id FROM evaluations WHERE gateway = ?1 AND name = ?2";
        if store.ids(Statement::new(of_that_name, [place.key.into(), name.into()])).await?.is_empty() {
            return Err(bound.reached());
        }
        return Err(ApiError::invalid(
            ["body", "name"],
            format!("An evaluation with the name '{name}' already exists"),
        ));
    }
    get(store, place, id).await.reply
    })
    .await
}

/// The datasets of a new evaluation, as they are now.
async fn chosen(
    store: &impl Store,
    place: &Place<'_>,
    body: &Map<String, Value>,
    evaluators: usize,
) -> Result<Vec<Value>, ApiError> {
    let ids = body.get("dataset_ids").and_then(Value::as_array).filter(|ids| (1..=MAX_DATASETS).contains(&ids.len()));
    let Some(ids) = ids else {
        let rule = format!("Expected an array of 1 to {MAX_DATASETS} ids of datasets");
        return Err(ApiError::invalid(["body", "dataset_ids"], rule));
    };
    let mut found = Vec::new();
    let mut filters = 0;
    for (index, id) in ids.iter().enumerate() {
        let index = index.to_string();
        let wrong = |rule: &str| ApiError::invalid(["body", "dataset_ids", &index], rule);
        let id = id.as_str().ok_or_else(|| wrong("Expected the id of a dataset"))?;
        let dataset = datasets::find(store, place.key, id)
            .await?
            .ok_or_else(|| wrong("There is no such dataset in this gateway"))?;
        if !dataset.is_enabled() {
            return Err(wrong("This dataset is disabled"));
        }
        filters += dataset.filters();
        // Each filter binds up to three values and each evaluator one, and D1 allows a statement a hundred.
        if filters > MAX_FILTERS || filters * 3 + evaluators > MAX_BINDS {
            let rule = format!(
                "The datasets of one evaluation may have {MAX_FILTERS} filters together, and fewer with many evaluators"
            );
            return Err(wrong(&rule));
        }
        found.push(json!(dataset.show(place)));
    }
    Ok(found)
}

/// `DELETE /accounts/{account}/ai-gateway/gateways/{gateway}/evaluations/{id}`
pub async fn delete(store: &impl Store, place: &Place<'_>, id: &str, actor: &Actor<'_>) -> Result<Reply, ApiError> {
    let evaluation = existing(store, place, id).await?;
    let shown = with_results(store, place, &[evaluation]).await?.pop();
    let delete = |sql: &'static str| Statement::new(sql, [id.into()]);
    store
        .batch(vec![
            delete("DELETE FROM evaluations WHERE id = ?1"),
            actor.row(&place.change("evaluation.delete", id, &Map::new())),
            delete("DELETE FROM evaluation_results WHERE evaluation_id = ?1"),
            delete("DELETE FROM verdicts WHERE evaluation_id = ?1"),
        ])
        .await?;
    Ok(Reply::result(shown))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/evaluations/{id}/verdicts`
///
/// What judges and tests said of single logs: those of one evaluator with `?evaluation_type_id=`.
pub async fn verdicts(store: &impl Store, place: &Place<'_>, id: &str, query: &Query) -> Result<Reply, ApiError> {
    row! {
        struct EvaluationRow {
            evaluation_type_id: String,
            name: String,
            value: Option<f64>,
            reason: Option<String>,
            cost: Option<f64>,
            judge_log_id: Option<String>,
            created_at: u64,
        }
    }
    let page = Page::parse(query, MAX_PER_PAGE)?;
    existing(store, place, id).await?;
    let matching = "verdicts WHERE evaluation_id = ?1 AND (?2 IS NULL OR evaluation_type_id = ?2)";
    let binds = vec![id.into(), query.get("evaluation_type_id").into()];
    let columns = "evaluation_type_id, value, reason, cost, judge_log_id, created_at, coalesce((SELECT ingested_id FROM logs WHERE id = log_id), log_id) AS name";
    let order = "evaluation_type_id, log_id DESC";
    let (rows, info) = page.read::<EvaluationRow>(store, columns, matching, order, binds).await?;
    let shown: Vec<Value> = rows
        .into_iter()
        .map(|row| {
            json!({
                "evaluation_type_id": row.evaluation_type_id,
                "log_id": row.name,
                "verdict": row.value,
                "reason": row.reason,
                "cost": row.cost,
                "judge_log_id": row.judge_log_id,
                "created_at": timestamp::format(row.created_at),
            })
        })
        .collect();
    Ok(Reply::list(shown, info))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/evaluations/compare`
///
/// The figures of several evaluations side by side.
pub async fn compare(store: &impl Store, place: &Place<'_>, query: &Query) -> Handled {
    Handled::always([Effect::Evaluate(place.own())], async {
    let ids: Vec<&str> = query.get("ids").unwrap_or("").split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
    if !(1..=MAX_COMPARED).contains(&ids.len()) {
        let rule = format!("Expected the ids of 1 to {MAX_COMPARED} evaluations, with commas between them");
        return Err(ApiError::invalid(["query", "ids"], rule));
    }
    let mut evaluations = Vec::new();
    for id in &ids {
        evaluations.push(existing(store, place, id).await?);
    }
    let outcomes = results(store, &ids).await?;
    let mut kinds: Vec<&str> = Vec::new();
    for id in &ids {
        for outcome in outcomes.iter().filter(|outcome| outcome.evaluation_id == *id) {
            if !kinds.contains(&outcome.evaluation_type_id.as_str()) {
                kinds.push(&outcome.evaluation_type_id);
            }
        }
    }
    let figures: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            let base = kind.split(':').next().unwrap_or(kind);
            let name = TYPES.iter().find(|known| known.id == base).map_or(*kind, |known| known.name);
            let own: Vec<(&Evaluation, Option<&Outcome>)> = evaluations
                .iter()
                .map(|evaluation| {
                    let outcome = outcomes
                        .iter()
                        .find(|outcome| outcome.evaluation_id == evaluation.id && outcome.evaluation_type_id == *kind);
                    (evaluation, outcome)
                })
                .collect();
            let unit = own.iter().find_map(|(_, outcome)| outcome.and_then(|outcome| outcome.detail().get("unit").cloned()));
            let values: Vec<Value> = own
                .iter()
                .map(|(evaluation, outcome)| match outcome {
                    None => json!({ "evaluation_id": evaluation.id, "result": null, "total_logs": 0, "confidence_interval": null, "groups": [], "status": null, "status_description": "not measured" }),
                    Some(outcome) => {
                        let mut shown = outcome.show(evaluation.begun == 1);
                        let mut value = json!({ "evaluation_id": evaluation.id, "result": number::parse(&outcome.result), "total_logs": outcome.total_logs });
                        if let (Some(value), Some(shown)) = (value.as_object_mut(), shown.as_object_mut()) {
                            for name in ["confidence_interval", "groups", "status", "status_description"] {
                                value.insert(name.to_owned(), shown.remove(name).unwrap_or_default());
                            }
                        }
                        value
                    }
                })
                .collect();
            json!({ "evaluation_type_id": kind, "name": name, "unit": unit, "values": values })
        })
        .collect();
    let heads: Vec<Value> = evaluations
        .iter()
        .map(|row| json!({ "id": row.id, "name": row.name, "processed": row.processed == 1, "total_logs": row.total_logs, "created_at": timestamp::format(row.created_at) }))
        .collect();
    Ok(Reply::result(json!({ "evaluations": heads, "figures": figures })))
    })
    .await
}

// === impl Evaluation ===

impl Evaluation {
    fn show(&self, place: &Place<'_>, results: Vec<Value>) -> Value {
        let plan: Value = serde_json::from_str(&self.plan).unwrap_or_default();
        json!({
            "id": self.id,
            "gateway_id": place.gateway,
            "name": self.name,
            "processed": self.processed == 1,
            "total_logs": self.total_logs,
            "datasets": serde_json::from_str::<Value>(&self.datasets).unwrap_or_default(),
            "results": results,
            "settings": plan.get("settings").cloned().unwrap_or_else(|| json!({})),
            "group_by": plan.get("group_by"),
            "rows_read": self.rows_read.unwrap_or(0),
            "created_at": timestamp::format(self.created_at),
            "modified_at": timestamp::format(self.modified_at),
        })
    }
}

// === impl Outcome ===

impl Outcome {
    fn detail(&self) -> Value {
        serde_json::from_str(&self.detail).unwrap_or_default()
    }

    fn show(&self, begun: bool) -> Value {
        let running = begun && self.status == Status::Pending as u8;
        let mut shown = json!({
            "id": self.id,
            "evaluation_id": self.evaluation_id,
            "evaluation_type_id": self.evaluation_type_id,
            "status": if running { 1 } else { self.status },
            "status_description": if running { "running" } else { self.status_description.as_str() },
            "result": self.result,
            "total_logs": self.total_logs,
            "created_at": timestamp::format(self.created_at),
            "modified_at": timestamp::format(self.modified_at),
            "unit": null,
            "confidence_interval": null,
            "groups": [],
        });
        if let (Some(shown), Value::Object(detail)) = (shown.as_object_mut(), self.detail()) {
            shown.extend(detail);
        }
        shown
    }
}
