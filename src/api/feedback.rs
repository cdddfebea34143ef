//! `/feedback/{request_id}`: what users say about an answer, under whatever id the application knows it by. The format is
//! Requesty's (<https://docs.requesty.ai/features/request-feedback>).

use super::Place;
use crate::api::effect::{Effect, Handled};
use crate::auth::caller::Caller;
use crate::base::timestamp;
use crate::db::databases::{self, Databases};
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::feedback::locate::{Context, Found, LogDatabases, within};
use crate::feedback::model::{self, Feedback, MAX_FEEDBACK};
use crate::feedback::pending::{may_come, settle_in};
use crate::http::envelope::{ApiError, Reply};
use crate::logs::retention::capacity;
use serde_json::{Map, Value, json};

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
    Handled::from(given).on(KEPT, [Effect::SettleFeedback])
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
                return Err(ApiError { message: reason.to_owned(), ..ApiError::not_found() });
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
        feedback: Option<i64>,
        score: Option<f64>,
        said: String,
    }
}

async fn judged(store: &impl Store, log: &str) -> Result<Judged, ApiError> {
    let row = Statement::new(
        "SELECT feedback, score, (SELECT json_group_object(key, json(json)) FROM log_feedback WHERE log_id = logs.id) AS said \
         FROM logs WHERE id = ?1",
        [log.into()],
    );
    store.row::<Judged>(row).await?.ok_or_else(ApiError::not_found)
}

/// The merged state of a log's feedback.
async fn state(store: &impl Store, found: &Found) -> Result<Value, ApiError> {
    let judged = judged(store, &found.id).await?;
    Ok(json!({
        "log_id": found.id,
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
    taken.await.on(KEPT, [Effect::SettleFeedback])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::gateways;
    use crate::base::id::{self, MarkKey};
    use crate::db::audit::Actor;
    use crate::db::put_aside::{self, PENDING};
    use crate::feedback::locate::locate;
    use crate::feedback::model::FeedbackAuthor;
    use crate::feedback::pending::{KEPT_MS, settle, waiting};
    use crate::gateways::gateway;
    use crate::http::query::Query;
    use crate::logs::group_commit;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::testing::sqlite::Sqlite;
    use crate::wire::Facts;
    use pollster::block_on;

    const NOW: u64 = 1_700_000_000_000;

    fn with_log(id: &str) -> Sqlite {
        let store = Sqlite::new();
        let actor = Actor { name: "admin", now_ms: NOW, entry: "a".to_owned() };
        let body = json!({ "id": "gw", "collect_logs": true }).to_string();
        block_on(gateways::create(
            &store,
            "acct",
            body.as_bytes(),
            &actor,
            "internal".to_owned(),
            &crate::config::bounds::Bounds::USUAL.gateways,
        ))
        .reply
        .unwrap();
        let lost = block_on(group_commit::write(
            &store,
            vec![LogRecord::new(call(id), answered(Facts::default()))].into(),
            async |_| {},
        ));
        assert_eq!(lost, []);
        store
    }

    fn said(store: &Sqlite, log: &str, at: u64, data: Value) {
        let author = FeedbackAuthor { name: "admin", at, id: at.to_string() };
        let feedback = Feedback::merge(&json!({ "data": data })).unwrap();
        block_on(store.batch(feedback.statements(log, &author))).unwrap();
    }

    #[test]
    fn what_was_said_earlier_and_arrives_later_changes_nothing() {
        let store = with_log("log");
        said(&store, "log", 2_000, json!({ "helpful": false, "score": 10 }));
        said(&store, "log", 1_000, json!({ "helpful": true, "score": 90, "more": 1 }));
        let judged = block_on(judged(&store, "log")).unwrap();
        assert_eq!((judged.feedback, judged.score), (Some(-1), Some(10.0)));
        assert_eq!(judged.said, r#"{"helpful":false,"more":1,"score":10}"#);
    }

    #[test]
    fn feedback_for_logs_that_never_come_holds_nobody_up() {
        let store = with_log("log");
        let pending = |n: usize, log: String| {
            let sql = "INSERT INTO pending_feedback (id, log_id, given_at, given_by, kind, data) VALUES (?1, ?2, ?3, 'admin', 'merge', '{\"a\":1}')";
            Statement::new(sql, [format!("{n:04}").into(), log.into(), Bind::Int((NOW + n as u64) as i64)])
        };
        let mut rows: Vec<Statement> = (0..300).map(|n| pending(n, format!("never {n}"))).collect();
        rows.push(pending(300, "log".to_owned()));
        block_on(store.batch(rows)).unwrap();
        block_on(settle(&store, None, NOW + 1_000)).unwrap();
        assert_eq!(block_on(judged(&store, "log")).unwrap().said, r#"{"a":1}"#);
        assert_eq!(block_on(waiting(&store)).unwrap(), 300);
        // A day later they are given up, some at a time.
        for _ in 0..15 {
            block_on(settle(&store, None, NOW + KEPT_MS + 1_000)).unwrap();
        }
        assert_eq!(block_on(waiting(&store)).unwrap(), 0);
    }

    #[test]
    fn kept_feedback_that_cannot_be_read_holds_nobody_up() {
        let store = with_log("log");
        let pending = |id: &str, at: &str, kind: &str, data: &str, gateways: &str| {
            let sql = "INSERT INTO pending_feedback (id, log_id, given_at, given_by, kind, data, gateways) VALUES (?1, 'log', ?2, 'admin', ?3, ?4, nullif(?5, ''))";
            Statement::new(sql, [id.into(), at.into(), kind.into(), data.into(), gateways.into()])
        };
        let rows = vec![
            pending("1", "1", "merge", "{", ""),
            pending("2", "soon", "merge", "{}", ""),
            pending("3", "3", "merge", r#"{"a":1}"#, "[\"x"),
            pending("4", "4", "patch", r#"{"score":"much"}"#, ""),
            pending("5", "5", "patch", r#"{"metadata":{"a":1}}"#, ""),
            pending("6", "6", "merge", r#"{"b":2}"#, ""),
        ];
        block_on(store.batch(rows)).unwrap();
        // A log whose own metadata cannot be read takes no more of it.
        block_on(store.batch(vec![Statement::new("UPDATE logs SET metadata = '{'", [])])).unwrap();
        block_on(settle(&store, None, NOW)).unwrap();
        assert_eq!(block_on(waiting(&store)).unwrap(), 0);
        assert_eq!(block_on(judged(&store, "log")).unwrap().said, r#"{"b":2}"#);
        let (told, n) = block_on(put_aside::report(&store, NOW)).unwrap();
        assert_eq!(n, 5, "{told:?}");
        assert!(told.iter().all(|row| row.source == PENDING && row.id != "6"));
    }

    #[test]
    fn an_id_that_another_gateway_may_have_forged_is_for_the_caller_to_tell_apart() {
        let store = with_log("mine");
        let actor = Actor { name: "admin", now_ms: NOW, entry: "b".to_owned() };
        let body = json!({ "id": "sibling", "collect_logs": true }).to_string();
        let bound = crate::config::bounds::Bounds::USUAL.gateways;
        block_on(gateways::create(&store, "acct", body.as_bytes(), &actor, "i2".to_owned(), &bound)).reply.unwrap();
        let sibling = block_on(gateway::find(&store, "acct", "sibling")).unwrap().unwrap().key;
        let mark = MarkKey([7; 32]);
        let handed_out = id::mint_log(NOW, 1, &mark);
        let named = |event: &str, response: &str, gateway, id: &str| {
            let facts = Facts { response_id: Some(response.to_owned()), ..Facts::default() };
            let call = crate::logs::call::Call { gateway, event_id: event.to_owned(), ..call(id) };
            LogRecord::new(call, answered(facts))
        };
        let own = call("mine").gateway;
        let records = vec![
            named("e1", "same", own, "a"),
            named("e2", "same", sibling, "b"),
            // The event of one is what the other's provider says of itself.
            named("session", "r1", own, "c"),
            named("e3", "session", sibling, "d"),
            named("shared", "r2", own, "e"),
            named("shared", "r3", sibling, "f"),
            named("twice", "r4", own, "g"),
            named("twice", "r5", own, "h"),
            // A row that comes is not to be taken for one that is there already.
            named(&handed_out, "r6", sibling, "i"),
        ];
        assert_eq!(block_on(group_commit::write(&store, records.into(), async |_| {})), []);
        let found = |id: &str, query: &str| {
            let (query, entry) = (Query::parse(query), "entry".to_owned());
            let context = Context { caller: &Caller::Admin, query: &query, mark: &mark, now_ms: NOW, entry };
            block_on(locate(&[(0, &store)], id, &context))
        };
        for id in ["same", "session", "shared"] {
            let error = ApiError::from(found(id, "").unwrap_err());
            assert_eq!(error.status, 409, "{id}");
            assert!(error.message.contains("acct/gw, acct/sibling"), "{}", error.message);
            assert!(found(id, "account=acct&gateway=gw").unwrap().is_some(), "{id}");
        }
        assert_eq!(found("same", "gateway=gw").unwrap().unwrap().id, "a");
        assert_eq!(found("same", "gateway=sibling").unwrap().unwrap().id, "b");
        let twice = found("twice", "").unwrap().unwrap();
        assert_eq!((twice.id.as_str(), twice.matches), ("h", 2));
        assert_eq!(found("a", "").unwrap().unwrap().id, "a");
        assert_eq!(found(&handed_out, "").unwrap(), None);
    }

    #[test]
    fn what_waits_for_a_log_has_a_bound() {
        let store = with_log("log");
        let (mark, query) = (MarkKey([7; 32]), Query::parse(""));
        let log = id::mint_log(NOW, 1, &mark);
        let given = |n: u64, data: Value| {
            let feedback = Feedback::merge(&json!({ "data": data })).unwrap();
            let entry = format!("{n:05}");
            let context = Context { caller: &Caller::Admin, query: &query, mark: &mark, now_ms: NOW, entry };
            block_on(keep(&[(0, &store)], 0, &log, &feedback, None, &context))
                .map_or_else(|error| error.status, |reply| reply.status)
        };
        let long = "x".repeat(200_000);
        assert_eq!([1, 2, 3, 4, 5].map(|n| given(n, json!({ "a": long }))), [202, 202, 202, 202, 413]);
        assert!((6..=101).all(|n| given(n, json!({ "a": 1 })) == 202));
        assert_eq!(given(102, json!({ "a": 1 })), 413);
    }

    #[test]
    fn kept_feedback_of_a_stranger_is_dropped() {
        let store = with_log("log");
        let sql = "INSERT INTO pending_feedback (id, log_id, account, given_at, given_by, kind, data) VALUES ('p', 'log', 'other', 1, 'x', 'merge', '{\"a\":1}')";
        block_on(store.batch(vec![Statement::new(sql, [])])).unwrap();
        block_on(settle(&store, Some("log"), NOW)).unwrap();
        assert_eq!(block_on(judged(&store, "log")).unwrap().said, "{}");
        assert_eq!(block_on(waiting(&store)).unwrap(), 0);
    }
}
