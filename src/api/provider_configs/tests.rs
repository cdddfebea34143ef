use super::secret::MAX_SECRET;
use super::*;
use crate::api::gateways;
use crate::auth::caller::Token;
use crate::config::bounds::Bounds;
use crate::credentials::key::{Held, StoredKey};
use crate::credentials::stored::OF_GATEWAY;
use crate::credentials::stored::clear_statement;
use crate::credentials::stored::keys;
use crate::credentials::stored::reseal;
use crate::credentials::vault::tests::{PLAIN, Plain};
use crate::db::store::row;
use crate::testing::sqlite::{Faulty, Sqlite};
use pollster::block_on;
use serde_json::json;

const NOW: u64 = 1_700_000_000_000;

const PLACE: Place<'static> = Place { account: "acct", gateway: "gw", key: 1 };

const KEY_CONTEXT: KeyContext<'static, Plain> = KeyContext {
    caller: &Caller::Admin,
    vault: &PLAIN,
    base_override: &|_| None,
    bound: &Bounds::USUAL.provider_configs,
};

fn actor(entry: &str) -> Actor<'_> {
    Actor { name: "admin", now_ms: NOW, entry: entry.to_owned() }
}

fn with_gateway() -> Sqlite {
    let store = Sqlite::new();
    block_on(gateways::create(
        &store,
        "acct",
        br#"{"id":"gw"}"#,
        &actor("gw"),
        "i".to_owned(),
        &Bounds::USUAL.gateways,
    ))
    .reply
    .unwrap();
    store
}

fn add(store: &impl Store, id: &str, body: Value) -> Result<Reply, ApiError> {
    block_on(create(store, &PLACE, body.to_string().as_bytes(), id, &actor(id), &KEY_CONTEXT)).reply
}

fn result(reply: Result<Reply, ApiError>) -> Value {
    serde_json::from_str::<Value>(&reply.unwrap().body).unwrap()["result"].clone()
}

fn read(store: &impl Store, gateway: i64) -> Vec<StoredKey> {
    row! {
        struct Kept {
            keys: String,
        }
    }
    let kept =
        Statement::new(format!("SELECT {OF_GATEWAY} AS keys FROM (SELECT ?1 AS key) AS gateways"), [gateway.into()]);
    keys(&block_on(store.row::<Kept>(kept)).unwrap().unwrap().keys).unwrap()
}

fn body(alias: &str, default: bool) -> Value {
    json!({ "alias": alias, "default_config": default, "provider_slug": "openai", "secret": "sk-CANARY-0123456789-last" })
}

fn opened(key: &StoredKey, vault: &Plain, upstream: Option<&str>) -> Result<String, String> {
    let Held::Sealed(sealed) = &key.held else { return Err("not sealed".to_owned()) };
    let bound = Bound { account: "acct", gateway: 1, provider: &key.provider, alias: &key.alias, upstream };
    block_on(vault.open(sealed, &bound))
}

#[test]
fn a_key_is_stored_shown_without_itself_replaced_and_deleted() {
    let store = with_gateway();
    let shown = result(add(&store, "c1", body("default", true)));
    let wanted = json!({
        "id": "c1", "gateway_id": "gw", "provider_slug": "openai", "alias": "default", "default_config": true,
        "secret_id": "c1", "secret_preview": "…last", "has_secret": true, "encryption_key_id": "k1",
        "rate_limit": null, "rate_limit_period": 60, "weight": 0,
        "created_at": "2023-11-14T22:13:20.000Z", "modified_at": "2023-11-14T22:13:20.000Z",
    });
    assert_eq!(shown, wanted);
    assert_eq!(opened(&read(&store, 1)[0], &PLAIN, None).unwrap(), "sk-CANARY-0123456789-last");
    let rotated = result(
        block_on(rotate(&store, &PLACE, "c1", br#"{"secret":"sk-second-key-0123456789"}"#, &actor("r"), &KEY_CONTEXT))
            .reply,
    );
    assert_eq!(rotated["secret_preview"], "…6789");
    assert_eq!(opened(&read(&store, 1)[0], &PLAIN, None).unwrap(), "sk-second-key-0123456789");
    let listed = block_on(list(&store, &PLACE, &Query::parse(""))).unwrap().body;
    assert!(!listed.contains("CANARY") && !listed.contains("sk-second") && listed.contains("\"total_count\":1"));
    assert_eq!(result(block_on(delete(&store, &PLACE, "c1", &actor("d"))).reply), rotated);
    assert_eq!(block_on(get(&store, &PLACE, "c1")).unwrap_err().status, 404);
    row! {
        struct Entry {
            action: String,
            fields: String,
        }
    }
    let trail = Statement::new("SELECT action, fields FROM audit WHERE action LIKE 'provider%' ORDER BY rowid", []);
    let trail: Vec<Entry> =
        block_on(store.rows(Statement { sql: trail.sql.replace("rowid", "action").into(), ..trail })).unwrap();
    let actions: Vec<&str> = trail.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["provider_config.create", "provider_config.delete", "provider_config.update"]);
    assert!(trail.iter().all(|entry| !entry.fields.contains("sk-")) && trail[2].fields == "[\"secret\"]");
}

#[test]
fn a_weight_is_given_and_changed_without_the_key() {
    let store = with_gateway();
    let mut wanted = body("a", false);
    wanted["weight"] = json!(3);
    assert_eq!(result(add(&store, "c1", wanted))["weight"], 3);
    let change = |body: &str| block_on(rotate(&store, &PLACE, "c1", body.as_bytes(), &actor(body), &KEY_CONTEXT)).reply;
    let changed = result(change(r#"{"weight":7}"#));
    assert_eq!((&changed["weight"], &changed["secret_preview"]), (&json!(7), &json!("…last")));
    assert_eq!((read(&store, 1)[0].weight, opened(&read(&store, 1)[0], &PLAIN, None).is_ok()), (7, true));
    let both = result(change(r#"{"weight":0,"secret":"sk-second-key-0123456789"}"#));
    assert_eq!((&both["weight"], &both["secret_preview"]), (&json!(0), &json!("…6789")));
    for wrong in
        [r#"{"weight":1001}"#, r#"{"weight":-1}"#, r#"{"weight":1.5}"#, r#"{"weight":"1"}"#, "{}", r#"{"weight":null}"#]
    {
        assert_eq!(change(wrong).unwrap_err().status, 400, "{wrong}");
    }
}

#[test]
fn an_alias_is_taken_once_and_there_is_one_default() {
    let store = with_gateway();
    add(&store, "c1", body("a", true)).unwrap();
    add(&store, "c2", body("b", true)).unwrap();
    add(
        &store,
        "c3",
        json!({ "alias": "a", "provider_slug": "google", "default_config": true, "secret": "AIzaSy-key" }),
    )
    .unwrap();
    let defaults = || -> Vec<String> {
        read(&store, 1)
            .into_iter()
            .filter(|key| key.is_default)
            .map(|key| format!("{} {}", key.provider, key.alias))
            .collect()
    };
    assert_eq!(defaults(), ["google-ai-studio a", "openai b"]);
    // What is refused takes nothing from other configurations.
    let taken = add(&store, "c4", body("a", true)).unwrap_err();
    assert_eq!(
        (taken.status, taken.code, taken.path.clone()),
        (400, 7001, vec!["body".to_owned(), "alias".to_owned()])
    );
    assert_eq!(defaults(), ["google-ai-studio a", "openai b"]);
    assert_eq!(read(&store, 1).len(), 3);
}

#[test]
fn wrong_fields_are_named_and_their_values_not_repeated() {
    let store = with_gateway();
    for (field, wrong) in [
        ("alias", json!("")),
        ("alias", json!("a b")),
        ("alias", json!("x".repeat(65))),
        ("alias", json!(1)),
        ("default_config", json!("yes")),
        ("provider_slug", json!("opnai")),
        ("provider_slug", json!(null)),
        ("provider_slug", json!("custom-unknown")),
        ("rate_limit", json!(-1)),
        ("rate_limit", json!("5")),
        ("rate_limit", json!(1.5)),
        ("rate_limit_period", json!(0)),
        ("rate_limit_period", json!(2_592_001)),
        ("secret", json!("")),
        ("secret", json!(7)),
        ("secret", json!(["CANARY"])),
        ("secret", json!("CANARY\r\nx-evil: 1")),
        ("secret", json!("CANARY with spaces")),
        ("secret", json!("CANARYé")),
        ("secret", json!({ "CANARY": 1 })),
        ("secret", json!("C".repeat(MAX_SECRET + 1))),
        ("secret_id", json!("env:ADMIN_TOKEN")),
        ("secret_id", json!("env:PROVIDER_KEY_OPENAI")),
        ("secret_id", json!(1)),
        ("surprise", json!(1)),
    ] {
        let mut body = body("default", false);
        body[field] = wrong.clone();
        let error = add(&store, "c", body).unwrap_err();
        assert_eq!(
            (error.status, error.code, error.path.last().map(String::as_str)),
            (400, 7001, Some(field)),
            "{wrong}"
        );
        assert!(!error.message.contains("CANARY"), "{}", error.message);
    }
    for wrong in [
        json!({ "alias": "a", "provider_slug": "openai" }),
        json!({ "alias": "a", "provider_slug": "openai", "secret_id": "some-id" }),
    ] {
        assert_eq!(add(&store, "c", wrong).unwrap_err().status, 400);
    }
    for (slug, secret) in [
        ("aws-bedrock", json!({ "accessKeyId": "AKID" })),
        ("aws-bedrock", json!("{\"accessKeyId\":")),
        ("google-vertex-ai", json!({ "client_email": "a@b", "private_key": "CANARY" })),
        ("openai", json!("{}")),
    ] {
        let error = add(&store, "c", json!({ "alias": "a", "provider_slug": slug, "secret": secret })).unwrap_err();
        assert_eq!(error.path, ["body", "secret"]);
        assert!(!error.message.contains("CANARY"));
    }
    assert!(read(&store, 1).is_empty());
    // Older SDKs cannot leave secret_id away.
    let mut both = body("default", false);
    both["secret_id"] = json!("0123abcd");
    assert_eq!(result(add(&store, "c", both))["secret_id"], "c");
}

#[test]
fn only_the_admin_may_refer_to_the_workers_secrets() {
    let store = with_gateway();
    let body = json!({ "alias": "a", "provider_slug": "openai", "secret_id": "env:PROVIDER_KEY_OPENAI" });
    let token = Token {
        id: "t".to_owned(),
        account: "acct".to_owned(),
        gateways: None,
        permissions: Vec::new(),
        expires_at: None,
        terms: Default::default(),
    };
    let editor = KeyContext { caller: &Caller::Token(token), ..KEY_CONTEXT };
    let refused =
        block_on(create(&store, &PLACE, body.to_string().as_bytes(), "c", &actor("c"), &editor)).reply.unwrap_err();
    assert_eq!(refused.status, 403);
    let shown = result(add(&store, "c", body));
    assert_eq!((&shown["secret_id"], &shown["secret_preview"]), (&json!("env:PROVIDER_KEY_OPENAI"), &json!("")));
    assert_eq!(read(&store, 1)[0].held, Held::Reference(Reference::Variable("PROVIDER_KEY_OPENAI".to_owned())));
    let missing = json!({ "alias": "b", "provider_slug": "openai", "secret_id": "store:PROVIDER_KEY_NONE" });
    assert_eq!(add(&store, "d", missing).unwrap_err().path, ["body", "secret_id"]);
}

#[test]
fn a_row_that_is_copied_elsewhere_does_not_open() {
    let store = with_gateway();
    add(&store, "c1", body("default", true)).unwrap();
    for change in ["provider = 'groq'", "alias = 'other'"] {
        let moved = format!("UPDATE provider_configs SET {change}");
        block_on(store.batch(vec![Statement::new(moved, [])])).unwrap();
        assert!(opened(&read(&store, 1)[0], &PLAIN, None).is_err(), "{change}");
    }
}

#[test]
fn what_an_older_encryption_key_sealed_is_sealed_anew() {
    let store = with_gateway();
    for n in 0..Bounds::USUAL.provider_configs.most {
        add(&store, &format!("c{n:03}"), body(&format!("a{n}"), false)).unwrap();
    }
    assert!(add(&store, "one-more", body("more", false)).is_err());
    let newer = Plain { current: "k2", older: &["k1"] };
    block_on(reseal(&store, &newer)).unwrap();
    let alone = Plain { current: "k2", older: &[] };
    assert!(read(&store, 1).iter().all(|key| opened(key, &alone, None).is_ok()));
    // What cannot be opened is left as it is.
    let stranger = Plain { current: "k9", older: &[] };
    block_on(reseal(&store, &stranger)).unwrap();
    assert!(read(&store, 1).iter().all(|key| opened(key, &alone, None).is_ok()));
}

#[test]
fn a_key_is_bound_to_the_address_it_was_stored_for_and_goes_with_it() {
    let store = with_gateway();
    let elsewhere =
        KeyContext { base_override: &|_| Some("http://localhost:9100/openai/v1".to_owned()), ..KEY_CONTEXT };
    let text = body("default", true).to_string();
    block_on(create(&store, &PLACE, text.as_bytes(), "c1", &actor("c1"), &elsewhere)).reply.unwrap();
    let key = read(&store, 1).remove(0);
    assert_eq!(key.upstream.as_deref(), Some("http://localhost:9100"));
    assert!(opened(&key, &PLAIN, None).is_err() && opened(&key, &PLAIN, Some("http://localhost:9100")).is_ok());
    block_on(store.batch(vec![clear_statement("other", "openai", ""), clear_statement("acct", "groq", "")])).unwrap();
    assert_eq!(read(&store, 1)[0], key);
    block_on(store.batch(vec![clear_statement("acct", "openai", "")])).unwrap();
    assert_eq!(read(&store, 1)[0].held, Held::Nothing);
    let shown = result(block_on(get(&store, &PLACE, "c1")));
    assert_eq!((&shown["has_secret"], &shown["secret_preview"]), (&json!(false), &json!("")));
    block_on(rotate(&store, &PLACE, "c1", br#"{"secret":"sk-0123456789"}"#, &actor("r"), &KEY_CONTEXT)).reply.unwrap();
    assert_eq!(opened(&read(&store, 1)[0], &PLAIN, None).unwrap(), "sk-0123456789");
}

#[test]
fn keys_go_with_their_gateway() {
    let store = with_gateway();
    add(&store, "c1", body("default", true)).unwrap();
    block_on(gateways::delete(&store, "acct", "gw", &actor("d"))).reply.unwrap();
    assert!(read(&store, 1).is_empty());
}

#[test]
fn a_failing_database_stores_all_or_nothing() {
    // The batch, and a read behind it.
    for (n, stored) in [(1, 1), (2, 2)] {
        let store = Faulty::new(with_gateway());
        add(&store, "c1", body("a", true)).unwrap();
        store.fail_before(n);
        assert!(add(&store, "c2", body("b", true)).is_err());
        let keys = read(&store.inner, 1);
        assert_eq!(keys.iter().filter(|key| key.is_default).count(), 1);
        assert_eq!(keys.len(), stored);
    }
}
