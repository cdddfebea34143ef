use crate::db::store::{Store, row};
use crate::logs::call::Call;
use crate::logs::call::Outcome;
use crate::logs::claim::OPEN;
use crate::logs::group_commit;
use crate::logs::paid_once::*;
use crate::logs::part::{Group, Part};
use crate::logs::pieces::name::NamingKey;
use crate::logs::pieces::plan::Plan;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::logs::rollup::merge;
use crate::logs::rows;
use crate::testing::sqlite::{Faulty, Sqlite};
use crate::wire::{Framing, read};
use pollster::block_on;
use proptest::prelude::*;
use serde_json::json;

row! {
    #[derive(Debug, PartialEq)]
    struct Shown {
        id: String,
        cost: Option<f64>,
        tokens_in: Option<u64>,
        usage_of: Option<String>,
    }
}

row! {
    struct Sums {
        cost: Option<f64>,
        tokens: Option<u64>,
        attempts: Option<u64>,
    }
}

const AT: u64 = 1_700_000_000_000;

/// 1,000 tokens each way of gpt-5.
const COST: f64 = 0.01125;

fn response(status: &str) -> String {
    let usage =
        (status != "queued").then(|| json!({ "input_tokens": 1_000, "output_tokens": 1_000, "total_tokens": 2_000 }));
    json!({ "id": "resp_1", "object": "response", "status": status, "model": "gpt-5", "usage": usage }).to_string()
}

fn record(n: u64, method: &str, rest: &str, answer: &str) -> LogRecord {
    let mut call = Call {
        created_at: AT + n,
        method: method.to_owned(),
        rest: rest.to_owned(),
        ..call(&crate::base::id::mint(AT + n, n.into()))
    };
    call.facts.model = (method == "POST" && rest == "responses").then(|| "gpt-5".to_owned());
    LogRecord::new(call, answered(read(Framing::Json, 200, answer.as_bytes())))
}

fn group(records: Vec<LogRecord>) -> Group {
    let id = crate::base::id::mint(records.first().map_or(AT, |record| record.created_at), 77);
    Group { id, shard: 0, records, unlogged: Default::default() }
}

fn write(store: &impl Store, records: Vec<LogRecord>) {
    assert!(block_on(group_commit::write(store, group(records), async |_| {})).is_empty());
}

fn shown(store: &impl Store) -> Vec<Shown> {
    let sql = "SELECT id, cost, tokens_in, usage_of FROM logs ORDER BY created_at, id";
    block_on(store.rows(Statement::new(sql, []))).unwrap()
}

/// What charts say.
fn charted(store: &impl Store) -> (f64, u64, u64) {
    block_on(merge::merge_tallies(store, AT)).unwrap();
    let sql = "SELECT sum(cost) AS cost, sum(tokens_in) AS tokens, sum(attempts) AS attempts FROM rollup";
    let sums = block_on(store.row::<Sums>(Statement::new(sql, []))).unwrap().unwrap();
    (crate::pricing::rates::rounded(sums.cost.unwrap_or(0.0)), sums.tokens.unwrap_or(0), sums.attempts.unwrap_or(0))
}

fn made(n: u64) -> LogRecord {
    record(n, "POST", "responses", &response("queued"))
}

fn poll(n: u64) -> LogRecord {
    record(n, "GET", "responses/resp_1", &response("completed"))
}

#[test]
fn what_is_polled_is_counted_once_with_the_request_that_made_it() {
    let store = Sqlite::new();
    let (first, polls) = (made(0), [poll(2), poll(3), poll(4)]);
    assert_eq!((first.cost, first.cost_unknown.as_deref()), (None, Some(OPEN)));
    write(&store, vec![first.clone()]);
    // Nothing is paid while it is at work.
    write(&store, vec![record(1, "GET", "responses/resp_1", &response("queued"))]);
    for poll in &polls {
        write(&store, vec![poll.clone()]);
    }
    let rows = shown(&store);
    assert_eq!((rows[0].cost, rows[0].tokens_in, &rows[0].usage_of), (Some(COST), Some(1_000), &None));
    assert_eq!((rows[1].cost, rows[1].tokens_in), (None, None));
    for row in &rows[2..] {
        assert_eq!((row.cost, row.tokens_in, row.usage_of.as_ref()), (Some(0.0), Some(1_000), Some(&first.id)));
    }
    assert_eq!(charted(&store), (COST, 1_000, 5));
}

#[test]
fn all_in_one_group_is_the_same_as_one_by_one() {
    let store = Sqlite::new();
    write(&store, vec![poll(2), made(1), poll(3)]);
    let rows = shown(&store);
    assert_eq!(rows.iter().map(|row| row.cost).collect::<Vec<_>>(), [Some(COST), Some(0.0), Some(0.0)]);
    assert_eq!(charted(&store), (COST, 1_000, 3));
}

#[test]
fn what_was_made_unseen_belongs_to_the_first_who_shows_it() {
    let store = Sqlite::new();
    for n in 1..4 {
        write(&store, vec![poll(n)]);
    }
    let rows = shown(&store);
    assert_eq!((rows[0].cost, &rows[0].usage_of), (Some(COST), &None));
    assert!(rows[1..].iter().all(|row| row.cost == Some(0.0) && row.usage_of.as_ref() == Some(&rows[0].id)));
    assert_eq!(charted(&store), (COST, 1_000, 3));
}

#[test]
fn each_request_that_makes_something_is_paid_whatever_its_id() {
    let store = Sqlite::new();
    let whole = |n| record(n, "POST", "responses", &response("completed"));
    write(&store, vec![whole(1)]);
    write(&store, vec![whole(2), poll(3)]);
    write(&store, vec![record(4, "POST", "responses/resp_1/cancel", &response("cancelled"))]);
    let costs: Vec<_> = shown(&store).into_iter().map(|row| row.cost).collect();
    assert_eq!(costs, [Some(COST), Some(COST), Some(0.0), Some(0.0)]);
    assert_eq!(charted(&store), (COST * 2.0, 2_000, 4));
    // A poll that came to the database before the request that made the thing was of that.
    let late = Sqlite::new();
    write(&late, vec![poll(5)]);
    write(&late, vec![whole(4)]);
    assert_eq!(charted(&late), (COST, 1_000, 2));
}

#[test]
fn what_a_batch_used_is_told_by_its_lines() {
    let store = Sqlite::new();
    let batch = json!({ "id": "batch_1", "object": "batch", "status": "completed", "model": "gpt-5",
        "usage": { "input_tokens": 1_200_000, "output_tokens": 200_000, "total_tokens": 1_400_000 } })
    .to_string();
    for n in 0..5 {
        write(&store, vec![record(n, "GET", "batches/batch_1", &batch)]);
    }
    assert_eq!(charted(&store).0, 0.0);
    let shown = record(9, "GET", "batches/batch_1", &batch);
    assert_eq!((shown.cost, shown.tokens_in, shown.charge.priced.unwrap_or(0.0)), (None, None, 0.0));
}

#[test]
fn the_results_of_a_batch_are_added_up() {
    let line = |model: &str, n: u64| {
        json!({ "custom_id": "x", "result": { "type": "succeeded", "message": { "id": format!("msg_{n}"), "type": "message",
            "model": model, "content": [{ "type": "text", "text": "{\"usage\":{\"input_tokens\":9}}" }],
            "usage": { "input_tokens": 1_000, "output_tokens": 100, "service_tier": "batch" } } } }).to_string()
    };
    let results = |models: [&str; 2]| {
        let body = models.iter().enumerate().map(|(n, model)| line(model, n as u64)).collect::<Vec<_>>().join("\n");
        let facts = read(Framing::Lines, 200, body.as_bytes());
        let (method, rest) = ("GET".to_owned(), "v1/messages/batches/msgbatch_1/results".to_owned());
        let mut call = Call { provider: "anthropic".to_owned(), method, rest, ..call("a") };
        call.facts.model = None;
        LogRecord::new(call, answered(facts))
    };
    let same = results(["claude-sonnet-4-5"; 2]);
    // 2 × (1,000 × 1.5 + 100 × 7.5).
    assert_eq!((same.cost, same.tokens_in), (Some(0.0045), Some(2_000)));
    assert_eq!(same.claim.unwrap().thing, "msgbatch_1");
    assert_eq!(results(["claude-sonnet-4-5", "claude-opus-4-5"]).cost, None);
}

#[test]
fn what_others_can_be_asked_for_again_is_paid_once_too() {
    for (provider, rest, poll_rest, begun, done) in [
        (
            "replicate",
            "models/meta/meta-llama-3-8b-instruct/predictions",
            "predictions/p1",
            json!({ "id": "p1", "status": "starting", "metrics": {} }),
            json!({ "id": "p1", "status": "succeeded", "metrics": { "input_token_count": 100, "output_token_count": 50 } }),
        ),
        (
            "openai",
            "threads/t/runs",
            "threads/t/runs/run_1",
            json!({ "id": "run_1", "object": "thread.run", "status": "queued", "model": "gpt-4o", "usage": null }),
            json!({ "id": "run_1", "object": "thread.run", "status": "completed", "model": "gpt-4o", "usage": { "prompt_tokens": 100, "completion_tokens": 50 } }),
        ),
    ] {
        let store = Sqlite::new();
        for (n, method, rest, answer) in [
            (1, "POST", rest, &begun),
            (2, "GET", poll_rest, &begun),
            (3, "GET", poll_rest, &done),
            (4, "GET", poll_rest, &done),
        ] {
            let mut call = Call {
                provider: provider.to_owned(),
                method: method.to_owned(),
                rest: rest.to_owned(),
                created_at: AT + n,
                ..call(&crate::base::id::mint(AT + n, n.into()))
            };
            call.facts.model = None;
            let record = LogRecord::new(call, answered(read(Framing::Json, 200, answer.to_string().as_bytes())));
            write(&store, vec![record]);
        }
        let rows = shown(&store);
        assert_eq!(
            rows.iter().map(|row| row.usage_of.is_some()).collect::<Vec<_>>(),
            [false, false, true, true],
            "{provider}"
        );
        assert_eq!((rows[0].tokens_in, charted(&store).1), (Some(100), 100), "{provider}");
    }
}

#[test]
fn ordinary_requests_cost_no_statement() {
    let chat = json!({ "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o", "usage": { "prompt_tokens": 5, "completion_tokens": 5 } });
    let ordinary = record(1, "POST", "chat/completions", &chat.to_string());
    let unkept = response("completed").replace("\"status\"", "\"store\":false,\"status\"");
    let unkept = record(2, "POST", "responses", &unkept);
    let failed = LogRecord::new(
        call("c"),
        Outcome { status: Some(500), ..answered(read(Framing::Json, 500, response("completed").as_bytes())) },
    );
    for record in [&ordinary, &unkept, &failed] {
        assert_eq!(record.claim, None);
    }
    let statements = |records: Vec<LogRecord>| {
        let part = Part::of(&group(records), NamingKey::default());
        rows::statements(&part, Plan::alone(&part)).len()
    };
    assert_eq!(statements(vec![ordinary.clone(), unkept]), statements(vec![ordinary.clone()]));
    // A chat that its provider keeps is known by its log.
    let store = Sqlite::new();
    write(&store, vec![ordinary]);
    write(&store, vec![record(3, "GET", "chat/completions/chatcmpl-1", &chat.to_string())]);
    let rows = shown(&store);
    assert_eq!((rows[1].cost, rows[1].usage_of.as_ref()), (Some(0.0), Some(&rows[0].id)));
    assert_eq!(charted(&store).1, 5);
}

#[test]
fn without_a_log_the_charts_are_right_all_the_same() {
    let store = Sqlite::new();
    let mut waiting = group_commit::Waiting::default();
    for record in [made(1), poll(2), poll(3)] {
        waiting.count(&record, 0, 0);
    }
    for group in waiting.take(|| "g".to_owned()) {
        assert!(block_on(group_commit::write(&store, group, async |_| {})).is_empty());
    }
    write(&store, vec![poll(4)]);
    assert_eq!(charted(&store), (COST, 1_000, 4));
    assert_eq!(shown(&store)[0].cost, Some(0.0));
}

#[test]
fn things_are_forgotten_when_their_provider_has_forgotten_them() {
    let store = Sqlite::new();
    write(&store, vec![made(1)]);
    assert_eq!(block_on(store.batch(vec![forgotten(AT + KNOWN_MS, 10)])).unwrap(), [0]);
    assert_eq!(block_on(store.batch(vec![forgotten(AT + KNOWN_MS + 2, 10)])).unwrap(), [1]);
}

proptest! {
    /// However the logs are grouped, in whatever order the groups come, and whichever of them are written twice or
    /// report an error although they were written: the thing is paid once.
    #[test]
    fn a_thing_is_paid_once_in_any_order(
        seen: bool, cuts in prop::collection::vec(any::<bool>(), 6), order in any::<prop::sample::Index>(), fault in 0u32..6, after: bool,
    ) {
        let mut records: Vec<LogRecord> = (2..7).map(poll).collect();
        if seen {
            records.insert(0, made(1));
        }
        let number = records.len();
        records.rotate_left(order.index(number));
        let mut groups: Vec<Vec<LogRecord>> = Vec::new();
        for (record, cut) in records.into_iter().zip(cuts) {
            match groups.last_mut() {
                Some(group) if !cut => group.push(record),
                _ => groups.push(vec![record]),
            }
        }
        let faulty = Faulty::new(Sqlite::new());
        if after { faulty.fail_after(fault) } else { faulty.fail_before(fault) }
        for group in &groups {
            write(&faulty, group.clone());
        }
        // A message that is delivered again.
        for group in groups {
            write(&faulty.inner, group);
        }
        prop_assert_eq!(charted(&faulty.inner), (COST, 1_000, number as u64));
        let rows = shown(&faulty.inner);
        prop_assert_eq!(rows.iter().filter(|row| row.cost == Some(COST) && row.usage_of.is_none()).count(), 1);
        prop_assert_eq!(rows.iter().filter(|row| row.usage_of.is_some()).count(), if seen && rows[0].cost == Some(COST) { 5 } else { 4 });
    }
}
