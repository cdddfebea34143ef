use super::*;
use crate::providers::table;
use proptest::prelude::*;
use serde_json::json;

fn key(alias: &str, is_default: bool) -> StoredKey {
    StoredKey::sealed(alias, is_default)
}

const ASKED: KeyRequest<'static> = KeyRequest {
    provider: "openai",
    upstream: None,
    brings_key: false,
    alias: None,
    let_in: true,
    own_keys_only: false,
    operator_has_key: true,
    turn: Turn { session: None, is_for_account: false, random: 0, tried: &[] },
};

fn headers(pairs: &[(&str, &str)]) -> Headers {
    Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn ours(text: &str) -> bool {
    text.starts_with("tgt_")
}

fn holds(text: &str) -> bool {
    text.contains("tgt_long")
}

#[test]
fn the_callers_key_comes_first_then_a_stored_one_then_the_operators() {
    let stored = [key("a", false), key("b", true)];
    let chosen = |asked: KeyRequest<'_>| choose(&asked, &stored).unwrap();
    assert_eq!(
        chosen(KeyRequest { brings_key: true, alias: Some("a"), own_keys_only: true, ..ASKED }),
        Choice::Request
    );
    assert_eq!(chosen(ASKED), Choice::Stored(&stored[1]));
    assert_eq!(chosen(KeyRequest { alias: Some("a"), ..ASKED }), Choice::Stored(&stored[0]));
    assert_eq!(choose(&ASKED, &[key("a", false)]).unwrap(), Choice::Operator);
    assert_eq!(choose(&ASKED, &[key("default", false)]).unwrap(), Choice::Stored(&key("default", false)));
    assert_eq!(chosen(KeyRequest { provider: "groq", ..ASKED }), Choice::Operator);
    assert_eq!(chosen(KeyRequest { provider: "groq", operator_has_key: false, ..ASKED }), Choice::None);
}

#[test]
fn a_caller_who_did_not_prove_itself_gets_no_key_and_learns_nothing() {
    let stored = [key("default", true)];
    let stranger = KeyRequest { let_in: false, ..ASKED };
    assert_eq!(choose(&stranger, &stored).unwrap(), Choice::None);
    for alias in ["default", "unknown"] {
        let refused = choose(&KeyRequest { alias: Some(alias), ..stranger }, &stored).unwrap_err();
        assert_eq!((refused.status, refused.code), (401, 2009));
        assert!(!refused.description.contains("default"));
    }
}

#[test]
fn an_unknown_alias_names_those_there_are() {
    let refused = choose(&KeyRequest { alias: Some("x"), ..ASKED }, &[key("a", false), key("b", true)]).unwrap_err();
    assert_eq!((refused.status, refused.code), (400, 2040));
    assert_eq!(refused.message, "Provider 'openai' has no BYOK credential named 'x'. Configured aliases: 'a', 'b'");
    let refused = choose(&KeyRequest { alias: Some("x\"\n"), ..ASKED }, &[]).unwrap_err();
    assert_eq!(refused.message, "Provider 'openai' has no BYOK credential named 'x??'. Configured aliases: none");
}

#[test]
fn the_operators_key_can_be_forbidden() {
    let asked = KeyRequest { own_keys_only: true, ..ASKED };
    for let_in in [true, false] {
        assert_eq!(choose(&KeyRequest { let_in, ..asked }, &[]).unwrap_err().status, 400);
    }
    assert_eq!(choose(&KeyRequest { provider: "workers-ai", ..asked }, &[]).unwrap(), Choice::None);
    assert!(matches!(choose(&asked, &[key("default", true)]), Ok(Choice::Stored(_))));
}

#[test]
fn a_key_goes_only_where_it_was_stored_for() {
    let there = Some("https://one.example");
    let stored = [StoredKey { upstream: there.map(str::to_owned), ..key("default", true) }];
    assert!(choose(&KeyRequest { upstream: there, ..ASKED }, &stored).is_ok());
    for upstream in [None, Some("https://two.example"), Some("http://one.example")] {
        let refused = choose(&KeyRequest { upstream, ..ASKED }, &stored).unwrap_err();
        assert!(refused.status == 400 && refused.description.contains("Store it again"));
    }
    let cleared = [StoredKey { held: Held::Nothing, ..key("default", true) }];
    assert!(choose(&ASKED, &cleared).is_err());
}

#[test]
fn placeholders_and_tokens_of_ours_are_no_keys() {
    for value in [
        "",
        "  ",
        "Bearer",
        "Bearer ",
        "bearer unused",
        "unused",
        "Unused",
        "Key unused",
        "Bearer CF_TEMP_TOKEN",
        "xCF_TEMP_TOKENx",
        "Bearer tgt_a",
        "tgt_a",
    ] {
        for name in KEY_HEADERS {
            assert!(!brings_key(&headers(&[(name, value)]), "", ours), "{name}: {value}");
        }
        let query = format!("?a=b&key={}", value.replace(' ', "%20"));
        assert!(!brings_key(&headers(&[]), &query, ours), "{query}");
    }
    for value in ["Bearer sk-1", "sk-1", "AWS4-HMAC-SHA256 Credential=x", "Basic dTpw", "unused-but-real"] {
        for name in KEY_HEADERS {
            assert!(brings_key(&headers(&[("x-api-key", "unused"), (name, value)]), "", ours) || *name == "x-api-key");
        }
    }
    for query in ["?key=AIza", "?a=1&API_KEY=x", "?k%65y=x", "?access_token=x"] {
        assert!(brings_key(&headers(&[]), query, ours), "{query}");
    }
    assert!(!brings_key(&headers(&[]), "?monkey=1&keyword=x", ours));
    assert!(brings_key(&headers(&[("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-1")]), "", ours));
    assert!(!brings_key(&headers(&[("sec-websocket-protocol", "realtime, xi-api-key.unused")]), "", ours));
}

#[test]
fn tokens_of_ours_never_stay_in_the_query() {
    assert_eq!(outgoing_query("?key=AIza&alt=sse", false, ours, holds), "?key=AIza&alt=sse");
    assert_eq!(outgoing_query("?key=unused&alt=sse", true, ours, holds), "?alt=sse");
    assert_eq!(outgoing_query("?alt=sse&key=tgt_a&x", false, ours, holds), "?alt=sse&x");
    assert_eq!(outgoing_query("?api-key=tgt_a&tgt_lang=de", false, ours, holds), "?tgt_lang=de");
    assert_eq!(outgoing_query("?x=tgt_long&tgt_long&y=1&a=/tgt_long", false, ours, holds), "?y=1");
    assert_eq!(outgoing_query("?key=unused", true, ours, holds), "");
    assert_eq!(outgoing_query("", true, ours, holds), "");
}

#[test]
fn keys_take_the_form_their_provider_wants() {
    let shown = |slug: &str, rest: &str, secret: &str| {
        let provider = table::find(slug).unwrap();
        match material(provider.key, rest, secret).ok().unwrap() {
            Material::Header(name, value) => format!("{name}: {value}"),
            Material::Aws(keys) => format!("aws {} {:?}", keys.access_key_id, keys.session_token),
            Material::Hmac(_) => "hmac".to_owned(),
            Material::Google(account) => format!("google {}", account.private_key.len()),
        }
    };
    assert_eq!(shown("openai", "", "k"), "authorization: Bearer k");
    assert_eq!(shown("anthropic", "", "k"), "x-api-key: k");
    assert_eq!(shown("google-ai-studio", "", "k"), "x-goog-api-key: k");
    assert_eq!(shown("deepgram", "", "k"), "authorization: Token k");
    assert_eq!(shown("aws-bedrock", "bedrock-runtime/r/x", "k"), "authorization: Bearer k");
    assert_eq!(shown("aws-bedrock", "bedrock-mantle/r/x", "k"), "x-api-key: k");
    let aws = json!({ "accessKeyId": "AKID", "secretAccessKey": "s", "region": "us-east-1", "sessionToken": "t" });
    assert_eq!(shown("aws-bedrock", "bedrock-runtime/r/x", &aws.to_string()), "aws AKID Some(\"t\")");
    let google =
        json!({ "client_email": "a@b", "private_key": "-----BEGIN PRIVATE KEY-----AQID-----END PRIVATE KEY-----" });
    assert_eq!(shown("google-vertex-ai", "", &google.to_string()), "google 3");
    assert_eq!(shown("google-vertex-ai", "", "ya29"), "authorization: Bearer ya29");
    let azure = json!({ "apiKey": "k", "resource": "ours" }).to_string();
    assert_eq!(shown("azure-openai", "ours/d/x", &azure), "api-key: k");
    let form = table::find("azure-openai").unwrap().key;
    assert!(admit_resource(form, "Ours/d/x", &azure).is_ok());
    for (rest, secret) in [("theirs/d/x", azure.as_str()), ("", &azure), ("ours/d/x", "k"), ("ours/d/x", "{}")] {
        let refused = admit_resource(form, rest, secret).unwrap_err();
        assert!(refused.status == 400 && !refused.description.contains("'k'"), "{rest} {secret}");
    }
    for wrong in [
        json!({}),
        json!({ "accessKeyId": "a\n", "secretAccessKey": "s" }),
        json!({ "accessKeyId": "a", "secretAccessKey": "s", "sessionToken": 1 }),
    ] {
        assert!(material(KeyForm::Aws, "", &wrong.to_string()).is_err());
    }
}

#[test]
fn a_preview_gives_nothing_away() {
    assert_eq!(preview("sk-proj-0123456789abcdef"), "…cdef");
    for short in ["", "sk-123", "sk-proj-012345", &"é".repeat(9)] {
        assert_eq!(preview(short), "");
    }
    assert_eq!(preview(r#"{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","secretAccessKey":"wJalrXUtnFEMI"}"#), "…MPLE");
    assert_eq!(preview(r#"{"client_email":"a@b","private_key":"-----BEGIN PRIVATE KEY-----"}"#), "");
}

#[test]
fn an_origin_is_scheme_and_host() {
    for (base, wanted) in [
        ("https://api.openai.com/v1", "https://api.openai.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost/x/", "http://localhost"),
    ] {
        assert_eq!(crate::providers::address::origin_of(base), wanted);
    }
}

proptest! {
    #[test]
    fn any_header_and_query_is_read_without_harm(value in "\\PC{0,80}", query in "[a-z_=&%?0-9A-Zé]{0,80}") {
        let _ = brings_key(&headers(&[("authorization", &value), ("sec-websocket-protocol", &value)]), &query, ours);
        let _ = (outgoing_query(&query, true, ours, holds), preview(&value), structured(&value), crate::providers::address::origin_of(&value));
        for form in [KeyForm::Aws, KeyForm::Google, KeyForm::Resource("api-key")] {
            let _ = admit_resource(form, &query, &value);
            let _ = material(form, "", &value).is_ok();
        }
    }

    #[test]
    fn no_replaced_key_is_left_in_a_query(pairs in prop::collection::vec(("(key|api_key|a|b)", "[a-z]{1,5}"), 0..5)) {
        let query = format!("?{}", pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"));
        prop_assert!(parameters(&outgoing_query(&query, true, ours, holds)).next().is_none());
    }
}
