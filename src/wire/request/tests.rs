use super::*;
use proptest::prelude::*;

fn json(body: &str) -> RequestFacts {
    read_request(Some("application/json; charset=utf-8"), body.as_bytes())
}

fn models(facts: RequestFacts) -> Vec<String> {
    facts.model.into_iter().chain(facts.others).collect()
}

#[test]
fn the_model_of_a_json_body_is_found() {
    let facts = json(
        r#"{"messages":[{"role":"user","content":"\"model\":\"x\"","model":"y"}],"model":"gpt-4o","stream":true}"#,
    );
    let asked = Pieces { has_messages: true, ..Pieces::default() };
    let wanted = RequestFacts { model: Some("gpt-4o".to_owned()), stream: true, asked, ..RequestFacts::default() };
    assert_eq!(RequestFacts { said: Said::default(), ..facts }, wanted);
    assert_eq!(json(r#"{"model_id":"eleven_v3"}"#).model.as_deref(), Some("eleven_v3"));
    for none in [r#"{"model":null}"#, "", "{}", r#"{"model":" "}"#, r#"{"version":5}"#] {
        assert_eq!(json(none), RequestFacts::default(), "{none}");
    }
}

#[test]
fn what_is_no_model_as_everybody_reads_it_is_said() {
    let deep = format!(r#"{{"a":{}1{},"model":"m"}}"#, "[".repeat(9_000), "]".repeat(9_000));
    assert_eq!((json(&deep).model.as_deref(), json(&deep).unread), (Some("m"), None));
    for (body, found, why) in [
        (r#"{"model":5}"#, &[][..], NO_TEXT),
        (r#"{"model":["gpt-4o"]}"#, &["gpt-4o"], NO_TEXT),
        (r#"{"model":{"id":"gpt-4o","x":[1,["b"]]}}"#, &["b", "gpt-4o"], NO_TEXT),
        (r#"["model"]"#, &[], NO_JSON),
        (r#"[{"model":"a"}]"#, &["a"], NO_JSON),
        ("model", &[], NO_JSON),
        (r#"{"model":"gpt"#, &[], NO_JSON),
        (r#"{"model":"a",}"#, &["a"], NO_JSON),
        (
            r#"{/* x */ "model" /* "b" */ : // y
            "a"}"#,
            &["a"],
            NO_JSON,
        ),
        (r#"{model:'a'}"#, &["a"], NO_JSON),
        (r#"{"temperature":NaN,"model":"a"}"#, &["a"], NO_JSON),
        (r#"{"model":"a"} {"model":"b"}"#, &["a", "b"], FOLLOWED),
        (&"[".repeat(10_000), &[], NO_JSON),
    ] {
        let facts = json(body);
        assert_eq!(facts.unread, Some(why), "{body}");
        assert_eq!(models(facts), found, "{body}");
    }
}

#[test]
fn models_of_tools_are_kept_apart() {
    let of = |tools: &str| json(&format!(r#"{{"model":"gpt-5","tools":{tools}}}"#));
    for (tools, found) in [
        (
            r#"[{"type":"image_generation","model":"gpt-image-1"},{"type":"advisor","model":"big"}]"#,
            &["gpt-image-1", "big"][..],
        ),
        (r#"[{"m\u006fdel":"a","model":"b","version":"c"}]"#, &["a", "b"]),
        (r#"[{"type":"function","name":"f","parameters":{"properties":{"model":{"type":"string"}}}}]"#, &[]),
        (r#"{"model":"a"}"#, &["a"]),
        (r#"[null,5,"x",[{"model":"a"}]]"#, &["a"]),
        ("null", &[]),
    ] {
        let facts = of(tools);
        assert_eq!((facts.model.as_deref(), facts.unread), (Some("gpt-5"), None), "{tools}");
        assert_eq!(facts.tools, found, "{tools}");
    }
    let many = of(&format!("[{}]", vec![r#"{"model":"a"}"#; 40].join(",")));
    assert_eq!((many.unread, many.tools.len()), (Some(TOO_MANY), MAX_NAMES));
    // A tool's model is not that of the request.
    // A session and a request within have tools of their own.
    for body in [
        r#"{"session":{"model":"gpt-realtime","tools":[{"type":"x","model":"a"}]}}"#,
        r#"{"requests":[{"model":"gpt-5","tools":[{"model":"a"}]}]}"#,
        r#"{"model":"gpt-5","tools":[{"type":"x","tools":[{"model":"a"}]}]}"#,
    ] {
        assert_eq!(json(body).tools, ["a"], "{body}");
    }
    let deep = format!("{}1{}", r#"{"tools":["#.repeat(60), "]}".repeat(60));
    assert!(json(&deep).tools.is_empty());
    assert_eq!(json(r#"{"tools":[{"model":"a"}]}"#).model, None);
}

#[test]
fn every_name_that_a_provider_may_go_by_is_kept() {
    for (body, found) in [
        (r#"{"model":"a","model":"b"}"#, &["b", "a"][..]),
        (r#"{"m\u006fdel":"a"}"#, &["a"]),
        (r#"{"model":"gpt\u002d4o"}"#, &["gpt-4o"]),
        (r#"{"model":" gpt-4o\t\u0000"}"#, &["gpt-4o"]),
        (r#"{"model_id":"cheap","model":"a"}"#, &["a", "cheap"]),
        (r#"{"Model":"dear","model":"a"}"#, &["a", "dear"]),
        (r#"{"model":"a","models":["b","c"]}"#, &["a", "b", "c"]),
        (r#"{"session":{"type":"realtime","model":"a"}}"#, &["a"]),
        (r#"{"requests":[{"model":"a"},{"model":"b"}]}"#, &["b", "a"]),
        (r#"{"grader":{"deep":[{"model":"a"}]}}"#, &["a"]),
    ] {
        let facts = json(body);
        assert_eq!(facts.unread, None, "{body}");
        assert_eq!(models(facts), found, "{body}");
    }
    let many = json(&format!("{{{}}}", (0..100).map(|n| format!("\"model\":\"{n}\"")).collect::<Vec<_>>().join(",")));
    assert_eq!((many.unread, many.others.len()), (Some(TOO_MANY), MAX_NAMES - 1));
}

#[test]
fn a_body_is_read_in_every_encoding_of_unicode_and_with_what_surrounds_it() {
    let text = r#"{"model":"gpt-4o","x":"é😀"}"#;
    let wide = |little: bool| -> Vec<u8> {
        text.encode_utf16().flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    };
    let wider = |little: bool| -> Vec<u8> {
        text.chars()
            .flat_map(|char| if little { (char as u32).to_le_bytes() } else { (char as u32).to_be_bytes() })
            .collect()
    };
    for body in [
        [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        [text.as_bytes(), b"\0\0 \n"].concat(),
        [b"\x1e", text.as_bytes(), b"\xef\xbb\xbf"].concat(),
        [b"\xff\xfe".to_vec(), wide(true)].concat(),
        [b"\xfe\xff".to_vec(), wide(false)].concat(),
        wide(true),
        wide(false),
        [b"\xff\xfe\0\0".to_vec(), wider(true)].concat(),
        [b"\0\0\xfe\xff".to_vec(), wider(false)].concat(),
        wider(true),
        wider(false),
    ] {
        // Whatever the content type says, or where there is none.
        for kind in [
            None,
            Some("application/json"),
            Some("text/plain"),
            Some("application/octet-stream"),
            Some("multipart/form-data; boundary=x"),
        ] {
            let facts = read_request(kind, &body);
            assert_eq!(facts.model.or(facts.others.first().cloned()).as_deref(), Some("gpt-4o"), "{kind:?} {body:?}");
        }
    }
}

#[test]
fn the_bound_of_an_answer_is_found_in_every_dialect() {
    for body in [
        r#"{"max_tokens":7}"#,
        r#"{"max_completion_tokens":7,"messages":[{"max_tokens":9}]}"#,
        r#"{"max_output_tokens":7}"#,
        r#"{"generationConfig":{"maxOutputTokens":7}}"#,
        r#"{"inferenceConfig":{"maxTokens":7}}"#,
    ] {
        assert_eq!(json(body).max_tokens, Some(7), "{body}");
    }
    for odd in [r#"{"max_tokens":"7"}"#, r#"{"max_tokens":-1}"#, r#"{"max_tokens":null}"#, "{}"] {
        assert_eq!(json(odd).max_tokens, None, "{odd}");
    }
}

#[test]
fn the_model_of_a_form_is_found_and_a_file_does_not_fool() {
    let body = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nname=\"model\"\r\n\r\nfake\r\n\
        --XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--XX\r\ncontent-disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--XX--\r\n";
    let wanted = RequestFacts { model: Some("whisper-1".to_owned()), stream: true, ..RequestFacts::default() };
    for kind in
        ["multipart/form-data; boundary=XX", "multipart/form-data; boundary=\"XX\"", "application/json", "text/plain"]
    {
        assert_eq!(read_request(Some(kind), body.as_bytes()), wanted, "{kind}");
    }
    for cut in 0..body.len() {
        let facts = read_request(Some("multipart/form-data; boundary=XX"), &body.as_bytes()[..cut]);
        assert!(facts.model.is_none_or(|model| model == "whisper-1"));
    }
    let encoded = read_request(Some("application/x-www-form-urlencoded"), b"model=whisper%2D1&stream=true");
    assert_eq!(encoded, wanted);
}

#[test]
fn a_long_body_is_read_piece_by_piece() {
    let image = "x".repeat(3_000_000);
    let text = format!(r#"{{"messages":[{{"content":"{image}"}}],"model":"gpt-4o","stream":true,"max_tokens":7}}"#);
    let mut scanner = Scanner::new(None);
    text.as_bytes().chunks(100_000).for_each(|piece| scanner.push(piece));
    let asked = Pieces { has_messages: true, ..Pieces::default() };
    let wanted = RequestFacts {
        model: Some("gpt-4o".to_owned()),
        stream: true,
        max_tokens: Some(7),
        asked,
        ..RequestFacts::default()
    };
    assert_eq!(RequestFacts { said: Said::default(), ..scanner.finish() }, wanted);
    let numbers = format!(r#"{{"model":"a","x":[{}1]}}"#, "1,".repeat(3_000_000));
    let mut scanner = Scanner::new(Some("text/plain"));
    numbers.as_bytes().chunks(100_000).for_each(|piece| scanner.push(piece));
    let facts = scanner.finish();
    assert_eq!((facts.model.as_deref(), facts.unread), (Some("a"), Some(TOO_LONG)));
    let mut audio = Scanner::new(Some("audio/wav"));
    audio.push(b"RIFF....");
    assert_eq!(audio.finish(), RequestFacts::default());
    let beginning = read_beginning(None, br#"{"model":"a","x":"#);
    assert_eq!((beginning.model.as_deref(), beginning.unread), (Some("a"), Some(TOO_LONG)));
}

proptest! {
    #[test]
    fn any_body_is_read_without_harm(body in prop::collection::vec(any::<u8>(), 0..200), kind in "\\PC{0,40}") {
        let _ = (read_request(Some(&kind), &body), read_beginning(Some(&kind), &body));
        let _ = read_request(Some("multipart/form-data; boundary=a"), &body);
        let mut scanner = Scanner::new(Some(&kind));
        body.chunks(9).for_each(|piece| scanner.push(piece));
        let _ = scanner.finish();
    }

    #[test]
    fn pieces_change_nothing(name in "[a-z\\\\\"é]{1,9}", size in 1usize..9) {
        let body = serde_json::json!({ "x": [name], "model": name }).to_string();
        let mut scanner = Scanner::new(None);
        body.as_bytes().chunks(size).for_each(|piece| scanner.push(piece));
        prop_assert_eq!(scanner.finish(), read_request(None, body.as_bytes()));
    }
}

#[test]
fn what_is_asked_for_by_number_is_found_in_json_and_forms() {
    let picture = Picture { size: Some((1024, 1792)), quality: Some(Quality::Hd) };
    let wanted = Pieces { picture, images: Some(2), ..Pieces::default() };
    let body = r#"{"model":"dall-e-3","prompt":"x","n":2,"size":"1024x1792","quality":"hd"}"#;
    assert_eq!(json(body).asked, wanted);
    let field =
        |name: &str, value: &str| format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let form = [("model", "dall-e-2"), ("size", "1024x1792"), ("quality", "hd"), ("n", "2")]
        .map(|(name, value)| field(name, value));
    let facts =
        read_request(Some("multipart/form-data; boundary=XX"), format!("{}--XX--\r\n", form.concat()).as_bytes());
    assert_eq!((facts.asked, facts.model.as_deref(), facts.others.len()), (wanted, Some("dall-e-2"), 0));
    assert_eq!(json(r#"{"image_size":{"width":1920,"height":1080}}"#).asked.picture.size, Some((1920, 1080)));
    assert_eq!(json(r#"{"model":"tts-1","input":"Zwölf 🥚"}"#).asked.characters, Some(7));
    assert_eq!(json(r#"{"model_id":"eleven_v3","text":"h\u00e9"}"#).asked.characters, Some(2));
    for odd in [r#"{"input":["a"],"n":-1,"size":5,"quality":{}}"#, r#"{"input":null,"size":"auto","quality":"auto"}"#] {
        assert_eq!(json(odd).asked, Pieces::default(), "{odd}");
    }
}
