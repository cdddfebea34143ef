//! `/feedback/{request_id}`: what users say about an answer, under whatever id the application knows it by. The format is
//! Requesty's (<https://docs.requesty.ai/features/request-feedback>).

use super::Place;
use crate::api::effect::{Effect, Handled};
use crate::auth::caller::Caller;
use crate::base::json::json;
use crate::base::timestamp;
use crate::db::databases::{self, Databases};
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::feedback::locate::{Context, Found, LogDatabases, within};
use crate::feedback::model::{self, Feedback, MAX_FEEDBACK};
use crate::feedback::pending::{may_come, settle_in};
use crate::http::envelope::{ApiError, Reply};
use crate::logs::retention::capacity;
use serde_json::{Map, Value};

/// What a log may be told in all: keys, and bytes of values. D1 limits what it reads back at once to 2 MB.
const MAX_KEYS: u64 = 1_000;
const MAX_BYTES: u64 = 1_000_000;

/// How often feedback for a log is taken before its row is there, and how often in all.
const MAX_PENDING: u64 = 100;
const MAX_TIMES: u64 = 1_000;

/// The status of feedback that waits for its log.
pub const KEPT: u16 = 202;

/// Lines of one bulk request: each takes some statements, and an invocation may run a thousand.
const MAX_LINES: usize = 100;

row! {
    struct Count {
        n: u64,
        bytes: Option<u64>,
    }
}

/// `POST /feedback/{id}`
///
/// Gives feedback on the log that `found` says, or keeps it for a row that is on its way.
pub async fn give<D: Databases>(
    databases: &D,
    log_databases: &[(u32, &D::One)],
    request_id: &str,
    found: Option<Found>,
    feedback: &Feedback,
    context: &Context<'_>,
) -> Handled {
    let given = given(databases, log_databases, request_id, found, feedback, context).await;
    Handled::from(given).on(KEPT, [Effect::AttachFeedback])
}

async fn given<D: Databases>(
    databases: &D,
    log_databases: &[(u32, &D::One)],
    request_id: &str,
    found: Option<Found>,
    feedback: &Feedback,
    context: &Context<'_>,
) -> Result<Reply, ApiError> {
    match found {
        Some(found) => {
            let store = databases.of(found.shard)?;
            settle_in(databases, &found, context.now_ms).await?;
            check_feedback_size(store, &found.id, feedback).await?;
            store.batch(feedback.statements(&found.id, &context.author())).await?;
            if context.caller.only_gives_feedback() {
                // What others said of the answer is not for a caller who may not read.
                let told =
                    json!({ "log_id": found.id, "matches": found.matches, "pending": false, "data": feedback.data() });
                return Ok(Reply::result(told));
            }
            Ok(Reply::result(state(store, &found).await?))
        }
        None => {
            let all: LogDatabases<'_, D::One> = databases.all().collect();
            let waiting_shard = if let [(shard, _)] = log_databases { *shard } else { 0 };
            keep(&all, waiting_shard, request_id, feedback, None, context).await
        }
    }
}

/// Reads and checks the body of feedback.
pub fn read(body: &[u8]) -> Result<Feedback, ApiError> {
    if body.len() > MAX_FEEDBACK {
        return Err(ApiError::too_large(format!("Feedback must not be longer than {MAX_FEEDBACK} bytes")));
    }
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(["body"], format!("Expected a JSON object {{\"data\": {{…}}}}: {error}")))?;
    Ok(Feedback::merge(&body)?)
}

/// Refuses what would make the merged feedback of a log too large to be shown.
async fn check_feedback_size(store: &impl Store, log: &str, feedback: &Feedback) -> Result<(), ApiError> {
    let times = "SELECT count(*) AS n, NULL AS bytes FROM feedback_history WHERE log_id = ?1";
    let times = store.row::<Count>(Statement::new(times, [log.into()])).await?;
    if times.is_some_and(|times| times.n >= MAX_TIMES) {
        return Err(ApiError::too_large(format!("Feedback on one log may be given {MAX_TIMES} times")));
    }
    let Feedback::Merge(data) = feedback else { return Ok(()) };
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    let others = Statement::new(
        "SELECT count(*) AS n, sum(length(CAST(json AS BLOB))) AS bytes FROM log_feedback WHERE log_id = ?1 AND key NOT IN (SELECT value FROM json_each(?2))",
        [log.into(), Value::from(keys).to_string().into()],
    );
    let others = store.row::<Count>(others).await?.unwrap_or(Count { n: 0, bytes: None });
    let bytes: usize = data.values().map(|value| value.to_string().len()).sum();
    if others.n + data.len() as u64 > MAX_KEYS || others.bytes.unwrap_or(0) + bytes as u64 > MAX_BYTES {
        let rule = format!("The feedback of one log may have {MAX_KEYS} keys and {MAX_BYTES} bytes in all");
        return Err(ApiError::too_large(rule));
    }
    Ok(())
}

/// Keeps feedback in one of the databases, for a log whose id was handed out and whose row is not written yet. Where
/// several may get the row, that is the first one, until it is known which.
pub async fn keep(
    databases: &[(u32, &impl Store)],
    waiting_shard: u32,
    log: &str,
    feedback: &Feedback,
    place: Option<&Place<'_>>,
    context: &Context<'_>,
) -> Result<Reply, ApiError> {
    if !may_come(log, context.mark, context.now_ms) {
        return Err(ApiError::not_found());
    }
    let account = place.map(|place| place.account).or(context.caller.account()).or(context.query.get("account"));
    let gateway = place.map(|place| place.gateway).or(context.query.get("gateway"));
    // A caller who is bound to certain gateways and names another finds nothing.
    let gateways = match (gateway, context.caller) {
        (Some(gateway), Caller::Token(token)) if !token.reaches(account.unwrap_or(""), gateway) => {
            return Err(ApiError::not_found());
        }
        (Some(gateway), _) => Some(json!([gateway]).to_string()),
        (None, caller) => caller.gateways(),
    };
    let insert = Statement::new(
        "INSERT OR IGNORE INTO pending_feedback (id, log_id, account, gateways, given_at, given_by, kind, data) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE \
         (SELECT count(*) < ?9 AND coalesce(sum(length(CAST(data AS BLOB))), 0) + length(CAST(?8 AS BLOB)) <= ?10 \
         FROM pending_feedback WHERE log_id = ?2)",
        [
            context.entry.as_str().into(),
            log.into(),
            account.into(),
            gateways.as_deref().into(),
            Bind::Int(context.now_ms as i64),
            context.caller.actor().into(),
            feedback.kind().into(),
            feedback.data().to_string().into(),
            Bind::Int(MAX_PENDING as i64),
            Bind::Int(MAX_BYTES as i64),
        ],
    );
    for (shard, store) in databases {
        match fate(*store, log, account, gateways.as_deref()).await {
            Ok(Fate::Unknown) => {}
            Ok(Fate::Unstored) => {
                let reason = "The log of this id was not stored: its gateway had reached log_management";
                return Err(ApiError::not_found().with(|error| error.message = reason.to_owned()));
            }
            // The row has come meanwhile.
            Ok(Fate::Within) => {
                store.batch(feedback.statements(log, &context.author())).await?;
                return Ok(Reply::result(json!({})));
            }
            Ok(Fate::Elsewhere) => return Err(ApiError::not_found()),
            Err(error) if *shard == waiting_shard => return Err(error.into()),
            // Whose the log is will be looked at again before the feedback becomes part of it.
            Err(_) => {}
        }
    }
    let waiting_shard =
        databases.iter().find(|(shard, _)| *shard == waiting_shard).ok_or_else(|| databases::unbound(waiting_shard))?;
    if waiting_shard.1.batch(vec![insert]).await?.first() != Some(&1) {
        let rule =
            format!("So much feedback already waits for this log: {MAX_PENDING} times, or {MAX_BYTES} bytes, at most");
        return Err(ApiError::too_large(rule));
    }
    let kept = json!({ "log_id": log, "matches": 1, "pending": true, "data": feedback.data() });
    Ok(Reply { status: KEPT, ..Reply::result(kept) })
}

/// What a database knows of a log that was not there a moment ago.
enum Fate {
    Unknown,
    Unstored,
    /// It is there, within the account and gateways in question.
    Within,
    Elsewhere,
}

async fn fate(
    store: &impl Store,
    log: &str,
    account: Option<&str>,
    gateways: Option<&str>,
) -> Result<Fate, StoreError> {
    row! {
        struct Allowed {
            allowed: u8,
        }
    }
    let sql = format!(
        "SELECT {} AS allowed FROM logs JOIN gateways ON gateways.key = logs.gateway WHERE logs.id = ?1",
        within("?2", "?3")
    );
    let found = store.row::<Allowed>(Statement::new(sql, [log.into(), account.into(), gateways.into()])).await?;
    Ok(match found {
        Some(Allowed { allowed: 1 }) => Fate::Within,
        Some(_) => Fate::Elsewhere,
        None if capacity::turned_away(store, log).await? => Fate::Unstored,
        None => Fate::Unknown,
    })
}

row! {
    struct Judged {
        id: String,
        feedback: Option<i64>,
        score: Option<f64>,
        said: String,
    }
}

async fn judged(store: &impl Store, log: &str) -> Result<Judged, ApiError> {
    let row = Statement::new(
        "SELECT coalesce(ingested_id, id) AS id, feedback, score, (SELECT json_group_object(key, json(json)) FROM log_feedback WHERE log_id = logs.id) AS said \
         FROM logs WHERE id = ?1",
        [log.into()],
    );
    store.row::<Judged>(row).await?.ok_or_else(ApiError::not_found)
}

/// The merged state of a log's feedback.
async fn state(store: &impl Store, found: &Found) -> Result<Value, ApiError> {
    let judged = judged(store, &found.id).await?;
    Ok(json!({
        "log_id": judged.id,
        "matches": found.matches,
        "pending": false,
        "feedback": judged.feedback,
        "score": judged.score,
        "data": serde_json::from_str::<Value>(&judged.said).unwrap_or(Value::Null),
    }))
}

/// `GET /feedback/{id}`
///
/// The merged state and how it came about.
pub async fn show(store: &impl Store, found: &Found) -> Result<Reply, ApiError> {
    row! {
        struct Entry {
            given_at: u64,
            given_by: String,
            kind: String,
            data: String,
        }
    }
    let mut shown = state(store, found).await?;
    let history = Statement::new(
        "SELECT given_at, given_by, kind, data FROM feedback_history WHERE log_id = ?1 ORDER BY id DESC LIMIT 100",
        [found.id.as_str().into()],
    );
    let history: Vec<Value> = store
        .rows::<Entry>(history)
        .await?
        .into_iter()
        .map(|entry| {
            json!({
                "given_at": timestamp::format(entry.given_at),
                "given_by": entry.given_by,
                "kind": entry.kind,
                "data": serde_json::from_str::<Value>(&entry.data).unwrap_or(Value::Null),
            })
        })
        .collect();
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("history".to_owned(), Value::Array(history));
    }
    Ok(Reply::result(shown))
}

/// `DELETE /feedback/{id}`
///
/// Takes back one key (`?key=`) or all feedback of a log.
pub async fn take_back(databases: &impl Databases, found: &Found, context: &Context<'_>) -> Result<Reply, ApiError> {
    let store = databases.of(found.shard)?;
    settle_in(databases, found, context.now_ms).await?;
    let judged = judged(store, &found.id).await?;
    let all: Map<String, Value> = serde_json::from_str(&judged.said).unwrap_or_default();
    let key = context.query.get("key");
    let (taken, remaining): (Map<_, _>, Map<_, _>) =
        all.into_iter().partition(|(name, _)| key.is_none_or(|key| key == name));
    if taken.is_empty() {
        return if key.is_some() { Err(ApiError::not_found()) } else { show(store, found).await };
    }
    store.batch(model::take_back(&found.id, &taken, &remaining, &context.author())).await?;
    show(store, found).await
}

/// One line of a bulk request, as far as it can be understood.
pub struct Line<'a> {
    number: usize,
    request_id: String,
    body: &'a str,
}

/// The lines of NDJSON: `{"request_id": "…", "data": {…}}` each. Empty lines do not count.
pub fn lines(body: &[u8]) -> Result<Vec<Line<'_>>, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::invalid(["body"], "Expected NDJSON in UTF-8"))?;
    if text.trim_start().starts_with('[') {
        return Err(ApiError::invalid(["body"], "Expected NDJSON, an object on each line, rather than an array"));
    }
    let lines: Vec<Line<'_>> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            let named: Value = serde_json::from_str(line).unwrap_or_default();
            let request_id = named.get("request_id").and_then(Value::as_str).unwrap_or("").to_owned();
            Line { number: index + 1, request_id, body: line }
        })
        .collect();
    if lines.is_empty() {
        return Err(ApiError::invalid(
            ["body"],
            "Expected NDJSON: one {\"request_id\": \"…\", \"data\": {…}} on each line",
        ));
    }
    if lines.len() > MAX_LINES {
        return Err(ApiError::too_large(format!(
            "Expected at most {MAX_LINES} lines; send the rest in another request"
        )));
    }
    Ok(lines)
}

/// `POST /feedback`
///
/// Takes in many judgements. Every line has a result of its own, and a line that is wrong does not stop the others.
/// `find` finds the log of an id, and may wait for it.
pub async fn bulk<D: Databases>(
    databases: &D,
    log_databases: &[(u32, &D::One)],
    body: &[u8],
    context: &Context<'_>,
    find: impl AsyncFn(&str) -> Result<Option<Found>, ApiError>,
) -> Handled {
    let taken = Handled::always([], async {
        let mut results = String::new();
        let mut pending = false;
        for line in lines(body)? {
            let given = match line.request_id.as_str() {
                "" => read(line.body.as_bytes())
                    .and(Err(ApiError::invalid(["body", "request_id"], "Expected the id of a request"))),
                id => match read(line.body.as_bytes()) {
                    Ok(feedback) => {
                        let entry = format!("{}-{:03}", context.entry, line.number);
                        let context = Context { entry, ..*context };
                        match find(id).await {
                            Ok(found) => given(databases, log_databases, id, found, &feedback, &context).await,
                            Err(error) => Err(error),
                        }
                    }
                    Err(error) => Err(error),
                },
            };
            let mut result = json!({ "line": line.number, "request_id": line.request_id });
            let reply = given.unwrap_or_else(|error| error.reply());
            pending |= reply.status == KEPT;
            let answer: Value = serde_json::from_str(&reply.body).unwrap_or_default();
            if let Some(result) = result.as_object_mut() {
                result.insert("status".to_owned(), json!(reply.status));
                for (name, place) in [("success", "/success"), ("log_id", "/result/log_id"), ("errors", "/errors")] {
                    result.insert(name.to_owned(), answer.pointer(place).cloned().unwrap_or_default());
                }
            }
            results.push_str(&result.to_string());
            results.push('\n');
        }
        Ok(Reply {
            status: if pending { KEPT } else { 200 },
            content_type: "application/x-ndjson",
            headers: Vec::new(),
            body: results,
            object: None,
        })
    });
    taken.await.on(KEPT, [Effect::AttachFeedback])
}

#[cfg(test)]
mod tests;
