use super::*;
use crate::logs::call::{Call, Outcome};
use crate::logs::group_commit;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::testing::plans::scan;
use crate::testing::sqlite::{Planned, Sqlite};
use crate::wire::Facts;
use pollster::block_on;

fn log(id: &str, request: Option<String>, response: Option<String>) -> LogRecord {
    let size = request.as_ref().map(|body| body.len() as u64);
    let mut outcome = answered(Facts { finish_reason: Some("stop".to_owned()), ..Facts::default() });
    (outcome.size, outcome.body) = (response.as_ref().map(|body| body.len() as u64), response);
    LogRecord::new(Call { body: request, request_size: size.or(Some(9)), ..call(id) }, outcome)
}

fn stored(records: Vec<LogRecord>) -> Sqlite {
    let store = Sqlite::new();
    assert_eq!(block_on(group_commit::write(&store, records.into(), async |_| {})), []);
    store
}

fn read(reply: Result<Reply, ApiError>) -> Value {
    serde_json::from_str::<Value>(&reply.unwrap().body).unwrap()["result"].clone()
}

fn ask(store: &impl Store, query: &str) -> Value {
    read(block_on(get(store, 1, "a", &Query::parse(query))))
}

fn chat(turns: usize, text: &str) -> Option<String> {
    let role = |n: usize| if n.is_multiple_of(2) { "user" } else { "assistant" };
    let messages: Vec<Value> =
        (0..turns).map(|n| json!({ "role": role(n), "content": format!("{text}{n}") })).collect();
    Some(json!({ "model": "gpt-4o", "temperature": 1, "messages": messages }).to_string())
}

fn answer(text: &str) -> Option<String> {
    Some(json!({ "choices": [{ "message": { "role": "assistant", "content": text } }] }).to_string())
}

#[test]
fn a_long_conversation_is_read_by_the_page() {
    let store = stored(vec![log("a", chat(1_000, "m"), answer("done"))]);
    let first = ask(&store, "");
    assert_eq!((first["turns"].as_array().unwrap().len(), &first["total"]), (TURNS as usize, &json!(1_001)));
    let last = ask(&store, "offset=1000&limit=5");
    let turn = &last["turns"][0];
    assert_eq!((&turn["index"], &turn["role"], &turn["answered"]), (&json!(1_000), &json!("assistant"), &json!(true)));
    assert_eq!((turn["parts"][0]["text"].as_str(), last["turns"].as_array().unwrap().len()), (Some("done"), 1));
    assert_eq!(ask(&store, "offset=5000")["turns"], json!([]));
    assert_eq!(
        (&last["finish"], &last["params"]["temperature"], &last["format"]),
        (&json!("stop"), &json!(1), &json!("openai-chat"))
    );
    for (query, at) in
        [("limit=0", "limit"), ("limit=1001", "limit"), ("offset=-1", "offset"), ("text_limit=5", "text_limit")]
    {
        assert_eq!(block_on(get(&store, 1, "a", &Query::parse(query))).unwrap_err().path, ["query", at]);
    }
    for (gateway, id) in [(2, "a"), (1, "b")] {
        assert_eq!(block_on(get(&store, gateway, id, &Query::parse(""))).unwrap_err().status, 404);
        assert_eq!(block_on(attempts(&store, gateway, id)).unwrap_err().status, 404);
    }
}

#[test]
fn long_texts_are_cut_and_images_are_no_text() {
    let image = "A".repeat(400_000);
    let parts = json!([{ "type": "text", "text": "ü".repeat(50_000) }, { "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{image}") } }]);
    let request = json!({ "messages": [{ "role": "user", "content": parts }] }).to_string();
    let store = stored(vec![log("a", Some(request), answer("x"))]);
    let parts = ask(&store, "")["turns"][0]["parts"].clone();
    assert_eq!(
        (parts[0]["text"].as_str().unwrap().chars().count(), &parts[0]["truncated"], &parts[0]["chars"]),
        (TEXT as usize, &json!(true), &json!(50_000))
    );
    assert_eq!(
        (&parts[1]["type"], &parts[1]["media_type"], &parts[1]["bytes"]),
        (&json!("image"), &json!("image/png"), &json!(300_000))
    );
    assert!(parts[1].get("text").is_none() && parts[1]["data"].as_str().unwrap().len() == image.len());
    let whole = ask(&store, "text_limit=60000")["turns"][0]["parts"][0].clone();
    assert_eq!((whole["text"].as_str().unwrap().chars().count(), whole.get("truncated")), (50_000, None));
}

#[test]
fn what_is_not_there_or_too_long_is_said() {
    let warnings = |store: &Sqlite| ask(store, "")["warnings"].to_string();
    let none = stored(vec![log("a", None, None)]);
    assert!(warnings(&none).contains("The request's body is not stored"), "{}", warnings(&none));
    assert_eq!((&ask(&none, "")["turns"], &ask(&none, "")["format"]), (&json!([]), &json!("unknown")));
    let long = stored(vec![log("a", chat(1, &"x".repeat(MAX_BODY)), answer("short"))]);
    assert!(warnings(&long).contains("The request is too long to be read as a conversation"), "{}", warnings(&long));
    // The other body is shown all the same.
    assert_eq!(ask(&long, "")["turns"][0]["parts"][0]["text"], "short");
    let broken = stored(vec![log(
        "a",
        chat(1, "q"),
        Some("data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n".to_owned()),
    )]);
    assert!(warnings(&broken).contains("ended without a finish"));
}

#[test]
fn attempts_come_in_the_order_in_which_they_were_made() {
    let attempt = |id: &str, event: &str, step, attempt, superseded| {
        let made = Call {
            event_id: event.to_owned(),
            step,
            attempt,
            created_at: 1_700_000_000_000 + u64::from(step * 10 + attempt),
            ..call(id)
        };
        LogRecord::new(
            made,
            Outcome { superseded, status: Some(if superseded { 503 } else { 200 }), ..answered(Facts::default()) },
        )
    };
    let other = LogRecord { gateway: 2, ..attempt("z", "e", 0, 1, false) };
    let inner = stored(vec![
        attempt("c", "e", 1, 1, false),
        attempt("a", "e", 0, 1, true),
        attempt("b", "e", 0, 2, true),
        attempt("d", "d", 0, 1, false),
        other,
    ]);
    let store = Planned::new(inner);
    for id in ["a", "b", "c"] {
        let all = read(block_on(attempts(&store, 1, id)));
        let seen: Vec<Value> = all
            .as_array()
            .unwrap()
            .iter()
            .map(|one| json!([one["log_id"], one["step"], one["attempt"], one["answered"], one["status"]]))
            .collect();
        assert_eq!(
            seen,
            [json!(["a", 0, 1, false, 503]), json!(["b", 0, 2, false, 503]), json!(["c", 1, 1, true, 200])],
            "{id}"
        );
    }
    // One without an event id of its own is alone.
    let alone = read(block_on(attempts(&store, 1, "d")));
    assert_eq!((alone.as_array().unwrap().len(), &alone[0]["log_id"]), (1, &json!("d")));
    for (plan, sql) in store.plans.take() {
        assert_eq!(scan(&plan), None, "{sql}\n{plan}");
    }
}
