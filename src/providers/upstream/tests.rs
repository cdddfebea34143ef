use super::*;
use crate::http::refusal::Refusal;
use proptest::prelude::*;

fn custom(slug: &str, base_url: &str) -> CustomProvider {
    CustomProvider {
        slug: format!("{PREFIX}{slug}"),
        base_url: base_url.to_owned(),
        headers: vec![
            ("x-team".to_owned(), "search".to_owned()),
            ("authorization".to_owned(), "Bearer sk-1".to_owned()),
        ],
        enable: true,
        checked: true,
        version: 1,
        formats: Vec::new(),
    }
}

fn target<'a>(rest: &'a str, query: &'a str) -> Target<'a> {
    Target { account: "acct", rest, query, base_override: None, fal_target: Some("https://fal.run/x"), keyed: false }
}

#[test]
fn the_rest_and_the_query_follow_the_base_as_they_are() {
    for (base, rest, query, wanted) in [
        ("https://api.example.com", "v1/chat", "?a=b", "https://api.example.com/v1/chat?a=b"),
        ("https://api.example.com/v1/", "v1/chat", "", "https://api.example.com/v1/v1/chat"),
        ("https://api.example.com/v1", "", "", "https://api.example.com/v1/"),
        ("https://api.example.com", "/evil.example", "", "https://api.example.com//evil.example"),
        ("https://api.example.com", "@evil.example/x", "?@y", "https://api.example.com/@evil.example/x?@y"),
    ] {
        assert_eq!(Upstream::Custom(&custom("x", base)).url(&target(rest, query)).unwrap(), wanted);
    }
    let provider = custom("x", "https://api.example.com/v1");
    for rest in ["../x", "a/%2e%2E/b", "a\\b", "a#b", "a b", "%2e%2e%2fx", "a%0d%0ab", "."] {
        assert_eq!(Refusal::from(Upstream::Custom(&provider).url(&target(rest, "")).unwrap_err()).code, 2008, "{rest}");
    }
}

#[test]
fn a_provider_that_cannot_be_used_says_why() {
    let all =
        [custom("on", "https://a.example"), CustomProvider { enable: false, ..custom("off", "https://b.example") }];
    assert_eq!(Upstream::find("custom-on", &all).unwrap().slug(), "custom-on");
    assert_eq!(Upstream::find("openai", &all).unwrap().slug(), "openai");
    for (name, reason) in [("custom-off", "disabled"), ("custom-nothing", "no custom provider"), ("on", "no provider")]
    {
        let refusal = Refusal::from(Upstream::find(name, &all).unwrap_err());
        assert_eq!((refusal.status, refusal.code), (400, 2008));
        assert!(refusal.description.contains(reason), "{}", refusal.description);
    }
}

#[test]
fn credentials_go_only_with_callers_who_proved_themselves() {
    let provider = custom("x", "https://a.example");
    let upstream = Upstream::Custom(&provider);
    assert_eq!(upstream.headers(true).count(), 2);
    assert_eq!(upstream.headers(false).collect::<Vec<_>>(), [("x-team", "search")]);
    for (name, value) in [
        ("authorization", "x"),
        ("x-api-key", "x"),
        ("x-goog-user-token", "1"),
        ("cookie", "a=b"),
        ("x-org", "Bearer x"),
        ("x-org", "sk-0123456789abcdefghij"),
        ("x-org", "a, 9f8e7d6c5b4a39281706f5e4d3"),
    ] {
        assert!(is_secret(name, value), "{name}: {value}");
    }
    for (name, value) in [
        ("anthropic-version", "2023-06-01"),
        ("x-team", "search and recommendation"),
        ("accept", "application/vnd.example+json"),
    ] {
        assert!(!is_secret(name, value), "{name}: {value}");
    }
}

#[test]
fn internal_hosts_want_the_operators_word() {
    let asked = |base: &str, allowed: bool| {
        let found = Lookup::Found(vec!["8.8.8.8".parse().unwrap()]);
        storable(&address::origin(base).unwrap(), allowed, &found)
    };
    assert_eq!(asked("https://api.example.com", false), Ok(true));
    assert_eq!(asked("https://8.8.8.8", false), Ok(true));
    assert_eq!(asked("https://api.example.com", true), Ok(false));
    assert_eq!(asked("http://127.0.0.1:8080", true), Ok(false));
    for (base, allowed) in [
        ("http://api.example.com", true),
        ("http://api.example.com", false),
        ("http://127.0.0.1", false),
        ("https://127.0.0.1", false),
        ("https://[::1]", false),
        ("https://x.internal", false),
    ] {
        let rule = asked(base, allowed).unwrap_err();
        let wanted = if base == "http://api.example.com" { "HTTPS" } else { "ALLOW_INTERNAL_UPSTREAMS=true" };
        assert!(rule.contains(wanted), "{base} {allowed}: {rule}");
    }
    for found in [Lookup::Failed("down".to_owned()), Lookup::NotAsked, Lookup::Found(vec![])] {
        assert!(storable(&address::origin("https://api.example.com").unwrap(), false, &found).is_err());
    }
}

#[test]
fn what_was_public_goes_on_to_be_while_nobody_can_tell() {
    let provider = custom("x", "https://api.example.com");
    let unchecked = CustomProvider { checked: false, ..provider.clone() };
    let (public, internal) = ("8.8.8.8".parse().unwrap(), "10.0.0.1".parse().unwrap());
    for (found, if_checked, if_not) in [
        (Lookup::Found(vec![public]), true, true),
        (Lookup::Found(vec![public, internal]), false, false),
        (Lookup::Found(vec![]), false, false),
        (Lookup::Failed("down".to_owned()), true, false),
    ] {
        assert_eq!(
            (provider.admit(&found).is_ok(), unchecked.admit(&found).is_ok()),
            (if_checked, if_not),
            "{found:?}"
        );
    }
    assert_eq!(provider.name_to_check(false).unwrap().as_deref(), Some("api.example.com"));
    assert_eq!(provider.name_to_check(true).unwrap(), None);
    // Stored while the operator allowed it, and not any more.
    for base in ["http://127.0.0.1:1", "https://10.0.0.1", "https://localhost", "http://api.example.com"] {
        assert!(custom("x", base).name_to_check(false).is_err(), "{base}");
        assert!(custom("x", base).name_to_check(true).is_ok(), "{base}");
    }
}

proptest! {
    #[test]
    fn no_request_changes_the_host(rest in "[a-z.%2fF5cCeE@:#?/\\\\ ]{0,24}|\\PC{0,24}", query in "(\\?[a-z@:#/\\\\]{0,12})?") {
        for base in ["https://api.example.com", "https://api.example.com/v1", "https://8.8.8.8:8443/a/b/"] {
            let provider = custom("x", base);
            if let Ok(url) = Upstream::Custom(&provider).url(&target(&rest, &query)) {
                let (ours, theirs) = (url::Url::parse(base).unwrap(), url::Url::parse(&url).unwrap());
                prop_assert_eq!(ours.origin(), theirs.origin());
                prop_assert!(theirs.username().is_empty() && theirs.password().is_none());
                prop_assert!(theirs.path().starts_with(ours.path().trim_end_matches('/')), "{}", theirs);
            }
        }
    }
}
