use super::*;
use pollster::block_on;
use proptest::prelude::*;
use serde_json::json;

struct Given {
    metadata: Value,
    body: Value,
}

impl Facts for Given {
    fn value(&self, field: &Field) -> Option<Value> {
        match field {
            Field::Metadata(key) => self.metadata.get(key).cloned(),
            Field::Header(name) => (name == "x-plan").then(|| json!("Pro-7")),
            Field::Body(path) => member(&self.body, path).cloned(),
            Field::Model => Some(json!("openai/gpt-5")),
            Field::HourUtc => Some(json!(13)),
            Field::EstimatedInput => Some(json!(2_000)),
            _ => None,
        }
    }
}

fn holds(condition: &Value) -> bool {
    let given = Given {
        metadata: json!({"plan": "free", "age": "41", "score": 7, "vip": "true", "none": null}),
        body: json!({"messages": [{"role": "user", "content": "hi"}], "temperature": 0.5, "tags": ["a", "b", 3], "tools": [], "rows": [[1], [2, 3]]}),
    };
    let condition = Condition::parse(condition).unwrap_or_else(|wrong| panic!("{condition}: {wrong:?}"));
    block_on(condition.holds(&given, &Meter::new(100_000, async || {}))).unwrap()
}

#[test]
fn each_operator_holds_and_does_not() {
    for (yes, no) in [
        (json!({"metadata.plan": "free"}), json!({"metadata.plan": "Free"})),
        (json!({"metadata.plan": {"$eq": "free"}}), json!({"metadata.plan": {"$ne": "free"}})),
        (json!({"metadata.missing": {"$ne": "free"}}), json!({"metadata.missing": {"$eq": "free"}})),
        (json!({"metadata.age": {"$gt": 40, "$lte": 41}}), json!({"metadata.age": {"$gt": 41}})),
        (json!({"metadata.age": 41}), json!({"metadata.age": "041"})),
        (json!({"metadata.vip": true}), json!({"metadata.vip": false})),
        (json!({"metadata.plan": {"$gt": "fred", "$lt": "frez"}}), json!({"metadata.plan": {"$gte": 3}})),
        (json!({"body.temperature": {"$gte": 0.5}}), json!({"body.temperature": {"$lt": "1"}})),
        (json!({"metadata.plan": {"$in": ["pro", "free"]}}), json!({"metadata.plan": {"$nin": ["pro", "free"]}})),
        (json!({"metadata.missing": {"$nin": ["x"]}}), json!({"metadata.missing": {"$in": ["x"]}})),
        (json!({"metadata.none": {"$exists": true}}), json!({"metadata.missing": {"$exists": true}})),
        (json!({"metadata.plan": {"$regex": "^FR", "$options": "i"}}), json!({"metadata.plan": {"$regex": "^FR"}})),
        (
            json!({"headers.X-Plan": {"$startsWith": "Pro", "$endsWith": "7"}}),
            json!({"headers.x-plan": {"$startsWith": "pro"}}),
        ),
        (json!({"headers.x-plan": {"$contains": "o-"}}), json!({"headers.x-other": {"$contains": ""}})),
        (json!({"body.tags": {"$contains": 3}}), json!({"body.tags": {"$contains": "3"}})),
        (json!({"body.tags": {"$size": 3}}), json!({"body.temperature": {"$size": 0}})),
        (json!({"body.tools": {"$size": 0, "$type": "array"}}), json!({"body.tools": {"$type": "object"}})),
        (json!({"body.messages.0.role": "user"}), json!({"body.messages.1.role": {"$exists": true}})),
        (json!({"body.tags": {"$elemMatch": {"$gt": 2}}}), json!({"body.tags": {"$elemMatch": {"$gt": 3}}})),
        (
            json!({"body.messages": {"$elemMatch": {"role": "user", "content": {"$startsWith": "h"}}}}),
            json!({"body.messages": {"$elemMatch": {"role": "user", "content": "x"}}}),
        ),
        (
            json!({"body.messages": {"$elemMatch": {"name": {"$exists": false}}}}),
            json!({"body.tags": {"$elemMatch": {"role": "user"}}}),
        ),
        (
            json!({"body.rows": {"$elemMatch": {"$elemMatch": {"$gte": 3}}}}),
            json!({"body.rows": {"$elemMatch": {"$gte": 3}}}),
        ),
        // A list is compared whole, and an object by its path.
        (json!({"body.tags": ["a", "b", 3]}), json!({"body.tags": "a"})),
        (json!({"body.tags": {"$in": [["a", "b", 3]]}}), json!({"body.tags": {"$in": ["a"]}})),
        (json!({"metadata.score": {"$not": {"$gt": 7}}}), json!({"metadata.score": {"$not": {"$gte": 7}}})),
        (
            json!({"$and": [{"model": "openai/gpt-5"}, {"time.hour_utc": {"$gte": 9, "$lt": 17}}]}),
            json!({"$and": [{"model": "openai/gpt-5"}, {"model": "x"}]}),
        ),
        (
            json!({"$or": [{"model": "x"}, {"tokens.estimated_input": {"$lt": 4_000}}]}),
            json!({"$nor": [{"model": "x"}, {"metadata.plan": "free"}]}),
        ),
        (json!({"$not": {"model": "x"}}), json!({"$not": {}})),
        (json!({}), json!({"provider": "openai"})),
        (json!({"metadata.plan": "free", "metadata.score": 7}), json!({"metadata.plan": "free", "metadata.score": 8})),
    ] {
        assert!(holds(&yes), "{yes}");
        assert!(!holds(&no), "{no}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    let mut deep = json!({"model": "x"});
    for _ in 0..20 {
        deep = json!({"$not": deep});
    }
    let wide: Vec<Value> = (0..300).map(|_| json!({"model": "x"})).collect();
    for (wrong, place, reason) in [
        (json!([]), "", "a condition is an object"),
        (json!({"plan": "x"}), "plan", "no field of a request"),
        (json!({"metadata.": "x"}), "metadata.", "no field"),
        (json!({"$xor": []}), "$xor", "joins no conditions"),
        (json!({"$and": []}), "$and", "at least one"),
        (json!({"$or": [{"model": "a"}, {"model": {"$like": "b"}}]}), "$or.[1].model.$like", "no operator"),
        (json!({"model": {"a": 1}}), "model", "operators here"),
        (json!({"model": {"$in": "a"}}), "model.$in", "a list"),
        (json!({"model": {"$gt": null}}), "model.$gt", "a number or a text"),
        (json!({"model": {"$regex": "("}}), "model.$regex", ""),
        (json!({"model": {"$regex": "a", "$options": "x"}}), "model.$regex", "$options"),
        (json!({"model": {"$options": "i"}}), "model.$options", "no operator"),
        (json!({"model": {"$size": -1}}), "model.$size", "whole number"),
        (json!({"model": {"$type": "int"}}), "model.$type", "one of string"),
        (json!({"body.a": {"$elemMatch": {"x": {"$like": 1}}}}), "body.a.$elemMatch.x.$like", "no operator"),
        (json!({"body.a": {"$elemMatch": {"a": 1, "$gt": 1}}}), "body.a.$elemMatch.a", "no operator"),
        (json!({"token.secret": 1}), "token.secret", "token.owner"),
        (json!({"model": {"$exists": 1}}), "model.$exists", "true or false"),
        (json!({"$and": wide}), "$and.[127].model", "256 parts"),
    ] {
        let refused = Condition::parse(&wrong).unwrap_err();
        assert_eq!(refused.path, place, "{wrong}");
        assert!(refused.reason.contains(reason), "{wrong}: {}", refused.reason);
    }
    assert!(Condition::parse(&deep).unwrap_err().reason.contains("16 levels"));
}

#[test]
fn a_pattern_takes_no_more_steps_than_there_are() {
    let condition = Condition::parse(&json!({"body.text": {"$regex": "(a*)*b"}})).unwrap();
    let given = Given { metadata: json!({}), body: json!({"text": "a".repeat(60_000)}) };
    assert_eq!(block_on(condition.holds(&given, &Meter::new(1_000, async || {}))), Err(Exhausted));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = proptest::sample::select(vec![
            "$and",
            "$or",
            "$not",
            "$eq",
            "$in",
            "$gt",
            "$regex",
            "$elemMatch",
            "$nor",
            "$ne",
            "$nin",
            "$exists",
            "$contains",
            "$startsWith",
            "$size",
            "$type",
            "metadata.plan",
            "token.metadata.plan",
            "body.a.0",
            "model",
            "x",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..4).prop_map(|map| map
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn what_is_stored_can_be_asked_of_anything(condition in any_json(), body in any_json()) {
        if let Ok(parsed) = Condition::parse(&condition) {
            let given = Given { metadata: json!({"plan": "a"}), body };
            let meter = Meter::new(100_000, async || {});
            let holds = block_on(parsed.holds(&given, &meter)).unwrap();
            let negated = Condition::parse(&json!({"$not": condition})).ok();
            if let Some(negated) = negated {
                prop_assert_eq!(block_on(negated.holds(&given, &meter)).unwrap(), !holds);
            }
        }
    }
}
