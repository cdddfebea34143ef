use super::*;
use proptest::prelude::*;
use serde_json::json;

pub fn everything() -> Value {
    json!([
        {"id": "s", "type": "start", "outputs": {"next": {"elementId": "c"}}},
        {"id": "c", "type": "conditional", "properties": {"condition": {"metadata.plan": {"$eq": "free"}}},
         "outputs": {"true": {"elementId": "p"}, "false": {"elementId": "big"}}},
        {"id": "p", "type": "percentage", "properties": {"sticky": "session"}, "outputs": {"10%": {"elementId": "big"}, "else": {"elementId": "r"}}},
        {"id": "r", "type": "rate", "properties": {"key": "metadata.user", "limit": 2, "limitType": "count", "window": 3600},
         "outputs": {"success": {"elementId": "small"}, "fallback": {"elementId": "e"}}},
        {"id": "small", "type": "model", "properties": {"provider": "openai", "model": "gpt-5-mini", "retries": 1, "timeout": 2_000},
         "outputs": {"success": {"elementId": "e"}, "fallback": {"elementId": "big"}}},
        {"id": "big", "type": "model", "properties": {"provider": "anthropic", "model": "claude-opus-4-5"}, "outputs": {"success": {"elementId": "e"}}},
        {"id": "e", "type": "end", "outputs": {}},
    ])
}

#[test]
fn a_route_with_every_element_is_read() {
    let graph = Graph::parse(&everything()).unwrap();
    assert_eq!((graph.start, graph.elements.len(), graph.models().count()), (0, 7, 2));
    let Kind::Percentage(percentage) = &graph.elements[2].kind else { panic!() };
    assert_eq!(
        percentage.arms.iter().map(|arm| (arm.name.as_str(), arm.weight, arm.next)).collect::<Vec<_>>(),
        [("10%", 0.1, 5), ("else", 0.9, 3)]
    );
    assert_eq!(percentage.sticky, Sticky::Session);
    let Kind::Rate(rate) = &graph.elements[3].kind else { panic!() };
    assert_eq!(
        (rate.key.as_deref(), rate.limit, rate.unit, rate.window, rate.beyond),
        (Some("user"), 2.0, Unit::Count, 3_600, Some(6))
    );
    let Kind::Model(model) = &graph.elements[4].kind else { panic!() };
    assert_eq!((model.retries, model.timeout, model.success, model.fallback), (1, 2_000, 6, Some(5)));
}

/// The route with one member changed, and where that is refused.
#[test]
fn what_could_lead_a_request_astray_is_refused_with_its_place() {
    let changed = |pointer: &str, value: Value| {
        let mut elements = everything();
        *elements.pointer_mut(pointer).unwrap() = value;
        elements
    };
    for (elements, place, reason) in [
        (json!({}), "elements", "2 to 64"),
        (changed("/0/type", json!("end")), "elements[0].outputs.next", "none as outputs"),
        (
            changed("/6", json!({"id": "e", "type": "start", "outputs": {"next": {"elementId": "s"}}})),
            "elements",
            "exactly one start",
        ),
        (changed("/1/id", json!("p")), "elements[2].id", "another element"),
        (changed("/1/id", json!("")), "elements[1].id", "1 to 128"),
        (changed("/1/type", json!("magic")), "elements[1].type", "no type of element"),
        (changed("/1/outputs/true/elementId", json!("nowhere")), "elements[1].outputs.true.elementId", "\"nowhere\""),
        (changed("/1/outputs", json!({"true": {"elementId": "p"}})), "elements[1].outputs.false", "leads nowhere"),
        (
            changed("/1/outputs", json!({"true": {"elementId": "p"}, "maybe": {"elementId": "p"}})),
            "elements[1].outputs.maybe",
            "true and false",
        ),
        (
            changed("/1/properties/condition", json!({"metadata.plan": {"$like": 1}})),
            "elements[1].properties.condition.metadata.plan.$like",
            "no operator",
        ),
        (changed("/1/properties", json!({})), "elements[1].properties.condition", "has a condition"),
        (changed("/5/outputs/success/elementId", json!("small")), "elements[4].outputs.fallback", "circles"),
        (changed("/4/outputs/fallback/elementId", json!("small")), "elements[4].outputs.fallback", "circles"),
        (changed("/2/outputs/10%/elementId", json!("r")), "", ""),
        (changed("/1/outputs/false/elementId", json!("e")), "", ""),
        (changed("/3/outputs/success/elementId", json!("e")), "elements[4]", "no output leads"),
        (changed("/2/outputs", json!({"ten": {"elementId": "r"}})), "elements[2].outputs.ten", "\"0%\" to \"100%\""),
        (
            changed("/2/outputs", json!({"60%": {"elementId": "r"}, "50%": {"elementId": "big"}})),
            "elements[2].outputs",
            "100 % at most",
        ),
        (changed("/2/properties/sticky", json!("user")), "elements[2].properties.sticky", "session"),
        (changed("/2/properties", json!({"goal": "luck"})), "elements[2].properties.goal", "latency"),
        (changed("/2/properties", json!({"goal": "cost", "floor": 0.6})), "elements[2].properties.floor", "everything"),
        (changed("/3/properties/limit", json!("2")), "elements[3].properties.limit", "a number"),
        (changed("/3/properties/limitType", json!("tokens")), "elements[3].properties.limitType", "count or cost"),
        (changed("/4/properties/retries", json!(9)), "elements[4].properties.retries", "0 to 5"),
        (changed("/4/properties/model", json!(null)), "elements[4].properties.model", "1 to 256"),
    ] {
        match Graph::parse(&elements) {
            Ok(_) => assert_eq!(place, "", "{elements}"),
            Err(wrong) => {
                assert_eq!(wrong.path, place, "{}", wrong.reason);
                assert!(wrong.reason.contains(reason), "{place}: {}", wrong.reason);
            }
        }
    }
    let without_model =
        json!([{"id": "s", "type": "start", "outputs": {"next": {"elementId": "e"}}}, {"id": "e", "type": "end"}]);
    assert!(Graph::parse(&without_model).unwrap_err().reason.contains("has a model"));
}

#[test]
fn a_percentage_says_where_all_requests_go() {
    let with = |outputs: &[&str]| {
        let mut elements = everything();
        let to = json!({"elementId": "r"});
        elements[2]["outputs"] =
            outputs.iter().map(|name| ((*name).to_owned(), to.clone())).collect::<serde_json::Map<_, _>>().into();
        elements
    };
    for (outputs, sum) in
        [(vec!["10%", "50%"], Some("60 %")), (vec!["99.5%"], Some("99.5 %")), (vec!["0.3%", "99.8%"], None)]
    {
        let elements = with(&outputs);
        let (stored, new) = (Graph::parse(&elements), Graph::parse_new(&elements));
        match sum {
            // What is stored is still walked.
            Some(sum) => {
                assert!(stored.is_ok(), "{outputs:?}");
                let wrong = new.unwrap_err();
                assert_eq!(wrong.path, "elements[2].outputs");
                assert!(wrong.reason.contains(sum), "{}", wrong.reason);
            }
            None => assert_eq!(new.unwrap_err().path, "elements[2].outputs"),
        }
    }
    for outputs in [
        vec!["100%"],
        vec!["40%", "60%"],
        vec!["33.33%", "33.330%", "33.3300%"],
        vec!["0%", "else"],
        vec!["1%", "else"],
    ] {
        assert!(Graph::parse_new(&with(&outputs)).is_ok(), "{outputs:?}");
    }
}

/// Elements that lead anywhere, themselves included; a few lead nowhere.
fn any_elements() -> impl Strategy<Value = Value> {
    let element = (0..7_usize, proptest::collection::vec(0..9_usize, 3));
    proptest::collection::vec(element, 1..7).prop_map(|drawn| {
        let last = drawn.len();
        let to = |place: usize| json!({"elementId": if place >= last { "e".to_owned() } else { format!("n{place}") }});
        let mut all = vec![json!({"id": "s", "type": "start", "outputs": {"next": to(0)}})];
        all.extend(drawn.iter().enumerate().map(|(place, (kind, to_places))| {
            // Mostly forward, so that many are good.
            let out = |at: usize| to(if to_places[at] == 8 { place } else { place + 1 + to_places[at] % 3 });
            let (kind, properties, outputs) = match kind {
                0 => (
                    "conditional",
                    json!({"condition": {"model": "a"}}),
                    json!({"true": out(0), "false": to(place + 1)}),
                ),
                1 => ("percentage", json!({}), json!({"40%": out(0), "10%": out(1), "else": to(place + 1)})),
                2 => ("rate", json!({"limit": 1}), json!({"success": to(place + 1), "fallback": out(0)})),
                3 => ("end", json!({}), json!({})),
                _ => (
                    "model",
                    json!({"provider": "openai", "model": "m"}),
                    json!({"success": out(0), "fallback": to(place + 1)}),
                ),
            };
            json!({"id": format!("n{place}"), "type": kind, "properties": properties, "outputs": outputs})
        }));
        all.push(json!({"id": "e", "type": "end", "outputs": {}}));
        all.into()
    })
}

/// Whether an element can come to itself again, found without marks.
fn has_circle(elements: &Value) -> bool {
    let all = elements.as_array().unwrap();
    let next = |id: &str| -> Vec<String> {
        let outputs = all.iter().find(|element| element["id"] == id).map(|element| element["outputs"].clone());
        let outputs = outputs.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        outputs.values().map(|output| output["elementId"].as_str().unwrap().to_owned()).collect()
    };
    let mut here = vec!["s".to_owned()];
    for _ in 0..=all.len() {
        here = here.iter().flat_map(|id| next(id)).collect();
        here.sort();
        here.dedup();
    }
    !here.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn what_is_stored_ends_for_every_request_and_circles_are_refused(elements in any_elements(), draws in proptest::collection::vec(0.0..1.0_f64, 9)) {
        match Graph::parse_new(&elements) {
            Err(wrong) => prop_assert!(wrong.path.starts_with("elements"), "{wrong:?}"),
            Ok(graph) => {
                prop_assert!(!has_circle(&elements), "{elements}");
                // Whatever the numbers and the answers are, the way has an end.
                let (mut place, mut steps) = (graph.start, 0);
                while let Some(element) = graph.element(place) {
                    let outputs = element.kind.outputs();
                    let number = draws[steps % draws.len()];
                    let Some((_, next)) = outputs.get((number * outputs.len() as f64) as usize) else { break };
                    (place, steps) = (*next, steps + 1);
                    prop_assert!(steps <= graph.elements.len(), "{elements}");
                }
            }
        }
    }
}
