//! `/accounts/{account}/ai-gateway/gateways/{gateway}/limits`: where each limit of a gateway stands.

use super::cap::Cap;
use super::counter_service::MAX_SHOWN;
use super::message::Shown;
use super::rules::{Limits, RateKey};
use super::{Demand, Reading, Takes, ledger, spend};
use crate::base::json::json;
use crate::base::object;
use crate::base::timestamp;
use serde_json::Value;

/// One for each rule: the rate limits, the spend limits, then the caps of policies.
pub fn demands(limits: &Limits) -> Vec<Demand> {
    let demand = |rule, window, limit, takes| Demand { rule, part: String::new(), window, limit, takes };
    let rate = limits.rate.iter().map(|rule| demand(rule.counters(), rule.window(), rule.limit, Takes::One));
    let spend = limits.spend.iter().map(|rule| demand(rule.counters(), rule.window(), rule.amount(), Takes::Later));
    rate.chain(spend).chain(limits.caps.iter().map(Cap::all)).collect()
}

/// The answer, from the counters that the object has for each of them and the circuits of an isolate.
pub fn shown(limits: &Limits, counters: &[Vec<Shown>], circuits: Value, now: u64) -> Value {
    let demands = demands(limits);
    let mut counters = counters.iter().map(Vec::as_slice).chain(std::iter::repeat(&[][..]));
    let mut each = demands.iter().map(|demand| {
        let all = counters.next().unwrap_or_default().to_vec();
        (all, Shown { part: String::new(), reading: ledger::reading(demand, "", now) })
    });
    let rate: Value = limits
        .rate
        .iter()
        .map(|rule| {
            let partitions = if rule.key == RateKey::Everyone { Vec::new() } else { vec![rule.key.name()] };
            let (counters, more) = counted(&partitions, each.next(), now, |reading| {
                vec![("count", reading.used.into()), ("remaining", reading.remaining.into())]
            });
            json!({
                "id": rule.id, "key": rule.key.name(), "limit": rule.limit, "interval": rule.interval,
                "technique": rule.technique.name(), "counters": counters, "more_counters": more,
            })
        })
        .collect();
    let spend: Value = limits
        .spend
        .iter()
        .map(|rule| {
            let (counters, more) = counted(&rule.partitions(), each.next(), now, money);
            json!({
                "id": rule.id, "enabled": rule.enabled, "limit": rule.limit, "limitType": "cost", "window": rule.window,
                "technique": rule.technique.name(), "reserve": rule.reserve, "counters": counters, "more_counters": more,
            })
        })
        .collect();
    let policies: Value = limits
        .caps
        .iter()
        .map(|cap| {
            let found = each
                .next()
                .map(|(all, unused)| (all.into_iter().filter(|counter| cap.is_for(&counter.part)).collect(), unused));
            let (counters, more) = counted(&["bucket".to_owned()], found, now, money);
            json!({
                "policy": cap.policy, "limit": cap.limit, "period": cap.window.period(), "counters": counters,
                "more_counters": more,
            })
        })
        .collect();
    json!({ "rate": rate, "spend": spend, "policies": policies, "circuits": circuits })
}

fn money(reading: &Reading) -> Vec<(&'static str, Value)> {
    let dollars = |amount| rounded(spend::dollars(amount)).into();
    vec![
        ("spent", dollars(reading.used)),
        ("reserved", dollars(reading.reserved)),
        ("remaining", dollars(reading.remaining)),
    ]
}

/// The counters of a rule, and whether there are more of them than are shown.
fn counted(
    partitions: &[String],
    found: Option<(Vec<Shown>, Shown)>,
    now: u64,
    figures: fn(&Reading) -> Vec<(&'static str, Value)>,
) -> (Value, bool) {
    let Some((mut all, unused)) = found else { return (json!([]), false) };
    // The one counter of a rule without partitions is there even if no request has used it yet.
    if all.is_empty() && partitions.is_empty() {
        all.push(unused);
    }
    let counter = |shown: &Shown| {
        let resets_at = timestamp::format(now.saturating_add(shown.reading.resets_in_ms));
        let mut counter =
            object::of(figures(&shown.reading).into_iter().map(|(name, figure)| (name.to_owned(), figure)));
        counter.insert("partition".to_owned(), partition(partitions, &shown.part));
        counter.insert("resets_at".to_owned(), resets_at.into());
        Value::Object(counter)
    };
    (all.iter().take(MAX_SHOWN).map(counter).collect(), all.len() > MAX_SHOWN)
}

/// The values that a counter is for, by the names of what they are values of.
fn partition(names: &[String], part: &str) -> Value {
    let values: Vec<Value> = serde_json::from_str(part).unwrap_or_default();
    Value::Object(object::of(names.iter().cloned().zip(values)))
}

fn rounded(dollars: f64) -> f64 {
    (dollars * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::rules::RateRule;
    use crate::limit::rules::tests::limits;
    use crate::limit::window::{Technique, Window};

    fn result(limits: &Limits, counters: &[Vec<Shown>]) -> Value {
        shown(limits, counters, json!([]), 0)
    }

    #[test]
    fn every_rule_is_shown_with_its_counters() {
        let gateway = RateRule {
            id: "gateway".into(),
            key: RateKey::Everyone,
            limit: 10,
            interval: 60,
            technique: Technique::Fixed,
        };
        let limits = limits(
            Some(gateway),
            &json!([{ "id": "t", "key": "token", "limit": 5, "interval": 60 }]),
            &json!({ "rules": [{ "id": "s", "limit": 0.5, "limitType": "cost", "window": 60, "reserve": true,
                "provider": { "mode": "partition" }, "metadata": { "team": { "mode": "partition" } } }] }),
        );
        assert_eq!(demands(&limits).iter().map(Demand::key).collect::<Vec<_>>(), ["gateway ", "rate/t ", "spend/s "]);
        let shown = |part: &str, used| Shown {
            part: part.to_owned(),
            reading: Reading { used, reserved: 1_000_000_000, remaining: 7, resets_in_ms: 1_000, retry_in_ms: 0 },
        };
        let many = vec![shown("[\"tok\"]", 2); MAX_SHOWN + 1];
        let found = result(&limits, &[vec![shown("", 3)], many, vec![shown("[\"openai\",\"a\"]", 250_000_000_000)]]);
        assert_eq!(
            found["rate"][0],
            json!({ "id": "gateway", "key": "gateway", "limit": 10, "interval": 60, "technique": "fixed", "more_counters": false,
                "counters": [{ "partition": {}, "count": 3, "remaining": 7, "resets_at": "1970-01-01T00:00:01.000Z" }] })
        );
        assert_eq!(found["rate"][1]["counters"][0]["partition"], json!({ "token": "tok" }));
        let many = (found["rate"][1]["counters"].as_array().unwrap().len(), &found["rate"][1]["more_counters"]);
        assert_eq!(many, (MAX_SHOWN, &json!(true)));
        let spend = &found["spend"][0]["counters"][0];
        assert_eq!(spend["partition"], json!({ "provider": "openai", "metadata.team": "a" }));
        assert_eq!((&spend["spent"], &spend["reserved"]), (&json!(0.25), &json!(0.001)));
        let cap = |bucket: &str| Cap {
            policy: "p".to_owned(),
            bucket: bucket.to_owned(),
            window: Window::calendar("weekly"),
            limit: 2.0,
        };
        let capped = Limits { caps: vec![cap("team:{metadata.team} :"), cap("all :")], ..Limits::default() };
        let counters = || {
            vec![shown("[\"team:a :\"]", 1_000_000_000_000), shown("[\"team:a :gpt-5\"]", 1), shown("[\"all :\"]", 0)]
        };
        let found = &result(&capped, &[counters(), counters()])["policies"];
        assert_eq!((&found[0]["period"], &found[0]["limit"]), (&json!("weekly"), &json!(2.0)));
        assert_eq!(found[0]["counters"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            (&found[0]["counters"][0]["partition"], &found[0]["counters"][0]["spent"]),
            (&json!({ "bucket": "team:a :" }), &json!(1.0))
        );
        assert_eq!(found[1]["counters"][0]["partition"], json!({ "bucket": "all :" }));
        let unused = result(&limits, &[]);
        assert_eq!(unused["spend"][0]["counters"], json!([]));
        let counter = json!({ "partition": {}, "count": 0, "remaining": 10, "resets_at": "1970-01-01T00:01:00.000Z" });
        assert_eq!(unused["rate"][0]["counters"], json!([counter]));
        assert_eq!(result(&Limits::default(), &[]), json!({ "rate": [], "spend": [], "policies": [], "circuits": [] }));
    }
}
