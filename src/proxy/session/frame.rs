//! What a message of a WebSocket says, as far as it matters here. Messages come from strangers on both sides: one is read in
//! a pass, whatever its length and depth, and only what stands at known places is kept.

use crate::base::hex;
use crate::proxy::session::terms::Dialect;
use crate::wire::elide::Elider;
use crate::wire::places::{self, Node, Take, shape};
use crate::wire::request::{decoded, trimmed};
use Take::{Inside, Json, Seen, Text};
use std::borrow::Cow;

/// Longer messages are read without their long texts, in bytes.
const LONG: usize = 64 * 1024;

shape! {
    /// A client's message. Nothing in it is taken as it is, so that its depth is no bound.
    client {
        "type" => Text,
        "stream_id" => Text,
        "event_id" => Text,
        "previous_response_id" => Text,
        "session" => Inside(session),
        "setup" => Inside(setup),
        "clientContent" => Inside(content),
        "client_content" => Inside(content),
        "realtimeInput" => Inside(input),
        "realtime_input" => Inside(input),
        "toolResponse" => Seen,
        "tool_response" => Seen,
    }
}
shape! { setup { "model" => Text, } }
shape! { content { "turnComplete" => Seen, "turn_complete" => Seen, } }
shape! { input { "text" => Text, } }

shape! {
    server {
        "type" => Text,
        "stream_id" => Text,
        "response_id" => Text,
        "sequence_number" => Seen,
        "transcript" => Text,
        "usage" => Inside(seen),
        "response" => Inside(response),
        "error" => Inside(error),
        "steer" => Inside(steer),
        "session" => Inside(session),
        "serverContent" => Inside(server_content),
        "toolCall" => Inside(tool_call),
        "usageMetadata" => Seen,
    }
}
shape! { seen { "type" => Text, } }
shape! {
    response {
        "id" => Text,
        "model" => Text,
        "status" => Text,
        "previous_response_id" => Text,
        "usage" => Inside(seen),
        "status_details" => Inside(details),
        "incomplete_details" => Inside(details),
        "output" => Inside(seen),
    }
}
shape! { details { "reason" => Text, "error" => Inside(error), } }
shape! { error { "message" => Text, "code" => Text, "type" => Text, "event_id" => Text, } }
shape! { steer { "previous_response_id" => Text, } }
shape! {
    session {
        "model" => Text,
        "audio" => Inside(audio),
        "input_audio_transcription" => Inside(setup),
    }
}
shape! { audio { "input" => Inside(audio_input), } }
shape! { audio_input { "transcription" => Inside(setup), } }
shape! {
    server_content {
        "modelTurn" => Inside(model_turn),
        "inputTranscription" => Inside(transcription),
        "outputTranscription" => Inside(transcription),
        "turnComplete" => Json,
        "turnCompleteReason" => Text,
        "interrupted" => Json,
    }
}
shape! { model_turn { "parts" => Inside(part), } }
shape! { part { "text" => Text, "thought" => Seen, } }
shape! { transcription { "text" => Text, } }
shape! { tool_call { "functionCalls" => Json, } }

shape! { numbered { "status" => Json, "status_code" => Json, } }

/// The types of messages that begin a response, or may.
pub fn begins(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        // `response.append` is what the first version of the protocol had to go on with.
        Dialect::Responses => &["response.create", "response.append", "response.steer"],
        Dialect::Realtime => &["response.create"],
        Dialect::Live => {
            &["clientContent", "client_content", "realtimeInput", "realtime_input", "toolResponse", "tool_response"]
        }
    }
}

/// A client's message. Of a list, which no provider takes, it is the element that would begin a response.
pub fn of_client<'a>(bytes: &'a [u8], dialect: Dialect) -> Option<Node<'a>> {
    let mut found: Option<Node<'a>> = None;
    places::read(bytes, client, &mut |node| {
        if found.as_ref().is_none_or(|found| !is_begin(found, dialect)) {
            found = Some(node);
        }
    });
    found
}

/// Whether a message begins a response. Of a name that is there twice providers read the first or the last.
pub fn is_begin(node: &Node<'_>, dialect: Dialect) -> bool {
    let names = begins(dialect);
    match dialect {
        Dialect::Live => names.iter().any(|name| node.has(name)),
        _ => node.texts("type").any(|kind| names.contains(&kind)),
    }
}

/// Whether a message that is no JSON as it is read here may begin a response all the same, with a provider that reads more.
pub fn may_begin(bytes: &[u8], dialect: Dialect) -> bool {
    let plain = unescaped(bytes);
    begins(dialect).iter().any(|name| memchr::memmem::find(&plain, name.as_bytes()).is_some())
}

/// Text with its escapes of plain characters undone, `\u0072` for `r`.
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        let escaped = (*first == b'\\').then(|| others.strip_prefix(b"u00")?.split_at_checked(2)).flatten();
        match escaped.and_then(|(digits, behind)| Some((hex::byte(digits)?, behind))) {
            Some((byte, behind)) => {
                plain.push(byte);
                rest = behind;
            }
            None => plain.push(*first),
        }
    }
    plain
}

/// A provider's message.
pub fn of_server(bytes: &[u8]) -> Option<Node<'_>> {
    let mut found = None;
    places::read(bytes, server, &mut |node| found = Some(node));
    found
}

/// The status that an error tells.
pub fn status(bytes: &[u8]) -> Option<u16> {
    let mut found = None;
    places::read(bytes, numbered, &mut |node| {
        let number = node.json("status").or_else(|| node.json("status_code"));
        found = number.and_then(|number| u16::try_from(number.as_u64()?).ok());
    });
    found.filter(|status| (400..600).contains(status))
}

/// A message without what lenient readers skip, in UTF-8: some take JSON in binary messages and in other encodings.
pub fn plain(bytes: &[u8]) -> Cow<'_, [u8]> {
    match decoded(bytes) {
        Cow::Borrowed(bytes) => trimmed(bytes).into(),
        Cow::Owned(bytes) => trimmed(&bytes).to_vec().into(),
    }
}

/// A message as it is read: without the ends of its long texts if it is long itself, which takes a fraction of the time. A line
/// break within a text, which some readers take, would be another end of it; so one with line breaks is read as it is.
pub fn short(plain: &[u8]) -> Cow<'_, [u8]> {
    if plain.len() <= LONG || memchr::memchr(b'\n', plain).is_some() {
        return plain.into();
    }
    let mut short = Vec::new();
    Elider::default().push(plain, &mut short);
    short.into()
}
