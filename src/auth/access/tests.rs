use super::*;
use serde_json::json;

const NOW: u64 = 1_700_000_000_000;
const SECONDS: u64 = NOW / 1_000;

fn variables(pairs: &[(&str, &str)]) -> Result<Option<Access>, String> {
    Access::read(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
}

fn access() -> Access {
    let roles = json!({
        "@example.com": { "account": "acct", "permissions": ["read_metadata"] },
        "group:ops": { "account": "acct", "gateways": ["gw"], "permissions": ["read", "edit"] },
        "Ann@example.com": "admin",
        "service:ci.access": { "account": "acct", "permissions": ["read"] },
    });
    variables(&[("ACCESS_TEAM", "team"), ("ACCESS_AUD", "aud1"), ("ACCESS_ROLES", &roles.to_string())])
        .unwrap()
        .unwrap()
}

fn token(head: Value, claims: Value) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(head), part(claims), URL_SAFE_NO_PAD.encode("signature"))
}

fn with(changes: Value) -> Option<Caller> {
    let mut claims = json!({
        "iss": "https://team.cloudflareaccess.com", "aud": ["other", "aud1"], "email": "bob@example.com",
        "exp": SECONDS + 60, "nbf": SECONDS - 60, "iat": SECONDS - 60,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name.as_str()] = value.clone();
    }
    let text = token(json!({ "alg": "RS256", "kid": "k1" }), claims);
    access().caller(&Assertion::parse(&text).unwrap(), NOW)
}

#[test]
fn a_person_has_the_role_that_names_it_most_closely() {
    let permissions = |caller: Option<Caller>| match caller {
        Some(Caller::Token(token)) => (token.id, token.permissions, token.gateways),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        with(json!({ "email": "ANN@example.com" })),
        Some(Caller::Operator("access:ann@example.com".to_owned()))
    );
    assert_eq!(
        permissions(with(json!({}))),
        ("access:bob@example.com".to_owned(), vec![Permission::ReadMetadata], None)
    );
    let ops = permissions(with(json!({ "groups": ["x", "ops"] })));
    assert_eq!((ops.1, ops.2), (vec![Permission::Read, Permission::Edit], Some(vec!["gw".to_owned()])));
    let service = permissions(with(json!({ "email": "", "common_name": "ci.access" })));
    assert_eq!(service.0, "access:ci.access");
    for stranger in [
        json!({ "email": "ann@example.org" }),
        json!({ "email": "ann@example.com.evil.org" }),
        json!({ "email": "ann@sub.example.com" }),
        json!({ "email": null }),
        // A person may not call itself a service.
        json!({ "email": "x@example.org", "common_name": "ci.access" }),
    ] {
        assert_eq!(with(stranger.clone()), None, "{stranger}");
    }
}

#[test]
fn what_is_not_for_us_or_not_valid_now_is_of_nobody() {
    for wrong in [
        json!({ "aud": ["other"] }),
        json!({ "aud": "aud" }),
        json!({ "aud": null }),
        json!({ "iss": "https://evil.cloudflareaccess.com" }),
        json!({ "iss": null }),
        json!({ "exp": SECONDS - 31 }),
        json!({ "exp": null }),
        json!({ "exp": "9999999999" }),
        json!({ "nbf": SECONDS + 60 }),
    ] {
        assert_eq!(with(wrong.clone()), None, "{wrong}");
    }
    assert!(with(json!({ "aud": "aud1" })).is_some());
}

#[test]
fn only_rs256_with_a_key_is_read() {
    let claims = || json!({ "aud": "aud1" });
    for head in [
        json!({ "alg": "none", "kid": "k1" }),
        json!({ "alg": "HS256", "kid": "k1" }),
        json!({ "alg": "rs256", "kid": "k1" }),
        json!({ "alg": "RS256" }),
        json!({ "kid": "k1" }),
        json!([]),
    ] {
        assert_eq!(Assertion::parse(&token(head.clone(), claims())), None, "{head}");
    }
    for text in ["", "a", "a.b", "..", "a.b.c", &"x".repeat(MAX_LENGTH + 1), "e30.e30.", "\u{0}.\u{0}.\u{0}"] {
        assert_eq!(Assertion::parse(text), None, "{text:.20}");
    }
}

#[test]
fn variables_that_make_no_sense_say_so() {
    assert_eq!(variables(&[]), Ok(None));
    for team in ["my-team", "my-team.cloudflareaccess.com", "https://my-team.cloudflareaccess.com/"] {
        let read = variables(&[("ACCESS_TEAM", team), ("ACCESS_AUD", "x")]).unwrap().unwrap();
        assert_eq!(read.certs_url(), "https://my-team.cloudflareaccess.com/cdn-cgi/access/certs");
    }
    let with_roles = |roles: &'static str| vec![("ACCESS_TEAM", "t"), ("ACCESS_AUD", "x"), ("ACCESS_ROLES", roles)];
    for (given, reason) in [
        (vec![("ACCESS_AUD", "x")], "without ACCESS_TEAM"),
        (vec![("ACCESS_TEAM", "t")], "ACCESS_AUD is missing"),
        (vec![("ACCESS_TEAM", "https://evil/x?y"), ("ACCESS_AUD", "x")], "ACCESS_TEAM"),
        (with_roles("[]"), "ACCESS_ROLES"),
        (with_roles(r#"{"ann": "admin"}"#), "ACCESS_ROLES"),
        (with_roles(r#"{"@": "admin"}"#), "ACCESS_ROLES"),
        (with_roles(r#"{"a@b.c": "root"}"#), "ACCESS_ROLES"),
        (with_roles(r#"{"a@b.c": {"permissions": ["read"]}}"#), "ACCESS_ROLES"),
        (with_roles(r#"{"a@b.c": {"account": "a", "permissions": []}}"#), "ACCESS_ROLES"),
        (with_roles(r#"{"a@b.c": {"account": "a", "permissions": ["root"]}}"#), "ACCESS_ROLES"),
        (with_roles(r#"{"a@b.c": {"account": "a", "gateway": "g", "permissions": ["read"]}}"#), "ACCESS_ROLES"),
    ] {
        assert!(variables(&given).unwrap_err().contains(reason), "{given:?}");
    }
}
