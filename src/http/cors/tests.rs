use super::*;
use proptest::prelude::*;
use serde_json::json;

fn cors(setting: Value) -> Cors {
    Cors::of(&setting).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn origins_are_compared_as_browsers_write_them() {
    let setting = json!({ "origins": ["https://App.example.com:443", "http://localhost:3000", "capacitor://localhost", "http://[::1]:80"] });
    let cors = cors(setting);
    for origin in ["https://app.example.com", "http://localhost:3000", "capacitor://localhost", "http://[::1]"] {
        assert_eq!(cors.allows(origin), Some(Allowed::ByName(origin)));
    }
    for origin in [
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://evil.example/https://app.example.com",
        "https://sub.app.example.com",
        "http://localhost",
        "null",
        "*",
        "",
    ] {
        assert_eq!(cors.allows(origin), None, "{origin}");
    }
}

#[test]
fn all_origins_are_allowed_without_a_name() {
    let cors = cors(json!({ "origins": ["*", "https://a.example"], "max_age": null }));
    assert_eq!(cors.allows("https://a.example"), Some(Allowed::ByName("https://a.example")));
    for origin in ["https://b.example", "null", "*", "anything"] {
        assert_eq!(cors.allows(origin), Some(Allowed::ByAny));
    }
}

#[test]
fn a_setting_that_browsers_could_not_follow_is_refused() {
    let wrong = [
        (json!({}), "origins"),
        (json!({ "origins": [] }), "origins"),
        (json!({ "origins": "*" }), "origins"),
        (json!({ "origins": [7] }), "origins"),
        (json!({ "origins": ["https://a.example"], "max_age": 86_401 }), "max_age"),
        (json!({ "origins": ["https://a.example"], "max_age": "1" }), "max_age"),
    ];
    for (setting, member) in wrong {
        assert_eq!(check(setting.as_object().unwrap()).unwrap_err().0, member, "{setting}");
    }
    for origin in [
        "null",
        "app.example.com",
        "https://",
        "https://a.example/",
        "https://a.example/path",
        "https://a.example?x",
        "https://user@a.example",
        "https://*.example.com",
        "https://a.example:0",
        "https://a.example:65536",
        "https://a.example:",
        "https://b\u{fc}cher.example",
        "https://a.example\r\nx: y",
        "1https://a.example",
        "https://[::1",
    ] {
        assert!(check(json!({ "origins": [origin] }).as_object().unwrap()).is_err(), "{origin}");
    }
}

#[test]
fn a_preflight_is_granted_what_it_asks_for() {
    let cors = cors(json!({ "origins": ["https://a.example", "*"], "max_age": 60 }));
    let asked = headers(&[
        ("origin", "https://a.example"),
        ("access-control-request-headers", "authorization,x-stainless-lang, cookie,CF-AIG-Metadata"),
        ("access-control-request-private-network", "true"),
    ]);
    let granted = cors.preflight(&asked, "GET, POST");
    let find = |name: &str| granted.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    assert_eq!(find("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(find("access-control-allow-headers"), Some("authorization, x-stainless-lang, cf-aig-metadata"));
    assert_eq!(find("access-control-allow-methods"), Some("GET, POST"));
    assert_eq!(find("access-control-max-age"), Some("60"));
    assert_eq!(find("access-control-allow-private-network"), Some("true"));
    assert_eq!(find("access-control-allow-credentials"), None);
    let asked = headers(&[
        ("origin", "https://b.example"),
        ("access-control-request-headers", "a b"),
        ("access-control-request-private-network", "true"),
    ]);
    let granted = cors.preflight(&asked, "GET");
    let names: Vec<&str> = granted.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["access-control-allow-origin", "access-control-allow-methods", "access-control-max-age", "vary"]
    );
    assert_eq!(granted[0].1, "*");
}

#[test]
fn an_origin_that_is_not_named_is_granted_nothing() {
    let cors = cors(json!({ "origins": ["https://a.example"] }));
    let asked = headers(&[("origin", "https://b.example"), ("access-control-request-headers", "authorization")]);
    assert_eq!(cors.preflight(&asked, "GET"), [("vary", VARY_PREFLIGHT.to_owned())]);
}

#[test]
fn a_page_may_read_what_clients_look_at_and_no_more() {
    let names = [
        "cf-aig-skipped",
        "x-ratelimit-remaining-tokens",
        "anthropic-ratelimit-requests-limit",
        "set-cookie",
        "openai-organization",
    ];
    let headers = readable(Allowed::ByAny, names.into_iter());
    let exposed: Vec<&str> = headers[1].1.split(", ").collect();
    for name in ["cf-aig-log-id", "cf-aig-skipped", "x-ratelimit-remaining-tokens", "retry-after", "x-request-id"] {
        assert!(exposed.contains(&name), "{name}");
    }
    assert!(exposed.contains(&"anthropic-ratelimit-requests-limit"));
    assert!(!exposed.contains(&"set-cookie") && !exposed.contains(&"openai-organization"));
    assert!(EXPOSED.is_sorted());
}

#[test]
fn the_gateway_of_a_path_is_found_whatever_follows() {
    let none = Headers::default();
    let of = Subject::Gateway { account: "a", gateway: "g" };
    for path in ["/v1/a/g", "/v1/a/g/", "/v1/a/g/openai/chat", "/v1/a/g//x"] {
        assert_eq!(Subject::of(path, &none), Some(of), "{path}");
    }
    for path in ["/feedback", "/feedback/", "/feedback/01J/x"] {
        assert_eq!(Subject::of(path, &none), Some(Subject::Feedback), "{path}");
    }
    for path in
        ["/", "", "/v1", "/v1/a", "/v1/a/", "/v1//g", "/v10/a/g", "/feedbacks", "/accounts/a/ai-gateway/gateways/g"]
    {
        assert_eq!(Subject::of(path, &none), None, "{path}");
    }
}

#[test]
fn the_accounts_own_address_names_its_gateway_in_a_header() {
    let headers = |pairs: &[(&str, &str)]| {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    };
    let named = headers(&[("cf-aig-gateway-id", " g ")]);
    let asks = |names| {
        headers(&[
            ("origin", "https://a.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", names),
        ])
    };
    let (plain, naming) = (asks("authorization"), asks("authorization, CF-AIG-Gateway-Id"));
    for path in ["/client/v4/accounts/a/ai/v1/messages", "/accounts/a/ai/run", "/accounts/a/ai"] {
        for (headers, gateway) in [(&named, "g"), (&plain, "default"), (&Headers::default(), "default")] {
            assert_eq!(Subject::of(path, headers), Some(Subject::Gateway { account: "a", gateway }), "{path}");
        }
        assert_eq!(Subject::of(path, &naming), Some(Subject::Unnamed), "{path}");
    }
    for path in ["/client/v4/accounts/a/ai-gateway/gateways", "/accounts//ai/run", "/client/v4/v1/a", "/accounts/a/air"]
    {
        assert_eq!(Subject::of(path, &naming), None, "{path}");
    }
}

proptest! {
    #[test]
    fn whatever_is_granted_can_be_a_header(origin in "\\PC{0,40}", names in "\\PC{0,80}") {
        let cors = cors(json!({ "origins": ["*", "https://a.example"] }));
        let asked = headers(&[("origin", &origin), ("access-control-request-headers", &names)]);
        for (_, value) in cors.preflight(&asked, "GET") {
            prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}
