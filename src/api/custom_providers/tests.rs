use super::*;
use crate::api::costs;
use crate::testing::sqlite::Sqlite;
use pollster::block_on;

fn guard() -> Guard {
    Guard { internal_allowed: false, found: Lookup::Found(vec!["8.8.8.8".parse().unwrap()]) }
}

fn actor(n: u64) -> Actor<'static> {
    Actor { name: "admin", now_ms: 1_700_000_000_000 + n, entry: id::mint(n, n.into()) }
}

fn asked(reply: Result<Reply, ApiError>) -> Value {
    let reply = reply.unwrap_or_else(|error| error.reply());
    let mut body: Value = serde_json::from_str(&reply.body).unwrap();
    body["status"] = json!(reply.status);
    body
}

fn make(store: &Sqlite, n: u64, body: &Value) -> Value {
    let id = id::mint(n, u128::from(n) << 64);
    asked(
        block_on(create(
            store,
            "a",
            body.to_string().as_bytes(),
            &id,
            &guard(),
            &actor(n),
            &crate::config::bounds::Bounds::USUAL.custom_providers,
        ))
        .reply,
    )
}

fn patch(store: &Sqlite, id: &str, body: &Value, guard: &Guard) -> Value {
    asked(block_on(update(store, "a", id, body.to_string().as_bytes(), guard, &actor(99))).reply)
}

fn valid() -> Value {
    json!({ "name": "Acme", "slug": "acme", "base_url": "https://api.acme.example/v1" })
}

fn with(name: &str, value: Value) -> Value {
    let mut body = valid();
    body[name] = value;
    body
}

fn stored_headers(store: &Sqlite) -> Vec<(String, String)> {
    row! {
        struct Headers {
            headers: String,
        }
    }
    let row = block_on(store.row::<Headers>(Statement::new("SELECT headers FROM custom_providers", []))).unwrap();
    upstream::headers(&row.unwrap().headers)
}

#[test]
fn a_provider_is_disabled_until_somebody_enables_it() {
    let store = Sqlite::new();
    let made = make(&store, 1, &valid());
    let result = &made["result"];
    assert_eq!((&made["status"], &result["enable"], &result["beta"]), (&json!(200), &json!(false), &json!(false)));
    assert_eq!((&result["headers"], result["id"].as_str().unwrap().len()), (&json!("{}"), 36));
    let id = result["id"].as_str().unwrap();
    let patched = patch(&store, id, &json!({ "enable": true, "description": "d", "position": 3 }), &guard());
    assert_eq!((&patched["result"]["enable"], &patched["result"]["position"]), (&json!(true), &json!(3)));
    // What is shown can be sent back.
    let again = patch(&store, id, &patched["result"], &guard());
    assert_eq!(again["result"], patched["result"]);
    assert_eq!(asked(block_on(delete(&store, "a", id, &actor(3))).reply)["result"], patched["result"]);
    assert_eq!(asked(block_on(get(&store, "a", id, Headers::Shown)))["errors"][0]["code"], 1004);
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_stored() {
    let store = Sqlite::new();
    for (name, wrong) in [
        ("name", vec![json!(""), json!(5), json!("x".repeat(201))]),
        (
            "slug",
            vec![
                json!(""),
                json!("a_b"),
                json!("-a"),
                json!("a-"),
                json!("a--b"),
                json!("a/b"),
                json!("ü"),
                json!("a".repeat(58)),
                json!(1),
                json!(null),
            ],
        ),
        (
            "headers",
            vec![
                json!({}),
                json!("x"),
                json!("[]"),
                json!(r#"{"a":1}"#),
                json!(r#"{"a":null}"#),
                json!(r#"{"a":""}"#),
                json!(r#"{"a":" x"}"#),
                json!(r#"{"a":"x\r\ny"}"#),
                json!(r#"{"a":"ü"}"#),
                json!(r#"{"a b":"x"}"#),
                json!(r#"{"":"x"}"#),
                json!(r#"{"a":"x","A":"y"}"#),
                json!(r#"{"host":"x"}"#),
                json!(r#"{"Connection":"x"}"#),
                json!(r#"{"content-length":"1"}"#),
                json!(r#"{"Content-Type":"x"}"#),
                json!(r#"{"cf-aig-metadata":"{}"}"#),
                json!(r#"{"x-forwarded-for":"1.1.1.1"}"#),
                json!(r#"{"upgrade":"x"}"#),
                json!(r#"{"authorization":"***"}"#),
                json!(format!(r#"{{"a":"{}"}}"#, "x".repeat(8_192))),
            ],
        ),
        ("enable", vec![json!("true"), json!(1)]),
        ("beta", vec![json!([])]),
        ("position", vec![json!(1.5), json!("1"), json!(1e18)]),
        ("link", vec![json!("javascript:alert(1)"), json!(1)]),
        ("description", vec![json!("x".repeat(2_001)), json!({})]),
        ("logo", vec![json!("x".repeat(65_537))]),
        ("colour", vec![json!("red")]),
        ("id", vec![json!("x")]),
    ] {
        for value in wrong {
            let refused = make(&store, 1, &with(name, value.clone()));
            let error = &refused["errors"][0];
            assert_eq!((&refused["status"], &error["code"]), (&json!(400), &json!(7001)), "{name} {value}");
            assert_eq!(error["path"], json!(["body", name]), "{value}");
        }
    }
    for url in [
        json!(""),
        json!(5),
        json!(null),
        json!("http://api.acme.example"),
        json!("https://127.0.0.1"),
        json!("https://0x7f.1"),
        json!("https://localhost"),
        json!("https://x.internal"),
        json!(format!("https://a.example/{}", "x".repeat(2_000))),
    ] {
        let error = &make(&store, 1, &with("base_url", url.clone()))["errors"][0];
        assert_eq!((&error["code"], &error["path"]), (&json!(1002), &json!(["body", "base_url"])), "{url}");
    }
    let literal = &make(&store, 1, &with("base_url", json!("http://api.acme.example")))["errors"][0]["message"];
    assert_eq!(literal, "base_url must be a valid HTTPS URL starting with https://");
    for name in ["name", "slug", "base_url"] {
        let mut body = valid();
        body.as_object_mut().unwrap().remove(name);
        assert_eq!(make(&store, 1, &body)["errors"][0]["path"], json!(["body", name]));
    }
    assert_eq!(asked(block_on(list(&store, "a", &Query::default(), Headers::Shown)))["result_info"]["total_count"], 0);
}

#[test]
fn a_slug_is_there_once_in_an_account() {
    let store = Sqlite::new();
    let first = make(&store, 1, &valid());
    for slug in ["acme", "ACME"] {
        let refused = make(&store, 2, &with("slug", json!(slug)));
        assert_eq!((&refused["status"], &refused["errors"][0]["code"]), (&json!(409), &json!(1003)));
        assert_eq!(refused["errors"][0]["path"], json!(["body", "slug"]));
    }
    let second = make(&store, 3, &with("slug", json!("other")));
    let id = second["result"]["id"].as_str().unwrap();
    assert_eq!(patch(&store, id, &json!({ "slug": "acme" }), &guard())["errors"][0]["code"], 1003);
    let own = first["result"]["id"].as_str().unwrap();
    assert_eq!(patch(&store, own, &json!({ "slug": "Acme" }), &guard())["result"]["slug"], "Acme");
    let body = br#"{"name":"n","slug":"acme","base_url":"https://x.example"}"#;
    let elsewhere = block_on(create(
        &store,
        "b",
        body,
        &id::mint(9, 9),
        &guard(),
        &actor(4),
        &crate::config::bounds::Bounds::USUAL.custom_providers,
    ));
    assert_eq!(elsewhere.reply.unwrap().status, 200);
    // An id of another account is unknown.
    assert_eq!(block_on(get(&store, "b", id, Headers::Shown)).unwrap_err().code, 1004);
    assert_eq!(block_on(update(&store, "b", id, b"{}", &guard(), &actor(5))).reply.unwrap_err().code, 1004);
    assert_eq!(block_on(delete(&store, "b", id, &actor(6))).reply.unwrap_err().code, 1004);
}

#[test]
fn secrets_are_masked_and_kept_when_the_mask_comes_back() {
    let store = Sqlite::new();
    let secret = r#"{"Authorization":"Bearer sk-secret","X-Team":"search"}"#;
    let made = make(&store, 1, &with("headers", json!(secret)));
    assert_eq!(made["result"]["headers"], r#"{"authorization":"***","x-team":"search"}"#);
    let id = made["result"]["id"].as_str().unwrap();
    patch(&store, id, &json!({ "headers": r#"{"authorization":"***","x-team":"ads"}"# }), &guard());
    let of = |name: &str| stored_headers(&store).into_iter().find(|(known, _)| known == name).map(|(_, value)| value);
    assert_eq!((of("authorization").as_deref(), of("x-team").as_deref()), (Some("Bearer sk-secret"), Some("ads")));
    // The path may change, the host may not: a credential is for the host it was given for.
    patch(&store, id, &json!({ "base_url": "https://api.acme.example:443/v2" }), &guard());
    assert_eq!(of("authorization").as_deref(), Some("Bearer sk-secret"));
    let moved = json!({ "base_url": "https://evil.example", "headers": r#"{"authorization":"***"}"# });
    assert_eq!(patch(&store, id, &moved, &guard())["errors"][0]["path"], json!(["body", "headers"]));
    assert_eq!(of("authorization").as_deref(), Some("Bearer sk-secret"));
    patch(&store, id, &json!({ "base_url": "https://evil.example" }), &guard());
    assert_eq!((of("authorization"), of("x-team").as_deref()), (None, Some("ads")));
    patch(&store, id, &json!({ "headers": null }), &guard());
    assert!(stored_headers(&store).is_empty());
}

#[test]
fn a_name_has_to_lead_to_a_public_address() {
    let store = Sqlite::new();
    let id = make(&store, 1, &valid())["result"]["id"].as_str().unwrap().to_owned();
    let moved = json!({ "base_url": "https://rebound.example" });
    let of = |address: &str| Lookup::Found(vec![address.parse().unwrap()]);
    for found in [
        of("10.0.0.1"),
        of("::ffff:127.0.0.1"),
        of("64:ff9b::a00:1"),
        Lookup::Found(vec![]),
        Lookup::Failed("down".to_owned()),
        Lookup::NotAsked,
    ] {
        let refused = patch(&store, &id, &moved, &Guard { internal_allowed: false, found: found.clone() });
        assert_eq!(refused["errors"][0]["code"], 1002, "{found:?}");
    }
    // What is not about the host needs no resolver.
    let down = Guard { internal_allowed: false, found: Lookup::NotAsked };
    assert_eq!(patch(&store, &id, &json!({ "enable": true }), &down)["status"], 200);
    let allowed = Guard { internal_allowed: true, found: Lookup::NotAsked };
    assert_eq!(patch(&store, &id, &json!({ "base_url": "http://127.0.0.1:9" }), &allowed)["status"], 200);
    for (body, wanted) in [
        (r#"{"base_url":"https://api.acme.example/v1"}"#, Some("api.acme.example")),
        (r#"{"base_url":"https://8.8.8.8"}"#, None),
        (r#"{"base_url":"https://a.internal"}"#, None),
        (r#"{"base_url":"https://a.example?x"}"#, None),
        (r#"{"base_url":5}"#, None),
        ("[]", None),
    ] {
        assert_eq!(name_to_look_up(body.as_bytes()).as_deref(), wanted, "{body}");
    }
}

#[test]
fn lists_are_ordered_filtered_and_counted() {
    let store = Sqlite::new();
    for (n, (name, slug, position)) in
        [("Zeta", "a1", json!(1)), ("alpha", "b2", json!(null)), ("Beta", "c3", json!(0))].into_iter().enumerate()
    {
        make(
            &store,
            n as u64 + 1,
            &json!({ "name": name, "slug": slug, "base_url": "https://x.example", "position": position, "enable": n == 1, "beta": n == 2 }),
        );
    }
    let slugs = |query: &str| {
        let found = asked(block_on(list(&store, "a", &Query::parse(query), Headers::Shown)));
        let slugs: Vec<String> =
            found["result"].as_array().unwrap().iter().map(|row| row["slug"].as_str().unwrap().to_owned()).collect();
        slugs.join(" ")
    };
    for (query, wanted) in [
        ("", "c3 a1 b2"),
        ("order_by=name ASC", "b2 c3 a1"),
        ("order_by=name+desc", "a1 c3 b2"),
        ("order_by=slug", "a1 b2 c3"),
        ("order_by=created_at DESC", "c3 b2 a1"),
        ("enable=true", "b2"),
        ("beta=true", "c3"),
        ("search=ZET", "a1"),
        ("search=b2", "b2"),
        ("search=%25", ""),
        ("page=2&per_page=2", "b2"),
        ("page=9", ""),
    ] {
        assert_eq!(slugs(query), wanted, "{query}");
    }
    let info = &asked(block_on(list(&store, "a", &Query::parse("per_page=2"), Headers::Shown)))["result_info"];
    assert_eq!(*info, json!({ "count": 2, "page": 1, "per_page": 2, "total_count": 3, "total_pages": 2 }));
    for wrong in ["order_by=name;drop", "order_by=name sideways", "order_by=", "enable=maybe", "per_page=101"] {
        assert_eq!(asked(block_on(list(&store, "a", &Query::parse(wrong), Headers::Shown)))["status"], 400, "{wrong}");
    }
}

#[test]
fn prices_go_with_their_provider() {
    let store = Sqlite::new();
    let id = make(&store, 1, &valid())["result"]["id"].as_str().unwrap().to_owned();
    let body = json!({ "account_provider_id": id, "model": "m", "cost_in": 0 }).to_string();
    let made = asked(
        block_on(costs::create(
            &store,
            "a",
            body.as_bytes(),
            &id::mint(5, 5),
            &actor(5),
            &crate::config::bounds::Bounds::USUAL.costs,
        ))
        .reply,
    );
    assert_eq!(made["result"]["provider"], "custom-acme");
    patch(&store, &id, &json!({ "slug": "renamed" }), &guard());
    let price = made["result"]["id"].as_str().unwrap();
    assert_eq!(asked(block_on(costs::get(&store, "a", price)))["result"]["provider"], "custom-renamed");
    block_on(delete(&store, "a", &id, &actor(6))).reply.unwrap();
    assert_eq!(block_on(costs::get(&store, "a", price)).unwrap_err().status, 404);
}

#[test]
fn a_stored_key_is_thrown_away_when_its_provider_leads_elsewhere() {
    row! {
        struct Kept {
            n: u64,
        }
    }
    let store = Sqlite::new();
    let id = make(&store, 1, &valid())["result"]["id"].as_str().unwrap().to_owned();
    make(&store, 2, &with("slug", json!("other")));
    let run = |sql: &'static str| block_on(store.batch(vec![Statement::new(sql, [])])).unwrap();
    run(
        "INSERT INTO gateways (account_id, id, internal_id, created_at, modified_at, settings) VALUES ('a', 'g', '', 0, 0, '{}'), ('b', 'g', '', 0, 0, '{}')",
    );
    run(
        "INSERT INTO provider_configs (gateway, provider, alias, id, default_config, reference, preview, rate_limit_period, created_at, modified_at) \
         SELECT key, 'custom-acme', 'default', account_id, 1, 'env:PROVIDER_KEY_X', '', 60, 0, 0 FROM gateways",
    );
    let kept = || {
        let sql = "SELECT count(*) AS n FROM provider_configs WHERE reference IS NOT NULL";
        block_on(store.row::<Kept>(Statement::new(sql, []))).unwrap().unwrap().n
    };
    patch(&store, &id, &json!({ "base_url": "https://api.acme.example/v2", "enable": true }), &guard());
    assert_eq!(kept(), 2, "the host is the same");
    let refused = patch(&store, &id, &json!({ "slug": "other", "base_url": "https://evil.example" }), &guard());
    assert_eq!((&refused["status"], kept()), (&json!(409), 2), "nothing was changed");
    patch(&store, &id, &json!({ "base_url": "https://evil.example" }), &guard());
    assert_eq!(kept(), 1, "another account's key stays");
}
