//! How SQLite runs the statements behind lists, exports, deletions, feedback and evaluations: by which index, and without
//! scanning a table or sorting what it found.

use crate::api::log_export::{self, Export};
use crate::api::{Place, log_list};
use crate::auth::caller::Caller;
use crate::base::id::{self, MarkKey};
use crate::db::audit::Actor;
use crate::db::store::{Bind, Statement, Store};
use crate::evaluate::run::{self, Call, Heard, World};
use crate::feedback::locate;
use crate::feedback::locate::Context;
use crate::http::query::Query;
use crate::logs::filter::{Direction, Selection, from_query};
use crate::logs::removal;
use crate::testing::plans::scan;
use crate::testing::sqlite::{Planned, Sqlite};
use pollster::block_on;
use serde_json::{Value, json};

const GATEWAY: i64 = 1;

fn store() -> Planned {
    Planned::new(Sqlite::new())
}

/// The plans of what `work` asks for, each checked not to scan a table.
fn plans(store: &Planned) -> Vec<String> {
    let plans = store.plans.take();
    for (plan, sql) in &plans {
        assert_eq!(scan(plan), None, "{sql}\n{plan}");
    }
    plans.into_iter().map(|(plan, _)| plan).collect()
}

pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn filters(filters: Value) -> String {
    format!("filters={}", encoded(&filters.to_string()))
}

fn eq(key: &str, value: impl Into<Value>) -> Value {
    json!({ "key": key, "operator": "eq", "value": [value.into()] })
}

/// Asserts that the count and the page of a list are found by an index, and that the page is not sorted.
fn listed(query: &str, by: &str) {
    let store = store();
    block_on(log_list::list(&store, GATEWAY, &Query::parse(query), true)).unwrap();
    for plan in plans(&store) {
        assert!(plan.contains(by), "{query}\nwants {by}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{query}\n{plan}");
    }
}

const BY_METADATA: &str = "log_metadata_by_value (gateway=? AND key=? AND value=?";
const BY_FEEDBACK: &str = "log_feedback_by_value (gateway=? AND key=? AND value=?";

#[test]
fn lists_are_read_from_an_index_in_order() {
    let cursor = id::mint(1_700_000_000_000, 5);
    let day = "start_date=2026-11-20&end_date=2026-11-21";
    for (query, by) in [
        (String::new(), "logs_by_time (gateway=?"),
        ("order_by_direction=asc".to_owned(), "logs_by_time (gateway=?"),
        ("meta_info=true".to_owned(), "logs_by_time (gateway=?"),
        ("page=7&per_page=50".to_owned(), "logs_by_time (gateway=?"),
        (format!("cursor={cursor}"), "logs_by_time (gateway=? AND (created_at,id)<(?,?)"),
        (format!("cursor={cursor}&order_by_direction=asc"), "logs_by_time (gateway=? AND (created_at,id)>(?,?)"),
        (day.to_owned(), "logs_by_time (gateway=? AND created_at>? AND created_at<?"),
        (format!("{day}&cursor={cursor}"), "logs_by_time (gateway=? AND created_at>? AND (created_at,id)<(?,?)"),
        (
            format!("{day}&cursor={cursor}&order_by_direction=asc"),
            "logs_by_time (gateway=? AND (created_at,id)>(?,?) AND created_at<?",
        ),
        ("start_date=2026-11-20".to_owned(), "logs_by_time (gateway=? AND created_at>?"),
        ("provider=openai".to_owned(), "logs_by_provider (gateway=? AND provider=?"),
        (
            format!("provider=openai&{day}"),
            "logs_by_provider (gateway=? AND provider=? AND created_at>? AND created_at<?",
        ),
        (
            format!("provider=openai&cursor={cursor}"),
            "logs_by_provider (gateway=? AND provider=? AND (created_at,id)<(?,?)",
        ),
        ("model=gpt-4o".to_owned(), "logs_by_model (gateway=? AND model=?"),
        (format!("model=gpt-4o&{day}"), "logs_by_model (gateway=? AND model=? AND created_at>? AND created_at<?"),
        (filters(json!([eq("model_type", "embeddings")])), "logs_by_type (gateway=? AND model_type=?"),
        (filters(json!([eq("model_type", "chat")])), "logs_by_time (gateway=?"),
        ("success=true".to_owned(), "logs_by_time (gateway=?"),
        ("success=false".to_owned(), "logs_failed (gateway=?"),
        (format!("success=false&{day}"), "logs_failed (gateway=? AND created_at>? AND created_at<?"),
        ("cached=true".to_owned(), "logs_cached (gateway=?"),
        ("cached=false".to_owned(), "logs_by_time (gateway=?"),
        ("feedback=1".to_owned(), "logs_by_feedback (gateway=? AND feedback=?"),
        ("feedback=-1".to_owned(), "logs_by_feedback (gateway=? AND feedback=?"),
        ("feedback=0".to_owned(), "logs_by_time (gateway=?"),
        (filters(json!([eq("feedback", Value::Null)])), "logs_by_time (gateway=?"),
        (filters(json!([eq("score", 100)])), "logs_by_score (gateway=? AND score=?"),
        (filters(json!([eq("metadata.team", "AI")])), BY_METADATA),
        (filters(json!([eq("metadata.user", 12345)])), BY_METADATA),
        (filters(json!([eq("metadata.test", true)])), BY_METADATA),
        (filters(json!([eq("feedback.rating", 5)])), BY_FEEDBACK),
        (
            format!("{}&{day}", filters(json!([eq("metadata.team", "AI")]))),
            "log_metadata_by_value (gateway=? AND key=? AND value=? AND created_at>? AND created_at<?",
        ),
        (
            format!("{}&cursor={cursor}", filters(json!([eq("metadata.team", "AI")]))),
            "log_metadata_by_value (gateway=? AND key=? AND value=? AND (created_at,log_id)<(?,?)",
        ),
        (filters(json!([eq("model", "gpt-4o"), eq("metadata.team", "AI"), eq("success", true)])), BY_METADATA),
        (filters(json!([eq("metadata.team", "AI"), eq("metadata.env", "dev"), eq("feedback.rating", 5)])), BY_METADATA),
        (
            filters(json!([eq("feedback.rating", 5), { "key": "model", "operator": "contains", "value": ["gpt"] }])),
            BY_FEEDBACK,
        ),
        (filters(json!([{ "or": [eq("model", "a"), eq("metadata.team", "AI")] }])), "logs_by_time (gateway=?"),
    ] {
        listed(&query, by);
    }
}

/// Models and providers are in the order of an index. Of a field with one value that most logs have, these and the others are
/// each read in order, and merged; only the page is sorted.
#[test]
fn lists_by_other_fields_are_read_in_order_too() {
    for (query, index) in
        [("order_by=model", "logs_by_model"), ("order_by=provider&order_by_direction=asc", "logs_by_provider")]
    {
        let store = store();
        block_on(log_list::list(&store, GATEWAY, &Query::parse(query), true)).unwrap();
        let plan = plans(&store).pop().unwrap();
        assert!(plan.contains(index) && !plan.contains("TEMP"), "{query}\n{plan}");
    }
    for (field, index) in [("success", "logs_failed"), ("cached", "logs_cached"), ("model_type", "logs_by_type")] {
        for direction in ["asc", "desc"] {
            let store = store();
            let query = format!("order_by={field}&order_by_direction={direction}");
            block_on(log_list::list(&store, GATEWAY, &Query::parse(&query), true)).unwrap();
            let plan = plans(&store).pop().unwrap();
            let merged = plan.split_once("SCAN page").unwrap().0;
            assert!(merged.contains("MERGE (UNION ALL)") && merged.contains(index), "{query}\n{plan}");
            assert!(merged.contains("logs_by_time") && !merged.contains("TEMP"), "{query}\n{plan}");
        }
    }
}

/// What is known to be false of every log leaves nothing to read, by whatever index that would be.
#[test]
fn fields_that_no_log_has_match_accordingly() {
    for (key, operator) in
        [("wholesale", "absent"), ("prompts.version_id", "present"), ("prompts.prompt_id", "present")]
    {
        for more in ["success=false", "cached=true", "order_by=success", "order_by=model_type", "feedback=1"] {
            let query = format!("{}&{more}", filters(json!([{ "key": key, "operator": operator }])));
            let reply = block_on(log_list::list(&store(), GATEWAY, &Query::parse(&query), true)).unwrap();
            assert_eq!(reply.status, 200, "{query}");
        }
    }
}

/// Among the logs of one pair those of another are found without looking at a log.
#[test]
fn two_pairs_need_no_log() {
    let store = store();
    let query = filters(json!([eq("metadata.env", "dev"), eq("metadata.team", "AI")]));
    block_on(log_list::list(&store, GATEWAY, &Query::parse(&query), true)).unwrap();
    let window = &plans(&store)[1];
    assert!(window.contains(BY_METADATA) && window.contains("SEARCH entry USING PRIMARY KEY"), "{window}");
    assert!(!window.contains("SEARCH logs"), "{window}");
}

/// Of several filters with an index the rarest leads, wherever it stands.
#[test]
fn the_rarest_filter_leads() {
    let store = store();
    let sql = "INSERT INTO log_metadata (log_id, key, value, gateway, created_at) \
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 50) SELECT 'log ' || n, 'env', 'dev', 1, n FROM n";
    block_on(store.inner.batch(vec![Statement::new(sql, [])])).unwrap();
    for (first, second, by) in [
        (eq("metadata.env", "dev"), eq("metadata.user", "u"), "pair USING"),
        (eq("metadata.env", "dev"), eq("model", "gpt-4o"), "logs_by_model"),
        (eq("model", "gpt-4o"), eq("metadata.env", "dev"), "logs_by_model"),
        (eq("metadata.env", "dev"), eq("success", false), "logs_failed"),
        (eq("metadata.env", "dev"), eq("feedback.rating", 5), "log_feedback_by_value"),
    ] {
        block_on(log_list::list(&store, GATEWAY, &Query::parse(&filters(json!([first, second]))), true)).unwrap();
        let plans = plans(&store);
        assert!(plans.len() >= 2 && plans.last().unwrap().contains(by), "{first} {second}\n{plans:#?}");
    }
}

/// A slice is read from its beginning to its end, whatever else bounds the time.
#[test]
fn slices_have_two_ends() {
    let from = id::mint(1_700_000_000_000, 5);
    for (query, wanted) in [
        ("end_date=2026-11-21&start_date=2020-01-01", "logs_by_time (gateway=?"),
        ("end_date=2026-11-21&provider=openai", "logs_by_provider (gateway=? AND provider=?"),
    ] {
        let filters = from_query(&Query::parse(query)).unwrap();
        let mut logs = Selection::new(GATEWAY, &filters);
        logs.until(1_700_000_000_001);
        logs.beyond(&from, Direction::Descending);
        logs.down_to(&id::mint(1_600_000_000_000, 5));
        let plan = Sqlite::new().plan(&logs.gather("count(*)", ""));
        let wanted = format!("{wanted} AND (created_at,id)>(?,?) AND (created_at,id)<(?,?))");
        assert!(plan.contains(&wanted), "{plan}");
    }
}

/// Few logs have the id that is asked for, so they may be sorted.
#[test]
fn ids_are_looked_up() {
    for (query, by) in [
        (filters(json!([eq("id", "a")])), vec!["logs USING PRIMARY KEY (id=?"]),
        (
            filters(json!([{ "key": "id", "operator": "eq", "value": ["a", "b"] }])),
            vec!["logs USING PRIMARY KEY (id=?"],
        ),
        (filters(json!([eq("response_id", "a")])), vec!["logs_by_response (response_id=?"]),
        (filters(json!([eq("event_id", "a")])), vec!["logs_by_event (event_id=?", "logs USING PRIMARY KEY (id=?"]),
        (
            filters(json!([eq("metadata.team", "AI"), eq("event_id", "a"), eq("provider", "openai")])),
            vec!["logs_by_event (event_id=?", "logs USING PRIMARY KEY (id=?"],
        ),
        (
            format!("{}&start_date=2026-11-20", filters(json!([eq("response_id", "a"), eq("success", false)]))),
            vec!["logs_by_response (response_id=?"],
        ),
    ] {
        let store = store();
        block_on(log_list::list(&store, GATEWAY, &Query::parse(&query), true)).unwrap();
        for plan in plans(&store) {
            assert!(by.iter().all(|by| plan.contains(by)), "{query}\n{plan}");
        }
    }
}

#[test]
fn exports_and_deletions_read_in_order() {
    for (query, by) in [
        ("", "logs_by_time (gateway=?"),
        ("cursor=01HF7YAT00AAAAAAAAAAAAAAAA", "logs_by_time (gateway=? AND (created_at,id)>(?,?)"),
        ("format=openai-finetune", "logs_by_feedback (gateway=? AND feedback=?"),
        (&filters(json!([eq("metadata.team", "AI")])), BY_METADATA),
    ] {
        let store = store();
        let export = Export::parse(GATEWAY, &Query::parse(query)).unwrap();
        block_on(log_export::collected(&store, export)).unwrap();
        if !query.contains("format") {
            let place = Place { account: "acct", gateway: "gw", key: GATEWAY };
            let by = Actor { name: "admin", now_ms: 0, entry: String::new() };
            let query = if query.starts_with("cursor") { "" } else { query };
            block_on(log_list::delete(&store, &place, &Query::parse(query), b"", &by)).reply.unwrap();
        }
        for plan in plans(&store) {
            assert!(
                plan.contains(by.split(" AND (created").next().unwrap()) && !plan.contains("TEMP"),
                "{query}\n{plan}"
            );
        }
    }
}

#[test]
fn what_is_deleted_is_found_by_its_key() {
    let store = store();
    block_on(removal::remove(&store, &["a".to_owned()], None)).unwrap();
    assert_eq!(plans(&store).len(), 10);
}

#[test]
fn feedback_finds_its_log_by_any_id() {
    let store = store();
    let mark = MarkKey([7; 32]);
    let query = Query::parse("");
    let context = Context { caller: &Caller::Admin, query: &query, mark: &mark, now_ms: 1, entry: "e".to_owned() };
    block_on(locate::locate(&[(0, &store)], "chatcmpl-1", &context)).unwrap();
    let plan = plans(&store).pop().unwrap();
    for by in ["logs USING PRIMARY KEY (id=?)", "logs_by_response (response_id=?)", "logs_by_event (event_id=?)"] {
        assert!(plan.contains(by), "{plan}");
    }
}

struct Nobody;

impl World for Nobody {
    fn now(&self) -> u64 {
        1_700_000_100_000
    }

    async fn rest(&self) {}

    async fn ask(&self, _: &Call<'_>) -> Result<Heard, String> {
        Err("nobody".to_owned())
    }
}

#[test]
fn evaluations_read_slices_of_an_index() {
    let sets = [
        (json!([[]]), "logs_by_time (gateway=?"),
        (json!([[eq("model", "gpt-4o")]]), "logs_by_model (gateway=? AND model=?"),
        (json!([[eq("metadata.team", "AI")]]), BY_METADATA),
        (json!([[eq("metadata.team", "AI")], [eq("success", false)]]), "logs_by_time (gateway=?"),
    ];
    for (sets, by) in sets {
        let store = store();
        let datasets: Vec<Value> =
            sets.as_array().unwrap().iter().map(|filters| json!({ "filters": filters })).collect();
        let plan = json!({
            "evaluation_type_ids": ["cost", "human_feedback", "p95_duration", "p50_first_byte", "cost_per_thumbs_up", "feedback:rating", "json_valid"],
            "group_by": "metadata.team",
        });
        let cursor = json!({ "cursor": id::mint(1_700_000_000_000, 5), "figures_done": false, "groups": {}, "answers": {}, "rows_read": 0, "failures": 0 });
        let texts = [Value::from(datasets).to_string(), plan.to_string(), cursor.to_string()].map(Bind::from);
        let made = [
            Statement::new(
                "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) VALUES (1, 'a', 'g', 'i', 1, 1, '{}')",
                [],
            ),
            Statement::new(
                "INSERT INTO evaluations (id, gateway, name, processed, total_logs, datasets, plan, progress, lease_until, created_at, modified_at) \
                 VALUES ('e', 1, 'e', 0, 0, ?1, ?2, ?3, 0, 1700000000000, 1)",
                texts,
            ),
        ];
        block_on(store.inner.batch(made.into())).unwrap();
        assert!(block_on(run::run(&store, &Nobody, "e", "me", u64::MAX, u64::MAX)).unwrap());
        let found: Vec<String> =
            plans(&store).into_iter().filter(|plan| plan.contains("logs") || plan.contains("pair")).collect();
        // The end of the slice, its sums, two histograms, how far is looked for answers, and a page of them.
        assert_eq!(found.len(), 6, "{found:#?}");
        for (n, plan) in found.iter().enumerate() {
            assert!(plan.contains(by), "{sets}\n{found:#?}");
            assert!(!plan.contains("FOR ORDER BY"), "{sets} {n}\n{plan}");
        }
    }
}

#[test]
fn the_most_that_can_be_asked_stays_within_what_d1_binds() {
    let store = Sqlite::new();
    let hardest: Vec<Value> = (0..30)
        .map(|n| json!({ "key": format!("metadata.key {n}"), "operator": "lt", "value": [n, format!("text {n}")] }))
        .collect();
    let last = id::mint(1_700_000_000_000, 7);
    let query = format!("{}&search=x&cursor={last}&meta_info=true", filters(json!(hardest)));
    // The store refuses more than a hundred binds, as D1 does.
    let reply = block_on(log_list::list(&store, 1, &Query::parse(&query), true)).unwrap();
    assert_eq!(reply.status, 200);
}
