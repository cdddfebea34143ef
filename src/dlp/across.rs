//! Texts that a model reads as one: the parts of a message. What is looked for may begin in one of them and end in another.

use crate::dlp::places::{Kind, Place};
use std::collections::HashMap;

/// So much on each side of an end is looked at, in bytes.
const AROUND: usize = 160;

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
        for meets in 1..group.len() {
            let (before, behind) = group.split_at_checked(meets).unwrap_or((&[], &[]));
            look_between(places, before, behind, &mut look, &mut across);
        }
        group.clear();
    }
    across
}

/// The list of which a text is a part: `messages[0].content` of `messages[0].content[1].text`.
fn list<'p>(place: &'p Place<'_>) -> Option<&'p str> {
    let path = place.path.as_str();
    let part = path.strip_suffix(".text").filter(|_| place.kind == Kind::String)?;
    let (list, _) = part.strip_suffix(']')?.rsplit_once('[')?;
    (!list.is_empty()).then_some(list)
}

fn look_between(
    places: &[Place<'_>],
    before: &[usize],
    behind: &[usize],
    look: &mut impl FnMut(&str) -> Vec<Found>,
    across: &mut Across,
) {
    let text = |of: &usize| places.get(*of).map_or("", |place| &*place.text);
    let (mut pieces, mut room) = (Vec::new(), AROUND);
    for of in before.iter().rev() {
        let text = text(of);
        let mut from = text.len().saturating_sub(room);
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        pieces.insert(0, Piece { of: *of, from, text: text.get(from..).unwrap_or("") });
        room = room.saturating_sub(text.len());
        if room == 0 {
            break;
        }
    }
    let middle = pieces.len();
    room = AROUND;
    for of in behind {
        let text = text(of);
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end += 1;
        }
        pieces.push(Piece { of: *of, from: 0, text: text.get(..end).unwrap_or("") });
        room = room.saturating_sub(text.len());
        if room == 0 {
            break;
        }
    }
    // A number goes on in the next part, or a group of it ends with the part.
    for between in ["", " "] {
        let texts: Vec<&str> = pieces.iter().map(|piece| piece.text).collect();
        let joined = texts.join(between);
        let meet = texts.iter().take(middle).map(|text| text.len() + between.len()).sum::<usize>();
        for found in look(&joined).into_iter().filter(|found| found.start + between.len() < meet && found.end > meet) {
            spread(&found, &pieces, between.len(), across);
        }
    }
}

/// Gives each text its share of something that was found.
fn spread(found: &Found, pieces: &[Piece<'_>], gap: usize, across: &mut Across) {
    let (mut at, mut is_rest) = (0, false);
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
