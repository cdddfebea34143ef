use super::*;
use crate::credentials::vault::tests::PLAIN;
use crate::gateways::gateway;
use crate::providers::resolver::Lookup;
use crate::testing::sqlite::Sqlite;
use pollster::block_on;

fn gateway(store: &Sqlite, settings: &str) -> Gateway {
    let sql = "INSERT INTO gateways (account_id, id, internal_id, created_at, modified_at, settings) VALUES ('a', 'gw', 'i', 1, 1, ?1)";
    block_on(store.batch(vec![Statement::new(sql, [settings.into()])])).unwrap();
    block_on(gateway::find(store, "a", "gw")).unwrap().unwrap()
}

fn asked(store: &Sqlite, gateway: &Gateway, body: &str) -> Result<Value, ApiError> {
    let guard = Guard { internal_allowed: false, found: Lookup::Found(vec!["8.8.8.8".parse().unwrap()]) };
    let actor = Actor { name: "admin", now_ms: 1, entry: "1".to_owned() };
    let reply = block_on(put([store, store], gateway, body.as_bytes(), (&guard, &PLAIN), &actor))?;
    let shown: Value = serde_json::from_str(&reply.body).unwrap();
    Ok(shown["result"].clone())
}

#[test]
fn an_endpoint_is_kept_with_its_secret_sealed_and_taken_back() {
    let store = Sqlite::new();
    let gateway = gateway(&store, r#"{"logpush":true}"#);
    let shown =
        asked(&store, &gateway, r#"{"url":"https://logs.example.com/in","authorization":"Bearer s3cret"}"#).unwrap();
    assert_eq!(
        (&shown["destination"]["url"], &shown["destination"]["authorization"]),
        (&"https://logs.example.com/in".into(), &true.into())
    );
    assert!(shown["missing"].as_str().unwrap().contains("logpush_plain") && !shown.to_string().contains("s3cret"));
    let actor = Actor { name: "admin", now_ms: 1, entry: "2".to_owned() };
    let reply = block_on(delete([&store, &store], &gateway, &actor)).unwrap();
    assert!(reply.body.contains(r#""type":"r2""#));
    assert_eq!(
        block_on(store.ids(Statement::new("SELECT fields AS id FROM audit WHERE action = 'logpush.update'", [])))
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn what_is_no_endpoint_is_refused_and_changes_nothing() {
    let store = Sqlite::new();
    let gateway = gateway(&store, r#"{"logpush":true,"logpush_plain":true}"#);
    for body in [
        "{}",
        r#"{"url":"http://logs.example.com"}"#,
        r#"{"url":"https://127.0.0.1/"}"#,
        r#"{"url":7}"#,
        r#"{"url":"https://logs.example.com","authorization":"a\nb"}"#,
        r#"{"url":"https://logs.example.com","authorization":""}"#,
        r#"{"url":"https://logs.example.com","more":1}"#,
        "[]",
    ] {
        assert_eq!(asked(&store, &gateway, body).unwrap_err().status, 400, "{body}");
    }
    let shown = block_on(get([&store, &store], &gateway)).unwrap();
    assert!(
        shown.body.contains(r#""type":"r2""#)
            && shown.body.contains(r#""form":"plain""#)
            && shown.body.contains(r#""enabled":true"#)
    );
}
