use super::lines::{Lines, MAX_LINE};
use super::record::Line;
use super::stored::{self, Batch, Keeps};
use super::{Family, Seen, State, seen};
use crate::db::store::{Statement, Store};
use crate::logs::call::{Call, Credential};
use crate::logs::record::tests::call;
use crate::testing::sqlite::Sqlite;
use crate::wire::{Facts, Framing, read};
use pollster::block_on;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn a_path_tells_what_a_request_has_to_do_with_a_batch() {
    let of = |provider, method, rest| seen(provider, method, rest).map(|Seen { family, id, .. }| (family, id));
    for (provider, method, rest, wanted) in [
        ("openai", "POST", "batches", Some((Family::OpenAi, None))),
        ("openai", "GET", "batches/batch_1", Some((Family::OpenAi, Some("batch_1")))),
        ("groq", "POST", "openai/v1/batches/", Some((Family::OpenAi, None))),
        ("anthropic", "POST", "v1/messages/batches", Some((Family::Anthropic, None))),
        ("anthropic", "GET", "v1/messages/batches/msgbatch_1", Some((Family::Anthropic, Some("msgbatch_1")))),
        ("anthropic", "GET", "v1/messages/batches/msgbatch_1/results", Some((Family::Anthropic, Some("msgbatch_1")))),
        (
            "google-ai-studio",
            "POST",
            "v1beta/models/gemini-2.5-flash:batchGenerateContent",
            Some((Family::Gemini, None)),
        ),
        ("google-ai-studio", "GET", "v1beta/batches/b1", Some((Family::Gemini, Some("b1")))),
        ("mistral", "POST", "v1/batch/jobs", Some((Family::OpenAi, None))),
        ("mistral", "GET", "v1/batch/jobs/j", Some((Family::OpenAi, Some("j")))),
        ("mistral", "POST", "v1/batch/jobs/j/cancel", None),
        ("openai", "GET", "batches", None),
        ("openai", "POST", "batches/batch_1/cancel", None),
        ("openai", "POST", "chat/completions", None),
        ("openai", "GET", "vector_stores/vs/file_batches/b", None),
        ("openai", "GET", "mybatches/b", None),
        ("openai", "GET", "batches/a/b", None),
    ] {
        assert_eq!(of(provider, method, rest), wanted, "{method} {rest}");
    }
}

#[test]
fn a_batch_has_ended_when_its_provider_says_so_and_its_results_are_where_it_says() {
    let ended =
        |files: &[&str]| State::Ended { files: files.iter().map(|file| (*file).to_owned()).collect(), note: None };
    for (family, path, said, wanted) in [
        (Family::OpenAi, "batches/b", json!({ "status": "in_progress" }), State::Open),
        (Family::OpenAi, "batches/b", json!({}), State::Open),
        (
            Family::OpenAi,
            "openai/v1/batches/b",
            json!({ "status": "completed", "output_file_id": "file-1", "error_file_id": "file-2" }),
            ended(&["openai/v1/files/file-1/content", "openai/v1/files/file-2/content"]),
        ),
        (
            Family::OpenAi,
            "batches/b",
            json!({ "status": "expired", "output_file_id": null, "error_file_id": "file-2" }),
            ended(&["files/file-2/content"]),
        ),
        (
            Family::OpenAi,
            "batches/b",
            json!({ "status": "failed", "output_file_id": "../../x" }),
            State::Ended { files: vec![], note: Some("it ended without results: failed".to_owned()) },
        ),
        (Family::OpenAi, "v1/batch/jobs/j", json!({ "status": "RUNNING" }), State::Open),
        (
            Family::OpenAi,
            "v1/batch/jobs/j",
            json!({ "status": "TIMEOUT_EXCEEDED", "output_file": "f-1", "error_file": "f-2" }),
            ended(&["v1/files/f-1/content", "v1/files/f-2/content"]),
        ),
        (Family::Anthropic, "v1/messages/batches/m", json!({ "processing_status": "canceling" }), State::Open),
        (
            Family::Anthropic,
            "v1/messages/batches/m",
            json!({ "processing_status": "ended", "results_url": "https://evil.example/" }),
            ended(&["v1/messages/batches/m/results"]),
        ),
        (Family::Gemini, "v1beta/batches/b", json!({ "metadata": { "state": "BATCH_STATE_RUNNING" } }), State::Open),
        (
            Family::Gemini,
            "v1beta/batches/b",
            json!({ "done": true, "response": { "responsesFile": "files/r1" } }),
            ended(&["v1beta/files/r1:download?alt=media"]),
        ),
        (
            Family::Gemini,
            "v1beta/batches/b",
            json!({ "done": true, "response": { "inlinedResponses": {} } }),
            ended(&["v1beta/batches/b"]),
        ),
    ] {
        assert_eq!(family.state(path, &said), wanted, "{said}");
    }
}

#[test]
fn a_line_is_an_answer_of_its_own() {
    let line = |family, line: serde_json::Value| Line::read(family, line.to_string().as_bytes());
    let openai = line(
        Family::OpenAi,
        json!({ "custom_id": "a", "response": { "status_code": 200, "request_id": "r", "body": { "id": "x" } }, "error": null }),
    );
    assert_eq!(
        (openai.status, openai.custom_id.as_deref(), openai.request_id.as_deref(), openai.body.as_str()),
        (200, Some("a"), Some("r"), r#"{"id":"x"}"#)
    );
    let failed = line(
        Family::OpenAi,
        json!({ "custom_id": "a", "response": null, "error": { "code": "batch_expired", "message": "late" } }),
    );
    assert_eq!((failed.status, failed.body.contains("late")), (400, true));
    let refused =
        line(Family::OpenAi, json!({ "response": { "status_code": 429, "body": { "error": { "message": "slow" } } } }));
    assert_eq!(refused.status, 429);
    let message = line(
        Family::Anthropic,
        json!({ "custom_id": "b", "result": { "type": "succeeded", "message": { "usage": {} } } }),
    );
    assert_eq!((message.status, message.body.as_str()), (200, r#"{"usage":{}}"#));
    for kind in ["canceled", "expired"] {
        assert_eq!(line(Family::Anthropic, json!({ "result": { "type": kind } })).status, 499);
    }
    let gemini = line(Family::Gemini, json!({ "metadata": { "key": "c" }, "response": { "candidates": [] } }));
    assert_eq!((gemini.status, gemini.custom_id.as_deref()), (200, Some("c")));
    for bytes in [&b""[..], b"{", b"[]", b"\xff\xfe"] {
        assert_eq!(Line::read(Family::OpenAi, bytes).status, 502);
    }
}

fn split(document: &[u8], at: usize, in_list: bool) -> Vec<String> {
    let (mut lines, mut found) = (Lines::new(in_list), Vec::new());
    for piece in document.chunks(at) {
        lines.push(piece, &mut found);
    }
    lines.finish(&mut found);
    found.into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
}

proptest! {
    #[test]
    fn lines_are_the_same_wherever_pieces_end(texts in prop::collection::vec("[a-z\\\\\"{}\\[\\],: ]{0,20}", 0..8), at in 1usize..40) {
        let objects: Vec<String> = texts.iter().map(|text| json!({ "key": text, "list": [text, { "x": text }] }).to_string()).collect();
        prop_assert_eq!(split(objects.join("\n").as_bytes(), at, false), objects.clone());
        let document = json!({ "name": "batches/b", "metadata": { "inlinedResponses": 5, "other": ["inlinedResponses"] }, "response": { "inlinedResponses": { "inlinedResponses": objects.iter().map(|object| serde_json::from_str::<serde_json::Value>(object).unwrap()).collect::<Vec<_>>() } }, "z": [{ "after": 1 }] });
        let found: Vec<serde_json::Value> = split(document.to_string().as_bytes(), at, true).iter().map(|line| serde_json::from_str(line.trim_start_matches(',')).unwrap()).collect();
        let wanted: Vec<serde_json::Value> = objects.iter().map(|object| serde_json::from_str(object).unwrap()).collect();
        prop_assert_eq!(found, wanted);
    }
}

#[test]
fn a_line_that_is_too_long_is_told_of_and_the_next_one_read() {
    let (mut lines, mut found) = (Lines::new(false), Vec::new());
    let long = vec![b'x'; MAX_LINE / 2 + 1];
    for piece in [&b"{}\n"[..], &long, &long, b"\n{}\n\n"] {
        lines.push(piece, &mut found);
    }
    lines.finish(&mut found);
    assert_eq!((found, lines.skipped), (vec![b"{}".to_vec(), Vec::new(), b"{}".to_vec()], 1));
}

fn made(credential: Credential, method: &str, rest: &str, answer: serde_json::Value) -> Option<Statement> {
    let call = Call { credential, method: method.to_owned(), rest: rest.to_owned(), ..call("0197f3c0") };
    let facts: Facts = read(Framing::Json, 200, answer.to_string().as_bytes());
    stored::remember(&call, &facts, Keeps { log: true, bodies: true }, &[])
}

fn remembered(store: &Sqlite, credential: Credential) -> Batch {
    let statement =
        made(credential, "POST", "batches", json!({ "id": "batch_1", "object": "batch", "status": "validating" }));
    block_on(store.batch(vec![statement.unwrap()])).unwrap();
    block_on(stored::waiting(store, 1, "openai", "batch_1")).unwrap().unwrap()
}

#[test]
fn a_batch_is_remembered_by_what_answers_say_of_it() {
    let answer = |id: &str| json!({ "id": id, "object": "batch", "status": "completed" });
    assert!(made(Credential::Operator, "POST", "batches", answer("batch_1")).is_some());
    assert!(made(Credential::Operator, "GET", "batches/batch_1", answer("batch_1")).is_some());
    assert!(made(Credential::Operator, "GET", "batches/batch_1", answer("batch_2")).is_none());
    assert!(made(Credential::Operator, "POST", "batches", answer("../files")).is_none());
    assert!(made(Credential::Operator, "POST", "chat/completions", answer("batch_1")).is_none());
    let store = Sqlite::new();
    assert_eq!(remembered(&store, Credential::Request).path, "batches/batch_1");
    // Only its caller can ask for it.
    assert!(block_on(stored::due(&store, u64::MAX >> 12, 9)).unwrap().is_empty());
    let store = Sqlite::new();
    remembered(&store, Credential::Operator);
    assert_eq!(block_on(stored::due(&store, u64::MAX >> 12, 9)).unwrap().len(), 1);
}

#[test]
fn two_runners_write_each_line_once() {
    let store = Sqlite::new();
    let batch = remembered(&store, Credential::Operator);
    let changed = |statement: Statement| block_on(store.batch(vec![statement])).unwrap()[0];
    assert_eq!((changed(batch.lease(1_000)), changed(batch.lease(2_000))), (1, 0));
    // A lease that ran out is another's; what both write is written by one.
    assert_eq!(changed(batch.lease(1_000 + stored::LEASE_MS + 1)), 1);
    let write = |group: &str| {
        let line = Statement::new("UPDATE batches SET note = note WHERE id = 'none'", []);
        let done = block_on(store.batch(vec![batch.guard(group), line, batch.advanced(50, 50, 0)])).unwrap();
        (done[0], done[2])
    };
    assert_eq!((write("a"), write("b")), ((0, 1), (1, 0)));
    let again = block_on(stored::waiting(&store, 1, "openai", "batch_1")).unwrap().unwrap();
    assert_eq!((again.lines, again.logs), (50, 50));
    block_on(store.batch(again.done(9, None).into())).unwrap();
    assert!(block_on(stored::waiting(&store, 1, "openai", "batch_1")).unwrap().is_none());
    assert_eq!(changed(again.lease(1 << 50)), 0);
}
