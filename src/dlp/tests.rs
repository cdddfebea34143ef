use super::entry::Entry;
use super::places::places;
use super::scan::find;
use super::text::Wanted;
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::rc::Rc;

fn found(text: &str) -> Vec<(Entry, &str)> {
    let said = |finding: &Finding| text.get(finding.start..finding.end).unwrap();
    find(text, Wanted::all()).iter().map(|finding| (finding.entry, said(finding))).collect()
}

/// The texts in which `entry` has to be found as the part between `«` and `»`, and no more.
const FOUND: &[(Entry, &str)] = &[
    (Entry::CreditCard, "my card is «4111 1111 1111 1111», thanks"),
    (Entry::CreditCard, "«4111-1111-1111-1111»"),
    (Entry::CreditCard, "«4111.1111.1111.1111»."),
    (Entry::CreditCard, "card=«4111111111111111»/12/26/123"),
    (Entry::CreditCard, "In 2024 «3782 822463 10005» and"),
    (Entry::CreditCard, "«4111\u{a0}1111\u{a0}1111\u{a0}1111»"),
    (Entry::CreditCard, "«４１１１ １１１１ １１１１ １１１１»"),
    (Entry::CreditCard, "«4\u{200b}111 1111 1111 1111»"),
    (Entry::CreditCard, "on 2024-11-27 «5555 5555 5555 4444»"),
    (Entry::CreditCard, "(«6011111111111117»)"),
    (Entry::CreditCard, "«4111_1111_1111_1111»"),
    (Entry::CreditCard, "«4111/1111/1111/1111»"),
    (Entry::CreditCard, "«4111\u{2009}1111\u{2007}1111\u{202f}1111»"),
    (Entry::CreditCard, "«4111\u{2012}1111\u{2013}1111\u{2014}1111»"),
    (Entry::CreditCard, "it is\n«4111\n1111\n1111\n1111»\nand 123"),
    (Entry::CreditCard, "it is «4111 1111\r\n1111 1111»"),
    (Entry::CreditCard, "«4111 - 1111 - 1111 - 1111»"),
    (Entry::CreditCard, "«4111  1111  1111  1111»"),
    (Entry::CreditCard, "a=1&card=«4111+1111+1111+1111»&b=2"),
    (Entry::CreditCard, "«4111·1111·1111·1111»"),
    (Entry::CreditCard, "«４１１１．１１１１．１１１１．１１１１»"),
    (Entry::CreditCard, "«𝟒𝟏𝟏𝟏 ¹¹¹¹ ₁₁₁₁ ①①①①»"),
    (Entry::CreditCard, "«๔๑๑๑ ๑๑๑๑ ๑๑๑๑ ๑๑๑๑»"),
    (Entry::CreditCard, "«4\u{fe0f}\u{20e3}1\u{fe0f}\u{20e3}1\u{200d}1\u{2060}1111\u{feff}1111\u{ad}1111»"),
    (Entry::UsSsn, "«123_45_6789»"),
    (Entry::UsSsn, "«123/45/6789»"),
    (Entry::Iban, "«GB82_WEST_1234_5698_7654_32»"),
    (Entry::Iban, "«GB82\nWEST\n1234\n5698\n7654\n32»"),
    (Entry::Phone, "tel\n12\n«555-123-4567»"),
    (Entry::Iban, "IBAN «GB82 WEST 1234 5698 7654 32» please"),
    (Entry::Iban, "«DE89370400440532013000»"),
    (Entry::AbaRouting, "routing number «021000021»"),
    (Entry::Swift, "SWIFT «DEUTDEFF500»"),
    (Entry::Bitcoin, "«1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa»"),
    (Entry::Bitcoin, "«bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4»"),
    (Entry::Ethereum, "to «0x52908400098527886E0F7030069857D2E4169EE7»!"),
    (Entry::UsSsn, "ssn: «123-45-6789»"),
    (Entry::UsSsn, "«123 45 6789»"),
    (Entry::UsSsn, "Social Security number is «123456789»"),
    (Entry::UsItin, "«900-70-1234»"),
    (Entry::CanadaSin, "«130-692-544»"),
    (Entry::CanadaSin, "SIN: «130692544»"),
    (Entry::UkNino, "NI number «AB123456C»"),
    (Entry::UkNino, "«AB 12 34 56 C»"),
    (Entry::UkNhs, "NHS no «943 476 5919»"),
    (Entry::GermanTaxId, "«86 095 742 719»"),
    (Entry::GermanTaxId, "Steuer-ID «86095742719»"),
    (Entry::IndiaAadhaar, "«2341 2341 2346»"),
    (Entry::IndiaPan, "«ABCPE1234F»"),
    (Entry::BrazilCpf, "«529.982.247-25»"),
    (Entry::BrazilCnpj, "«11.222.333/0001-81»"),
    (Entry::SpainDni, "DNI «12345678Z»"),
    (Entry::SpainDni, "«X1234567L»"),
    (Entry::FranceNir, "«2 55 08 14 168 025 38»"),
    (Entry::FranceNir, "«255081416802538»"),
    (Entry::Email, "write to <«ann.b+c@mail.example.com»>."),
    (Entry::Email, "«a@b.co»"),
    (Entry::Phone, "call «+49 30 1234-5678» now"),
    (Entry::Phone, "tel. «(555) 123-4567»"),
    (Entry::Phone, "phone: «555-123-4567»"),
    (Entry::Ipv4, "at «192.168.0.1»:8080"),
    (Entry::Ipv6, "host «2001:db8::ff00:42:8329»,"),
    (Entry::Mac, "«00:1B:44:11:3A:B7»"),
    (Entry::ProviderKey, "key «sk-ant-api03-Ab3dEf6hIj9lMn2pQr5tUv8xYz1BcD4fGh7jKl0nPq»"),
    (Entry::ProviderKey, "OPENAI_API_KEY=«sk-proj-a1B2c3D4e5F6g7H8i9J0k1L2m3N4»"),
    (Entry::CloudKey, "«AKIAIOSFODNN7EXAMPLE»"),
    (Entry::ServiceToken, "«ghp_16C7e42F292c6912E7710c838347Ae178B4a»"),
    (
        Entry::Jwt,
        "Bearer «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U»",
    ),
    (Entry::PrivateKey, "x «-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----» y"),
];

#[test]
fn each_kind_is_found_whole_and_alone() {
    for (entry, marked) in FOUND {
        let (before, rest) = marked.split_once('«').unwrap();
        let (inner, after) = rest.split_once('»').unwrap();
        let text = format!("{before}{inner}{after}");
        let found = found(&text);
        assert!(found.contains(&(*entry, inner)), "{marked}: {found:?}");
        assert_eq!(found.iter().filter(|(other, _)| other == entry).count(), 1, "{marked}: {found:?}");
    }
}

#[test]
fn ordinary_texts_have_nothing() {
    for text in [
        "id 550e8400-e29b-41d4-a716-446655440000 and 550e8400-e29b-4164-9716-446655440000",
        "at 1732731234567 or 2026-11-27T17:55:46.123456Z, 12:34:56, 1732731234.5678",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "loss 0.4111111111111111 0.37828224631000512 [4.53, 1.2, 3.4]",
        "version 1.2.3 and 10.4.22, std::collections::HashMap, a::b, ::",
        "sk-learn-contrib-imbalanced-learning, task-force, sk-a, hf_hub_download_function_name_is_a_very_long_one",
        "2024 2025 2026 2027 2028 and 12 34 56 78 90",
        "call me at 5, phone home, tel 12",
        "chatcmpl-9f86d081884c7d659a2feaa0c55ad015 msg_01XFDUDYJgAACzvnptvVoYEL toolu_01A09q90qw90lq917835lq9",
        "user@host, @decorator, a@b, foo@, name@1.2.3",
        "0x7fff5fbff8c0 0xdeadbeef 0b1010 1e10 12345678A 87654321Z",
        "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4",
        "DE89370400440532013001 GB82 WEST 1234 5698 7654 33 XX12 ABCD",
        "4111 1111 1111 1112, 4111-1111 1111-1111, 41111111111111112222222222",
        "AB123456E DFIQUV12 ABCDE1234F ABCDEFGH",
        "4111\n1111\n1111\n1111\n1111\n2222",
        "451\n23\n8841 and 451\t23\t8841 and 41111111\n11111111",
        "a_4111_1111 4111_1111_1111_1111_1111 4111111111111111_1 4111_1111_1111_1111_a",
        "-----BEGIN CERTIFICATE-----\nMIIEow\n-----END CERTIFICATE-----",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn a_thousand_ordinary_bodies_have_nothing() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let every: Wanted = Entry::all().filter(|entry| !matches!(entry, Entry::Email | Entry::Ipv4)).collect();
    for _ in 0..1_000 {
        let (a, b, c, d) = (random(), random(), random(), random());
        let body = json!({
            "id": format!("{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}", a as u32, b as u16, c as u16 & 0xfff, d as u16 & 0xfff, a & 0xffff_ffff_ffff),
            "created": 1_600_000_000_000_u64 + a % 200_000_000_000,
            "nanoseconds": format!("{}", 1_600_000_000_000_000_000_u64 + b % 200_000_000_000_000_000),
            "hash": format!("{a:016x}{b:016x}{c:016x}{d:016x}"),
            "text": format!("The {} of {:.6} took {} ms on 2026-11-{:02}", a % 1_000, b as f64 / 1e19, c % 100_000, d % 28 + 1),
            "vector": [a as f64 / 1e19, b as f64 / 1e19, c as f64 / 1e19],
            "encoded": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [a, b, c, d].map(u64::to_be_bytes).concat()),
            "usage": { "prompt_tokens": a % 200_000, "total_tokens": b % 400_000 },
        });
        let text = body.to_string();
        for place in places(text.as_bytes()) {
            assert_eq!(find(&place.text, every), [], "{text}");
        }
    }
}

#[test]
fn only_what_is_wanted_is_found() {
    let text = "ann@example.com 4111111111111111";
    let only: Wanted = [Entry::Email].into_iter().collect();
    assert_eq!(find(text, only), [Finding { entry: Entry::Email, start: 0, end: 15 }]);
    assert_eq!(find(text, Wanted::default()), []);
}

fn redacting(profiles: &[&str]) -> Examiner {
    let dlp = Dlp::of(&json!({ "action": "REDACT", "profiles": profiles })).unwrap();
    Examiner::new(Rc::new(dlp), Check::Request, Redactor::default(), Report::default())
}

fn everything() -> Examiner {
    redacting(&Entry::all().map(Entry::name).collect::<Vec<_>>())
}

#[test]
fn a_document_within_a_string_is_read_as_it_is_meant() {
    let digits: String = "4111111111111111".chars().map(|digit| format!("\\u{:04x}", digit as u32)).collect();
    let arguments = format!("{{\"a\":\"{digits}\",\"b\":\"4111111111111111\"}}");
    let body = json!({"arguments": arguments, "content": digits}).to_string();
    let redacted = everything().body(body.as_bytes()).unwrap();
    let read: Value = serde_json::from_slice(&redacted).unwrap();
    // It is one number, however it was written; and what is no document means what it says.
    assert_eq!(read["arguments"], "{\"a\":\"[CARD_1]\",\"b\":\"[CARD_1]\"}");
    assert_eq!(read["content"], digits);
}

#[test]
fn a_profile_of_ones_own_may_have_a_text_for_all_that_it_finds() {
    let dlp = Dlp::of(
        &json!({"action": "REDACT", "profiles": ["names"], "custom_profiles": [{"id": "names", "words": ["Apollo"], "replacement": "the \"project\""}]}),
    );
    let mut examiner = Examiner::new(Rc::new(dlp.unwrap()), Check::Request, Redactor::default(), Report::default());
    let body = json!({"content": "Apollo, APOLLO", "arguments": "{\"a\":\"Apollo\"}"}).to_string();
    let read: Value = serde_json::from_slice(&examiner.body(body.as_bytes()).unwrap()).unwrap();
    assert_eq!(read["content"], "the \"project\", the \"project\"");
    assert_eq!(read["arguments"], "{\"a\":\"the \\\"project\\\"\"}");
    assert!(examiner.redactor.is_empty());
}

#[test]
fn placeholders_are_stable_and_go_back() {
    let body = json!({"messages": [
        {"role": "user", "content": "4111 1111 1111 1111 and 4111111111111111 and [CARD_2] \"x\"\n4111 1111 1111 1111"},
        {"role": "user", "content": "5555555555554444", "n": 4_111_111_111_111_111_u64},
        {"role": "assistant", "tool_calls": [{"function": {"arguments": "{\"text\":\"card\\n4111 1111 1111 1111\",\"n\":4111111111111111}"}}]},
    ]});
    let text = body.to_string();
    let mut examiner = everything();
    let redacted = examiner.body(text.as_bytes()).unwrap();
    let read: Value = serde_json::from_slice(&redacted).unwrap();
    assert_eq!(read["messages"][0]["content"], "[CARD_1] and [CARD_3] and [CARD_2] \"x\"\n[CARD_1]");
    assert_eq!((&read["messages"][1]["content"], &read["messages"][1]["n"]), (&json!("[CARD_4]"), &json!("[CARD_3]")));
    let arguments = read["messages"][2]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert_eq!(arguments, "{\"text\":\"card\\n[CARD_1]\",\"n\":\"[CARD_3]\"}");
    assert!(!examiner.is_blocked());
    let header: Value = serde_json::from_str(&examiner.report.header().unwrap()).unwrap();
    assert_eq!(
        header,
        json!({"findings": [{"profile": {"context": {}, "entry_ids": ["credit_card"], "profile_id": "credit_card"}, "policy_ids": ["dlp"], "check": "REQUEST"}], "action": "REDACT"})
    );
    let row: Value = serde_json::from_str(&examiner.report.row().unwrap()).unwrap();
    let places: Vec<(&str, u64)> = row["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (found["path"].as_str().unwrap(), found["offset"].as_u64().unwrap()))
        .collect();
    let arguments = "messages[2].tool_calls[0].function.arguments";
    assert_eq!(
        places,
        [
            ("messages[0].content", 0),
            ("messages[0].content", 24),
            ("messages[0].content", 58),
            ("messages[1].content", 0),
            ("messages[1].n", 0),
            (arguments, 15),
            (arguments, 40),
        ]
    );
    assert!(!row.to_string().contains("4111"));
    let redactor = &examiner.redactor;
    let answer = "Your [CARD_1], [CARD_9] and [CARD_4]";
    assert_eq!(redactor.restored(answer, false).unwrap(), "Your 4111 1111 1111 1111, [CARD_9] and 5555555555554444");
    assert_eq!((redactor.restored("[CARD_9]", false), redactor.held("x [CARD")), (None, 2));
    assert_eq!(everything().body(b"{\"a\":\"nothing\"}"), None);
}

fn redacted(body: &Value) -> Value {
    let mut examiner = redacting(&["credit_card", "email"]);
    examiner.body(body.to_string().as_bytes()).map_or(Value::Null, |body| serde_json::from_slice(&body).unwrap())
}

#[test]
fn what_is_split_over_the_parts_of_a_message_is_found() {
    let parts = |texts: &[&str]| {
        let parts: Vec<Value> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
        json!({ "messages": [{ "role": "user", "content": parts }] })
    };
    for (asked, sent) in [
        (&["my 4111 1111", "1111 1111 is it"][..], &["my [CARD_1]", " is it"][..]),
        (&["my 4111 1111 ", "1111 1111"], &["my [CARD_1]", "[CARD_1]"]),
        (&["411111111", "1111111."], &["[CARD_1]", "."]),
        (&["4111", "1111", "1111", "1111", "x"], &["[CARD_1]", "[CARD_1]", "[CARD_1]", "[CARD_1]", "x"]),
        (&["4", "11111111111111", "1"], &["[CARD_1]", "[CARD_1]", "[CARD_1]"]),
        (&["to ann@exam", "ple.com now"], &["to [EMAIL_1]", " now"]),
        (&["4111 1111 1111 1111", "4111 1111"], &["[CARD_1]", "4111 1111"]),
    ] {
        assert_eq!(redacted(&parts(asked)), parts(sent), "{asked:?}");
    }
    assert_eq!(redacted(&parts(&["4111 1111 is", "1111 1111"])), Value::Null);
    let gemini = json!({"contents": [{"parts": [{"text": "4111 1111"}, {"text": "1111 1111"}]}], "x": ["a", "b"]});
    assert_eq!(redacted(&gemini).pointer("/contents/0/parts/0/text"), Some(&json!("[CARD_1]")));
    let mut examiner = redacting(&["credit_card"]);
    examiner.body(parts(&["4111 1111", "1111 1111"]).to_string().as_bytes());
    let row: Value = serde_json::from_str(&examiner.report.row().unwrap()).unwrap();
    assert_eq!(row["found"].as_array().unwrap().len(), 1);
}

#[test]
fn many_small_parts_cost_no_more_than_a_long_text() {
    let places = |texts: &[&str]| {
        let parts: Vec<Value> = texts.iter().map(|text| json!({ "text": text })).collect();
        json!({ "content": parts }).to_string()
    };
    for texts in [vec![""; 4_000], vec!["a"; 4_000]] {
        let body = places(&texts);
        let (mut looks, mut bytes) = (0, 0);
        across::found(&places::places(body.as_bytes()), |text| {
            (looks, bytes) = (looks + 1, bytes + text.len());
            Vec::new()
        });
        assert!(looks <= 10 && bytes <= 20_000, "{looks} looks at {bytes} bytes");
    }
    // A number is found wherever the looks begin.
    for before in (0..2_600).step_by(13) {
        let filler = "x".repeat(before % 7 + 1) + " ";
        let mut texts = vec![filler.as_str(); before];
        texts.extend(["4111 11", "11 1111 ", "1111", " x"]);
        let body = json!({ "content": texts.iter().map(|text| json!({ "text": text })).collect::<Vec<_>>() });
        let told = redacted(&body);
        let at = |at: usize| told.pointer(&format!("/content/{}/text", before + at)).cloned();
        assert_eq!(at(0), Some(json!("[CARD_1]")), "{before}");
    }
}

#[test]
fn a_sign_of_an_escape_hides_nothing() {
    for text in ["LIKE '%4111111111111111%'", "100%4111 1111 1111 1111"] {
        assert_ne!(redacted(&json!({ "a": text })), Value::Null, "{text}");
    }
    let column = "Phone: 415-555-2671\n415-555-2672\n4111 1111 1111 1111";
    let found: Vec<Entry> = found(column).into_iter().map(|(entry, _)| entry).collect();
    assert_eq!(found, [Entry::Phone, Entry::Phone, Entry::CreditCard]);
}

#[test]
fn every_place_of_a_document_is_looked_at() {
    const CARD: &str = "4111 1111 1111 1111";
    for path in [
        "/prompt/variables/card",
        "/messages/0/content/0/source/data",
        "/tools/0/function/description",
        "/tools/0/input_schema/properties/card/enum/0",
        "/messages/0/content/0/input/deep/er",
        "/system/0/text",
        "/metadata/user_id",
    ] {
        let mut body = json!(CARD);
        for step in path.rsplit('/').filter(|step| !step.is_empty()) {
            body = if step == "0" { json!([body]) } else { json!({ step: body }) };
        }
        assert_eq!(redacted(&body).pointer(path), Some(&json!("[CARD_1]")), "{path}");
    }
    let read = |body: &str| {
        let mut examiner = redacting(&["credit_card", "email"]);
        let made = examiner.body(body.as_bytes()).map(|body| String::from_utf8(body).unwrap()).unwrap_or_default();
        assert!(!examiner.report.row().unwrap_or_default().contains("4111"), "{body}");
        made
    };
    let twice = format!("{{\"a\":\"x\",\"a\":\"{CARD}\",\"a\":4111111111111111}}");
    assert_eq!(read(&twice), r#"{"a":"x","a":"[CARD_1]","a":"[CARD_2]"}"#);
    assert_eq!(read(&format!("{{\"{CARD}\":{{\"mail\":\"a@b.co\"}}}}")), r#"{"[CARD_1]":{"mail":"[EMAIL_1]"}}"#);
    for number in
        ["4111111111111111", "4.111111111111111e15", "4111111111111111.0", "411111111111111.1E1", "-4111111111111111"]
    {
        assert_eq!(read(&format!("[{number}]")), r#"["[CARD_1]"]"#, "{number}");
    }
    assert_eq!(read("[4.111111111111111e14,4.111111111111111e99999,1.5e-7,4111111111111111.5]"), "");
    let address = json!({"url": "https://a.example/?c=4111%201111%201111%201111&d=1"});
    assert_eq!(redacted(&address), json!({"url": "https://a.example/?c=[CARD_1]&d=1"}));
    assert_eq!(read("c=4111%2D1111%2D1111%2D1111&m=a%40b.co"), "c=[CARD_1]&m=[EMAIL_1]");
}

#[test]
fn documents_on_lines_and_texts_of_forms_are_looked_at() {
    let lines = format!("{}\n\n{}\n", json!({"text": "a\n4111 1111 1111 1111"}), json!({"text": "b"}));
    let redacted = lines.replace("4111 1111 1111 1111", "[CARD_1]");
    let read = |body: &str, boundary: Option<&str>| {
        let Body { rewritten, is_read } = everything().read(body.as_bytes(), boundary);
        (rewritten.map(|body| String::from_utf8(body).unwrap()), is_read)
    };
    assert_eq!(read(&lines, None), (Some(redacted.clone()), true));
    let form = |content: &str| {
        format!(
            "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{content}\r\n--x--\r\n"
        )
    };
    assert_eq!(read(&form(&lines), Some("x")), (Some(form(&redacted)), true));
    assert_eq!(read(&form("nothing"), Some("x")), (None, true));
    assert_eq!(read("no form", Some("x")), (None, false));
    assert!(!everything().read(b"\xff\x00", None).is_read);
}

#[test]
fn what_blocks_is_kept_out_of_the_row_and_what_is_flagged_stays() {
    let policies = json!({"policies": [
        {"id": "stop", "action": "BLOCK", "profiles": ["credit_card"]}, {"id": "see", "action": "FLAG", "profiles": ["contact"]},
    ]});
    let dlp = Rc::new(Dlp::of(&policies).unwrap());
    let examine = |body: &[u8]| {
        let mut examiner = Examiner::new(Rc::clone(&dlp), Check::Response, Redactor::default(), Report::default());
        let body = examiner.body(body);
        (body.map(|body| String::from_utf8(body).unwrap()), examiner.is_blocked(), examiner.report.action())
    };
    assert_eq!(examine(b"[\"a@example.com\"]"), (None, false, Some("FLAG")));
    let both = examine(b"[\"a@example.com 4111111111111111\"]");
    assert_eq!(both, (Some("[\"a@example.com [CARD_1]\"]".to_owned()), true, Some("BLOCK")));
    assert_eq!(examine(b"[\"nothing\"]"), (None, false, None));
}

fn with_luhn(mut digits: Vec<u8>) -> Vec<u8> {
    digits.push(b'0');
    for check in b'0'..=b'9' {
        if let Some(last) = digits.last_mut() {
            *last = check;
        }
        if super::checks::luhn(&digits) {
            break;
        }
    }
    digits
}

proptest! {
    #[test]
    fn a_valid_card_is_found_however_it_is_written(
        body in proptest::collection::vec(b'0'..=b'9', 14),
        separator in proptest::sample::select(vec![
            "", " ", "-", ".", "\u{a0}", "\u{2009}", "\u{2007}", "\u{2011}", "\u{2012}", "\u{2013}", "/", "_", "\n", " - ", "+", "%20",
            "\u{200b}",
        ]),
        escaped in any::<bool>(),
        before in "[a-z ,:(]{0,8}[ ,:(]",
        after in "[ ,;)!?][a-z ]{0,8}",
    ) {
        let digits = with_luhn([b"4".to_vec(), body].concat());
        prop_assume!(super::checks::card(&digits));
        let text: Vec<String> = digits.chunks(4).map(|four| String::from_utf8_lossy(four).into_owned()).collect();
        let card = text.join(separator);
        let whole = format!("{before}{card}{after}");
        let quoted = match escaped {
            false => json!({ "text": whole }).to_string(),
            true => format!("{{\"text\":\"{}\"}}", whole.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>()),
        };
        let redacted = redacting(&["credit_card"]).body(quoted.as_bytes()).unwrap();
        let read: Value = serde_json::from_slice(&redacted).unwrap();
        let expected = format!("{before}[CARD_1]{after}");
        prop_assert_eq!(read["text"].as_str(), Some(expected.as_str()));
    }

    #[test]
    fn no_text_makes_a_detector_fail(text in "\\PC{0,300}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let all = find(&text, Wanted::all());
        for pair in all.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start);
        }
        for finding in &all {
            prop_assert!(text.get(finding.start..finding.end).is_some());
        }
        let _ = everything().body(&bytes);
    }
}
