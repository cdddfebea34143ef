//! Spans for one destination as they are sent, and as a message of the queue that logs go through.

use crate::gateways::exporters::Exporter;
use crate::telemetry::destination::Preset;
use crate::telemetry::otlp::{Attribute, Batch, Span};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Spans that are sent in one call, or in one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    pub gateway: i64,
    pub destination: String,
    pub spans: u64,
    /// When it was packed, in milliseconds.
    pub packed_at: u64,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Json(String),
    Protobuf(Vec<u8>),
}

/// What a message begins with. Another version of the format has another number.
const MARK: &str = "tollgate-spans/1";

/// A queue takes messages of 128 KB, of which it needs about a hundred bytes itself.
pub const MAX_MESSAGE: usize = 127_000;

/// Packs spans for a destination, each parcel with a body of at most so many bytes, unless a single span is longer.
pub fn packed(exporter: &Exporter, spans: &[Span], most: usize, now_ms: u64) -> Vec<Parcel> {
    if spans.is_empty() {
        return Vec::new();
    }
    let destination = &exporter.destination;
    let text = |text: &str| Attribute::Text(text.to_owned());
    let mut resource = vec![
        ("service.name".to_owned(), text("ai-gateway")),
        ("service.version".to_owned(), text(env!("CARGO_PKG_VERSION"))),
        ("telemetry.sdk.name".to_owned(), text("tollgate")),
        ("telemetry.sdk.language".to_owned(), text("rust")),
    ];
    if destination.preset == Preset::Phoenix {
        resource.push(("openinference.project.name".to_owned(), text(&exporter.gateway_id)));
    }
    let batch = Batch { resource: &resource, scope: ("tollgate", env!("CARGO_PKG_VERSION")), spans };
    let body = if destination.protobuf { Body::Protobuf(batch.protobuf()) } else { Body::Json(batch.json()) };
    if body.length() > most && spans.len() > 1 {
        let (first, second) = spans.split_at(spans.len() / 2);
        let mut all = packed(exporter, first, most, now_ms);
        all.extend(packed(exporter, second, most, now_ms));
        return all;
    }
    let spans = spans.len() as u64;
    vec![Parcel { gateway: exporter.gateway, destination: destination.id.clone(), spans, packed_at: now_ms, body }]
}

// === impl Body ===

impl Body {
    /// How long it is, in a message too.
    pub fn length(&self) -> usize {
        match self {
            Self::Json(text) => text.len(),
            Self::Protobuf(bytes) => bytes.len().div_ceil(3) * 4,
        }
    }
}

// === impl Parcel ===

impl Parcel {
    /// As a message; `None` if no message has room for it.
    pub fn message(&self) -> Option<String> {
        let Self { gateway, destination, spans, packed_at, body } = self;
        if body.length() > MAX_MESSAGE {
            return None;
        }
        let (kind, text) = match body {
            Body::Json(text) => ("json", text.clone()),
            Body::Protobuf(bytes) => ("protobuf", STANDARD.encode(bytes)),
        };
        let message = format!("{MARK} {gateway} {destination} {spans} {packed_at} {kind}\n{text}");
        (message.len() <= MAX_MESSAGE).then_some(message)
    }

    /// Reads a message; `None` if it is none of this version.
    pub fn read(message: &str) -> Option<Self> {
        let (head, text) = message.strip_prefix(MARK)?.split_once('\n')?;
        let mut head = head.trim_start().split(' ');
        let (gateway, destination) = (head.next()?.parse().ok()?, head.next()?.to_owned());
        let (spans, packed_at) = (head.next()?.parse().ok()?, head.next()?.parse().ok()?);
        let body = match head.next()? {
            "json" => Body::Json(text.to_owned()),
            "protobuf" => Body::Protobuf(STANDARD.decode(text).ok()?),
            _ => return None,
        };
        Some(Self { gateway, destination, spans, packed_at, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for body in [Body::Json("{\"a\":\n1}".to_owned()), Body::Protobuf(vec![0, 255, 10])] {
            let parcel = Parcel { gateway: 7, destination: "d-1".to_owned(), spans: 3, packed_at: 9, body };
            assert_eq!(Parcel::read(&parcel.message().unwrap()), Some(parcel));
        }
        let long = Body::Json("x".repeat(MAX_MESSAGE));
        assert_eq!(
            Parcel { gateway: 7, destination: "d".to_owned(), spans: 1, packed_at: 0, body: long }.message(),
            None
        );
        for other in ["", "tollgate-logs/1 x 0\n", "tollgate-spans/2 7 d 1 1 json\n", "tollgate-spans/1 7 d 1 1 xml\n"]
        {
            assert_eq!(Parcel::read(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,80}") {
            let _ = Parcel::read(&format!("{MARK}{text}"));
        }
    }
}
