//! Texts that a model reads as one: the parts of a message. What is looked for may begin in one of them and end in another.

use crate::dlp::places::{Kind, Place};
use std::collections::HashMap;

/// So much on each side of an end is looked at, in bytes.
const AROUND: usize = 160;

/// Short parts of about so many bytes are looked at together, so that many of them cost no more than one long text.
const AT_ONCE: usize = 2_048;

/// A thing that was found at bytes `start` to `end`: an entry, or behind those a profile of the gateway's own, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub item: u8,
    pub start: usize,
    pub end: usize,
    /// What it says, without escapes.
    pub said: String,
    /// True for the rest of something that began in another text.
    pub is_rest: bool,
}

/// What was found in each of the texts together with its neighbours, by the text's number.
pub type Across = HashMap<usize, Vec<Found>>;

/// A piece of one of the texts.
struct Piece<'a> {
    /// The number of its text, and where in it the piece begins.
    of: usize,
    from: usize,
    text: &'a str,
}

/// Looks at where the parts of a message meet.
pub fn found(places: &[Place<'_>], mut look: impl FnMut(&str) -> Vec<Found>) -> Across {
    let mut across = Across::new();
    // A message of one part is what nearly all are.
    let parts = |at: usize| places.get(at).and_then(|place| Some((at, list(place)?)));
    let mut all = (0..places.len()).filter_map(parts).peekable();
    let mut group: Vec<usize> = Vec::new();
    while let Some((at, list)) = all.next() {
        group.push(at);
        if all.peek().is_some_and(|(_, other)| *other == list) {
            continue;
        }
        let mut from = Some(0).filter(|_| group.len() > 1);
        while let Some(first) = from {
            from = look_from(places, &group, first, &mut look, &mut across);
        }
        group.clear();
    }
    across
}

/// The list of which a text is a part: `messages[0].content` of `messages[0].content[1].text`.
fn list<'p>(place: &'p Place<'_>) -> Option<&'p str> {
    let path = place.path.as_str();
    let part = path.strip_suffix(".text").filter(|_| place.kind == Kind::String && !place.text.is_empty())?;
    let (list, _) = part.strip_suffix(']')?.rsplit_once('[')?;
    (!list.is_empty()).then_some(list)
}

/// Looks at one window of a group of parts: the end of its first part, the short parts behind that, and the beginning of the next long one. Gives
/// the place in the group at which the next window begins; `None` at the group's end.
fn look_from(
    places: &[Place<'_>],
    group: &[usize],
    first: usize,
    look: &mut impl FnMut(&str) -> Vec<Found>,
    across: &mut Across,
) -> Option<usize> {
    let text = |at: usize| group.get(at).and_then(|of| places.get(*of)).map_or("", |place| &*place.text);
    let piece = |at: usize, from: usize, text| Piece { of: group.get(at).copied().unwrap_or(0), from, text };
    let begin = text(first);
    let mut from = begin.len().saturating_sub(AROUND);
    while !begin.is_char_boundary(from) {
        from -= 1;
    }
    let mut pieces = vec![piece(first, from, begin.get(from..).unwrap_or(""))];
    let (mut length, mut next) = (0, None);
    for at in first + 1..group.len() {
        let text = text(at);
        let mut end = text.len().min(AROUND);
        while !text.is_char_boundary(end) {
            end += 1;
        }
        pieces.push(piece(at, 0, text.get(..end).unwrap_or("")));
        length += end;
        if text.len() > AROUND {
            next = Some(at);
            break;
        }
        if length >= AT_ONCE && at + 1 < group.len() {
            // The next look has enough of what stands before.
            let mut back = 0;
            let begin = (first + 1..=at).rev().find(|at| {
                back += text_length(places, group, *at);
                back >= AROUND
            });
            next = Some(begin.unwrap_or(at));
            break;
        }
    }
    if pieces.len() > 1 {
        // A number goes on in the next part, or a group of it ends with the part.
        for between in ["", " "] {
            let texts: Vec<&str> = pieces.iter().map(|piece| piece.text).collect();
            for found in look(&texts.join(between)) {
                spread(&found, &pieces, between.len(), across);
            }
        }
    }
    next
}

fn text_length(places: &[Place<'_>], group: &[usize], at: usize) -> usize {
    group.get(at).and_then(|of| places.get(*of)).map_or(0, |place| place.text.len())
}

/// Gives each text its share of something that was found.
fn spread(found: &Found, pieces: &[Piece<'_>], gap: usize, across: &mut Across) {
    let (mut at, mut is_rest) = (0, false);
    // What stands in one of them alone is found there.
    let mut begins = pieces.iter().scan(0, |at, piece| {
        let begin = *at;
        *at += piece.text.len() + gap;
        Some((begin, begin + piece.text.len()))
    });
    if begins.any(|(begin, end)| begin <= found.start && found.end <= end) {
        return;
    }
    for piece in pieces {
        let (start, end) = (found.start.max(at), found.end.min(at + piece.text.len()));
        if start < end {
            let (start, end) = (start - at + piece.from, end - at + piece.from);
            let own = across.entry(piece.of).or_default();
            // Where several parts meet the same was found before.
            if !own.iter().any(|known| known.start < end && known.end > start) {
                own.push(Found { start, end, is_rest, ..found.clone() });
            }
            is_rest = true;
        }
        at += piece.text.len() + gap;
    }
}
