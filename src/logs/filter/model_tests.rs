//! What filters mean, written down a second time in plain Rust, and compared with what the SQL finds.

use crate::api::log_list;
use crate::base::id;
use crate::base::timestamp;
use crate::db::store::{Bind, Statement, Store};
use crate::http::query::Query;
use crate::logs::call::Call;
use crate::logs::filter::plan_tests::encoded;
use crate::logs::filter::terms::Kind;
use crate::logs::filter::{Ahead, Direction, Filter, FilterKey, Filters, Next, Operator, Selection, from_json};
use crate::logs::group_commit;
use crate::logs::metadata::{self, Metadata};
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::logs::selection;
use crate::testing::sqlite::Sqlite;
use crate::wire::Facts;
use pollster::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::cmp::Ordering;

const GATEWAY: i64 = 1;
const START: u64 = 1_700_000_000_000;

/// A log with what people said about it.
#[derive(Clone, Debug)]
struct Log {
    record: LogRecord,
    feedback: Option<i64>,
    score: Option<f64>,
    said: Vec<(String, Value)>,
}

impl Log {
    fn field(&self, name: &str) -> Value {
        let row = &self.record;
        match name {
            "id" => json!(row.id),
            "created_at" => json!(row.created_at),
            "success" => json!(row.success),
            "cached" => json!(row.cached),
            "provider" => json!(row.provider),
            "model" => json!(row.model),
            "model_type" => json!(row.model_type),
            "cost" => json!(row.cost),
            "tokens" => json!(row.total_tokens),
            "tokens_in" => json!(row.tokens_in),
            "tokens_out" => json!(row.tokens_out),
            "duration" => json!(row.duration),
            "feedback" => json!(self.feedback),
            "score" => json!(self.score),
            "event_id" => json!(row.event_id),
            "response_id" => json!(row.response_id),
            "error" => json!(row.error),
            "status_code" => json!(row.status_code),
            "user_agent" => json!(row.user_agent),
            "authentication" => json!(row.authentication),
            "wholesale" => json!(false),
            "dlp_action" => json!(row.dlp_action),
            other => panic!("{other} is not in the model"),
        }
    }

    /// The value that a list is ordered by; null comes before all others.
    fn ordered(&self, name: &str) -> Option<String> {
        match name {
            "model" => self.record.model.clone(),
            "model_type" => self.record.model_type.map(str::to_owned),
            "success" => Some(self.record.success.to_string()),
            _ => Some(self.record.cached.to_string()),
        }
    }

    /// The values that a filter on entries may meet.
    fn entries(&self, key: &FilterKey) -> Vec<Value> {
        let own = &self.record.metadata_entries;
        let of = |entries: &[(String, Value)], wanted: &str| {
            let found = entries.iter().filter(|(key, _)| key == wanted);
            found.map(|(_, value)| metadata::searchable(value)).collect()
        };
        match key {
            FilterKey::AnyName => own.iter().map(|(key, _)| json!(key)).collect(),
            FilterKey::Category => Vec::new(),
            FilterKey::AnyValue => own.iter().map(|(_, value)| metadata::searchable(value)).collect(),
            FilterKey::Metadata(key) => of(own, key),
            FilterKey::Feedback(key) => of(&self.said, key),
            FilterKey::Field(_) => Vec::new(),
        }
    }

    fn meets(&self, filter: &Filter) -> bool {
        let Filter { key, operator, values } = filter;
        if let FilterKey::Field(field) = key {
            let own = self.field(field.name);
            return match operator {
                Operator::Present => !own.is_null(),
                Operator::Absent => own.is_null(),
                Operator::Eq => values.iter().any(|value| same(&own, value)),
                Operator::Neq => !values.iter().any(|value| same(&own, value)),
                _ => values.iter().any(|value| compares(&own, *operator, value, field.kind)),
            };
        }
        let entries = self.entries(key);
        let equal = values.iter().any(|value| match value {
            Value::Null => entries.is_empty(),
            value => entries.iter().any(|entry| same(entry, value)),
        });
        match operator {
            Operator::Present => !entries.is_empty(),
            Operator::Absent => entries.is_empty(),
            Operator::Eq => equal,
            Operator::Neq => !equal,
            _ => values.iter().any(|value| entries.iter().any(|entry| compares(entry, *operator, value, Kind::Text))),
        }
    }

    fn described_by(&self, filters: &Filters) -> bool {
        filters.0.iter().all(|clause| clause.iter().any(|filter| self.meets(filter)))
    }
}

fn same(own: &Value, value: &Value) -> bool {
    match (own.as_f64(), value.as_f64()) {
        (Some(own), Some(value)) => own == value,
        _ => own == value,
    }
}

fn compares(own: &Value, operator: Operator, value: &Value, kind: Kind) -> bool {
    if operator == Operator::Contains {
        let wanted = value.as_str().unwrap();
        return match own {
            Value::Null => false,
            Value::Number(own) if kind == Kind::Time => timestamp::format(own.as_u64().unwrap()).contains(wanted),
            Value::String(own) => own.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase()),
            own => own.to_string().contains(&wanted.to_ascii_lowercase()),
        };
    }
    let order = match (own, value) {
        (Value::Number(own), Value::Number(value)) => own.as_f64().unwrap().total_cmp(&value.as_f64().unwrap()),
        (Value::String(own), Value::String(value)) => own.cmp(value),
        _ => return false,
    };
    match operator {
        Operator::Lt => order == Ordering::Less,
        Operator::Gt => order == Ordering::Greater,
        Operator::AtLeast => order != Ordering::Less,
        _ => order != Ordering::Greater,
    }
}

const TEXTS: &[&str] = &["a", "B", "ab", "", "5", "1.5", "true", "ü", "x\"y", "%", "1234567890123456789", "007"];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(TEXTS).prop_map(Value::from),
        prop::sample::select(&[-1i64, 0, 1, 5, 100, 1_234_567_890_123_456_789][..]).prop_map(Value::from),
        prop::sample::select(&[0.5, 1.5, 5.0, 1e20][..]).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ]
}

fn entries() -> impl Strategy<Value = Vec<(String, Value)>> {
    prop::collection::btree_map(
        prop::sample::select(&["k", "l", "5", "key"][..]).prop_map(str::to_owned),
        scalar(),
        0..4,
    )
    .prop_map(|entries| entries.into_iter().collect())
}

fn ids(n: u64) -> String {
    // Two of a millisecond, so that ties are met.
    id::mint(START + n / 2, u128::from(n) * 7_919 % 13)
}

fn logs() -> impl Strategy<Value = Vec<Log>> {
    let text = || prop::option::of(prop::sample::select(TEXTS).prop_map(str::to_owned));
    let judged = (prop::option::of(-1i64..2), prop::option::of(prop::sample::select(&[0.0, 1.5, 5.0][..])), entries());
    let outcome = (0u64..8, prop::option::of(0u64..7), prop::sample::select(&[200u16, 404][..]), any::<bool>());
    let log = (text(), text(), text(), entries(), judged, outcome);
    prop::collection::vec(log, 0..8).prop_map(|logs| {
        let made = logs.into_iter().enumerate().map(|(n, (model, user_agent, event, entries, judged, outcome))| {
            let id = ids(n as u64);
            let (duration, tokens, status, cached) = outcome;
            let mut call = Call {
                created_at: id::minted_at(&id).unwrap(),
                user_agent,
                event_id: event.clone().unwrap_or_else(|| id.clone()),
                metadata: Metadata { entries, ..Metadata::default() },
                ..call(&id)
            };
            call.facts.model = model;
            let response_id = event.filter(|_| cached);
            let mut record = LogRecord::new(call, answered(Facts { response_id, ..Facts::default() }));
            record.duration = duration;
            record.total_tokens = tokens;
            record.status_code = Some(status);
            record.success = status == 200;
            record.cached = cached;
            record.model_type = [Some("chat"), Some("embeddings"), None, Some("chat")][duration as usize % 4];
            record.cost = tokens.map(|tokens| tokens as f64 / 4.0);
            let (feedback, score, said) = judged;
            Log { record, feedback, score, said }
        });
        made.collect()
    })
}

const KEYS: &[&str] = &[
    "id",
    "created_at",
    "success",
    "cached",
    "provider",
    "model",
    "model_type",
    "cost",
    "tokens",
    "duration",
    "feedback",
    "score",
    "event_id",
    "response_id",
    "error",
    "status_code",
    "user_agent",
    "authentication",
    "wholesale",
    "dlp_action",
    "metadata.key",
    "metadata.value",
    "metadata.k",
    "metadata.k",
    "metadata.5",
    "feedback.k",
    "feedback.l",
];

const OPERATORS: &[&str] = &["eq", "eq", "neq", "contains", "lt", "gt", "present", "absent"];

fn filter() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        5 => scalar(),
        1 => Just(Value::Null),
        1 => (0u64..8).prop_map(|n| json!(ids(n))),
        1 => (0u64..4).prop_map(|n| json!(START + n)),
        1 => prop::sample::select(&["openai", "OpenAI", "chat", "embeddings", "provider: answered 404", "2023-11", ":20.00", "K"][..]).prop_map(Value::from),
    ];
    (prop::sample::select(KEYS), prop::sample::select(OPERATORS), prop::collection::vec(value, 1..4)).prop_map(
        |(key, operator, values)| {
            // Of several values only those are sent that this key and operator take.
            let whole = |values: &[Value]| json!({ "key": key, "operator": operator, "value": values });
            let fits = |value: &Value| from_json(&whole(std::slice::from_ref(value)), &[]).is_ok();
            let decimal = |value: &Value| operator == "contains" && value.to_string().contains(['.', 'e', '0']);
            whole(&values.into_iter().filter(|value| fits(value) && !decimal(value)).collect::<Vec<_>>())
        },
    )
}

fn filters() -> impl Strategy<Value = Value> {
    let clause = prop_oneof![
        3 => filter(),
        1 => prop::collection::vec(filter(), 1..4).prop_map(|filters| json!({ "or": filters })),
    ];
    prop::collection::vec(clause, 1..4).prop_map(|clauses| {
        let valid = clauses.into_iter().filter(|clause| from_json(clause, &[]).is_ok());
        Value::from(valid.collect::<Vec<_>>())
    })
}

fn stored(logs: &[Log]) -> Sqlite {
    let store = Sqlite::new();
    block_on(group_commit::write(
        &store,
        logs.iter().map(|log| log.record.clone()).collect::<Vec<_>>().into(),
        async |_| {},
    ));
    for Log { record, feedback, score, said } in logs {
        let id = record.id.as_str();
        let mut statements = vec![Statement::new(
            "UPDATE logs SET feedback = ?2, score = ?3, success = ?4, cached = ?5 WHERE id = ?1",
            [id.into(), (*feedback).into(), (*score).into(), record.success.into(), record.cached.into()],
        )];
        for (key, value) in said {
            let row = json!([metadata::searchable(value)]).to_string();
            statements.push(Statement::new(
                "INSERT INTO log_feedback (log_id, key, json, value, gateway, created_at, given_at, given_by) \
                 VALUES (?1, ?2, ?3, ?4 ->> 0, 1, ?5, 1, 'admin')",
                [
                    id.into(),
                    key.as_str().into(),
                    value.to_string().into(),
                    row.into(),
                    Bind::Int(record.created_at as i64),
                ],
            ));
        }
        block_on(store.batch(statements)).unwrap();
    }
    store
}

fn sorted<'a>(logs: impl Iterator<Item = &'a Log>) -> Vec<String> {
    let mut found: Vec<(u64, &str)> = logs.map(|log| (log.record.created_at, log.record.id.as_str())).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, id)| id.to_owned()).collect()
}

/// The ids and the cursor of a page.
fn page(store: &Sqlite, query: &str) -> (Vec<String>, Value) {
    let reply = block_on(log_list::list(store, GATEWAY, &Query::parse(query), true)).unwrap();
    let reply: Value = serde_json::from_str(&reply.body).unwrap();
    let rows = reply["result"].as_array().unwrap();
    let ids: Vec<String> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    if !query.contains("cursor") && !query.contains("per_page=2") {
        let info = &reply["result_info"];
        let least = info["total_count"].as_u64().unwrap();
        let exact = info["total_count_relation"] == "eq" || query.contains("meta_info");
        assert!(least == ids.len() as u64 || !exact && least < ids.len() as u64, "{query} {info}");
    }
    (ids, reply["result_info"]["cursor"].clone())
}

/// The ids of a selection, found `limit` at a time by statements that look through a few logs each.
fn walked(store: &Sqlite, selection: &Selection, direction: Direction, limit: usize) -> Vec<String> {
    let (mut found, mut cursor, mut ahead) = (Vec::new(), None::<String>, Ahead::default());
    loop {
        let mut rest = selection.clone();
        if let Some(cursor) = &cursor {
            rest.beyond(cursor, direction);
        }
        block_on(ahead.bound(store, &mut rest, direction)).unwrap();
        let order = format!("ORDER BY {} LIMIT {limit}", rest.in_time(direction));
        let ids = block_on(store.ids(rest.select("logs.id AS id", &order))).unwrap();
        let next = ahead.next(ids.len() == limit);
        found.extend(ids);
        match next {
            Next::Found => cursor = found.last().cloned(),
            Next::Behind(log) => cursor = Some(log),
            Next::Nothing => return found,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("CASES").map_or(300, |n| n.parse().unwrap()), ..ProptestConfig::default() })]

    #[test]
    fn lists_show_what_the_filters_describe(logs in logs(), filters in filters()) {
        let store = stored(&logs);
        let read = from_json(&filters, &[]).unwrap();
        let wanted = sorted(logs.iter().filter(|log| log.described_by(&read)));
        let newest: Vec<String> = wanted.iter().rev().cloned().collect();
        let query = format!("filters={}", encoded(&filters.to_string()));
        for more in ["", "&meta_info=true"] {
            prop_assert_eq!(&page(&store, &format!("{query}{more}")).0, &newest, "{}", filters);
        }
        prop_assert_eq!(&page(&store, &format!("{query}&order_by_direction=asc")).0, &wanted, "{}", filters);
        for name in ["model", "success", "cached", "model_type"] {
            let field = |id: &String| logs.iter().find(|log| log.record.id == *id).unwrap().ordered(name);
            for (direction, turned) in [("asc", false), ("desc", true)] {
                let mut expected = wanted.clone();
                expected.sort_by_key(field);
                if turned {
                    expected.reverse();
                }
                let found = page(&store, &format!("{query}&order_by={name}&order_by_direction={direction}")).0;
                prop_assert_eq!(found, expected, "{} {} {}", filters, name, direction);
            }
        }
        let (mut paged, mut next) = page(&store, &format!("{query}&per_page=2"));
        while let Some(cursor) = next.as_str() {
            let (ids, after) = page(&store, &format!("{query}&per_page=2&cursor={cursor}"));
            paged.extend(ids);
            next = after;
        }
        prop_assert_eq!(&paged, &newest, "{}", filters);
        let selection = Selection::new(GATEWAY, &read);
        for limit in [1, 3, 100] {
            prop_assert_eq!(&walked(&store, &selection, Direction::Ascending, limit), &wanted, "{}", filters);
            prop_assert_eq!(&walked(&store, &selection, Direction::Descending, limit), &newest, "{}", filters);
        }
        // What a deletion chooses window by window is what a single statement would.
        for by in ["created_at", "model", "success", "cost", "feedback", "duration"] {
            for direction in [Direction::Ascending, Direction::Descending] {
                let word = direction.sql();
                let order = if by == "created_at" { selection.in_time(direction) } else { format!("logs.{by} {word}, {}", selection.in_time(Direction::Ascending)) };
                let whole = block_on(store.ids(selection.select("logs.id AS id", &format!("ORDER BY {order} LIMIT 3")))).unwrap();
                let chosen = block_on(selection::choose(&store, &selection, by, direction, 3)).unwrap();
                prop_assert_eq!(chosen, whole, "{} {} {}", filters, by, word);
            }
        }
    }

    #[test]
    fn sets_of_filters_add_up(logs in logs(), left in filters(), right in filters()) {
        let store = stored(&logs);
        let sets = [&left, &right].map(|filters| from_json(filters, &[]).unwrap());
        let wanted = sorted(logs.iter().filter(|log| sets.iter().any(|set| log.described_by(set))));
        let selection = Selection::any(GATEWAY, &sets);
        let rest = format!("ORDER BY {}", selection.in_time(Direction::Ascending));
        let (rows, _) = block_on(store.select(selection.select("logs.id AS id", &rest))).unwrap();
        let found: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
        prop_assert_eq!(&found, &wanted, "{} {}", left, right);
        prop_assert_eq!(walked(&store, &selection, Direction::Ascending, 2), wanted, "{} {}", left, right);
    }
}
