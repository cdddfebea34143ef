//! How the bodies of a log are put together from slices of chains.

use super::cut::Cuts;
use crate::base::sorted;

/// The chains of slices.
pub const OWN: u8 = 0;
pub const MESSAGES: u8 = 1;
pub const MEMBERS: u8 = 2;

/// What a chain is for one log: its last piece, how many of its parts are in it, and how many bytes these have.
#[derive(Clone, Copy, Default)]
pub struct Chain {
    pub last: Option<i64>,
    pub parts: usize,
    pub bytes: usize,
}

/// What a log's bodies are put together from.
#[derive(Default)]
pub struct Layout {
    pub own: String,
    /// Where what is the response's begins in it.
    pub border: usize,
    pub request: Option<Vec<(u8, usize, usize)>>,
    pub response: Option<Vec<(u8, usize, usize)>>,
}

#[derive(Clone, Copy)]
enum Side {
    Request,
    Response,
}

// === impl Layout ===

impl Layout {
    fn slices(&mut self, side: Side) -> &mut Vec<(u8, usize, usize)> {
        match side {
            Side::Request => self.request.get_or_insert_default(),
            Side::Response => self.response.get_or_insert_default(),
        }
    }

    /// Adds a text that belongs to the log alone.
    fn own(&mut self, text: &str, side: Side) {
        let from = self.own.len();
        self.own.push_str(text);
        let to = self.own.len();
        let slices = self.slices(side);
        if to > from {
            slices.push((OWN, from, to));
        }
    }

    pub fn response(&mut self, text: &str) {
        self.border = self.own.len();
        self.own(text, Side::Response);
    }

    /// Adds the request, without what is in the chains.
    pub fn request(&mut self, text: &str, cuts: Option<&Cuts>, messages: &Chain, members: &Chain) {
        let mut regions = Vec::new();
        if let Some(cuts) = cuts {
            if messages.parts > 0 {
                regions.push((cuts.begin, cuts.begin + messages.bytes, MESSAGES, 0));
            }
            let mut offset = 0;
            for range in cuts.members.iter().take(members.parts) {
                regions.push((range.start, range.end, MEMBERS, offset));
                offset += range.len();
            }
        }
        sorted::by(&mut regions, Ord::cmp);
        let mut at = 0;
        for (begin, end, chain, offset) in regions {
            self.own(text.get(at..begin).unwrap_or_default(), Side::Request);
            self.slices(Side::Request).push((chain, offset, offset + end - begin));
            at = end;
        }
        self.own(text.get(at..).unwrap_or_default(), Side::Request);
    }
}
