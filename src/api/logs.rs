//! `…/logs/{id}`: what one request left behind.

use super::{Place, feedback, object};
use crate::api::effect::{Effect, Handled};
use crate::base::json::json;
use crate::db::store::{Statement, Store, row};
use crate::feedback::locate;
use crate::feedback::model::{Feedback, MAX_METADATA};
use crate::feedback::pending;
use crate::http::envelope::{ApiError, Reply, Span};
use crate::logs::breakdown;
use crate::logs::pieces::read::{self, Rows};
use crate::logs::row::exists;
use crate::logs::row::{COLUMNS, LogRow};
use serde_json::Value;

/// How many characters of a body its log shows.
const HEAD: usize = 2_000;

/// As many may have so many bytes, and one more tells that there are more.
const MAX_HEAD: usize = 4 * (HEAD + 1);

row! {
    struct Count {
        n: u64,
    }
}

/// Which of the two bodies of a log.
#[derive(Clone, Copy)]
pub enum WhichBody {
    Request,
    Response,
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}`: the beginnings of its bodies only where the caller may see those.
pub async fn get<S: Store>(
    databases: [&S; 2],
    place: &Place<'_>,
    id: &str,
    with_bodies: bool,
) -> Result<Reply, ApiError> {
    let [first, store] = databases;
    let row = Statement::new(
        format!("SELECT {COLUMNS} FROM logs WHERE logs.id = ?1 AND logs.gateway = ?2"),
        [id.into(), place.key.into()],
    );
    let row = store.row::<LogRow>(row).await?.ok_or_else(ApiError::not_found)?;
    let bodies = if with_bodies { read::beginnings(store, id, MAX_HEAD).await? } else { Rows::default() };
    let mut shown = row.show(with_bodies);
    shown.extend([
        ("request_size".to_owned(), json!(row.request_size)),
        ("response_size".to_owned(), json!(row.response_size)),
        ("cost_breakdown".to_owned(), breakdown::of(first, store, place.account, id).await?),
    ]);
    for (name, body, stored) in
        [("request", bodies.request, bodies.stored.request), ("response", bodies.response, bodies.stored.response)]
    {
        let head = body.map(|body| head(&body));
        let is_complete = stored.is_none() && head.as_ref().is_some_and(|(_, is_complete)| *is_complete);
        shown.insert(format!("{name}_head_complete"), json!(is_complete));
        if let Some((head, _)) = head {
            shown.insert(format!("{name}_head"), json!(head));
        }
    }
    Ok(Reply::result(shown))
}

/// The beginning of a body, and whether that is all of it.
fn head(body: &str) -> (String, bool) {
    match body.char_indices().nth(HEAD) {
        None => (body.to_owned(), true),
        Some((end, _)) => (body.get(..end).unwrap_or_default().to_owned(), false),
    }
}

/// `PATCH /accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}`
///
/// Changes what people say about a log in one of the databases: thumbs, score and tags. A body that is wrong changes nothing.
pub async fn patch<S: Store>(
    databases: &[(u32, &S)],
    (shard, store): (u32, &S),
    place: &Place<'_>,
    id: &str,
    body: &[u8],
    context: &locate::Context<'_>,
) -> Handled {
    let patched = Handled::always([], async {
        let feedback = Feedback::patch(&Value::Object(object(body)?))?;
        if !exists(store, Some(place.key), id).await? {
            return feedback::keep(databases, shard, id, &feedback, Some(place), context).await;
        }
        pending::attach(store, Some(id), context.now_ms).await?;
        if let Feedback::Patch(patch) = &feedback
            && !patch.metadata.is_empty()
        {
            let merged =
                "SELECT length(CAST(json_patch(coalesce(metadata, '{}'), ?2) AS BLOB)) AS n FROM logs WHERE id = ?1";
            let merged = Statement::new(merged, [id.into(), Value::Object(patch.metadata.clone()).to_string().into()]);
            if store.row::<Count>(merged).await?.is_some_and(|size| size.n > MAX_METADATA) {
                let rule = format!("The metadata of one log may have {MAX_METADATA} bytes in all");
                return Err(ApiError::too_large(rule));
            }
        }
        store.batch(feedback.statements(id, &context.author())).await?;
        Ok(Reply::result(json!({})))
    });
    patched.await.on(feedback::KEPT, [Effect::AttachFeedback])
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}/request` and `GET /accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}/response`
///
/// A stored body as it was received, with its own content type and without an envelope.
pub async fn body(store: &impl Store, gateway: i64, id: &str, part: WhichBody) -> Result<Reply, ApiError> {
    row! {
        struct Kinds {
            request: Option<String>,
            response: Option<String>,
        }
    }
    let sql = "SELECT request_content_type AS request, response_content_type AS response FROM logs \
         WHERE id = ?1 AND gateway = ?2";
    let kinds = store.row::<Kinds>(Statement::new(sql, [id.into(), gateway.into()])).await?;
    let kinds = kinds.ok_or_else(ApiError::not_found)?;
    let bodies = read::rows(store, &[id]).await?.0.pop().unwrap_or_default();
    let stored = bodies.stored;
    let (kind, body, offset, length) = match part {
        WhichBody::Request => (kinds.request, bodies.request, 0, stored.request),
        WhichBody::Response => (kinds.response, bodies.response, stored.request.unwrap_or(0), stored.response),
    };
    let body = body.ok_or_else(ApiError::not_found)?;
    let content_type = shown_as(kind.as_deref());
    if length.is_some() && stored.cut {
        let message = "The bucket did not take this body. Its beginning is in the log".to_owned();
        return Err(ApiError::not_found().with(|error| error.message = message));
    }
    let object = length.map(|length| Span { id: id.to_owned(), offset, length });
    let body = if object.is_some() { String::new() } else { body };
    // The text comes from outside: no browser may take it for a page of ours.
    let headers = vec![("x-content-type-options", "nosniff".to_owned())];
    Ok(Reply { status: 200, content_type, headers, body, object })
}

/// The content type a stored body is given out with: a known harmless one, whatever a provider called it.
fn shown_as(content_type: Option<&str>) -> &'static str {
    let kind = content_type.unwrap_or("application/json").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if kind == "text/event-stream" {
        "text/event-stream; charset=utf-8"
    } else if kind == "application/json" || kind.ends_with("+json") {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::call::Call;
    use crate::logs::group_commit;
    use crate::logs::metadata;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::testing::sqlite::Sqlite;
    use crate::wire::{Facts, Usage};
    use pollster::block_on;

    const GATEWAY: i64 = 1;

    fn place(key: i64) -> Place<'static> {
        Place { account: "a", gateway: "gw", key }
    }

    fn with_logs(records: Vec<LogRecord>) -> Sqlite {
        let store = Sqlite::new();
        block_on(group_commit::write(&store, records.into(), async |_| {}));
        store
    }

    fn at(id: &str, created_at: u64) -> LogRecord {
        LogRecord::new(Call { created_at, ..call(id) }, answered(Facts::default()))
    }

    fn read(reply: Result<Reply, ApiError>) -> Value {
        serde_json::from_str(&reply.unwrap().body).unwrap()
    }

    #[test]
    fn a_log_has_every_field_with_its_type() {
        let usage = Usage { tokens_in: Some(10), tokens_out: Some(3), cached: Some(4), ..Usage::default() };
        let facts = Facts { usage, response_id: Some("chatcmpl-1".to_owned()), ..Facts::default() };
        let mut outcome = answered(facts);
        outcome.body = Some("x".repeat(3_000));
        outcome.size = Some(3_000);
        let tagged = Call { metadata: metadata::parse(r#"{"team":"AI","user":12345,"test":true}"#, 5), ..call("a") };
        let store = with_logs(vec![LogRecord::new(tagged, outcome)]);
        let log = &read(block_on(get([&store, &store], &place(GATEWAY), "a", true)))["result"];
        assert_eq!(log["metadata"], json!({ "team": "AI", "user": 12345, "test": true }));
        assert_eq!(
            (&log["success"], &log["cached"], &log["custom_cost"]),
            (&json!(true), &json!(false), &json!(false))
        );
        assert_eq!((&log["tokens_in"], &log["tokens_out"], &log["step"]), (&json!(10), &json!(3), &json!(0)));
        assert_eq!(log["usage_metadata"]["input_cached_tokens"], 4);
        assert_eq!((&log["request_head"], &log["request_head_complete"]), (&json!("{}"), &json!(true)));
        assert_eq!(
            (log["response_head"].as_str().unwrap().len(), &log["response_head_complete"]),
            (HEAD, &json!(false))
        );
        assert_eq!((&log["response_size"], &log["response_id"]), (&json!(3_000), &json!("chatcmpl-1")));
        assert!(log["cost"].is_number() && log["created_at"] == "2023-11-14T22:13:20.000Z");
    }

    #[test]
    fn what_is_unknown_is_null_and_never_zero() {
        let unknown = Call { facts: Default::default(), body: None, ..call("a") };
        let store = with_logs(vec![LogRecord::new(unknown, answered(Facts::default()))]);
        let log = &read(block_on(get([&store, &store], &place(GATEWAY), "a", true)))["result"];
        for field in ["tokens_in", "tokens_out", "cost", "metadata", "response_id", "error", "response_size"] {
            assert!(log[field].is_null(), "{field}");
        }
        assert_eq!((&log["model"], &log["request_head_complete"]), (&json!(""), &json!(false)));
        assert!(log.get("request_head").is_none());
    }

    #[test]
    fn logs_of_another_gateway_are_not_found() {
        let store = with_logs(vec![at("a", 1)]);
        for id in ["a", "a' OR 1=1 --", ""] {
            assert_eq!(block_on(get([&store, &store], &place(2), id, true)).unwrap_err().status, 404);
            assert_eq!(block_on(body(&store, 2, id, WhichBody::Request)).unwrap_err().status, 404);
            assert!(!block_on(exists(&store, Some(2), id)).unwrap());
        }
        assert!(block_on(exists(&store, Some(GATEWAY), "a")).unwrap());
    }

    #[test]
    fn a_head_goes_on_behind_a_nul_character() {
        let mut outcome = answered(Facts::default());
        outcome.body = Some("data: a\0b".to_owned());
        let store = with_logs(vec![LogRecord::new(call("a"), outcome)]);
        let log = &read(block_on(get([&store, &store], &place(GATEWAY), "a", true)))["result"];
        assert_eq!((&log["request_head_complete"], &log["response_head_complete"]), (&json!(true), &json!(true)));
        assert_eq!(log["response_head"], "data: a\0b");
        assert_eq!(block_on(body(&store, GATEWAY, "a", WhichBody::Response)).unwrap().body, "data: a\0b");
    }

    #[test]
    fn the_head_of_a_long_body_is_its_beginning_wherever_its_pieces_end() {
        let turns = |n: usize| {
            let turn = |n: usize| format!("{{\"role\":\"user\",\"content\":\"{n} {}\"}}", "ü€😀 ".repeat(200 + n));
            let all: Vec<String> = (0..n).map(turn).collect();
            format!("{{\"model\":\"m\",\"messages\":[{}],\"tools\":[\"{}\"]}}", all.join(","), "t".repeat(3_000))
        };
        for (number, answer) in
            ["short", "…\0…", &"é".repeat(1_999), &"é".repeat(2_001), &"😀".repeat(4_000), ""].into_iter().enumerate()
        {
            for count in [0, 1, 3, 4, 9] {
                let mut outcome = answered(Facts::default());
                outcome.body = Some(answer.to_owned());
                let body = if count == 0 { "x".repeat(2_000_000) } else { turns(count) };
                let id = format!("log-{number}-{count}");
                let store = with_logs(vec![LogRecord::new(Call { body: Some(body.clone()), ..call(&id) }, outcome)]);
                let log = &read(block_on(get([&store, &store], &place(GATEWAY), &id, true)))["result"];
                for (name, body) in [("request", body.as_str()), ("response", answer)] {
                    let (shown, is_complete) = head(body);
                    assert_eq!(log[format!("{name}_head")].as_str(), Some(shown.as_str()), "{id} {name}");
                    assert_eq!(log[format!("{name}_head_complete")], is_complete, "{id} {name}");
                }
                let cut = block_on(read::beginnings(&store, &id, MAX_HEAD)).unwrap();
                assert!(cut.request.is_none_or(|text| text.len() <= 2 * MAX_HEAD), "{id}");
            }
        }
    }

    #[test]
    fn bodies_come_back_as_they_were() {
        let stream = "data: {\"n\":1}\r\n\r\n".repeat(200_000);
        let mut outcome = answered(Facts::default());
        outcome.body = Some(stream.clone());
        outcome.content_type = Some("text/event-stream".to_owned());
        let store = with_logs(vec![LogRecord::new(call("a"), outcome), at("b", 1)]);
        let reply = block_on(body(&store, GATEWAY, "a", WhichBody::Response)).unwrap();
        assert_eq!((reply.body == stream, reply.content_type), (true, "text/event-stream; charset=utf-8"));
        assert_eq!(block_on(body(&store, GATEWAY, "a", WhichBody::Request)).unwrap().body, "{}");
        assert_eq!(block_on(body(&store, GATEWAY, "b", WhichBody::Response)).unwrap_err().status, 404);
        assert_eq!(shown_as(Some("text/html")), "text/plain; charset=utf-8");
    }
}
