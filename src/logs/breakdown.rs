//! What the cost of one log is made of. Rows keep what was used and the sum, so the lines are made anew, and are shown only where
//! they make that sum: after a change of prices there are none.

use crate::base::json::json;
use crate::db::store::{Statement, Store, StoreError, row};
use crate::gateways::catalogue;
use crate::logs::reprice::{COLUMNS, Log};
use crate::pricing::bill::Line;
use crate::pricing::rates::rounded;
use crate::pricing::rules;
use serde_json::Value;

row! {
    struct Prices {
        prices: String,
    }
}

/// The lines of a log's cost, from the database of its row and the one that has the account's prices. Null where the provider or the
/// caller said the cost, and where today's prices make another one of it.
pub async fn of(first: &impl Store, store: &impl Store, account: &str, id: &str) -> Result<Value, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM logs WHERE logs.id = ?1");
    let Some(log) = store.row::<Log>(Statement::new(sql, [id.into()])).await? else { return Ok(Value::Null) };
    let prices = match log.is_by_rule() {
        true => {
            first
                .row::<Prices>(Statement::new(format!("SELECT {} AS prices", rules::select()), [account.into()]))
                .await?
        }
        false => None,
    };
    let rules = prices.map(|found| rules::from_json(&found.prices)).unwrap_or_default();
    let (_, catalogue) = catalogue::read(first, account).await?;
    Ok(log.lines(&catalogue, &rules).map_or(Value::Null, |lines| lines.iter().map(show).collect()))
}

fn show(line: &Line) -> Value {
    // A rate for one token is far smaller than the cost of an answer.
    let rate = (line.rate * 1e15).round() / 1e15;
    json!({ "kind": line.kind, "quantity": line.quantity, "rate": rate, "cost": rounded(line.quantity * line.rate) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::call::Call;
    use crate::logs::group_commit;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::pricing::price::CustomCost;
    use crate::testing::sqlite::Sqlite;
    use crate::wire::details::{Count, Details};
    use crate::wire::{Facts, Usage};
    use pollster::block_on;
    use std::rc::Rc;

    const RULE: &str = r#"["r1","openai","gpt-4o","equals",0.00001,0.00002,"{\"web_search_requests\":0.01}",2006]"#;

    fn lines(call: Call, usage: Usage) -> Value {
        let store = Sqlite::new();
        let record = LogRecord::new(call, answered(Facts { usage, ..Facts::default() }));
        let cost = record.cost;
        assert_eq!(block_on(group_commit::write(&store, vec![record].into(), async |_| {})), []);
        let rule = "INSERT INTO price_rules (id, account_id, account_provider_id, model, model_rule, cost_in, cost_out, token_pricing, weight, enable, created_at, modified_at) \
             VALUES ('r1', 'a', 'openai', 'gpt-4o', 'equals', 0.00001, 0.00002, '{\"web_search_requests\":0.01}', 2006, 1, 1, 1)";
        block_on(store.batch(vec![Statement::new(rule, [])])).unwrap();
        let found = block_on(of(&store, &store, "a", "x")).unwrap();
        if let Some(lines) = found.as_array() {
            let sum: f64 = lines.iter().map(|line| line["cost"].as_f64().unwrap()).sum();
            assert!((sum - cost.unwrap()).abs() < 1e-12, "{found} {cost:?}");
        }
        found
    }

    fn usage() -> Usage {
        Usage { tokens_in: Some(1_000), tokens_out: Some(100), cached: Some(400), ..Usage::default() }
    }

    #[test]
    fn a_cost_is_its_kinds_times_their_rates() {
        let seen = lines(call("x"), usage());
        let kinds: Vec<(&str, f64)> = seen
            .as_array()
            .unwrap()
            .iter()
            .map(|line| (line["kind"].as_str().unwrap(), line["quantity"].as_f64().unwrap()))
            .collect();
        assert_eq!(kinds, [("input_tokens", 600.0), ("input_cached_tokens", 400.0), ("output_tokens", 100.0)]);
        let [input, cached, output] = [0, 1, 2].map(|line| seen[line]["rate"].as_f64().unwrap());
        assert!(cached < input && input < output && input < 1e-3, "{seen}");
    }

    #[test]
    fn a_rule_of_the_account_has_its_own_rates() {
        let prices: Rc<[_]> = rules::from_json(&format!("[{RULE}]")).into();
        let seen = lines(Call { prices, ..call("x") }, usage());
        assert_eq!(seen[0], json!({ "kind": "input_tokens", "quantity": 600.0, "rate": 0.00001, "cost": 0.006 }));
        assert_eq!(seen[2], json!({ "kind": "output_tokens", "quantity": 100.0, "rate": 0.00002, "cost": 0.002 }));
        // A rule that has changed since makes another cost, and explains nothing of this one.
        let prices: Rc<[_]> = rules::from_json(&format!("[{}]", RULE.replace("0.00002", "0.00003"))).into();
        assert_eq!(lines(Call { prices, ..call("x") }, usage()), Value::Null);
    }

    #[test]
    fn calls_are_lines_as_well() {
        let prices: Rc<[_]> = rules::from_json(&format!("[{RULE}]")).into();
        let details = Details::default().with(Count::WebSearches, 2);
        let seen = lines(Call { prices, ..call("x") }, Usage { details, ..usage() });
        assert_eq!(seen[3], json!({ "kind": "web_search_requests", "quantity": 2.0, "rate": 0.01, "cost": 0.02 }));
    }

    #[test]
    fn what_others_said_it_cost_has_no_lines() {
        let total = Some(CustomCost::Total(1.0));
        assert_eq!(lines(Call { custom_cost: total, ..call("x") }, usage()), Value::Null);
        assert_eq!(lines(call("x"), Usage { cost: Some(0.5), ..usage() }), Value::Null);
        assert_eq!(lines(Call { cached: true, ..call("x") }, usage()), Value::Null);
        let mut unknown = call("x");
        unknown.facts.model = Some("never-heard-of".to_owned());
        assert_eq!(lines(unknown, usage()), Value::Null);
        assert_eq!(block_on(of(&Sqlite::new(), &Sqlite::new(), "a", "none")).unwrap(), Value::Null);
    }
}
