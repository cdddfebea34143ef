//! Bodies in messages, whole: the receiver looks what of them is there already.

use crate::base::json::json;
use crate::logs::part::{Bodies, Entry};
use crate::logs::stored::Stored;
use serde_json::Value;

// === impl Entry ===

impl Entry {
    /// About how long it is in a message.
    pub(super) fn length(&self) -> usize {
        200 + self.log.len() + self.metadata.len() + self.bodies.length()
    }
}

// === impl Bodies ===

impl Bodies {
    /// How long they are in a message.
    pub(super) fn length(&self) -> usize {
        escaped(&self.request) + escaped(&self.response)
    }

    /// What a message has: a row of `log_bodies` as a JSON array.
    pub(super) fn row(&self, id: &str) -> Option<String> {
        let Self { request, response, stored, cuts: _ } = self;
        if request.is_none() && response.is_none() {
            return None;
        }
        let cut = stored.cut.then_some(1);
        Some(json!([id, 0, request, response, stored.request, stored.response, cut]).to_string())
    }

    /// Adds such a row.
    pub(super) fn add(&mut self, row: &str) -> Option<()> {
        let row: Vec<Value> = serde_json::from_str(row).ok()?;
        let text = |place: usize| row.get(place).and_then(Value::as_str);
        let number = |place: usize| row.get(place).and_then(Value::as_u64);
        for (whole, place) in [(&mut self.request, 2), (&mut self.response, 3)] {
            if let Some(text) = text(place) {
                whole.get_or_insert_default().push_str(text);
            }
        }
        if number(1) == Some(0) {
            self.stored = Stored { request: number(4), response: number(5), cut: number(6) == Some(1) };
        }
        Some(())
    }
}

/// How long a text is in JSON.
fn escaped(text: &Option<String>) -> usize {
    let length = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.as_ref().map_or(0, |text| text.bytes().map(length).sum())
}
