use super::refused::{self, RefusalMessage};
use super::*;
use crate::http::refusal::Refusal;
use crate::limit::refused::{Reason, Refused};
use crate::logs::call::{Failure, Outcome};
use crate::proxy::session::terms::MAX_OPEN;
use crate::proxy::session::terms::Origin;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A connection whose responses are known by the order in which they began.
struct Session {
    ledger: Ledger<usize>,
    begun: usize,
    asked: Vec<Begun>,
    ended: Vec<(usize, Outcome, Option<String>)>,
    clock: u64,
}

impl Session {
    fn new(dialect: Dialect) -> Self {
        let mut ledger = Ledger::new(dialect, None, true);
        ledger.allow(MAX_HELD);
        Self { ledger, begun: 0, asked: Vec::new(), ended: Vec::new(), clock: 0 }
    }

    /// Sends a message of the client, which the limits let pass. True when it begins a response.
    fn client(&mut self, message: &Value) -> bool {
        self.raw(message.to_string().as_bytes())
    }

    fn raw(&mut self, message: &[u8]) -> bool {
        let Step::Begins(begun) = self.ledger.client(message) else { return false };
        if self.ledger.admits().is_err() {
            return false;
        }
        self.ledger.begin((*begun).clone(), self.begun, message);
        self.asked.push(*begun);
        self.begun += 1;
        true
    }

    fn server(&mut self, message: &Value) {
        self.heard(message.to_string().as_bytes());
    }

    fn heard(&mut self, message: &[u8]) {
        self.clock += 1;
        let (begun, asked) = (&mut self.begun, &mut self.asked);
        let ended = self.ledger.server(message, self.clock, |unasked| {
            asked.push(unasked.clone());
            *begun += 1;
            *begun - 1
        });
        self.ended.extend(ended.into_iter().map(|ended| (ended.work, ended.outcome, ended.request)));
    }

    fn close(&mut self, how: &Closed) {
        let ended = self.ledger.close(how);
        self.ended.extend(ended.into_iter().map(|ended| (ended.work, ended.outcome, ended.request)));
    }

    fn one(&mut self) -> (usize, Outcome, Option<String>) {
        assert_eq!(self.ended.len(), 1, "{:?}", self.ended);
        self.ended.remove(0)
    }
}

fn create(lane: Option<&str>) -> Value {
    json!({ "type": "response.create", "model": "gpt-4o", "input": "Hi", "stream_id": lane })
}

fn event(kind: &str, id: &str, lane: Option<&str>, used: u64) -> Value {
    let usage = (kind != "response.created").then(|| json!({ "input_tokens": used, "output_tokens": 1 }));
    let response = json!({
        "object": "response", "id": id, "model": "gpt-4o-2024-08-06", "usage": usage, "status": kind.trim_start_matches("response."),
        "output": [{ "type": "message", "content": [{ "type": "output_text", "text": id }] }],
    });
    json!({ "type": kind, "stream_id": lane, "response": response })
}

#[test]
fn a_path_tells_what_is_spoken_whoever_it_leads_to() {
    for (rest, wanted) in [
        ("responses", Some(Dialect::Responses)),
        ("v1/responses", Some(Dialect::Responses)),
        ("v1/responses/", Some(Dialect::Responses)),
        ("v1/%72esponses", Some(Dialect::Responses)),
        ("res/openai/v1/responses", Some(Dialect::Responses)),
        ("anything/responses", Some(Dialect::Responses)),
        ("realtime", Some(Dialect::Realtime)),
        ("res/openai/realtime", Some(Dialect::Realtime)),
        ("ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", Some(Dialect::Live)),
        ("ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent", Some(Dialect::Live)),
        (
            "ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained",
            Some(Dialect::Live),
        ),
        ("v1/convai/conversation", None),
        ("v1/listen", None),
        ("responses/resp_1", None),
        ("realtime/translations", None),
        ("", None),
    ] {
        assert_eq!(Dialect::of(rest), wanted, "{rest}");
    }
}

#[test]
fn what_begins_a_response_is_told_from_all_else() {
    for (message, wanted) in [
        (r#"{"type":"response.create","model":"m"}"#, true),
        (r#" {"model":"m","type" : "response.create"} "#, true),
        (r#"{"type":"response\u002ecreate"}"#, true),
        ("{\"type\":\"response.append\",\"input\":[]}", true),
        (r#"{"type":"response.create","type":"x"}"#, true),
        (r#"{"type":"x","type":"response.create"}"#, true),
        (r#"[{"type":"x"},{"type":"response.create"}]"#, true),
        ("\u{feff}{\"type\":\"response.create\"}", true),
        (r#"{"type":"response.cancel","response_id":"r"}"#, false),
        (r#"{"type":"x","text":"\"type\":\"response.create\""}"#, false),
        (r#"{"a":{"type":"response.create"}}"#, false),
        ("", false),
        ("hello", false),
        ("{", false),
        ("[]", false),
        ("5", false),
    ] {
        let step = Session::new(Dialect::Responses).ledger.client(message.as_bytes());
        assert_eq!(matches!(step, Step::Begins(_)), wanted, "{message}");
        assert_ne!(step, Step::Unreadable, "{message}");
    }
    let utf16: Vec<u8> = r#"{"type":"response.create"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(Session::new(Dialect::Responses).raw(&utf16));
}

#[test]
fn what_cannot_be_read_and_may_begin_a_response_is_told_apart() {
    let deep = format!(r#"{{"session":{}{},"type":"response.create"}}"#, "[".repeat(500), "]".repeat(500));
    for message in [
        r#"{"type":"response.create","temperature":NaN}"#,
        r#"{"type":"response.create",}"#,
        r#"{"type":"response\u002ecreate",}"#,
        r#"// {"type":"response.create"}"#,
        "{'type':'response.create'}",
        &deep,
    ] {
        let step = Session::new(Dialect::Responses).ledger.client(message.as_bytes());
        assert_eq!(step, Step::Unreadable, "{message}");
    }
    // What is deep where nothing matters is no hindrance.
    let deep = format!(r#"{{"input":{}{},"type":"response.create"}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(Session::new(Dialect::Responses).raw(deep.as_bytes()));
}

#[test]
fn a_response_says_in_the_end_what_it_used_and_how_it_ended() {
    for (kind, more, reason, error) in [
        ("response.completed", json!({}), Some("completed"), None),
        (
            "response.incomplete",
            json!({ "incomplete_details": { "reason": "max_output_tokens" } }),
            Some("max_output_tokens"),
            None,
        ),
        ("response.failed", json!({ "error": { "code": "x", "message": "broke" } }), Some("failed"), Some("broke")),
        ("response.cancelled", json!({}), Some("cancelled"), None),
        ("response.done", json!({ "status": "completed" }), Some("completed"), None),
    ] {
        let mut session = Session::new(Dialect::Responses);
        session.client(&create(None));
        session.server(&event("response.created", "resp_1", None, 0));
        let mut last = event(kind, "resp_1", None, 7);
        last["response"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        session.server(&last);
        let (work, outcome, request) = session.one();
        assert_eq!((work, outcome.status, request), (0, Some(200), None));
        let facts = outcome.facts;
        assert_eq!(
            (facts.usage.tokens_in, facts.finish_reason.as_deref(), facts.error.as_deref()),
            (Some(7), reason, error),
            "{kind}"
        );
        assert_eq!((facts.model.as_deref(), facts.response_id.as_deref()), (Some("gpt-4o-2024-08-06"), Some("resp_1")));
        let body: Value = serde_json::from_str(&outcome.body.unwrap()).unwrap();
        assert_eq!(body, last["response"]);
        // What comes afterwards is about nothing.
        session.server(&last);
        session.close(&Closed::ByClient);
        assert!(session.ended.is_empty());
    }
}

#[test]
fn a_response_that_is_not_told_as_a_whole_has_its_events_as_a_body() {
    let mut session = Session::new(Dialect::Responses);
    session.client(&create(None));
    session.server(&event("response.created", "resp_1", None, 0));
    session.server(&json!({ "type": "response.output_text.delta", "delta": "Hel" }));
    session.server(&json!({ "type": "codex.rate_limits" }));
    session.server(&json!({ "type": "response.output_text.delta", "delta": "lo" }));
    let mut last = event("response.completed", "resp_1", None, 7);
    last["response"]["output"] = json!([]);
    session.server(&last);
    let (_, outcome, _) = session.one();
    let body = outcome.body.unwrap();
    let read = crate::conversation::Conversation::read(None, Some(&body));
    assert_eq!((read.output(), body.matches("data: ").count()), (Some("Hello"), 4));
}

#[test]
fn a_connection_that_ends_ends_its_responses() {
    let provider = Closed::ByProvider { code: 1006, reason: String::new() };
    let broke = "the answer broke off: the provider closed the WebSocket with 1006";
    let never = "the connection ended before an answer: the provider closed the WebSocket with 1006";
    for (how, has_begun, status, failure) in [
        (Closed::ByClient, true, Some(200), Failure::ClientLeft),
        (Closed::ByClient, false, Some(499), Failure::ClientLeft),
        (provider.clone(), true, Some(200), Failure::Upstream(broke.to_owned())),
        (provider, false, None, Failure::Upstream(never.to_owned())),
    ] {
        let mut session = Session::new(Dialect::Responses);
        session.client(&create(None));
        if has_begun {
            session.server(&event("response.created", "resp_1", None, 0));
            // Usage that was told before the end counts.
            session.server(&event("response.in_progress", "resp_1", None, 5));
        }
        session.close(&how);
        let (_, outcome, _) = session.one();
        assert_eq!((outcome.status, outcome.failure), (status, Some(failure)));
        assert_eq!(outcome.facts.usage.tokens_in, has_begun.then_some(5));
        assert_eq!(outcome.facts.response_id.is_some(), has_begun);
    }
}

#[test]
fn errors_end_the_response_that_they_are_about() {
    let error = |more: Value| {
        let mut error = json!({ "type": "error", "error": { "message": "no", "code": "x" } });
        error.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        error
    };
    let mut session = Session::new(Dialect::Responses);
    session.client(&create(Some("a")));
    session.client(&create(Some("b")));
    session.client(&create(Some("a")));
    session.server(&event("response.created", "resp_1", Some("a"), 0));
    session.server(&error(json!({ "status": 404, "stream_id": "b" })));
    assert_eq!(session.one().1.status, Some(404));
    // The one that is under way tells of its own errors by its numbers; others were refused.
    session.server(&error(json!({ "status": 429, "stream_id": "a" })));
    let (work, outcome, _) = session.one();
    assert_eq!((work, outcome.status, outcome.facts.error.as_deref()), (2, Some(429), Some("no")));
    session.server(&error(json!({ "sequence_number": 4, "stream_id": "a" })));
    let (work, outcome, _) = session.one();
    assert_eq!((work, outcome.status), (0, Some(200)));
    session.server(&error(json!({ "status": 400 })));
    assert!(session.ended.is_empty());
}

#[test]
fn a_conversation_knows_its_models_and_what_was_said() {
    let mut session = Session::new(Dialect::Realtime);
    session.server(&json!({ "type": "session.created", "session": { "model": "gpt-realtime-2025-08-28", "audio": { "input": { "transcription": { "model": "whisper-1" } } } } }));
    let audio = "AAAA".repeat(100);
    session.client(&json!({ "type": "conversation.item.create", "item": { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "Hi" }, { "type": "input_audio", "audio": audio }] } }));
    assert!(
        session.client(&json!({ "type": "response.create", "event_id": "e", "response": { "instructions": "x" } }))
    );
    assert_eq!(session.asked[0].facts.model.as_deref(), Some("gpt-realtime-2025-08-28"));
    let response = |more: Value| {
        let mut response = json!({ "object": "realtime.response", "id": "resp_1" });
        response.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        response
    };
    session.server(&json!({ "type": "response.created", "response": response(json!({})) }));
    session.server(&json!({ "type": "conversation.item.input_audio_transcription.completed", "transcript": "Hello" }));
    let output = json!([{ "type": "message", "content": [{ "type": "output_audio", "transcript": "Good day" }] }]);
    let usage = json!({ "input_tokens": 9, "output_tokens": 3, "input_token_details": { "audio_tokens": 4, "cached_tokens": 2, "cached_tokens_details": { "audio_tokens": 1 } } });
    session.server(&json!({ "type": "response.done", "response": response(json!({ "status": "cancelled", "status_details": { "reason": "turn_detected" }, "output": output, "usage": usage })) }));
    let (_, outcome, request) = session.one();
    let facts = outcome.facts;
    assert_eq!(
        (facts.model.as_deref(), facts.finish_reason.as_deref(), facts.error),
        (Some("gpt-realtime-2025-08-28"), Some("turn_detected"), None)
    );
    assert_eq!((facts.usage.tokens_in, facts.usage.cached), (Some(9), Some(2)));
    let request = request.unwrap();
    assert!(!request.contains(&audio));
    let read = crate::conversation::Conversation::read(Some(&request), outcome.body.as_deref());
    assert_eq!((read.input().as_str(), read.output()), ("user: Hi\nuser: Hello", Some("Good day")));
}

#[test]
fn turns_are_told_with_what_both_said() {
    let mut session = Session::new(Dialect::Live);
    session.client(&json!({ "setup": { "model": "models/gemini-live" } }));
    assert!(session.client(&json!({ "realtimeInput": { "audio": { "data": "AAAA" } } })));
    assert!(!session.client(&json!({ "realtimeInput": { "audio": { "data": "AAAA" } } })));
    assert_eq!(
        (session.asked[0].facts.model.as_deref(), session.asked[0].origin),
        (Some("gemini-live"), Origin::Heard)
    );
    session.server(&json!({ "serverContent": { "inputTranscription": { "text": "What time" } } }));
    session.server(&json!({ "serverContent": { "inputTranscription": { "text": " is it?" } } }));
    session.server(&json!({ "serverContent": { "outputTranscription": { "text": "Noon" } } }));
    session.server(&json!({ "serverContent": { "interrupted": true } }));
    session.server(&json!({ "serverContent": { "turnComplete": true } }));
    assert!(session.ended.is_empty());
    // The next turn begins before the last one is counted.
    assert!(
        session.client(
            &json!({ "client_content": { "turns": [{ "parts": [{ "text": "More" }] }], "turn_complete": true } })
        )
    );
    session.server(&json!({ "usageMetadata": { "promptTokenCount": 5, "responseTokenCount": 2, "thoughtsTokenCount": 1, "totalTokenCount": 8 } }));
    let (work, outcome, request) = session.one();
    let facts = outcome.facts;
    assert_eq!((work, facts.usage.tokens_in, facts.usage.tokens_out), (0, Some(5), Some(3)));
    assert_eq!(facts.finish_reason.as_deref(), Some("interrupted"));
    let read = crate::conversation::Conversation::read(request.as_deref(), outcome.body.as_deref());
    assert_eq!((read.input().as_str(), read.output()), ("What time is it?", Some("Noon")));
    // A count that never comes is not waited for.
    session.server(
        &json!({ "serverContent": { "modelTurn": { "parts": [{ "text": "a", "thought": true }, { "text": "b" }] } } }),
    );
    session.server(&json!({ "serverContent": { "turnComplete": true } }));
    assert!(session.client(&json!({ "realtimeInput": { "text": "Again" } })));
    session.server(&json!({ "serverContent": { "modelTurn": { "parts": [{ "text": "c" }] } } }));
    let (work, outcome, _) = session.one();
    assert_eq!((work, outcome.facts.usage.tokens_in), (1, None));
    assert!(outcome.body.unwrap().contains(r#"{"text":"b"}"#));
    session.close(&Closed::ByClient);
    assert_eq!(session.one().1.failure, Some(Failure::ClientLeft));
}

#[test]
fn a_microphone_that_nobody_answers_leaves_nothing() {
    let mut session = Session::new(Dialect::Live);
    session.client(&json!({ "realtimeInput": { "audio": { "data": "AAAA" } } }));
    session.close(&Closed::ByClient);
    assert!(session.ended.is_empty());
}

#[test]
fn audio_is_left_out_wherever_it_stands() {
    let long = "QUJD".repeat(50);
    for (json, wanted) in [
        (
            format!(r#"{{"audio":"{long}","n":1.0}}"#),
            r#"{"audio":"(200 characters of audio are left out)","n":1.0}"#.to_owned(),
        ),
        (
            format!(r#"[{{"inlineData":{{"data" : "{long}"}}}}]"#),
            r#"[{"inlineData":{"data" : "(200 characters of audio are left out)"}}]"#.to_owned(),
        ),
        (
            format!(r#"{{"audio":{{"data":"{long}"}},"text":"{long}"}}"#),
            format!(r#"{{"audio":{{"data":"(200 characters of audio are left out)"}},"text":"{long}"}}"#),
        ),
        (
            r#"{"audio":"QUJD","data":"a text that is longer than any threshold, with blanks in it, and \"quotes\""}"#
                .to_owned(),
            r#"{"audio":"QUJD","data":"a text that is longer than any threshold, with blanks in it, and \"quotes\""}"#
                .to_owned(),
        ),
    ] {
        assert_eq!(body::without_audio(&json), wanted);
    }
}

#[test]
fn responses_are_bounded_and_the_oldest_of_a_provider_go() {
    let mut session = Session::new(Dialect::Responses);
    for _ in 0..MAX_OPEN {
        assert!(session.client(&create(None)));
    }
    assert!(!session.client(&create(None)));
    assert_eq!(session.ledger.admits().unwrap_err().status, 429);
    let mut session = Session::new(Dialect::Responses);
    for n in 0..3 * MAX_OPEN {
        session.server(&event("response.created", &n.to_string(), None, 0));
    }
    assert_eq!(session.ended.len(), 2 * MAX_OPEN);
    session.close(&Closed::ByClient);
    assert_eq!(session.ended.len(), 3 * MAX_OPEN);
}

#[test]
fn long_messages_are_read_like_short_ones() {
    let long = "words ".repeat(100_000);
    let mut session = Session::new(Dialect::Responses);
    for before in [true, false] {
        let (first, last) = if before { (long.as_str(), "") } else { ("", long.as_str()) };
        let message = format!(
            r#"{{"input":{},"type":"response.create","model":"gpt-4o","max_output_tokens":7,"instructions":{}}}"#,
            json!(first),
            json!(last)
        );
        assert!(session.raw(message.as_bytes()));
        // With line breaks, and between them.
        assert!(session.raw(message.replace(',', ",\n").as_bytes()));
    }
    assert!(session.asked.iter().all(|begun| begun.facts.model.as_deref() == Some("gpt-4o")));
    assert!(session.asked.iter().all(|begun| begun.facts.max_tokens == Some(7) && begun.facts.unread.is_none()));
    // A text that has a line break in it has no other end than its own.
    let message = format!("{{\"a\":\"{}\n\",\"type\":\"response.create\"}}", "x".repeat(100_000));
    assert_eq!(session.ledger.client(message.as_bytes()), Step::Unreadable);
    session.server(&event("response.created", "resp_1", None, 0));
    let mut last = event("response.completed", "resp_1", None, 7);
    last["response"]["output"][0]["content"][0]["text"] = json!(long);
    session.server(&last);
    let (_, outcome, _) = session.one();
    assert_eq!((outcome.facts.usage.tokens_in, outcome.body), (Some(7), Some(last["response"].to_string())));
}

#[test]
fn what_comes_piece_by_piece_is_bounded() {
    let mut session = Session::new(Dialect::Responses);
    session.ledger.allow(1_000);
    session.client(&create(None));
    session.server(&event("response.created", "resp_1", None, 0));
    for _ in 0..1_000 {
        session.server(&json!({ "type": "response.output_text.delta", "delta": "x".repeat(50) }));
    }
    assert!((300..=1_000).contains(&session.ledger.held()), "{}", session.ledger.held());
    session.close(&Closed::ByClient);
    assert_eq!((session.one().1.size > Some(50_000), session.ledger.held()), (true, 0));
}

#[test]
fn a_client_is_told_in_its_providers_words() {
    let reason = Reason::Spend { exceeded: "m".to_owned(), wait: 60 };
    let headers = vec![("retry-after", "60".to_owned())];
    let refusal = Refusal::from(Refused { reason, headers, is_final: false });
    let refusal = refusal.with(|refusal| "Spend limit exceeded".clone_into(&mut refusal.description));
    let begun = Begun { lane: Some("a".to_owned()), event_id: Some("e".to_owned()), ..Begun::default() };
    let message = |dialect| match refused::refusal_message(dialect, &refusal, &begun) {
        RefusalMessage::Message(message) => serde_json::from_str::<Value>(&message).unwrap(),
        told => panic!("{told:?}"),
    };
    let error = json!({ "type": "insufficient_quota", "code": "insufficient_quota", "message": "Spend limit exceeded", "param": null, "headers": { "retry-after": "60" } });
    assert_eq!(
        message(Dialect::Responses),
        json!({ "type": "error", "status": 429, "headers": { "retry-after": "60" }, "error": error, "stream_id": "a" })
    );
    assert_eq!(message(Dialect::Realtime)["error"]["event_id"], "e");
    let long = Refusal::rate_limited("é".repeat(200));
    let RefusalMessage::Close { code, reason } = refused::refusal_message(Dialect::Live, &long, &begun) else {
        panic!()
    };
    assert_eq!((code, reason.len()), (1008, 122));
}

proptest! {
    /// Whatever the order in which lanes go on, each response ends once, with its own figures.
    #[test]
    fn lanes_may_go_on_in_any_order(
        lanes in prop::collection::vec(0usize..6, 1..40),
        order in prop::collection::vec(any::<prop::sample::Index>(), 200),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut session = Session::new(Dialect::Responses);
        for lane in &lanes {
            session.client(&create(Some(&lane.to_string())));
        }
        // The events of each lane are in order; the lanes are mixed.
        let mut queues: Vec<std::collections::VecDeque<Value>> = vec![Default::default(); 6];
        for (n, lane) in lanes.iter().enumerate() {
            let (id, name) = (format!("resp_{n}"), lane.to_string());
            queues[*lane].push_back(event("response.created", &id, Some(&name), 0));
            queues[*lane].push_back(json!({ "type": "response.output_text.delta", "delta": "x", "stream_id": name }));
            queues[*lane].push_back(event("response.completed", &id, Some(&name), n as u64));
        }
        let mut order = order.into_iter().cycle();
        let all = lanes.len() * 3;
        let stop = cut.index(all + 1);
        for sent in 0..all {
            if sent == stop {
                break;
            }
            let left: Vec<usize> = (0..6).filter(|lane| !queues[*lane].is_empty()).collect();
            let lane = left[order.next().unwrap().index(left.len())];
            let event = queues[lane].pop_front().unwrap();
            session.server(&event);
        }
        let told = session.ended.len();
        session.close(&Closed::ByClient);
        let mut works: Vec<usize> = session.ended.iter().map(|(work, ..)| *work).collect();
        for (n, (work, outcome, _)) in session.ended.iter().enumerate() {
            if n < told {
                prop_assert_eq!(outcome.facts.usage.tokens_in, Some(*work as u64));
                prop_assert_eq!(outcome.facts.response_id.clone(), Some(format!("resp_{work}")));
            } else {
                prop_assert_eq!(outcome.failure.clone(), Some(Failure::ClientLeft));
            }
        }
        works.sort_unstable();
        prop_assert_eq!(works, (0..lanes.len()).collect::<Vec<_>>());
    }

    /// Nothing that either side sends does harm, and what has begun ends once, however mixed up it is told.
    #[test]
    fn any_messages_are_read_without_harm(messages in prop::collection::vec((any::<bool>(), message()), 0..60)) {
        for dialect in [Dialect::Responses, Dialect::Realtime, Dialect::Live] {
            let mut session = Session::new(dialect);
            for (by_client, message) in &messages {
                if *by_client { session.raw(message); } else { session.heard(message) }
            }
            session.close(&Closed::ByClient);
            let mut works: Vec<usize> = session.ended.iter().map(|(work, ..)| *work).collect();
            let all = works.len();
            works.sort_unstable();
            works.dedup();
            prop_assert_eq!(works.len(), all);
            prop_assert!(all <= session.begun);
        }
    }

    #[test]
    fn json_without_audio_is_json(value in json_value()) {
        let text = value.to_string();
        let kept = body::without_audio(&text);
        prop_assert!(serde_json::from_str::<Value>(&kept).is_ok(), "{} {}", text, kept);
    }
}

/// Messages as either side sends them, some of them cut off.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec![
        "response.create",
        "response.steer",
        "response.created",
        "response.completed",
        "response.done",
        "response.failed",
        "response.output_text.delta",
        "response.steer.failed",
        "error",
        "session.created",
        "session.update",
        "conversation.item.create",
        "conversation.item.input_audio_transcription.completed",
    ]);
    let id = prop::sample::select(vec![Value::Null, json!("a"), json!("b"), json!(5)]);
    let typed = (kinds, id.clone(), id.clone(), id).prop_map(|(kind, id, lane, parent)| {
        let response = json!({ "id": id, "previous_response_id": parent, "usage": { "input_tokens": 1 } });
        json!({
            "type": kind, "stream_id": lane, "previous_response_id": parent, "response": response, "response_id": id,
            "error": { "message": "no", "event_id": id }, "event_id": lane, "item": {}, "transcript": "t", "usage": {},
            "steer": { "previous_response_id": parent }, "session": { "model": id },
        })
    });
    let live = prop::sample::select(vec![
        json!({ "setup": { "model": "models/m" } }),
        json!({ "clientContent": { "turns": [] } }),
        json!({ "realtimeInput": { "text": "x" } }),
        json!({ "realtimeInput": {} }),
        json!({ "toolResponse": {} }),
        json!({ "serverContent": { "turnComplete": true } }),
        json!({ "serverContent": { "modelTurn": { "parts": [{ "text": "x" }] } } }),
        json!({ "toolCall": { "functionCalls": [{}] } }),
        json!({ "usageMetadata": { "promptTokenCount": 1 } }),
        json!({ "serverContent": 5, "usageMetadata": [] }),
    ]);
    let whole = prop_oneof![typed, live];
    (whole, any::<prop::sample::Index>(), prop::bool::weighted(0.1)).prop_map(|(value, at, is_cut)| {
        let text = value.to_string().into_bytes();
        let end = if is_cut { at.index(text.len()) } else { text.len() };
        text[..end].to_vec()
    })
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        "[A-Za-z+/\\\\\"]{0,90}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let name = prop::sample::select(vec!["audio", "data", "text", "a\"b"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..4).prop_map(|pairs| {
                Value::Object(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}
