//! However a provider's bytes are cut into blocks, the client gets the same.

use super::blocks::Blocks;
use crate::translate::Format;
use crate::translate::property_tests::{Sent, answers, back, sent};
use crate::wire::Framing;
use crate::wire::eventstream::tests::frame;
use proptest::prelude::*;

const PROVIDERS: [Format; 5] = [Format::Chat, Format::Responses, Format::Messages, Format::Gemini, Format::Converse];

fn bytes(provider: Format, events: &Sent, end: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for (name, data) in events {
        if provider == Format::Converse {
            all.extend(frame(&[(":message-type", "event"), (":event-type", name)], data.to_string().as_bytes()));
        } else {
            let name = if name.is_empty() { String::new() } else { format!("event: {name}{end}") };
            all.extend(format!(": still here{end}{end}{name}data: {data}{end}{end}").bytes());
        }
    }
    if provider == Format::Chat {
        all.extend(format!("data: [DONE]{end}{end}").bytes());
    }
    all
}

fn given(caller: Format, provider: Format, blocks: &[&[u8]]) -> String {
    let framing = if provider == Format::Converse { Framing::AwsEventStream } else { Framing::Sse };
    let (mut all, mut out) = (Blocks::new(back(caller, provider), framing), String::new());
    for block in blocks {
        all.push(block, &mut out);
    }
    all.end(&mut out);
    out
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same(
        answer in answers(),
        which in 0usize..5,
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let provider = PROVIDERS[which];
        let caller = if provider == Format::Messages { Format::Responses } else { Format::Messages };
        let whole = bytes(provider, &sent(provider, &answer), end);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
        places.extend([0, whole.len()]);
        places.sort_unstable();
        let blocks: Vec<&[u8]> = places.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
        let all_at_once = given(caller, provider, &[&whole]);
        prop_assert_eq!(given(caller, provider, &blocks), all_at_once.clone());
        let single: Vec<&[u8]> = whole.chunks(1).collect();
        prop_assert_eq!(given(caller, provider, &single), all_at_once.clone());
        prop_assert!(!all_at_once.contains("broke off"), "{}", all_at_once);
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_but_behind_its_end_fails(answer in answers(), which in 0usize..5, cut in any::<prop::sample::Index>()) {
        let provider = PROVIDERS[which];
        let caller = if provider == Format::Messages { Format::Chat } else { Format::Messages };
        let events = sent(provider, &answer);
        let first: Sent = events.iter().take(events.len().saturating_sub(3)).cloned().collect();
        let bytes = bytes(if provider == Format::Chat { Format::Gemini } else { provider }, &first, "\n");
        let cut = cut.index(bytes.len() + 1);
        let given = given(caller, provider, &[&bytes[..cut]]);
        prop_assert!(given.contains("error") && !given.contains("message_stop") && !given.contains("[DONE]"), "{}", given);
    }
}

#[test]
fn an_error_frame_of_amazons_is_an_error() {
    let begun = frame(&[(":message-type", "event"), (":event-type", "messageStart")], br#"{"role":"assistant"}"#);
    let error = frame(&[(":message-type", "error"), (":error-code", "busy"), (":error-message", "try later")], b"");
    let given = given(Format::Messages, Format::Converse, &[&begun, &error]);
    assert!(given.contains("event: error") && given.contains("try later"), "{given}");
}

#[test]
fn an_event_that_is_no_json_fails_the_answer() {
    let begun = "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let whole =
        |part: &str| given(Format::Messages, Format::Chat, &[begun.as_bytes(), part.as_bytes(), end.as_bytes()]);
    for lost in ["data: {\"choices\":[{\"ind\n\n", "data: oops\n\n", "data: \u{0}\n\n"] {
        let given = whole(lost);
        assert!(given.contains("is no JSON") && !given.contains("message_stop"), "{lost:?}: {given}");
    }
    // Signs of life are no events.
    for sign in ["data:\n\n", ": OPENROUTER PROCESSING\n\n", "event: ping\n\n"] {
        assert!(whole(sign).contains("message_stop"), "{sign:?}");
    }
}

#[test]
fn a_sign_of_life_is_of_the_callers_format_and_comes_within_the_answer_only() {
    for (caller, wanted) in
        [(Format::Messages, "event: ping\ndata: {\"type\": \"ping\"}\n\n"), (Format::Responses, ": ping\n\n")]
    {
        let (mut blocks, mut out) = (Blocks::new(back(caller, Format::Gemini), Framing::Sse), String::new());
        blocks.ping(&mut out);
        assert_eq!(out, "");
        blocks.push(b"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n", &mut out);
        out.clear();
        blocks.ping(&mut out);
        assert_eq!(out, wanted);
        blocks.end(&mut out);
        out.clear();
        blocks.ping(&mut out);
        assert_eq!(out, "");
    }
}
