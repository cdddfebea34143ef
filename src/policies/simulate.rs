//! What policies would say of a request, without sending it and without counting anything.

use super::decide::{Bucket, Cap, Decision, Model, Policy, Reason, decide};
use crate::base::json::json;
use serde_json::Value;

/// A request that is only thought of.
pub struct Supposed<'a> {
    /// What conditions and actors name: `cf`, `metadata`, `token`.
    pub identity: &'a Value,
    pub provider: &'a str,
    /// In small letters; none for a request that runs no model.
    pub model: Option<&'a str>,
    /// What was spent, by the names of policies: `{ "name": { "spent": 1.5 } }`.
    pub usage: &'a Value,
}

/// The `result` of `…/policies/simulate`.
pub async fn simulated(policies: &[Policy], supposed: &Supposed<'_>) -> Value {
    let model = supposed.model.map_or(Model::None, Model::Named);
    let decision = decide(policies, supposed.identity, supposed.provider, &[model]).await;
    let (name, buckets, enforcement) = match &decision {
        Decision::Unlimited => ("no-limit", Vec::new(), json!({ "allowed": true })),
        Decision::Blocked(reason) => ("block", Vec::new(), blocked(reason)),
        Decision::Check(buckets) => {
            ("check_limits", buckets.iter().map(shown).collect(), enforced(buckets, supposed.usage))
        }
    };
    json!({
        "evaluation": { "decision": name, "buckets": buckets },
        "enforcement": enforcement,
        "policiesEvaluated": policies.len(),
    })
}

fn blocked(reason: &Reason) -> Value {
    let (policy, missing) = match reason {
        Reason::NoneMatches => (None, None),
        Reason::Policy(policy) => (Some(policy), None),
        Reason::Unknown(policy, field) => (Some(policy), Some(field)),
    };
    json!({ "allowed": false, "reason": "blocked", "policyName": policy, "missing": missing })
}

fn shown(bucket: &Bucket) -> Value {
    let cap = |(period, cap): (&super::decide::Period, &Cap)| json!({ "period": period.name(), "amount": cap.amount, "policyName": cap.policy });
    json!({ "bucket": bucket.name, "limits": bucket.caps.iter().map(cap).collect::<Vec<_>>() })
}

fn enforced(buckets: &[Bucket], usage: &Value) -> Value {
    for bucket in buckets {
        for cap in bucket.caps.values() {
            let spent = usage.get(&cap.policy).and_then(|usage| usage.get("spent")).and_then(Value::as_f64);
            if let Some(spent) = spent.filter(|spent| *spent >= cap.amount) {
                return json!({
                    "allowed": false, "reason": "limit_exceeded", "bucket": bucket.name, "spent": spent,
                    "limit": cap.amount, "policyName": cap.policy,
                });
            }
        }
    }
    json!({ "allowed": true })
}

#[cfg(test)]
mod tests {
    use super::super::stored;
    use super::*;
    use pollster::block_on;

    #[test]
    fn the_answer_says_what_would_happen_and_why() {
        let all = json!([
            { "name": "all", "actor": "team:{metadata.team}", "resource": "*",
              "action": { "type": "limit", "amount": 10, "period": "monthly" } },
            { "name": "no opus", "actor": "", "resource": { "model": "*opus*" }, "action": { "type": "block" } },
        ]);
        let policies = stored::all(&all.to_string());
        let said = |identity: Value, model, usage: Value| {
            let supposed = Supposed { identity: &identity, provider: "openai", model: Some(model), usage: &usage };
            block_on(simulated(&policies, &supposed))
        };
        let team = || json!({ "metadata": { "team": "a" } });
        let fine = said(team(), "gpt-5", json!({}));
        assert_eq!((&fine["evaluation"]["decision"], &fine["policiesEvaluated"]), (&json!("check_limits"), &json!(2)));
        let limits = json!([{ "period": "monthly", "amount": 10.0, "policyName": "all" }]);
        assert_eq!(fine["evaluation"]["buckets"], json!([{ "bucket": "team:a :", "limits": limits }]));
        assert_eq!(fine["enforcement"], json!({ "allowed": true }));
        let over = &said(team(), "gpt-5", json!({ "all": { "spent": 10 } }))["enforcement"];
        assert_eq!(
            (&over["allowed"], &over["reason"], &over["bucket"]),
            (&json!(false), &json!("limit_exceeded"), &json!("team:a :"))
        );
        let opus = &said(team(), "claude-opus-4", json!({}))["enforcement"];
        assert_eq!((&opus["reason"], &opus["policyName"]), (&json!("blocked"), &json!("no opus")));
        assert_eq!(said(json!({}), "gpt-5", json!({}))["evaluation"]["decision"], json!("block"));
    }
}
