//! Spans as OTLP/HTTP sends them, in both of its encodings. <https://opentelemetry.io/docs/specs/otlp/#otlphttp>
//!
//! The numbers of the fields are those of
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto>.

use crate::base::json::json;
use crate::telemetry::context::{SpanId, TraceId};
use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    Text(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(Vec<Self>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace: TraceId,
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub name: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    pub attributes: Vec<(String, Attribute)>,
    pub status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Unset,
    Error(String),
}

/// Spans that are sent together.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    pub resource: &'a [(String, Attribute)],
    pub scope: (&'a str, &'a str),
    pub spans: &'a [Span],
}

/// A span of a call to another service.
const CLIENT: u64 = 3;

/// The status of what failed.
const ERROR: u64 = 2;

// === impl Batch ===

impl Batch<'_> {
    /// `application/json`. Ids are hexadecimal, and numbers of 64 bits are texts.
    pub fn json(&self) -> String {
        let spans: Vec<Value> = self.spans.iter().map(Span::json).collect();
        let (name, version) = self.scope;
        json!({"resourceSpans": [{
            "resource": {"attributes": attributes(self.resource)},
            "scopeSpans": [{"scope": {"name": name, "version": version}, "spans": spans}],
        }]})
        .to_string()
    }

    /// `application/x-protobuf`.
    pub fn protobuf(&self) -> Vec<u8> {
        let mut resource = Message::default();
        resource.attributes(1, self.resource);
        let mut scope = Message::default();
        scope.text(1, self.scope.0);
        scope.text(2, self.scope.1);
        let mut scope_spans = Message::default();
        scope_spans.message(1, &scope);
        for span in self.spans {
            scope_spans.message(2, &span.protobuf());
        }
        let mut resource_spans = Message::default();
        resource_spans.message(1, &resource);
        resource_spans.message(2, &scope_spans);
        let mut request = Message::default();
        request.message(1, &resource_spans);
        request.0
    }
}

// === impl Span ===

impl Span {
    fn json(&self) -> Value {
        let mut made = json!({
            "traceId": hex(&self.trace),
            "spanId": hex(&self.id),
            "name": self.name,
            "kind": CLIENT,
            "startTimeUnixNano": self.start.to_string(),
            "endTimeUnixNano": self.end.to_string(),
            "attributes": attributes(&self.attributes),
        });
        if let Some(object) = made.as_object_mut() {
            if let Some(parent) = &self.parent {
                object.insert("parentSpanId".to_owned(), json!(hex(parent)));
            }
            if let Status::Error(message) = &self.status {
                object.insert("status".to_owned(), json!({"code": ERROR, "message": message}));
            }
        }
        made
    }

    fn protobuf(&self) -> Message {
        let mut span = Message::default();
        span.bytes(1, &self.trace);
        span.bytes(2, &self.id);
        if let Some(parent) = &self.parent {
            span.bytes(4, parent);
        }
        span.text(5, &self.name);
        span.number(6, CLIENT);
        span.fixed(7, self.start);
        span.fixed(8, self.end);
        span.attributes(9, &self.attributes);
        if let Status::Error(message) = &self.status {
            let mut status = Message::default();
            status.text(2, message);
            status.number(3, ERROR);
            span.message(15, &status);
        }
        span
    }
}

fn attributes(all: &[(String, Attribute)]) -> Value {
    all.iter().map(|(name, value)| json!({"key": name, "value": value.json()})).collect()
}

fn hex(bytes: &[u8]) -> String {
    crate::base::hex::hex(bytes)
}

// === impl Attribute ===

impl Attribute {
    fn json(&self) -> Value {
        let (name, value) = match self {
            Self::Text(text) => ("stringValue", json!(text)),
            Self::Bool(value) => ("boolValue", json!(value)),
            Self::Int(value) => ("intValue", json!(value.to_string())),
            // JSON has no such numbers; ProtoJSON writes their names.
            Self::Double(value) if value.is_nan() => ("doubleValue", json!("NaN")),
            Self::Double(value) if value.is_infinite() => {
                ("doubleValue", json!(if *value > 0.0 { "Infinity" } else { "-Infinity" }))
            }
            Self::Double(value) => ("doubleValue", json!(value)),
            Self::List(values) => ("arrayValue", json!({"values": values.iter().map(Self::json).collect::<Vec<_>>()})),
        };
        Value::Object(Map::from_iter([(name.to_owned(), value)]))
    }

    fn protobuf(&self) -> Message {
        let mut any = Message::default();
        // A value of a union is written even where it is nothing.
        match self {
            Self::Text(text) => any.always(1, text.as_bytes()),
            Self::Bool(value) => any.varint(2, u64::from(*value)),
            Self::Int(value) => any.varint(3, value.cast_unsigned()),
            Self::Double(value) => any.fixed_always(4, value.to_bits()),
            Self::List(values) => {
                let mut list = Message::default();
                for value in values {
                    list.message(1, &value.protobuf());
                }
                any.message(5, &list);
            }
        }
        any
    }
}

/// A protobuf message as it grows. <https://protobuf.dev/programming-guides/encoding/>
#[derive(Default)]
struct Message(Vec<u8>);

// === impl Message ===

impl Message {
    fn raw(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn varint(&mut self, field: u64, number: u64) {
        self.raw(field << 3);
        self.raw(number);
    }

    fn number(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.varint(field, number);
        }
    }

    fn fixed_always(&mut self, field: u64, number: u64) {
        self.raw(field << 3 | 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn fixed(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.fixed_always(field, number);
        }
    }

    fn always(&mut self, field: u64, bytes: &[u8]) {
        self.raw(field << 3 | 2);
        self.raw(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.always(field, bytes);
        }
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.always(field, &message.0);
    }

    fn attributes(&mut self, field: u64, all: &[(String, Attribute)]) {
        for (name, value) in all {
            let mut pair = Self::default();
            pair.text(1, name);
            pair.message(2, &value.protobuf());
            self.message(field, &pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans() -> Vec<Span> {
        let attributes = [
            ("gen_ai.operation.name", Attribute::Text("chat".to_owned())),
            ("empty", Attribute::Text(String::new())),
            ("tokens", Attribute::Int(300)),
            ("negative", Attribute::Int(-1)),
            ("cost", Attribute::Double(0.5)),
            ("stream", Attribute::Bool(false)),
            ("reasons", Attribute::List(vec![Attribute::Text("stop".to_owned())])),
        ];
        vec![Span {
            trace: [0x4b; 16],
            id: [0xab; 8],
            parent: Some([1; 8]),
            name: "chat gpt-5".to_owned(),
            start: 1_700_000_000_000_000_000,
            end: 1_700_000_000_500_000_000,
            attributes: attributes.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            status: Status::Error("429".to_owned()),
        }]
    }

    #[test]
    fn json_is_what_the_standard_shows() {
        let spans = spans();
        let resource = [("service.name".to_owned(), Attribute::Text("ai-gateway".to_owned()))];
        let made: Value =
            serde_json::from_str(&Batch { resource: &resource, scope: ("tollgate", "1"), spans: &spans }.json())
                .unwrap();
        let span = &made["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(made["resourceSpans"][0]["resource"]["attributes"][0]["value"]["stringValue"], "ai-gateway");
        assert_eq!(
            (span["traceId"].as_str().map(str::len), &span["parentSpanId"]),
            (Some(32), &json!("0101010101010101"))
        );
        assert_eq!(
            (&span["startTimeUnixNano"], &span["kind"], &span["status"]["code"]),
            (&json!("1700000000000000000"), &json!(3), &json!(2))
        );
        assert_eq!(span["attributes"][2]["value"], json!({"intValue": "300"}));
        assert_eq!(span["attributes"][6]["value"], json!({"arrayValue": {"values": [{"stringValue": "stop"}]}}));
        assert_eq!(Attribute::Double(f64::NAN).json(), json!({"doubleValue": "NaN"}));
    }

    /// A field's number and what it holds, for each field of a message.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let mut number = 0;
            for shift in 0.. {
                let (first, rest) = bytes.split_first().unwrap();
                *bytes = rest;
                number |= u64::from(first & 0x7f) << (7 * shift);
                if first < &0x80 {
                    return number;
                }
            }
            unreachable!()
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let content = match tag & 7 {
                0 => varint(&mut bytes).to_le_bytes().to_vec(),
                1 => bytes.split_off(..8).unwrap().to_vec(),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    bytes.split_off(..length).unwrap().to_vec()
                }
                other => panic!("wire type {other}"),
            };
            found.push((tag >> 3, content));
        }
        found
    }

    #[test]
    fn protobuf_has_the_same_in_the_fields_of_the_standard() {
        let spans = spans();
        let made = Batch { resource: &[], scope: ("tollgate", "1"), spans: &spans }.protobuf();
        let only = |bytes: &[u8], field: u64| fields(bytes).into_iter().find(|(number, _)| *number == field).unwrap().1;
        let scope_spans = only(&only(&made, 1), 2);
        assert_eq!(only(&only(&scope_spans, 1), 1), b"tollgate");
        let span = only(&scope_spans, 2);
        assert_eq!(
            fields(&span).iter().map(|(number, _)| *number).collect::<Vec<_>>(),
            [1, 2, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 15]
        );
        assert_eq!(
            (only(&span, 1), only(&span, 4), only(&span, 5)),
            (vec![0x4b; 16], vec![1; 8], b"chat gpt-5".to_vec())
        );
        assert_eq!(only(&span, 7), 1_700_000_000_000_000_000_u64.to_le_bytes());
        assert_eq!(
            (only(&only(&span, 15), 2), only(&only(&span, 15), 3)),
            (b"429".to_vec(), 2_u64.to_le_bytes().to_vec())
        );
        let values: Vec<Vec<(u64, Vec<u8>)>> =
            fields(&span).iter().filter(|(number, _)| *number == 9).map(|(_, pair)| fields(&only(pair, 2))).collect();
        let number = |number: u64| number.to_le_bytes().to_vec();
        assert_eq!(
            values[..6],
            [
                vec![(1, b"chat".to_vec())],
                vec![(1, Vec::new())],
                vec![(3, number(300))],
                vec![(3, number(u64::MAX))],
                vec![(4, 0.5_f64.to_le_bytes().to_vec())],
                vec![(2, number(0))],
            ]
        );
        assert_eq!(only(&only(&values[6][0].1, 1), 1), b"stop");
    }
}
