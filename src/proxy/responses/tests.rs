//! What is asked of responses that are kept, and what goes on from them.

use super::*;
use serde_json::{Value, json};

fn stored(id: &str, previous: Option<&str>, input: Value, output: Value) -> StoredResponse {
    let response = json!({ "id": id, "object": "response", "output": output }).to_string();
    StoredResponse::new(id.to_owned(), previous.map(str::to_owned), 1, input.to_string(), response)
}

fn two() -> Vec<StoredResponse> {
    let said = |id: &str, text: &str| json!({ "id": id, "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": text }] });
    vec![
        stored("resp_a", None, json!([{ "role": "user", "content": "one" }]), json!([said("msg_a_0", "two")])),
        stored(
            "resp_b",
            Some("resp_a"),
            json!([{ "id": "own", "role": "user", "content": "three" }]),
            json!([said("msg_b_0", "four")]),
        ),
    ]
}

fn value(json: &Json) -> Value {
    serde_json::from_str(&json.to_string()).unwrap()
}

#[test]
fn each_address_says_what_is_asked() {
    for (method, path, id, what) in [
        ("GET", "v1/responses/resp_1", "resp_1", Asked::Get),
        ("GET", "responses/resp_1/", "resp_1", Asked::Get),
        ("GET", "v1/v1/responses/resp_1", "resp_1", Asked::Get),
        ("DELETE", "v1/responses/resp%5F1", "resp_1", Asked::Delete),
        ("GET", "v1/responses/resp_1/input_items", "resp_1", Asked::Items),
        ("POST", "v1/responses/resp_1/cancel", "resp_1", Asked::Cancel),
    ] {
        assert_eq!(asked(path, method), Some((id.to_owned(), what)), "{method} {path}");
    }
    for (method, path) in [
        ("POST", "v1/responses"),
        ("GET", "v1/responses/"),
        ("POST", "v1/responses/resp_1"),
        ("GET", "v1/responses/resp_1/cancel"),
        ("POST", "v1/responses/input_tokens"),
        ("GET", "v1/responses/a/b/c"),
    ] {
        assert_eq!(asked(path, method), None, "{method} {path}");
    }
}

#[test]
fn references_are_found_and_others_cost_nothing() {
    assert_eq!(references(br#"{"input":"hi"}"#), None);
    assert_eq!(references(br#"{"input":"previous_response_id"}"#), None);
    assert_eq!(references(b"previous_response_id \xff"), None);
    let body = br#"{"previous_response_id":"resp_a","input":[{"type":"item_reference","id":"msg_01_x_2"},{"type":"item_reference","id":"rs_01_x_1"},{"type":"item_reference","id":"z"}]}"#;
    let found = references(body).unwrap().1;
    assert_eq!((found.previous_id.as_deref(), found.of_items), (Some("resp_a"), vec!["resp_01_x".to_owned()]));
    assert!(is_openais(&format!("resp_{}", "0a".repeat(25))) && !is_openais("resp_msg_01") && !is_openais("0a"));
}

#[test]
fn a_request_goes_on_with_the_whole_conversation() {
    let json = Json::parse(r#"{"model":"m","previous_response_id":"resp_b","input":"five"}"#).unwrap();
    let on = gone_on(json, &two(), &[]).unwrap();
    let body: Value = serde_json::from_str(&on.body).unwrap();
    let texts: Vec<String> = body["input"].as_array().unwrap().iter().map(|item| item["content"].to_string()).collect();
    assert!(
        ["one", "two", "three", "four", "five"].iter().zip(&texts).all(|(said, text)| text.contains(said)),
        "{texts:?}"
    );
    assert_eq!((texts.len(), on.own, on.previous_id.as_deref()), (5, 1, Some("resp_b")));
    assert_eq!(body.get("previous_response_id"), None);
    // One whose beginning is gone is not taken for a whole one.
    let json = Json::parse(r#"{"previous_response_id":"resp_b","input":"five"}"#).unwrap();
    assert!(gone_on(json, &two()[1..], &[]).unwrap_err().contains("resp_a"));
}

#[test]
fn items_are_put_in_the_place_of_references_to_them() {
    let json = Json::parse(r#"{"input":[{"type":"item_reference","id":"msg_b_0"},{"type":"item_reference","id":"gone_x_1"},{"role":"user","content":"five"}]}"#).unwrap();
    let on = gone_on(json, &[], &two()).unwrap();
    let body: Value = serde_json::from_str(&on.body).unwrap();
    assert_eq!((&body["input"][0]["content"][0]["text"], on.own), (&json!("four"), 3));
    // What is not there is left as it is, and refused where the items are read.
    assert_eq!(body["input"][1]["type"], "item_reference");
}

#[test]
fn items_are_listed_in_pages() {
    let page = |query: &str| input_items(&two(), &Query::parse(query)).map(|list| value(&list));
    let ids = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = page("").unwrap();
    assert_eq!(ids(&all), ["own", "msg_a_0", "msg_a_in0"]);
    assert_eq!(
        (&all["object"], &all["first_id"], &all["last_id"], &all["has_more"]),
        (&json!("list"), &json!("own"), &json!("msg_a_in0"), &json!(false))
    );
    let first = page("order=asc&limit=2").unwrap();
    assert_eq!((ids(&first), &first["has_more"]), (vec!["msg_a_in0".to_owned(), "msg_a_0".to_owned()], &json!(true)));
    assert_eq!(ids(&page("order=asc&after=msg_a_0").unwrap()), ["own"]);
    assert_eq!(ids(&page("order=asc&before=msg_a_0").unwrap()), ["msg_a_in0"]);
    for (query, said) in [("limit=0", "limit"), ("limit=101", "limit"), ("order=up", "order"), ("after=x", "after")] {
        assert!(page(query).unwrap_err().contains(said), "{query}");
    }
    assert_eq!(value(&input_items(&[], &Query::parse("")).unwrap())["first_id"], Value::Null);
}
