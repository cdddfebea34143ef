use super::*;
use proptest::prelude::*;

const TOKEN: &str = "f3a9c1d27b604e8895aa01bc";

fn presents(name: &str, value: &str) -> Presented {
    presented(&Headers(vec![(name.to_owned(), value.to_owned())]), &admin_digest(Some(TOKEN)).unwrap())
}

#[test]
fn a_guess_is_told_from_a_providers_key() {
    let admin = TokenDigest::of(TOKEN);
    let headers = |pairs: &[(&str, &str)]| {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    };
    for (pairs, by_data, by_control) in [
        (&[("authorization", "Bearer sk-theirs")][..], false, true),
        (&[("cf-aig-authorization", "Bearer guess")], true, true),
        (&[("x-auth-email", "a@b.c"), ("x-auth-key", "guess")], false, true),
        (&[("x-auth-key", "guess")], false, false),
        (&[("authorization", &format!("Bearer {TOKEN}"))], false, false),
        (&[("cf-aig-authorization", "Bearer tgt_one-of-our-form")], false, false),
        (&[], false, false),
    ] {
        let headers = headers(pairs);
        let found = (presented(&headers, &admin).is_wrong, control(&headers, &admin).is_wrong);
        assert_eq!(found, (by_data, by_control), "{pairs:?}");
    }
}

#[test]
fn weak_tokens_are_refused_with_the_reason() {
    for (token, reason) in [
        (None, "not set"),
        (Some("   "), "not set"),
        (Some("f3a9c1d27b604e8"), "shorter"),
        (Some("changeme-changeme"), "well-known"),
        (Some("0000000000000000"), "well-known"),
        (Some("your-admin-token-here"), "well-known"),
        (Some("sk-1234567890abcdefgh"), "well-known"),
    ] {
        assert!(admin_digest(token).err().unwrap().contains(reason), "{token:?}");
    }
    assert!(admin_digest(Some(TOKEN)).is_ok());
}

#[test]
fn the_token_is_found_wherever_a_client_can_put_it() {
    for name in TOKEN_HEADERS {
        for value in [TOKEN.to_owned(), format!("Bearer {TOKEN}"), format!("bearer  {TOKEN} ")] {
            assert_eq!(
                presents(name, &value),
                Presented { is_admin: true, carriers: vec![(*name).into()], ..Presented::default() }
            );
        }
    }
    for place in [TOKEN_PROTOCOL, KEY_PROTOCOL] {
        assert!(presents("sec-websocket-protocol", &format!("realtime, {place}{TOKEN}")).is_admin);
    }
    let made = token(&[7; 32]);
    let found = presents("sec-websocket-protocol", &format!("realtime, openai-insecure-api-key.{made}"));
    assert_eq!((found.is_admin, found.token.as_deref()), (false, Some(made.as_str())));
    // A provider's key is no token of ours, and no wrong one.
    let theirs = presents("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-theirs");
    assert_eq!(theirs, Presented::default());
}

#[test]
fn tokens_that_share_a_beginning_are_different() {
    for value in [TOKEN.strip_suffix("01bc").unwrap(), &format!("{TOKEN}x"), "", "Bearer", "Bearer ", "Bearer é"] {
        assert!(!presents("authorization", value).is_admin, "{value}");
    }
}

#[test]
fn a_token_in_the_wrong_place_or_oddly_spelled_goes_nowhere() {
    let admin = admin_digest(Some(TOKEN)).unwrap();
    for token in [TOKEN.to_owned(), token(&[7; 32])] {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("user:{token}"));
        let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for value in [
            token.clone(),
            format!("Bearer Bearer {token}"),
            format!("Bearer\t{token}"),
            format!("Bearer \"{token}\""),
            format!("'{token}' "),
            format!("ApiKey {token}"),
            format!("Token token={token}"),
            format!("Bearer sk-1, Bearer {token}"),
            format!("session=1; key={token}; x=y"),
            format!("https://user:{token}@host/"),
            format!("x{token}x"),
            format!("Basic {basic}"),
            format!("basic  {basic}"),
            format!("Bearer {encoded}"),
            encoded.replace('%', "%25"),
        ] {
            for name in ["authorization", "x-auth-key", "cookie", "x-whatever", "user-agent"] {
                assert_eq!(presents(name, &value).carriers, [name], "{name}: {value}");
            }
            assert!(is_ours(&value, &admin), "{value}");
        }
        let half = token.get(..token.len() / 2).unwrap();
        for other in [half, "", "tgt_lang", "tgt_lang=de", "Bearer tgt_language_of_text"] {
            assert!(presents("x-whatever", other).carriers.is_empty(), "{other}");
        }
        assert!(presents("cf-aig-metadata", &token).carriers.is_empty());
    }
}

#[test]
fn the_control_plane_takes_bearer_or_email_and_key() {
    let admin = admin_digest(Some(TOKEN)).unwrap();
    let check = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        control(&Headers(pairs), &admin).is_admin
    };
    assert!(check(&[("authorization", &format!("Bearer {TOKEN}"))]));
    assert!(check(&[("x-auth-email", "a@b.c"), ("x-auth-key", TOKEN)]));
    assert!(!check(&[("x-auth-key", TOKEN)]));
    assert!(!check(&[("x-api-key", TOKEN)]));
    assert!(!check(&[("authorization", TOKEN)]));
}

#[test]
fn whatever_looks_like_a_token_of_ours_stays_here() {
    let value = token(&[7; 32]);
    assert_eq!((value.len(), digest_text(&value).len()), (47, 64));
    for name in TOKEN_HEADERS {
        let found = presents(name, &format!("Bearer {value}"));
        assert_eq!(
            found,
            Presented { token: Some(value.clone()), carriers: vec![(*name).into()], ..Presented::default() }
        );
    }
    assert_eq!(presents("authorization", "Bearer sk-proj-1").carriers, Vec::<Cow<str>>::new());
}

#[test]
fn a_browser_gets_back_one_of_the_subprotocols_it_offered() {
    for (offered, wanted) in [
        ("cf-aig-authorization.abc, json", Some("json")),
        ("json,cf-aig-authorization.abc", Some("json")),
        ("cf-aig-authorization.abc", Some("cf-aig-authorization.abc")),
        ("openai-insecure-api-key.k, cf-aig-authorization.abc, realtime", Some("realtime")),
        (" , ", None),
    ] {
        assert_eq!(answered_protocol(offered), wanted, "{offered}");
    }
}

proptest! {
    #[test]
    fn the_admin_token_is_found_wherever_it_is(before in "\\PC{0,60}", after in "\\PC{0,60}") {
        let admin = admin_digest(Some(TOKEN)).unwrap();
        let (with, without) = (format!("{before}{TOKEN}{after}"), format!("{before}{after}"));
        prop_assert!(holds_token(&with, &admin) && !holds_token(&without, &admin));
    }
}

#[test]
fn pages_of_other_sites_are_known_by_their_origin() {
    let foreign = |origin: Option<&str>, host: &str, upgrade: &str| {
        let given = [("upgrade", Some(upgrade)), ("host", Some(host)), ("origin", origin)];
        let headers = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        is_of_another_site(&Headers(headers.collect()))
    };
    for own in ["https://gate.example", "http://gate.example", "https://GATE.example:443"] {
        assert!(!foreign(Some(own), "gate.example", "WebSocket"), "{own}");
    }
    assert!(!foreign(Some("http://127.0.0.1:8787"), "127.0.0.1:8787", "websocket"));
    assert!(!foreign(None, "gate.example", "websocket"));
    for other in
        ["https://evil.example", "https://gate.example.evil", "http://gate.example:8080", "null", "", "gate.example"]
    {
        assert!(foreign(Some(other), "gate.example", "websocket"), "{other}");
        // What is no WebSocket, browsers protect by themselves.
        assert!(!foreign(Some(other), "gate.example", "h2c"), "{other}");
    }
}

#[test]
fn our_subprotocol_is_not_passed_on() {
    assert_eq!(
        provider_protocols("realtime, cf-aig-authorization.abc, x-api-key.tgt_a, openai-beta.v1", |entry| entry
            .contains("tgt_")),
        "realtime, openai-beta.v1"
    );
}
