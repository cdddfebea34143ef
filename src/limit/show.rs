//! `/accounts/{account}/ai-gateway/gateways/{gateway}/limits`: where each limit of a gateway stands.

use super::desk::MAX_SHOWN;
use super::message::Shown;
use super::rules::{Limits, RateKey};
use super::{Demand, Takes, ledger, spend};
use crate::envelope::Reply;
use crate::timestamp;
use serde_json::{Map, Value, json};

/// One for each rule: the gateway's rate limits, then its spend limits.
pub fn demands(limits: &Limits) -> Vec<Demand> {
    let demand = |rule, window, limit, takes| Demand { rule, part: String::new(), window, limit, takes };
    let rate = limits.rate.iter().map(|rule| demand(rule.counters(), rule.window(), rule.limit, Takes::One));
    let spend = limits.spend.iter().map(|rule| demand(rule.counters(), rule.window(), rule.amount(), Takes::Later));
    rate.chain(spend).collect()
}

/// The answer, from the counters that the object has for each of them.
pub fn reply(limits: &Limits, counters: &[Vec<Shown>], now: u64) -> Reply {
    let mut counters = counters.iter().map(Vec::as_slice).chain(std::iter::repeat(&[][..]));
    let mut next = |partitions: &[String], demand: &Demand, show: &dyn Fn(&Shown) -> Value| {
        let unused = [Shown { part: String::new(), reading: ledger::reading(demand, "", now) }];
        let all = match counters.next().unwrap_or_default() {
            // The one counter of such a rule is there even if nobody has used it yet.
            [] if partitions.is_empty() => &unused,
            all => all,
        };
        let one = |shown: &Shown| {
            let mut counter = show(shown);
            counter["partition"] = partition(partitions, &shown.part);
            counter["resets_at"] = timestamp::format(now.saturating_add(shown.reading.resets_in_ms)).into();
            counter
        };
        (all.iter().take(MAX_SHOWN).map(one).collect::<Value>(), all.len() > MAX_SHOWN)
    };
    let demands = demands(limits);
    let (rates, budgets) = demands.split_at_checked(limits.rate.len()).unwrap_or_default();
    let mut rate = Vec::new();
    for (rule, demand) in limits.rate.iter().zip(rates) {
        let partitions = if rule.key == RateKey::Everyone { Vec::new() } else { vec![rule.key.name()] };
        let count = |shown: &Shown| json!({ "count": shown.reading.used, "remaining": shown.reading.remaining });
        let (counters, more) = next(&partitions, demand, &count);
        rate.push(json!({
            "id": rule.id, "key": rule.key.name(), "limit": rule.limit, "interval": rule.interval,
            "technique": rule.technique.name(), "counters": counters, "more_counters": more,
        }));
    }
    let mut spends = Vec::new();
    for (rule, demand) in limits.spend.iter().zip(budgets) {
        let money = |shown: &Shown| {
            let dollars = |amount| rounded(spend::dollars(amount));
            let reading = &shown.reading;
            json!({
                "spent": dollars(reading.used), "reserved": dollars(reading.reserved),
                "remaining": dollars(reading.remaining),
            })
        };
        let (counters, more) = next(&rule.partitions(), demand, &money);
        spends.push(json!({
            "id": rule.id, "enabled": rule.enabled, "limit": rule.limit, "limitType": "cost", "window": rule.window,
            "technique": rule.technique.name(), "reserve": rule.reserve, "counters": counters, "more_counters": more,
        }));
    }
    Reply::result(json!({ "rate": rate, "spend": spends }))
}

/// The values that a counter is for, by the names of what they are values of.
fn partition(names: &[String], part: &str) -> Value {
    let values: Vec<Value> = serde_json::from_str(part).unwrap_or_default();
    Value::Object(names.iter().cloned().zip(values).collect::<Map<String, Value>>())
}

fn rounded(dollars: f64) -> f64 {
    (dollars * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Reading;
    use crate::limit::rules::RateRule;
    use crate::limit::rules::tests::limits;
    use crate::limit::window::Technique;

    fn result(limits: &Limits, counters: &[Vec<Shown>]) -> Value {
        serde_json::from_str::<Value>(&reply(limits, counters, 0).body).unwrap()["result"].clone()
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
        let shown = (found["rate"][1]["counters"].as_array().unwrap().len(), &found["rate"][1]["more_counters"]);
        assert_eq!(shown, (MAX_SHOWN, &json!(true)));
        let spend = &found["spend"][0]["counters"][0];
        assert_eq!(spend["partition"], json!({ "provider": "openai", "metadata.team": "a" }));
        assert_eq!((&spend["spent"], &spend["reserved"]), (&json!(0.25), &json!(0.001)));
        let unused = result(&limits, &[]);
        assert_eq!(unused["spend"][0]["counters"], json!([]));
        let counter = json!({ "partition": {}, "count": 0, "remaining": 10, "resets_at": "1970-01-01T00:01:00.000Z" });
        assert_eq!(unused["rate"][0]["counters"], json!([counter]));
        assert_eq!(result(&Limits::default(), &[]), json!({ "rate": [], "spend": [] }));
    }
}
