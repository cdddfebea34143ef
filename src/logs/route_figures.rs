//! What the logs say of the outputs of percentages that learn. The cron trigger reads it once a minute and leaves it with the route, so
//! that no request waits for a figure.

use crate::base::json::json;
use crate::db::databases::Databases;
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::routes::graph::{Graph, Kind, Learning, Percentage};
use crate::routes::learn::{self, Goal, Known};
use serde_json::{Map, Value};

/// Routes that are looked at in one go, and logs of each.
const MOST_ROUTES: u32 = 500;
const MOST_LOGS: u32 = 10_000;

row! {
    struct Learner {
        id: String,
        gateway: i64,
        shard: u32,
        version: String,
        elements: String,
        learned: String,
    }
}

row! {
    struct Figures {
        output: String,
        samples: u32,
        sum: f64,
        squares: f64,
    }
}

/// Brings up to date what routes with a goal know of their arms.
pub async fn renew(databases: &impl Databases, now_ms: u64) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT r.id, r.gateway, g.shard, r.version, v.elements, r.learned FROM routes r JOIN gateways g ON g.key = r.gateway \
         JOIN route_versions v ON v.id = r.version WHERE instr(v.elements, '\"goal\"') > 0 OR r.learned <> '{{}}' LIMIT {MOST_ROUTES}"
    );
    let first = databases.first();
    for learner in first.rows::<Learner>(Statement::new(sql, [])).await? {
        let learned = learner.learned(databases.of(learner.shard)?, now_ms).await?;
        if learned != learner.learned {
            let update = "UPDATE routes SET learned = ?2 WHERE id = ?1 AND version = ?3";
            let binds = [learner.id.as_str().into(), learned.into(), learner.version.as_str().into()];
            first.batch(vec![Statement::new(update, binds)]).await?;
        }
    }
    Ok(())
}

/// What a log is worth to a goal; null where it says nothing of it.
fn value(goal: Goal) -> &'static str {
    match goal {
        Goal::Feedback => "CASE feedback WHEN 1 THEN 1.0 WHEN -1 THEN 0.0 END",
        Goal::Score => "score",
        Goal::Cost => "CASE WHEN success = 1 AND cached = 0 THEN cost END",
        Goal::Latency => "CASE WHEN success = 1 AND cached = 0 THEN first_byte END",
        Goal::Success => "CASE WHEN cached = 0 THEN success * 1.0 END",
    }
}

fn name(goal: Goal) -> &'static str {
    match goal {
        Goal::Feedback => "feedback",
        Goal::Score => "score",
        Goal::Cost => "cost",
        Goal::Latency => "latency",
        Goal::Success => "success",
    }
}

/// The weights and intervals of arms, as a route shows them. The same figures give the same weights: the seed is the element's own.
fn shown(route: &str, element: &str, percentage: &Percentage, learning: &Learning, known: &[Known]) -> Value {
    let written: Vec<f64> = percentage.arms.iter().map(|arm| arm.weight).collect();
    let seed = learn::part_of(route, element, "weights").to_bits();
    let beliefs = learn::weights(learning.goal, known, &written, learning.floor, learning.least_samples, seed);
    let arms = percentage.arms.iter().zip(known).zip(beliefs).map(|((arm, known), belief)| {
        let number = |value: f64| Some(value).filter(|_| known.samples > 0);
        json!({
            "output": arm.name, "weight": belief.weight, "samples": known.samples,
            "mean": number(belief.mean), "low": number(belief.low), "high": number(belief.high),
        })
    });
    json!({ "goal": name(learning.goal), "arms": arms.collect::<Value>() })
}

// === impl Learner ===

impl Learner {
    async fn learned(&self, logs: &impl Store, now_ms: u64) -> Result<String, StoreError> {
        let elements: Value = serde_json::from_str(&self.elements).unwrap_or(Value::Null);
        // A newer version of Tollgate may have stored what this one cannot read.
        let Ok(graph) = Graph::parse(&elements) else { return Ok(self.learned.clone()) };
        let mut all = Map::new();
        for element in &graph.elements {
            let Kind::Percentage(percentage) = &element.kind else { continue };
            let Some(learning) = &percentage.learning else { continue };
            let found = self.figures(logs, &element.id, learning, now_ms).await?;
            let of = |name: &str| {
                found.iter().find(|figures| figures.output == name).map(Figures::known).unwrap_or_default()
            };
            let known: Vec<Known> = percentage.arms.iter().map(|arm| of(&arm.name)).collect();
            all.insert(element.id.clone(), shown(&self.id, &element.id, percentage, learning, &known));
        }
        Ok(Value::Object(all).to_string())
    }

    /// Each attempt counts for the output by which it came. What an output led to in another version says nothing of this one.
    async fn figures(
        &self,
        logs: &impl Store,
        element: &str,
        learning: &Learning,
        now_ms: u64,
    ) -> Result<Vec<Figures>, StoreError> {
        let sql = format!(
            "SELECT path.value->>'output' AS output, count(*) AS samples, sum(one.v) AS sum, sum(one.v * one.v) AS squares FROM \
             (SELECT route, {} AS v FROM logs WHERE gateway = ?1 AND route_id = ?2 AND created_at >= ?3 \
              ORDER BY created_at DESC LIMIT {MOST_LOGS}) AS one, json_each(one.route, '$.path') AS path \
             WHERE one.v IS NOT NULL AND one.route->>'version' = ?5 AND path.value->>'element' = ?4 GROUP BY 1",
            value(learning.goal)
        );
        let since = now_ms.saturating_sub(learning.window.saturating_mul(1_000));
        let binds = [
            self.gateway.into(),
            self.id.as_str().into(),
            Bind::Int(since as i64),
            element.into(),
            self.version.as_str().into(),
        ];
        logs.rows(Statement::new(sql, binds)).await
    }
}

// === impl Figures ===

impl Figures {
    fn known(&self) -> Known {
        Known { samples: self.samples, good: self.sum.round() as u32, sum: self.sum, squares: self.squares }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::call::{Call, Outcome};
    use crate::logs::group_commit;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::routes::learn::{Dice, choose};
    use crate::testing::sqlite::Sqlite;
    use crate::wire::Facts;
    use pollster::block_on;

    const NOW: u64 = 1_700_000_100_000;

    fn with_route(properties: &Value) -> Sqlite {
        let store = Sqlite::new();
        let to = |id: &str| json!({ "elementId": id });
        let model = |id: &str| json!({"id": id, "type": "model", "properties": {"provider": "openai", "model": id}, "outputs": {"success": to("e")}});
        let elements = json!([
            {"id": "s", "type": "start", "outputs": {"next": to("p")}},
            {"id": "p", "type": "percentage", "properties": properties, "outputs": {"50%": to("a"), "else": to("b")}},
            model("a"), model("b"),
            {"id": "e", "type": "end"},
        ]);
        let statements = vec![
            Statement::new(
                "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) VALUES (1, 'a', 'gw', 'i', 1, 1, '{}')",
                [],
            ),
            Statement::new(
                "INSERT INTO routes (id, gateway, name, version, deployment, created_at, modified_at) VALUES ('r', 1, 'split', 'v', 'd', 1, 1)",
                [],
            ),
            Statement::new(
                "INSERT INTO route_versions (id, route, created_at, elements) VALUES ('v', 'r', 1, ?1)",
                [elements.to_string().into()],
            ),
        ];
        block_on(store.batch(statements)).unwrap();
        store
    }

    fn logged(n: u32, output: &str, good: bool) -> LogRecord {
        logged_by("v", n, output, good)
    }

    fn logged_by(version: &str, n: u32, output: &str, good: bool) -> LogRecord {
        let route =
            json!({"name": "split", "version": version, "path": [{"element": "p", "output": output}]}).to_string();
        let call = Call { route: Some(route), route_id: Some("r".to_owned()), ..call(&format!("log-{n:06}")) };
        let outcome = answered(Facts::default());
        LogRecord::new(call, if good { outcome } else { Outcome { status: Some(500), ..outcome } })
    }

    fn learned(store: &Sqlite) -> Value {
        block_on(renew(store, NOW)).unwrap();
        let text = block_on(store.ids(Statement::new("SELECT learned AS id FROM routes", []))).unwrap();
        serde_json::from_str(&text[0]).unwrap()
    }

    #[test]
    fn the_better_output_gets_most_requests_and_the_worse_keeps_its_floor() {
        let store = with_route(&json!({"goal": "success", "floor": 0.05, "min_samples": 30}));
        let (mut dice, mut last) = (Dice(11), [0_u32; 2]);
        let mut weights = vec![0.5, 0.5];
        // Each slice goes by what the logs of those before it say.
        for slice in 0..20_u32 {
            let mut records = Vec::new();
            for n in 0..100 {
                let arm = choose(weights.iter().copied(), dice.part());
                let good = dice.part() < [0.95, 0.7][arm];
                records.push(logged(slice * 100 + n, ["50%", "else"][arm], good));
                last[arm] += u32::from(slice >= 15);
            }
            block_on(group_commit::write(&store, records.into(), async |_| {}));
            weights = crate::routes::asked::weights(&learned(&store), "p").unwrap();
            assert!(weights.iter().all(|weight| *weight >= 0.05 - 1e-9), "{weights:?}");
        }
        assert!(last[0] >= 400, "{last:?} of the last 500");
        let known = learned(&store);
        assert_eq!(known, learned(&store), "the same figures give the same weights");
        let (first, second) = (&known["p"]["arms"][0], &known["p"]["arms"][1]);
        assert!(first["low"].as_f64() > second["high"].as_f64(), "{known}");
        assert_eq!(first["samples"].as_u64().unwrap() + second["samples"].as_u64().unwrap(), 2_000);
    }

    #[test]
    fn too_few_samples_and_a_window_that_has_passed_change_nothing() {
        let store = with_route(&json!({"goal": "success", "min_samples": 5}));
        block_on(group_commit::write(&store, vec![logged(1, "50%", true)].into(), async |_| {}));
        let arms = learned(&store)["p"]["arms"].clone();
        assert_eq!((&arms[0]["weight"], &arms[0]["samples"], &arms[1]["mean"]), (&json!(0.5), &json!(1), &Value::Null));
        block_on(renew(&store, NOW + 8 * 86_400_000)).unwrap();
        let text = block_on(store.ids(Statement::new("SELECT learned AS id FROM routes", []))).unwrap();
        assert!(text[0].contains("\"samples\":0"), "{text:?}");
    }

    #[test]
    fn what_another_version_led_to_is_not_learned_from() {
        let store = with_route(&json!({"goal": "success", "min_samples": 1}));
        let of = |version: &str, from: u32| -> Vec<LogRecord> {
            (from..from + 20).map(|n| logged_by(version, n, "50%", version == "v")).collect()
        };
        block_on(group_commit::write(&store, of("older", 0).into(), async |_| {}));
        assert_eq!(learned(&store)["p"]["arms"][0]["samples"], json!(0));
        block_on(group_commit::write(&store, of("v", 20).into(), async |_| {}));
        let arm = learned(&store)["p"]["arms"][0].clone();
        assert_eq!(arm["samples"], json!(20));
        assert!(arm["mean"].as_f64() > Some(0.9), "{arm}");
    }

    #[test]
    fn figures_are_found_by_an_index() {
        let sql = "EXPLAIN QUERY PLAN SELECT route FROM logs WHERE gateway = 1 AND route_id = 'r' AND created_at >= 5 ORDER BY created_at DESC LIMIT 10";
        let store = Sqlite::new();
        let rows = block_on(store.select(Statement::new(sql, []))).unwrap().0;
        assert!(format!("{rows:?}").contains("logs_by_route"), "{rows:?}");
    }
}
