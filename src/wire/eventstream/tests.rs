use super::*;
use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use aws_smithy_types::{DateTime, str_bytes::StrBytes};
use proptest::prelude::*;

/// A frame as Amazon sends it.
pub fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let header = |(name, value): &(&str, &str)| Header::new((*name).to_owned(), text(value));
    encoded(&Message::new_from_parts(headers.iter().map(header).collect(), payload.to_vec()))
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_message_to(message, &mut bytes).unwrap();
    bytes
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::String(StrBytes::from(value.to_owned()))
}

#[test]
fn frames_are_found_and_exceptions_told_apart() {
    let mut body = frame(&[(":event-type", "chunk"), (":message-type", "event")], b"{\"a\":1}");
    body.extend(frame(&[(":message-type", "exception")], b"{\"message\":\"slow down\"}"));
    body.extend(frame(&[(":error-code", "busy"), (":error-message", "try later"), (":message-type", "error")], b""));
    let frames: Vec<_> = Frames::new(&body).collect();
    assert_eq!(
        frames,
        [
            Frame { payload: b"{\"a\":1}", event: b"chunk", exception: None },
            Frame { payload: b"{\"message\":\"slow down\"}", event: b"", exception: Some(b"exception") },
            Frame { payload: b"", event: b"", exception: Some(b"try later") },
        ]
    );
    let lines = "{\"chunk\":{\"a\":1}}\n{\"exception\":{\"message\":\"slow down\"}}\n{\"try later\":null}\n";
    assert_eq!(super::lines(&body), lines);
}

#[test]
fn a_body_cut_at_any_byte_yields_the_frames_before_the_cut() {
    let mut body = Vec::new();
    for payload in ["{}", "{\"text\":\"é😀\"}", "{\"usage\":{}}"] {
        body.extend(frame(&[(":event-type", "x")], payload.as_bytes()));
    }
    let whole: Vec<_> = Frames::new(&body).collect();
    assert_eq!(whole.len(), 3);
    for cut in 0..=body.len() {
        let seen: Vec<_> = Frames::new(&body[..cut]).collect();
        assert_eq!(seen, whole[..seen.len()], "cut at {cut}");
    }
}

#[test]
fn a_wrapped_payload_is_unwrapped() {
    assert_eq!(unwrapped(br#"{"bytes":"eyJhIjoxfQ==","p":"abc"}"#).as_deref(), Some(b"{\"a\":1}".as_slice()));
    assert_eq!(unwrapped(br#"{"usage":{}}"#), None);
    assert_eq!(unwrapped(br#"{"bytes":"***"}"#), None);
}

/// A header that says nothing to us, of every type there is.
fn other_header() -> impl Strategy<Value = Header> {
    let value = prop_oneof![
        any::<bool>().prop_map(HeaderValue::Bool),
        any::<i8>().prop_map(HeaderValue::Byte),
        any::<i16>().prop_map(HeaderValue::Int16),
        any::<i32>().prop_map(HeaderValue::Int32),
        any::<i64>().prop_map(HeaderValue::Int64),
        any::<u128>().prop_map(HeaderValue::Uuid),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| HeaderValue::ByteArray(bytes.into())),
        any::<i32>().prop_map(|second| HeaderValue::Timestamp(DateTime::from_secs(second.into()))),
        "\\PC{0,40}".prop_map(|value| text(&value)),
    ];
    ("[a-z-]{1,40}", value).prop_map(|(name, value)| Header::new(name, value))
}

/// A message, and what is to be read of it.
fn message() -> impl Strategy<Value = (Message, Vec<u8>, String, Option<String>)> {
    let others = || prop::collection::vec(other_header(), 0..4);
    let parts = (
        others(),
        others(),
        "[a-zA-Z]{0,30}",
        prop::option::of("\\PC{0,30}"),
        prop::collection::vec(any::<u8>(), 0..400),
    );
    parts.prop_map(|(before, behind, event, failure, payload)| {
        let mut headers = before;
        headers.push(Header::new(":event-type", text(&event)));
        headers.extend(behind);
        match &failure {
            Some(name) => headers
                .extend([Header::new(":exception-type", text(name)), Header::new(":message-type", text("exception"))]),
            None => headers.push(Header::new(":message-type", text("event"))),
        }
        (Message::new_from_parts(headers, payload.clone()), payload, event, failure)
    })
}

proptest! {
    #[test]
    fn what_amazon_encodes_is_read_up_to_any_cut(all in prop::collection::vec(message(), 1..4), cut in any::<prop::sample::Index>()) {
        let wanted: Vec<Frame<'_>> = all
            .iter()
            .map(|(_, payload, event, failure)| Frame {
                payload,
                event: event.as_bytes(),
                exception: failure.as_ref().map(String::as_bytes),
            })
            .collect();
        let mut ends = vec![0];
        let mut body = Vec::new();
        for (message, ..) in &all {
            let bytes = encoded(message);
            prop_assert_eq!(length(&bytes), Some(bytes.len()));
            body.extend(bytes);
            ends.push(body.len());
        }
        for cut in [cut.index(body.len()), body.len()] {
            let mut frames = Frames::new(&body[..cut]);
            let seen: Vec<Frame<'_>> = frames.by_ref().collect();
            prop_assert_eq!(seen.len(), ends.iter().filter(|end| **end <= cut).count() - 1);
            prop_assert_eq!(&seen[..], &wanted[..seen.len()]);
            prop_assert_eq!(frames.is_at_end(), ends.contains(&cut));
        }
    }

    /// Amazon's reader refuses a frame of which one byte is another; ours reads its payload where the lengths still fit, since a
    /// checksum says nothing that TLS has not said.
    #[test]
    fn a_wrong_checksum_costs_no_frame((message, payload, ..) in message(), wrong in 1u8.., of_prelude in any::<bool>(), at in 0usize..4) {
        let mut body = encoded(&message);
        let whole = body.len();
        let at = if of_prelude { PRELUDE - CHECKSUM } else { whole - CHECKSUM } + at;
        body[at] ^= wrong;
        body.extend(encoded(&message));
        prop_assert!(read_message_from(&mut &body[..whole]).is_err());
        let seen: Vec<&[u8]> = Frames::new(&body).map(|frame| frame.payload).collect();
        prop_assert_eq!(seen, [&payload[..], &payload[..]]);
    }

    #[test]
    fn whatever_amazon_reads_is_read_alike((message, ..) in message(), wrong in any::<u8>(), at in any::<prop::sample::Index>()) {
        let mut body = encoded(&message);
        let at = at.index(body.len());
        body[at] ^= wrong;
        let ours = Frames::new(&body).next();
        if let Ok(theirs) = read_message_from(&mut &body[..]) {
            prop_assert_eq!(ours.map(|frame| frame.payload), Some(&theirs.payload()[..]));
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(body in prop::collection::vec(any::<u8>(), 0..200), length in 0u32..300, headers in 0u32..300) {
        let _ = Frames::new(&body).count();
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend(headers.to_be_bytes());
        framed.extend(body);
        let _ = Frames::new(&framed).count();
    }
}

#[test]
fn another_payload_makes_a_frame_that_amazons_own_reader_takes() {
    let headers = [(":event-type", "chunk"), (":message-type", "event")];
    let wrapped = format!("{{\"bytes\":\"{}\",\"p\":\"ab\"}}", STANDARD.encode("{\"text\":\"4111\"}"));
    let (first, second) = (frame(&headers, b"{\"a\":1}"), frame(&headers, wrapped.as_bytes()));
    let body = [first.clone(), second.clone(), b"half".to_vec()].concat();
    assert_eq!(rewritten(&body, [None, None].into_iter()), [first.clone(), second].concat());
    let made = rewritten(&body, [None, Some(&b"{\"text\":\"[CARD_1]\"}"[..])].into_iter());
    assert!(made.starts_with(&first));
    let read = read_message_from(&made[first.len()..]).unwrap();
    assert_eq!(read.headers().len(), 2);
    assert_eq!(unwrapped(read.payload()).as_deref(), Some(&b"{\"text\":\"[CARD_1]\"}"[..]));
    assert!(String::from_utf8_lossy(read.payload()).contains("\"p\":\"ab\""));
    let plain = rewritten(&first, [Some(&b"{}"[..])].into_iter());
    assert_eq!(read_message_from(&plain[..]).unwrap().payload().as_ref(), b"{}");
    assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
}
