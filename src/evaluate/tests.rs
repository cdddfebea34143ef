//! Whole runs on SQLite, broken off at every statement.

use super::run::{Call, Heard, World, run, waiting};
use crate::api::{Place, datasets, evaluations, gateways};
use crate::base::id;
use crate::db::audit::Actor;
use crate::db::put_aside;
use crate::db::store::{Statement, Store};
use crate::db::whose::Whose;
use crate::logs::group_commit;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::testing::sqlite::{Faulty, Sqlite};
use crate::wire::{Facts, Usage};
use pollster::block_on;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

const NOW: u64 = 1_700_000_000_000;

/// A judge that gives as many points as the answer says, and remembers what it was asked.
struct Bench {
    clock: Cell<u64>,
    /// The model that the judge says it is; only known ones have a price.
    model: &'static str,
    asked: RefCell<BTreeMap<String, u32>>,
    /// Whether what the judge says is short enough to be heard to its end.
    is_heard_out: bool,
}

impl World for Bench {
    fn now(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    async fn rest(&self) {}

    async fn ask(&self, call: &Call<'_>) -> Result<Heard, String> {
        let text = call.question.body["messages"][0]["content"].as_str().unwrap();
        let points = text.split_whitespace().nth(1).unwrap().to_owned();
        *self.asked.borrow_mut().entry(points.clone()).or_default() += 1;
        let body =
            json!({ "model": self.model, "usage": { "prompt_tokens": 1_000_000, "completion_tokens": 0 }, "choices": [{ "message": { "content": format!("{{\"verdict\": {points}}}") } }] }).to_string();
        Ok(Heard { status: 200, body, is_whole: self.is_heard_out, log_id: None })
    }
}

/// Twenty logs with the answers 0 to 19, a dataset of all, and an evaluation of it.
fn prepared() -> (Faulty<Sqlite>, String) {
    prepared_with(&json!({}))
}

/// The same with more settings for the judge.
fn prepared_with(more: &Value) -> (Faulty<Sqlite>, String) {
    let store = Faulty::new(Sqlite::new());
    let actor = |entry: &str| Actor { name: "admin", now_ms: NOW + 100, entry: entry.to_owned() };
    let gateway = json!({ "id": "gw", "collect_logs": true }).to_string();
    block_on(gateways::create(
        &store,
        "acct",
        gateway.as_bytes(),
        &actor("a"),
        "internal".to_owned(),
        &crate::config::bounds::Bounds::USUAL.gateways,
    ))
    .reply
    .unwrap();
    let records: Vec<LogRecord> = (0..20)
        .map(|n| {
            let mut call = call(&id::mint(NOW + n, u128::from(n)));
            call.created_at = NOW + n;
            call.facts.model = Some(if n < 5 { "gpt-4o" } else { "other" }.to_owned());
            let usage = Usage { tokens_in: Some(n), tokens_out: Some(1), ..Usage::default() };
            let mut outcome = answered(Facts { usage, ..Facts::default() });
            outcome.duration = n;
            outcome.body = Some(json!({ "choices": [{ "message": { "content": n.to_string() } }] }).to_string());
            LogRecord::new(call, outcome)
        })
        .collect();
    block_on(group_commit::write(&store, records.into(), async |_| {}));
    let place = Place { account: "acct", gateway: "gw", key: 1 };
    let all = json!({ "name": "all", "enable": true, "filters": [] }).to_string();
    block_on(datasets::create(
        &store,
        &place,
        all.as_bytes(),
        "dataset",
        &actor("b"),
        &crate::config::bounds::Bounds::USUAL.datasets,
    ))
    .unwrap();
    let mut judge =
        json!({ "prompt": "judge {{output}} now", "provider": "openai", "model": "gpt-4o", "concurrency": 3 });
    judge.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let plan = json!({
        "name": "e", "dataset_ids": ["dataset"], "group_by": "model",
        "evaluation_type_ids": ["tokens_in", "p50_duration", "success_rate", "answer_matches", "llm_judge"],
        "settings": {
            "answer_matches": { "regex": "^1" },
            "llm_judge": judge,
        },
    });
    block_on(evaluations::create(
        &store,
        &place,
        plan.to_string().as_bytes(),
        "evaluation",
        &actor("c"),
        &crate::config::bounds::Bounds::USUAL.evaluations,
    ))
    .reply
    .unwrap();
    (store, "evaluation".to_owned())
}

fn shown(store: &Faulty<Sqlite>) -> Value {
    let place = Place { account: "acct", gateway: "gw", key: 1 };
    let reply = block_on(evaluations::get(&store.inner, &place, "evaluation")).reply.unwrap();
    serde_json::from_str::<Value>(&reply.body).unwrap()["result"].clone()
}

/// What came out: the figures of each evaluator, and of its groups.
fn figures(store: &Faulty<Sqlite>) -> Vec<Value> {
    let shown = shown(store);
    assert_eq!((&shown["processed"], &shown["total_logs"]), (&json!(true), &json!(20)), "{shown}");
    let results = shown["results"].as_array().unwrap();
    results.iter().map(|one| json!([one["result"], one["total_logs"], one["status"], one["groups"]])).collect()
}

/// Runs to the end, however often it is broken off, with a clock that outlasts every lease.
fn finish(store: &Faulty<Sqlite>, bench: &Bench) {
    for round in 0..50 {
        let _ = block_on(run(store, bench, "evaluation", &format!("runner {round}"), u64::MAX, u64::MAX));
        if block_on(waiting(&store.inner, &Whose::All, u64::MAX / 2)).unwrap().is_empty() {
            return;
        }
        bench.clock.set(bench.clock.get() + 60_000);
    }
    panic!("the evaluation does not end: {}", shown(store));
}

fn bench() -> Bench {
    Bench { clock: Cell::new(NOW + 1_000), model: "gpt-4o", asked: RefCell::default(), is_heard_out: true }
}

#[test]
fn a_run_in_many_slices_gives_the_figures_of_the_whole() {
    let (store, _) = prepared();
    let bench = bench();
    finish(&store, &bench);
    let figures = figures(&store);
    assert_eq!(figures[0][0], "9.5");
    assert_eq!(figures[1][0], "9");
    assert_eq!(figures[2][0], "100");
    // 1 and 10 to 19.
    assert_eq!(figures[3][0], "55");
    assert_eq!(figures[4][0], "9.5");
    assert_eq!(figures[0][3][0]["group"], "gpt-4o");
    assert_eq!((&figures[0][3][0]["result"], &figures[0][3][1]["result"]), (&json!("2"), &json!("12")));
    assert!(bench.asked.borrow().values().all(|times| *times == 1) && bench.asked.borrow().len() == 20);
}

#[test]
fn a_run_that_is_broken_off_anywhere_ends_with_the_same_figures() {
    let (store, _) = prepared();
    finish(&store, &bench());
    let wanted = figures(&store);
    for n in 1..90 {
        for took_effect in [false, true] {
            let (store, _) = prepared();
            if took_effect {
                store.fail_after(n)
            } else {
                store.fail_before(n)
            }
            let bench = bench();
            finish(&store, &bench);
            assert_eq!(figures(&store), wanted, "broken off at statement {n}, which took effect: {took_effect}");
            // Only what was on its way is asked again.
            let again: u32 = bench.asked.borrow().values().map(|times| times - 1).sum();
            assert!(again <= 3, "{again} questions twice, broken off at {n}");
        }
    }
}

#[test]
fn two_runners_do_not_work_on_one_evaluation() {
    let (store, _) = prepared();
    let bench = bench();
    // The first stops before its time is up, and has given its place back.
    assert_eq!(block_on(run(&store, &bench, "evaluation", "first", u64::MAX, bench.clock.get() + 4)), Ok(false));
    let begun = shown(&store);
    assert_eq!(begun["processed"], false);
    assert_eq!(begun["results"][4]["status"], 1);
    let lease = "UPDATE evaluations SET lease_until = 9e15, runner = 'somebody'";
    block_on(crate::db::store::Store::batch(&store, vec![crate::db::store::Statement::new(lease, [])])).unwrap();
    assert_eq!(block_on(run(&store, &bench, "evaluation", "second", u64::MAX, u64::MAX)), Ok(false));
    assert_eq!(shown(&store)["processed"], false);
    assert!(bench.asked.borrow().is_empty());
}

#[test]
fn what_the_database_cannot_do_is_given_up_and_the_rest_goes_on() {
    let (store, _) = prepared();
    // A column that figures need and answers do not.
    let broken = "ALTER TABLE logs RENAME COLUMN tokens_in TO hidden";
    block_on(crate::db::store::Store::batch(&store, vec![crate::db::store::Statement::new(broken, [])])).unwrap();
    finish(&store, &bench());
    let results = shown(&store)["results"].clone();
    for (position, status) in [(0, 3), (1, 3), (2, 3), (3, 2), (4, 2)] {
        assert_eq!(results[position]["status"], status, "{}", results[position]);
    }
    assert!(results[0]["status_description"].as_str().unwrap().contains("no such column"));
    assert_eq!(results[4]["result"], "9.5");
}

#[test]
fn a_judge_stops_where_its_cost_is_reached_or_cannot_be_known() {
    for (model, most, asked, why) in
        [("gpt-4o", 6.0, 3, "max_cost"), ("gpt-4o", 1e3, 20, "completed"), ("unheard-of", 6.0, 3, "unknown")]
    {
        let (store, _) = prepared_with(&json!({ "max_cost": most, "model": model }));
        let bench = Bench { model, ..bench() };
        finish(&store, &bench);
        let judge = shown(&store)["results"][4].clone();
        assert_eq!((&judge["total_logs"], &judge["status"]), (&json!(asked), &json!(2)), "{model}: {judge}");
        assert!(judge["status_description"].as_str().unwrap().contains(why), "{judge}");
    }
}

#[test]
fn a_judge_who_says_too_much_has_no_verdict() {
    let (store, _) = prepared();
    finish(&store, &Bench { is_heard_out: false, ..bench() });
    let judge = shown(&store)["results"][4].clone();
    assert_eq!(judge["status"], 3, "{judge}");
    assert!(judge["status_description"].as_str().unwrap().contains("more than 256 KB"), "{judge}");
}

#[test]
fn long_answers_are_not_read_together() {
    let (store, _) = prepared();
    let wanted = {
        let (store, _) = prepared();
        finish(&store, &bench());
        figures(&store)
    };
    let long = "UPDATE log_bodies SET request = json_object('messages', json('[]'), 'x', replace(hex(zeroblob(145000)), '0', '\u{1F600}'))";
    block_on(store.batch(vec![Statement::new(long, [])])).unwrap();
    finish(&store, &bench());
    assert_eq!(figures(&store), wanted);
    let most = store.inner.texts.get();
    assert!((1_000_000..2_100_000).contains(&most), "{most}");
}

#[test]
fn no_judge_is_asked_who_could_not_be_heard_in_time() {
    let (store, _) = prepared();
    let bench = bench();
    let end = bench.clock.get() + 10_000;
    assert_eq!(block_on(run(&store, &bench, "evaluation", "late", u64::MAX, end)), Ok(false));
    assert!(bench.asked.borrow().is_empty());
    let begun = shown(&store);
    assert_eq!((&begun["results"][3]["status"], &begun["results"][4]["status"]), (&json!(2), &json!(1)));
    finish(&store, &bench);
    assert_eq!(bench.asked.borrow().len(), 20);
}

/// As if the Worker had ended in a slice: nothing more is written, and the lease runs out.
fn killed(store: &Faulty<Sqlite>, bench: &Bench) {
    let sql = "UPDATE evaluations SET lease_until = ?1 + 30000, runner = 'gone', \
         progress = json_set(coalesce(progress, '{}'), '$.begun', coalesce(progress ->> 'begun', 0) + 1)";
    let binds = [crate::db::store::Bind::Int(bench.clock.get() as i64)];
    block_on(crate::db::store::Store::batch(&store.inner, vec![crate::db::store::Statement::new(sql, binds)])).unwrap();
    bench.clock.set(bench.clock.get() + 60_000);
}

fn once(store: &Faulty<Sqlite>, bench: &Bench) -> bool {
    block_on(run(store, bench, "evaluation", "next", u64::MAX, u64::MAX)).unwrap()
}

#[test]
fn what_was_begun_twice_and_never_ended_is_given_up_and_the_rest_goes_on() {
    let (store, _) = prepared();
    let bench = bench();
    killed(&store, &bench);
    killed(&store, &bench);
    assert!(once(&store, &bench));
    let results = shown(&store)["results"].clone();
    for (position, status) in [(0, 3), (1, 3), (2, 3), (3, 2), (4, 2)] {
        assert_eq!(results[position]["status"], status, "{}", results[position]);
    }
    assert!(results[0]["status_description"].as_str().unwrap().contains("begun 2 times"), "{}", results[0]);
    assert_eq!(results[4]["result"], "9.5");
}

#[test]
fn what_was_begun_once_is_begun_again() {
    let (store, _) = prepared();
    let wanted = {
        let (store, _) = prepared();
        finish(&store, &bench());
        figures(&store)
    };
    let bench = bench();
    killed(&store, &bench);
    assert!(once(&store, &bench));
    assert_eq!(figures(&store), wanted);
}

#[test]
fn an_evaluation_that_cannot_even_be_given_up_is_ended_unread() {
    let (store, _) = prepared();
    let bench = bench();
    (0..3).for_each(|_| killed(&store, &bench));
    let broken = "UPDATE evaluations SET plan = 'poison'";
    block_on(crate::db::store::Store::batch(&store, vec![crate::db::store::Statement::new(broken, [])])).unwrap();
    assert!(once(&store, &bench));
    let shown = shown(&store);
    assert_eq!(shown["processed"], true);
    for result in shown["results"].as_array().unwrap() {
        assert_eq!(result["status"], 3);
        assert!(result["status_description"].as_str().unwrap().contains("begun 2 times"), "{result}");
    }
}

#[test]
fn a_slice_that_ends_is_not_held_against_the_next_one() {
    let (store, _) = prepared();
    let bench = bench();
    // Each time one slice is done before the next one is cut off.
    for _ in 0..4 {
        let turn = bench.clock.get() + 2;
        assert_eq!(block_on(run(&store, &bench, "evaluation", "next", turn, u64::MAX)), Ok(false));
        killed(&store, &bench);
    }
    finish(&store, &bench);
    assert!(figures(&store).iter().all(|figure| figure[2] == 2));
}

#[test]
fn a_test_that_takes_too_many_steps_ends_with_an_error_and_the_rest_goes_on() {
    let (store, _) = prepared();
    let bench = bench();
    // What is left of the steps is written down with the rest: here nearly nothing.
    let poor = "UPDATE evaluations SET plan = replace(plan, '^1', '(?:(?:[0-9]?){0,1000}){0,9}x')";
    block_on(crate::db::store::Store::batch(&store, vec![crate::db::store::Statement::new(poor, [])])).unwrap();
    let steps = "UPDATE evaluations SET progress = '{\"answers\":[[3,{\"steps\":1000}]]}'";
    block_on(crate::db::store::Store::batch(&store, vec![crate::db::store::Statement::new(steps, [])])).unwrap();
    finish(&store, &bench);
    let results = shown(&store)["results"].clone();
    assert_eq!(results[3]["status"], 3, "{}", results[3]);
    assert!(results[3]["status_description"].as_str().unwrap().contains("too many steps"), "{}", results[3]);
    assert_eq!((&results[2]["result"], &results[4]["result"]), (&json!("100"), &json!("9.5")));
}

#[test]
fn whoever_asks_moves_on_what_is_theirs() {
    let (store, _) = prepared();
    let waiting = |whose: Whose| block_on(waiting(&store.inner, &whose, NOW + 1_000)).unwrap();
    let of = |account: &str, id: &str| Whose::Gateway { account: account.to_owned(), id: id.to_owned() };
    assert_eq!(waiting(Whose::All), ["evaluation"]);
    assert_eq!(waiting(of("acct", "gw")), ["evaluation"]);
    assert!(waiting(of("other", "gw")).is_empty() && waiting(of("acct", "none")).is_empty());
    assert_eq!((waiting(Whose::Key(1)).len(), waiting(Whose::Key(2)).len()), (1, 0));
}

#[test]
fn an_evaluation_that_cannot_be_read_ends_and_is_reported() {
    for fault in ["datasets = '{'", "plan = 'x'", "created_at = 'soon'"] {
        let (store, id) = prepared();
        let broken = format!("UPDATE evaluations SET {fault} WHERE id = ?1");
        block_on(store.batch(vec![Statement::new(broken, [id.as_str().into()])])).unwrap();
        let bench = bench();
        assert_eq!(block_on(run(&store, &bench, &id, "runner", u64::MAX, u64::MAX)), Ok(true), "{fault}");
        assert!(block_on(waiting(&store, &Whose::All, u64::MAX / 2)).unwrap().is_empty());
        let (told, n) = block_on(put_aside::report(&store, NOW)).unwrap();
        assert_eq!((n, told[0].source.as_str(), told[0].id.as_str()), (1, "evaluations", id.as_str()), "{fault}");
    }
}

#[test]
fn a_run_whose_progress_cannot_be_read_begins_anew() {
    for progress in ["{", "", r#"{"failures":"x"}"#, r#"{"groups":[["a",{"logs":1,"sums":[["x",{"n":null}]]}]]}"#] {
        let (store, id) = prepared();
        let sql = "UPDATE evaluations SET progress = ?2 WHERE id = ?1";
        block_on(store.batch(vec![Statement::new(sql, [id.as_str().into(), progress.into()])])).unwrap();
        finish(&store, &bench());
        assert_eq!(shown(&store)["processed"], true, "{progress}");
    }
}
