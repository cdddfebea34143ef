//! What a request's body says about itself: above all which model it is for, read as the providers read it. Where they may
//! read a body in several ways, all names that they may find are kept; where it cannot be read, that is said.

mod asked;
mod guess;
mod named;
pub mod turns;

pub use asked::{Pieces, Said};
pub use named::LONG;

use super::elide::Elider;
use super::form;
use super::picture::{self, Picture, Quality};
use named::Named;
use std::borrow::Cow;

/// What the gateway wants to know of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    pub model: Option<String>,
    /// Other models that a provider may take the request to be for: of a key that is there twice, of a list to choose from.
    pub others: Vec<String>,
    /// Models that tools of the request run beside its own: one that draws, or one that is asked for advice.
    pub tools: Vec<String>,
    /// Why the body may name a model that is not among these.
    pub unread: Option<&'static str>,
    /// True when the caller asked for a stream in the body.
    pub stream: bool,
    /// How long the answer may become.
    pub max_tokens: Option<u64>,
    pub asked: Pieces,
    pub said: Said,
}

/// Reads a body that comes in pieces.
pub struct Scanner {
    content_type: String,
    how: How,
}

enum How {
    /// Nothing has come yet that tells.
    Unknown,
    Form(form::Scanner),
    Json {
        elider: Elider,
        short: Vec<u8>,
    },
    /// No text that names anything.
    Else,
}

/// Without its long texts, so much of a body is read, in bytes.
const MAX_SHORT: usize = 4 * 1024 * 1024;

/// So much of a body is looked through for names that stand deep inside, in bytes.
const MAX_GUESSED: usize = 256 * 1024;

/// Longer names are no model's.
const MAX_NAME: usize = 1_024;

/// More names than this are a riddle.
const MAX_NAMES: usize = 16;

const FIELDS: &[&str] = &["model", "model_id", "stream", "size", "quality", "n"];

pub const TOO_LONG: &str = "the body is longer than Tollgate reads";
pub const NO_ROOM: &str = "Tollgate has no memory left to read a long body now; try again";
const NO_JSON: &str = "the body is no JSON that Tollgate can read";
const NO_TEXT: &str = "the model in the body is no text";
const TOO_MANY: &str = "the body names too many models";
const FOLLOWED: &str = "something follows the JSON in the body";
const DOUBTFUL_FIELD: &str = "a field of the form is encoded, or too long";

/// Reads a body that is there as a whole. What cannot be read says nothing.
pub fn read_request(content_type: Option<&str>, body: &[u8]) -> RequestFacts {
    let declared = Declared::of(content_type);
    let text = decoded(body);
    let text = trimmed(&text);
    let boundary = content_type.and_then(form::boundary).or_else(|| form::sniffed_boundary(text));
    let mut facts = RequestFacts::default();
    if let Some(boundary) = boundary {
        let mut scanner = form::Scanner::new(&boundary, FIELDS);
        scanner.push(text);
        facts = of_form(scanner.finish());
    } else if declared == Declared::Encoded {
        facts = of_fields(form::urlencoded(text, FIELDS), false);
    }
    if is_like_json(text) {
        // Also where the content type says something else: many providers do not look at it.
        return with(json(text), facts);
    }
    let is_form = facts != RequestFacts::default();
    if declared == Declared::Json && !is_form && !text.is_empty() {
        facts.others.extend(guess::models(text));
        facts.unread = Some(NO_JSON);
    }
    facts
}

/// Reads the beginning of a body that is not kept.
pub fn read_beginning(content_type: Option<&str>, body: &[u8]) -> RequestFacts {
    let text = decoded(body);
    let mut facts = match content_type.and_then(form::boundary) {
        Some(boundary) => {
            let mut scanner = form::Scanner::new(&boundary, FIELDS);
            scanner.push(trimmed(&text));
            of_form(scanner.finish())
        }
        None => guessed(trimmed(&text), TOO_LONG),
    };
    facts.unread = Some(TOO_LONG);
    facts
}

/// What is known of a body that was not looked at.
pub fn unread(why: &'static str) -> RequestFacts {
    RequestFacts { unread: Some(why), ..RequestFacts::default() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Declared {
    Json,
    Encoded,
    Else,
}

/// A body in another Unicode encoding, as UTF-8. Python's JSON reads all of them, and skips a byte order mark.
pub fn decoded(body: &[u8]) -> Cow<'_, [u8]> {
    let (width, is_little, skipped) = match body {
        [0xef, 0xbb, 0xbf, rest @ ..] => return Cow::Borrowed(rest),
        [0xff, 0xfe, 0, 0, ..] => (4, true, 4),
        [0, 0, 0xfe, 0xff, ..] => (4, false, 4),
        [0xff, 0xfe, ..] => (2, true, 2),
        [0xfe, 0xff, ..] => (2, false, 2),
        [0, 0, 0, first, ..] if *first != 0 => (4, false, 0),
        [first, 0, 0, 0, ..] if *first != 0 => (4, true, 0),
        [0, first, ..] if *first != 0 => (2, false, 0),
        [first, 0, second, ..] if *first != 0 && *second != 0 => (2, true, 0),
        _ => return Cow::Borrowed(body),
    };
    let units = body.get(skipped..).unwrap_or_default().chunks_exact(width);
    let unit = |bytes: &[u8]| {
        let add = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
        if is_little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
    };
    let text: String = match width {
        4 => units.map(|bytes| char::from_u32(unit(bytes)).unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
        _ => {
            let units = units.map(|bytes| unit(bytes) as u16);
            char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
    };
    Cow::Owned(text.trim_start_matches('\u{feff}').as_bytes().to_vec())
}

/// Without what lenient readers skip before and behind a document.
pub fn trimmed(mut text: &[u8]) -> &[u8] {
    let is_blank = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b | 0x1a | 0x1e);
    loop {
        text = match text {
            [0xef, 0xbb, 0xbf, rest @ ..] | [rest @ .., 0xef, 0xbb, 0xbf] => rest,
            [first, rest @ ..] if is_blank(*first) => rest,
            [rest @ .., last] if is_blank(*last) => rest,
            _ => return text,
        }
    }
}

fn is_like_json(text: &[u8]) -> bool {
    matches!(text, [b'{' | b'[', ..] | [b'/', b'/' | b'*', ..])
}

fn json(text: &[u8]) -> RequestFacts {
    match named::read(text) {
        Some((named, rest)) => {
            let mut facts = of_json(named);
            let rest = trimmed(rest);
            if !rest.is_empty() {
                facts.others.extend(guess::models(rest));
                facts.unread = Some(FOLLOWED);
            }
            if facts.model.is_none() && facts.others.is_empty() && facts.tools.is_empty() {
                // A name that stands deeper may be what the provider goes by; a tool's is not.
                facts.others = guess::models(text.get(..MAX_GUESSED).unwrap_or(text));
            }
            facts
        }
        None => guessed(text, NO_JSON),
    }
}

/// What a body seems to say that is no JSON as all parsers read it: with comments, or with a comma too many.
fn guessed(text: &[u8], why: &'static str) -> RequestFacts {
    let mut others = guess::models(text);
    let model = if others.is_empty() { None } else { Some(others.remove(0)) };
    RequestFacts { model, others, unread: Some(why), stream: guess::asks_for_stream(text), ..RequestFacts::default() }
}

fn of_json(named: Named) -> RequestFacts {
    let Named { mut models, mut tools, is_odd, stream, max_tokens, asked, said, .. } = named;
    // Of a key that is there twice most readers take the last one; those of its kind that are more telling come first.
    let best = models.iter().map(|(rank, _)| *rank).min();
    let at = models.iter().rposition(|(rank, _)| Some(*rank) == best);
    let model = at.map(|at| models.remove(at).1);
    let others = models.into_iter().map(|(_, name)| name);
    let unread = is_odd.then_some(NO_TEXT);
    let mut unread = unread;
    if tools.len() > MAX_NAMES || tools.iter().any(|name| name.len() > MAX_NAME) {
        tools.truncate(MAX_NAMES);
        tools.retain(|name| name.len() <= MAX_NAME);
        unread = Some(TOO_MANY);
    }
    checked(RequestFacts { model, others: others.collect(), tools, unread, stream, max_tokens, asked, said })
}

fn of_form(fields: form::Fields) -> RequestFacts {
    let doubtful = fields.is_doubtful || !fields.has_parts;
    of_fields(fields.all, doubtful)
}

fn of_fields(all: Vec<(String, String)>, is_doubtful: bool) -> RequestFacts {
    let stream = all.iter().any(|(name, value)| name == "stream" && value.trim().eq_ignore_ascii_case("true"));
    let field = |wanted: &str| all.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let asked = Pieces {
        picture: Picture {
            size: field("size").and_then(|size| picture::size(&size.into())),
            quality: field("quality").and_then(Quality::parse),
        },
        images: field("n").and_then(|number| number.trim().parse().ok()),
        ..Pieces::default()
    };
    let is_model = |(name, _): &(String, String)| name.starts_with("model");
    let mut models: Vec<String> = all.into_iter().filter(is_model).map(|(_, value)| value).collect();
    let model = models.pop();
    let unread = is_doubtful.then_some(DOUBTFUL_FIELD);
    checked(RequestFacts { model, others: models, unread, stream, asked, ..RequestFacts::default() })
}

/// Names without the blanks around them, each of them once, and as many as a request may have.
fn checked(facts: RequestFacts) -> RequestFacts {
    let RequestFacts { model, others, tools, mut unread, stream, max_tokens, asked, said } = facts;
    let mut all: Vec<String> = Vec::new();
    for name in model.into_iter().chain(others) {
        let name =
            name.trim_matches(|char: char| char.is_whitespace() || matches!(char, '\0' | '\u{feff}' | '\u{200b}'));
        if name.len() > MAX_NAME {
            unread = Some(NO_TEXT);
        } else if !name.is_empty() && !all.iter().any(|known| known == name) {
            all.push(name.to_owned());
        }
    }
    if all.len() > MAX_NAMES {
        all.truncate(MAX_NAMES);
        unread = Some(TOO_MANY);
    }
    let mut all = all.into_iter();
    RequestFacts { model: all.next(), others: all.collect(), tools, unread, stream, max_tokens, asked, said }
}

/// Two readings of one body.
fn with(first: RequestFacts, second: RequestFacts) -> RequestFacts {
    let others = first.others.into_iter().chain(second.model).chain(second.others).collect();
    checked(RequestFacts {
        model: first.model,
        others,
        tools: first.tools.into_iter().chain(second.tools).collect(),
        unread: first.unread.or(second.unread),
        stream: first.stream || second.stream,
        max_tokens: first.max_tokens.or(second.max_tokens),
        asked: if first.asked == Pieces::default() { second.asked } else { first.asked },
        said: if first.said == Said::default() { second.said } else { first.said },
    })
}

// === impl Declared ===

impl Declared {
    fn of(content_type: Option<&str>) -> Self {
        let kind =
            content_type.unwrap_or("application/json").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match &*kind {
            "" | "application/json" => Self::Json,
            "application/x-www-form-urlencoded" => Self::Encoded,
            kind if kind.ends_with("+json") => Self::Json,
            _ => Self::Else,
        }
    }
}

// === impl Scanner ===

impl Scanner {
    pub fn new(content_type: Option<&str>) -> Self {
        let boundary = content_type.and_then(form::boundary);
        let how = boundary.map_or(How::Unknown, |boundary| How::Form(form::Scanner::new(&boundary, FIELDS)));
        Self { content_type: content_type.unwrap_or("application/json").to_owned(), how }
    }

    pub fn push(&mut self, piece: &[u8]) {
        if matches!(self.how, How::Unknown) {
            let start = trimmed(piece);
            let json = || How::Json { elider: Elider::default(), short: Vec::new() };
            self.how = match form::sniffed_boundary(start) {
                Some(boundary) => How::Form(form::Scanner::new(&boundary, FIELDS)),
                None if is_like_json(start) || Declared::of(Some(&self.content_type)) != Declared::Else => json(),
                None if start.is_empty() => How::Unknown,
                None => How::Else,
            };
        }
        match &mut self.how {
            How::Form(scanner) => scanner.push(piece),
            How::Json { elider, short } if short.len() <= MAX_SHORT => elider.push(piece, short),
            How::Json { .. } | How::Unknown | How::Else => {}
        }
    }

    pub fn finish(self) -> RequestFacts {
        match self.how {
            How::Form(scanner) => of_form(scanner.finish()),
            How::Json { short, .. } if short.len() > MAX_SHORT => guessed(&short, TOO_LONG),
            How::Json { short, .. } => read_request(Some(&self.content_type), &short),
            How::Unknown | How::Else => RequestFacts::default(),
        }
    }
}

#[cfg(test)]
mod tests;
