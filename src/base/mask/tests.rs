use super::*;
use crate::auth::secrets::brought;
use crate::http::headers::Headers;
use crate::logs::call::{Call, Failure, Outcome, RequestType};
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::wire::Facts;
use proptest::prelude::*;
use serde_json::{Value, json};

const KEY: &str = "Zq8/kept+key=0123456789";

fn headers(pairs: &[(&str, &str)]) -> Headers {
    Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn kept(value: &str) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.keep(value);
    secrets
}

fn percent(text: &str, all: bool, upper: bool) -> String {
    text.bytes()
        .map(|byte| match (all || !byte.is_ascii_alphanumeric(), upper) {
            (false, _) => char::from(byte).to_string(),
            (true, true) => format!("%{byte:02X}"),
            (true, false) => format!("%{byte:02x}"),
        })
        .collect()
}

/// A text in the spellings that may stand in an answer, with what stands around it there.
fn spellings(text: &str) -> Vec<String> {
    let json = json!(text).to_string();
    let unicode: String = text.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    vec![
        text.to_owned(),
        format!("Bearer {text}"),
        percent(text, false, true),
        percent(text, false, false),
        percent(text, true, false),
        percent(&percent(text, false, true), false, true),
        json.trim_matches('"').to_owned(),
        text.replace('/', "\\/"),
        unicode,
        STANDARD.encode(text),
        URL_SAFE_NO_PAD.encode(text),
        STANDARD.encode(format!("Bearer {text}")),
        STANDARD.encode(format!("u:{text}")),
        STANDARD.encode(format!("us:{text}:x")),
        text.replace('+', "&#43;").replace('=', "&#x3D;"),
    ]
}

/// Whether a text gives a key away: itself, or most of it, in a spelling that is looked for.
fn shows(text: &str, key: &str) -> bool {
    let mut all = vec![text.to_owned()];
    let mut ranges = Vec::new();
    spelling::each(
        text.as_bytes(),
        &|byte| key.as_bytes().first() == Some(&byte),
        &mut |spelled, _| {
            all.push(String::from_utf8_lossy(spelled).into_owned());
            vec![]
        },
        &mut ranges,
    );
    let encoded = |shift: usize| {
        let mut needles = Vec::new();
        base64_needles(key.as_bytes(), shift, &mut needles);
        needles.into_iter().filter_map(|needle| String::from_utf8(needle).ok())
    };
    let needles: Vec<String> = [key.to_owned()].into_iter().chain((0..3).flat_map(encoded)).collect();
    all.iter().any(|text| needles.iter().any(|needle| text.contains(needle.as_str())))
}

#[test]
fn a_key_is_masked_in_every_spelling() {
    for secrets in [kept(&format!("Bearer {KEY}")), kept(KEY)] {
        for spelled in spellings(KEY) {
            for (before, after) in
                [("", ""), ("Incorrect API key provided: ", ". Go away"), ("{\"e\":\"", "\"}"), ("ü", "ü")]
            {
                let text = format!("{before}{spelled}{after}");
                let masked = secrets.for_caller().bytes(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
                let masked = String::from_utf8(masked).unwrap();
                assert!(!shows(&masked, KEY), "{text} became {masked}");
                assert!(masked.starts_with(before) && masked.ends_with(after) && masked.contains(MASK), "{masked}");
                assert!(masked.len() <= text.len() || spelled == KEY, "{masked}");
            }
        }
    }
}

#[test]
fn what_is_no_key_stays() {
    let masker = kept(KEY).for_caller();
    for text in ["", "nothing", "Zq8/kept+key=012345678", "Zq8%2Fkept", "100 % of it \\ & more", "\u{0}ü\u{fffd}"] {
        assert_eq!(masker.bytes(text.as_bytes()), None, "{text}");
    }
    assert!(masker.bytes(&[0xff, 0xfe, 0x80]).is_none());
    assert!(Secrets::default().for_storage().bytes(b"anything").is_none());
    // Words that are no secret by their length would be gone everywhere.
    assert!(!kept("none").has_kept() && kept("secret").has_kept());
}

#[test]
fn two_keys_side_by_side_are_two_masks() {
    let mut secrets = kept("first-key-1");
    secrets.keep("second-key-2");
    let masked = secrets.for_caller().bytes(b"first-key-1, second-key-2.first-key-1").unwrap();
    assert_eq!(String::from_utf8(masked).unwrap(), "***, ***.***");
}

#[test]
fn what_a_caller_brought_is_masked_in_what_is_stored_and_not_for_the_caller() {
    let basic = format!("Basic {}", STANDARD.encode("user-name-1:pass-word-1"));
    for (name, value, shown) in [
        ("authorization", "Bearer key-of-the-caller", "key-of-the-caller"),
        ("authorization", "Bearer Bearer\tkey-of-the-caller", "key-of-the-caller"),
        ("authorization", "Bearer \"key-of-the-caller\", x", "key-of-the-caller"),
        ("x-api-key", "key-of-the-caller", "key-of-the-caller"),
        ("ocp-apim-subscription-key", "key-of-the-caller", "key-of-the-caller"),
        ("cf-aig-authorization", "Bearer token-of-the-caller", "token-of-the-caller"),
        ("x-organization", "Bearer key-of-the-caller", "key-of-the-caller"),
        ("x-auth-token", "token-of-the-caller", "token-of-the-caller"),
        ("cookie", "a=b; session=key-of-the-caller; c=d", "key-of-the-caller"),
        ("authorization", basic.as_str(), "pass-word-1"),
        ("authorization", basic.as_str(), "user-name-1"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=IDOFKEY123/20260101/x, Signature=0123456789abcdef",
            "IDOFKEY123",
        ),
        ("authorization", "AWS4-HMAC-SHA256 Credential=x, Signature=0123456789abcdef", "0123456789abcdef"),
        ("sec-websocket-protocol", "realtime, openai-insecure-api-key.key-of-the-caller", "key-of-the-caller"),
        ("sec-websocket-protocol", "cf-aig-authorization.key-of-the-caller", "key-of-the-caller"),
    ] {
        let secrets = brought(&headers(&[(name, value)]), "");
        let stored = secrets.for_storage().body(format!("<{shown}>"));
        assert_eq!(stored, "<***>", "{name}: {value}");
        assert!(!secrets.has_kept() && secrets.for_caller().bytes(shown.as_bytes()).is_none());
    }
    // Words beside a credential are no secret.
    for (name, value, word) in [
        ("sec-websocket-protocol", "realtime, openai-insecure-api-key.key-of-the-caller", "realtime"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=ID/x, SignedHeaders=content-type;x-amz-date", "x-amz-date"),
        ("cookie", "theme=default-dark", "default-dark"),
        ("authorization", "Bearer unused", "unused"),
        ("x-api-key", "gpt", "gpt"),
    ] {
        let stored = brought(&headers(&[(name, value)]), "").for_storage().body(word.to_owned());
        assert_eq!(stored, word, "{name}: {value}");
    }
    let secrets =
        brought(&headers(&[("user-agent", "long-enough-agent")]), "?key=a%2Fkey-in-the-query&model=long-model");
    assert_eq!(
        secrets.for_storage().body("a/key-in-the-query long-model long-enough-agent".to_owned()),
        "*** long-model long-enough-agent"
    );
    assert_eq!(format!("{secrets:?}"), "Secrets(0 kept, 1 brought)");
}

#[test]
fn the_beginning_of_a_key_does_not_stay_where_a_text_was_cut() {
    let key = "Zq8kept0123456789abcdefghijklmnopqrstuvwxyz";
    let secrets = kept(key);
    for cut in 0..key.len() {
        let call = Call { secrets: secrets.clone(), ..call("a") };
        let error = format!("{}{}", "x ".repeat(500 - key.len()), key);
        let facts = Facts { error: error.get(..error.len() - cut).map(str::to_owned), ..Facts::default() };
        let record = LogRecord::new(call, Outcome { status: Some(401), ..answered(facts) });
        let error = record.error.unwrap();
        assert!(!error.contains("Zq8kep"), "{cut}: {error}");
    }
}

/// A record that has a text in every place where one can come from outside.
fn record(secrets: Secrets, text: &str, failure: Option<Failure>) -> LogRecord {
    let mut call = Call { secrets, ..call("a") };
    let metadata = json!({ "a": text, text: 1 });
    call.metadata.entries = metadata.as_object().unwrap().clone().into_iter().collect::<Vec<(String, Value)>>();
    call.rest = format!("v1/{text}/x");
    call.query = format!("?a={text}&code={text}&b={text}");
    call.event_id = text.to_owned();
    call.user_agent = Some(text.to_owned());
    call.request_content_type = Some(text.to_owned());
    call.body = Some(format!("{{\"prompt\":\"{text}\"}}"));
    call.facts.model = Some(text.to_owned());
    call.request_type = RequestType::Message;
    let facts = Facts {
        model: Some(format!("x{text}")),
        response_id: Some(text.to_owned()),
        finish_reason: Some(text.to_owned()),
        error: Some(format!("Incorrect: {text}")),
        ..Facts::default()
    };
    let outcome = Outcome {
        status: Some(401),
        content_type: Some(text.to_owned()),
        body: Some(format!("data: {{\"e\":\"{text}\"}}\n\n")),
        provider_request_id: Some(text.to_owned()),
        failure,
        ..answered(facts)
    };
    LogRecord::new(call, outcome)
}

/// All that is written of a record.
fn written(record: &LogRecord) -> String {
    let strings = [&record.metadata, &record.error, &record.request_body, &record.response_body, &record.model];
    let strings: Vec<String> = strings.into_iter().flatten().cloned().collect();
    format!("{record:?} {}", strings.join(" "))
}

#[test]
fn what_looks_like_a_key_is_masked_where_people_write_and_bodies_stay() {
    let key = "sk-proj-0123456789abcdef";
    let record = record(Secrets::default(), key, None);
    assert_eq!(record.path, "v1/***/x?a=***&code=***&b=***");
    assert_eq!((record.event_id.as_str(), record.user_agent.as_deref()), ("***", Some("***")));
    assert_eq!(record.metadata.as_deref(), Some(r#"{"***":1,"a":"***"}"#));
    assert_eq!(record.error.as_deref(), Some("provider: Incorrect: ***"));
    // Tollgate cannot know whose it is, and a prompt is kept as it was said.
    assert!(record.request_body.unwrap().contains(key));
}

proptest! {
    #[test]
    fn no_stored_field_and_no_line_has_the_key_wherever_it_stands(
        key in "[A-Za-z0-9][A-Za-z0-9+/=._~-]{14,80}", before in "\\PC{0,20}", after in "\\PC{0,20}", which in 0_usize..15,
        is_kept: bool, broke: bool,
    ) {
        let spelled = &spellings(&key)[which];
        let text = format!("{before}{spelled}{after}");
        let secrets = match is_kept {
            true => kept(&format!("Bearer {key}")),
            false => brought(&headers(&[("authorization", &format!("Bearer {key}"))]), ""),
        };
        let failure = broke.then(|| Failure::Upstream(format!("refused: {text}")));
        let all = written(&record(secrets, &text, failure));
        prop_assert!(!shows(&all, &key), "{all}");
    }

    #[test]
    fn no_line_has_what_looks_like_a_key(before in "[^a-zA-Z0-9]{0,20}", after in "[^A-Za-z0-9_-]{0,20}", key in prop::sample::select(vec![
        "sk-proj-0123456789abcdef", "AIzaSyA0123456789012345678901234567890", "AKIAIOSFODNN7EXAMPLE", "tgt_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
    ])) {
        let printed = json!({ "level": "error", "cause": format!("{before}{key}{after}") }).to_string();
        prop_assert!(!line(&printed).contains(key));
    }

    #[test]
    fn any_text_is_masked_without_harm(text in any::<String>(), key in "\\PC{0,20}") {
        let secrets = kept(&key);
        let _ = (secrets.for_caller().bytes(text.as_bytes()), line(&text), secrets.for_storage().field(text.clone()));
        let _ = brought(&headers(&[("authorization", &text), ("cookie", &text)]), &text);
    }

    #[test]
    fn any_bytes_are_masked_without_harm(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = kept(KEY).for_caller().bytes(&text);
    }
}
