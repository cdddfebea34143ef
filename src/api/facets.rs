//! `…/logs/facets`: which values the newest logs of a selection have, and how often.

use crate::base::fault::shortened;
use crate::base::json::json;
use crate::db::store::{Statement, Store, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::params::number;
use crate::http::query::Query;
use crate::logs::filter::search::selection;
use serde_json::{Map, Value};

/// Fields that have few values, and their columns.
const FIELDS: &[(&str, &str)] = &[
    ("model", "logs.model"),
    ("provider", "logs.provider"),
    ("model_type", "logs.model_type"),
    ("status_code", "logs.status_code"),
    ("success", "logs.success"),
    ("cached", "logs.cached"),
    ("finish_reason", "logs.finish_reason"),
    ("feedback", "logs.feedback"),
    ("credential_alias", "logs.credential_alias"),
    ("caller", "logs.caller"),
    ("session_id", "logs.session_id"),
    ("user_agent", "logs.user_agent"),
];

/// Names of the keys of metadata, and in front of a key its values.
const METADATA: &str = "metadata";

/// Values of a field beyond so many are not named.
const TOP: usize = 20;

/// So many of the newest logs are looked at, unless `examine` says otherwise.
const EXAMINED: u64 = 5_000;
const MAX_EXAMINED: u64 = 50_000;

/// No more fields are counted at once.
const MAX_FIELDS: usize = 20;

/// A field that is counted.
#[derive(Clone, Copy, PartialEq)]
enum Field<'q> {
    /// The name, and the column.
    Column(&'static str, &'static str),
    Keys,
    /// The values of a key of metadata.
    Key(&'q str),
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/logs/facets`
pub async fn get(store: &impl Store, gateway: i64, query: &Query) -> Result<Reply, ApiError> {
    row! {
        struct Found {
            n: u64,
            facets: String,
        }
    }
    let examined = number(query, "examine", 1, MAX_EXAMINED)?.unwrap_or(EXAMINED);
    let fields = fields(query.get("fields").unwrap_or("model,provider,status_code,finish_reason"))?;
    let mut selection = selection(gateway, query)?;
    // One look at the newest logs; each field is then counted in what was found.
    let order = selection.in_time(crate::logs::filter::Direction::Descending);
    let mut columns: Vec<String> =
        fields.iter().filter_map(Field::column).map(|(name, column)| format!("{column} AS {name}")).collect();
    columns.push("logs.metadata AS metadata".to_owned());
    let counted: Vec<String> = fields
        .iter()
        .map(|field| {
            let name = selection.bind(field.name().as_str());
            let values = match field {
                Field::Column(name, _) => format!("SELECT {name} AS value, count(*) AS count FROM newest GROUP BY {name}"),
                Field::Keys => {
                    "SELECT each.key AS value, count(*) AS count FROM newest, json_each(newest.metadata) AS each GROUP BY each.key".to_owned()
                }
                // A flag and a number are different values, although SQLite has both as numbers.
                Field::Key(key) => format!(
                    "SELECT iif(each.type IN ('true', 'false'), each.type, json_quote(each.value)) AS value, count(*) AS count \
                     FROM newest, json_each(newest.metadata) AS each WHERE each.key = {} GROUP BY each.value, each.type",
                    selection.bind(*key)
                ),
            };
            format!(
                "{name}, json((SELECT json_group_array(json_object('value', value, 'count', count)) FROM \
                 ({values} ORDER BY 2 DESC, 1 LIMIT {TOP})))"
            )
        })
        .collect();
    let newest = selection.select(&columns.join(", "), &format!("ORDER BY {order} LIMIT {examined}"));
    let sql = format!(
        "WITH newest AS MATERIALIZED ({}) SELECT (SELECT count(*) FROM newest) AS n, json_object({}) AS facets",
        newest.sql,
        counted.join(", ")
    );
    let found = store.row::<Found>(Statement { sql: sql.into(), ..newest }).await?;
    let found = found.ok_or_else(|| ApiError::internal("no row of counts"))?;
    let mut facets: Map<String, Value> = serde_json::from_str(&found.facets).unwrap_or_default();
    for field in &fields {
        let values = facets.get_mut(&field.name()).and_then(Value::as_array_mut);
        for value in values.into_iter().flatten().filter_map(|value| value.get_mut("value")) {
            field.restore(value);
        }
    }
    Ok(Reply::result(json!({ "examined": found.n, "fields": facets })))
}

fn fields(names: &str) -> Result<Vec<Field<'_>>, ApiError> {
    let mut fields: Vec<Field<'_>> = Vec::new();
    for name in names.split(',').map(str::trim) {
        let field = Field::parse(name).ok_or_else(|| {
            let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            let rule = format!(
                "There is no field '{}' to count. Expected names with commas between, out of {}, metadata for the keys of metadata, \
                 and metadata. with a key behind it",
                shortened(name),
                names.join(", ")
            );
            ApiError::invalid(["query", "fields"], rule)
        })?;
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    if fields.len() > MAX_FIELDS {
        return Err(ApiError::invalid(["query", "fields"], format!("Expected at most {MAX_FIELDS} fields")));
    }
    Ok(fields)
}

// === impl Field ===

impl<'q> Field<'q> {
    fn parse(name: &'q str) -> Option<Self> {
        if let Some(key) = name.strip_prefix(METADATA) {
            return match key.strip_prefix('.') {
                Some(key) => (!key.is_empty()).then_some(Self::Key(key)),
                None => key.is_empty().then_some(Self::Keys),
            };
        }
        FIELDS.iter().find(|(known, _)| *known == name).map(|(name, column)| Self::Column(name, column))
    }

    fn name(&self) -> String {
        match self {
            Self::Column(name, _) => (*name).to_owned(),
            Self::Keys => METADATA.to_owned(),
            Self::Key(key) => format!("{METADATA}.{key}"),
        }
    }

    fn column(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Column(name, column) => Some((name, column)),
            Self::Keys | Self::Key(_) => None,
        }
    }

    /// Gives a value its type back: flags are numbers in columns, and values of metadata come as JSON.
    fn restore(&self, value: &mut Value) {
        match self {
            Self::Column("success" | "cached", _) => *value = json!(*value == 1),
            Self::Key(_) => {
                if let Some(read) = value.as_str().and_then(|text| serde_json::from_str(text).ok()) {
                    *value = read;
                }
            }
            Self::Column(..) | Self::Keys => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::call::{Call, Outcome};
    use crate::logs::group_commit;
    use crate::logs::metadata;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::testing::plans::scan;
    use crate::testing::sqlite::{Planned, Sqlite};
    use crate::wire::Facts;
    use pollster::block_on;

    fn record(n: u64, metadata: &str, status: u16) -> LogRecord {
        let mut made = Call {
            created_at: 1_700_000_000_000 + n,
            metadata: metadata::parse(metadata, 5),
            ..call(&format!("{n:05}"))
        };
        made.facts.model = Some(format!("model-{}", n % 3));
        LogRecord::new(made, Outcome { status: Some(status), ..answered(Facts::default()) })
    }

    fn stored(records: Vec<LogRecord>) -> Sqlite {
        let store = Sqlite::new();
        for group in records.chunks(50) {
            assert_eq!(block_on(group_commit::write(&store, group.to_vec().into(), async |_| {})), []);
        }
        store
    }

    fn ask(store: &impl Store, query: &str) -> Result<Value, ApiError> {
        let reply = block_on(get(store, 1, &Query::parse(query)))?;
        Ok(serde_json::from_str::<Value>(&reply.body).unwrap()["result"].clone())
    }

    fn pairs(facets: &Value, name: &str) -> Vec<(Value, u64)> {
        let values = facets["fields"][name].as_array().unwrap_or_else(|| panic!("{name}: {facets}"));
        values.iter().map(|value| (value["value"].clone(), value["count"].as_u64().unwrap())).collect()
    }

    #[test]
    fn values_come_with_their_counts_and_types_the_most_frequent_first() {
        let other = LogRecord { gateway: 2, ..record(99, "", 200) };
        let mut records: Vec<LogRecord> = (0..7).map(|n| record(n, "", if n < 2 { 500 } else { 200 })).collect();
        records.push(other);
        let store = stored(records);
        let facets = ask(&store, "fields=model, success,status_code,model,finish_reason").unwrap();
        assert_eq!(facets["examined"], 7);
        assert_eq!(pairs(&facets, "model"), [(json!("model-0"), 3), (json!("model-1"), 2), (json!("model-2"), 2)]);
        assert_eq!(pairs(&facets, "success"), [(json!(true), 5), (json!(false), 2)]);
        assert_eq!(pairs(&facets, "status_code"), [(json!(200), 5), (json!(500), 2)]);
        assert_eq!(pairs(&facets, "finish_reason"), [(Value::Null, 7)]);
        // What is filtered is counted, and only the newest are looked at.
        let filtered = ask(&store, "fields=status_code&success=false").unwrap();
        assert_eq!((pairs(&filtered, "status_code"), &filtered["examined"]), (vec![(json!(500), 2)], &json!(2)));
        let newest = ask(&store, "fields=success&examine=3").unwrap();
        assert_eq!((pairs(&newest, "success"), &newest["examined"]), (vec![(json!(true), 3)], &json!(3)));
        assert_eq!(ask(&Sqlite::new(), "").unwrap()["fields"]["model"], json!([]));
        let many = stored((0..60).map(|n| record(n, &format!(r#"{{"k":"{n}"}}"#), 200)).collect());
        assert_eq!(pairs(&ask(&many, "fields=metadata.k").unwrap(), "metadata.k").len(), TOP);
    }

    #[test]
    fn keys_of_metadata_and_their_values_are_counted() {
        let store = stored(vec![
            record(0, r#"{"team":"a","n":1}"#, 200),
            record(1, r#"{"team":"a","n":true}"#, 200),
            record(2, r#"{"team":"true"}"#, 200),
            record(3, r#"{"it's \"odd\"":"x"}"#, 200),
            record(4, "", 200),
        ]);
        let facets =
            ask(&store, "fields=metadata,metadata.team,metadata.n,model,metadata.it's \"odd\",metadata.none").unwrap();
        assert_eq!(pairs(&facets, "metadata"), [(json!("team"), 3), (json!("n"), 2), (json!("it's \"odd\""), 1)]);
        assert_eq!(pairs(&facets, "metadata.team"), [(json!("a"), 2), (json!("true"), 1)]);
        let mut n = pairs(&facets, "metadata.n");
        n.sort_by_key(|(value, _)| value.is_boolean());
        assert_eq!(n, [(json!(1), 1), (json!(true), 1)]);
        assert_eq!(pairs(&facets, "metadata.it's \"odd\""), [(json!("x"), 1)]);
        assert_eq!((pairs(&facets, "metadata.none"), pairs(&facets, "model").len()), (vec![], 3));
    }

    #[test]
    fn unknown_fields_are_named_with_those_that_there_are() {
        let store = Sqlite::new();
        for wrong in ["", "id", "model,", "metadata.", "metadatax", "request", "input_preview", "1;DROP TABLE logs"] {
            let refused = ask(&store, &format!("fields={wrong}")).unwrap_err();
            assert_eq!((refused.status, refused.path.join(".")), (400, "query.fields".to_owned()), "{wrong}");
            assert!(refused.message.contains("model, provider, model_type"), "{}", refused.message);
        }
        let many: Vec<String> = (0..MAX_FIELDS + 1).map(|n| format!("metadata.k{n}")).collect();
        assert_eq!(ask(&store, &format!("fields={}", many.join(","))).unwrap_err().status, 400);
        assert_eq!(ask(&store, "examine=0").unwrap_err().path, ["query", "examine"]);
        assert_eq!(ask(&store, "examine=50001").unwrap_err().status, 400);
    }

    #[test]
    fn facets_read_an_index_and_no_more_than_the_newest() {
        let store = Planned::new(stored((0..60).map(|n| record(n, r#"{"team":"a"}"#, 200)).collect()));
        for query in
            ["", "fields=metadata,metadata.team,model", "fields=model&provider=openai&start_date=2023-01-01T00:00:00Z"]
        {
            ask(&store, query).unwrap();
            for (plan, sql) in store.plans.take() {
                let own = plan.lines().filter(|line| !line.contains("SCAN newest")).collect::<Vec<_>>().join("\n");
                assert_eq!(scan(&own), None, "{sql}\n{plan}");
            }
        }
    }
}
