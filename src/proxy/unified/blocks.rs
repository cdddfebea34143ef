//! A provider's stream, block by block, in the caller's format. No more of it is kept than the event that has not ended.

use crate::members;
use crate::translate::Return;
use crate::translate::json::Json;
use crate::wire::Framing;
use crate::wire::eventstream::{self, Frames};
use crate::wire::sse::Events;
use std::cell::Cell;
use std::rc::Rc;

pub struct Blocks {
    answer: Return,
    framing: Framing,
    /// What has come of the next event.
    pending: Vec<u8>,
    is_begun: bool,
    /// The stream makes no sense any more.
    is_broken: bool,
    /// Whether the answer ended before it said how: its events are those of an answer that goes on.
    broke_off: Rc<Cell<bool>>,
}

/// What is said of an event that cannot be read.
const NO_JSON: &str = "An event of the provider's stream is no JSON, and cannot be translated.";

/// No event is longer, in bytes.
const MAX_EVENT: usize = 16 * 1024 * 1024;

// === impl Blocks ===

impl Blocks {
    pub fn new(answer: Return, framing: Framing) -> Self {
        Self { answer, framing, pending: Vec::new(), is_begun: false, is_broken: false, broke_off: Rc::default() }
    }

    /// Adds to `out` what a block of the provider's stream is to the caller.
    pub fn push(&mut self, block: &[u8], out: &mut String) {
        if self.is_broken {
            return;
        }
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let block = block.strip_prefix(b"\xef\xbb\xbf").filter(|_| is_first).unwrap_or(block);
        self.pending.extend_from_slice(block);
        let consumed = match self.framing {
            Framing::AwsEventStream => self.frames(out),
            // An event ends with an empty line.
            _ if memchr::memchr2(b'\n', b'\r', block).is_none() => 0,
            _ => self.events(out),
        };
        self.pending.drain(..consumed.min(self.pending.len()));
        if self.pending.len() > MAX_EVENT {
            self.give_up();
        }
    }

    /// Nothing has come for a while.
    pub fn ping(&self, out: &mut String) {
        if !self.is_broken {
            self.answer.ping(out);
        }
    }

    /// The provider's stream has ended, as it should or not.
    pub fn end(&mut self, out: &mut String) {
        if self.framing == Framing::Sse && !self.is_broken {
            // The last event of some servers lacks its empty line.
            self.pending.extend_from_slice(b"\n\n");
            let _ = self.events(out);
        }
        let was_told = self.answer.has_failed();
        self.answer.end(out);
        self.broke_off.set(self.answer.has_failed() && !was_told);
    }

    /// Tells, once the stream has ended, whether the answer was not whole although it did not say so.
    pub fn broke_off(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.broke_off)
    }

    fn events(&mut self, out: &mut String) -> usize {
        let mut events = Events::new(&self.pending);
        while let Some(data) = events.next() {
            if &*data == b"[DONE]" {
                self.answer.end(out);
                continue;
            }
            let name = std::str::from_utf8(events.name()).unwrap_or_default();
            match std::str::from_utf8(&data).ok().and_then(Json::parse) {
                Some(json) => self.answer.event(name, &json, out),
                None if data.trim_ascii().is_empty() => {}
                // A part of the answer is lost, so that it must not end as if it were whole.
                None => self.answer.fail(NO_JSON, out),
            }
        }
        events.consumed()
    }

    fn frames(&mut self, out: &mut String) -> usize {
        let mut frames = Frames::new(&self.pending);
        for frame in frames.by_ref() {
            let name = std::str::from_utf8(frame.exception.unwrap_or(frame.event)).unwrap_or_default();
            let payload = std::str::from_utf8(frame.payload).ok().and_then(Json::parse);
            if payload.is_none() && !frame.payload.is_empty() {
                self.answer.fail(NO_JSON, out);
                continue;
            }
            let payload = payload.unwrap_or_default();
            // An error frame has what it says where an exception has its name.
            match frame.exception {
                Some(own) if !own.ends_with(b"xception") => {
                    self.answer.event("exception", &members! { "message": name }, out);
                }
                _ => self.answer.event(name, &payload, out),
            }
        }
        let consumed = self.pending.len() - frames.left();
        let rest = self.pending.get(consumed..).unwrap_or_default();
        if rest.len() >= 4 && eventstream::length(rest).is_none() {
            self.give_up();
        }
        consumed
    }

    /// What follows cannot be told from what came, so that the answer ends as one that broke off.
    fn give_up(&mut self) {
        self.is_broken = true;
        self.pending = Vec::new();
    }
}
