//! Numbers: a run of groups of digits, and the shapes that an issuer writes its numbers in.

use crate::dlp::checks;
use crate::dlp::contact;
use crate::dlp::entry::Entry;
use crate::dlp::folded::is_word;
use crate::dlp::text::{Hit, Scan};

/// How an issuer writes its numbers.
struct Shape {
    entry: Entry,
    /// How many digits each group has.
    groups: &'static [u8],
    /// What may stand between two groups. It is the same everywhere, unless `mixed` says what stands where.
    between: &'static [u8],
    mixed: &'static [u8],
    check: fn(&[u8]) -> bool,
    /// Words of which one has to stand before it, where the number alone says too little.
    context: &'static [&'static str],
}

const fn shape(entry: Entry, groups: &'static [u8], check: fn(&[u8]) -> bool) -> Shape {
    Shape { entry, groups, between: BETWEEN, mixed: b"", check, context: &[] }
}

const fn said(
    entry: Entry,
    groups: &'static [u8],
    check: fn(&[u8]) -> bool,
    context: &'static [&'static str],
) -> Shape {
    Shape { entry, groups, between: BETWEEN, mixed: b"", check, context }
}

const fn mixed(entry: Entry, groups: &'static [u8], mixed: &'static [u8], check: fn(&[u8]) -> bool) -> Shape {
    Shape { entry, groups, between: b"", mixed, check, context: &[] }
}

use Entry::*;

const BETWEEN: &[u8] = b" -./_+";

const SSN: &[&str] = &["ssn", "social security", "social"];
const NHS: &[&str] = &["nhs"];
const TAX: &[&str] = &["tax", "steuer", "steuernummer", "steuer-id", "tin", "idnr"];
const AADHAAR: &[&str] = &["aadhaar", "aadhar", "uid", "uidai"];
const SIN: &[&str] = &["sin", "social insurance", "nas"];

/// In the order in which they are tried.
const SHAPES: &[Shape] = &[
    shape(CreditCard, &[4, 4, 4, 4], checks::card),
    shape(CreditCard, &[16], checks::card),
    shape(CreditCard, &[4, 6, 5], checks::card),
    shape(CreditCard, &[15], checks::card),
    shape(CreditCard, &[4, 6, 4], checks::card),
    shape(CreditCard, &[14], checks::card),
    shape(CreditCard, &[8, 8], checks::card),
    shape(CreditCard, &[4, 4, 4, 4, 3], checks::card),
    shape(CreditCard, &[19], checks::card),
    shape(CreditCard, &[18], checks::card),
    shape(CreditCard, &[17], checks::card),
    shape(CreditCard, &[13], checks::card),
    shape(CreditCard, &[4, 3, 3, 3], checks::card),
    shape(UsSsn, &[3, 2, 4], checks::us_ssn),
    said(UsSsn, &[9], checks::us_ssn, SSN),
    shape(UsItin, &[3, 2, 4], checks::us_itin),
    Shape { entry: CanadaSin, groups: &[3, 3, 3], between: b"-", mixed: b"", check: checks::canada_sin, context: &[] },
    said(CanadaSin, &[3, 3, 3], checks::canada_sin, SIN),
    said(CanadaSin, &[9], checks::canada_sin, SIN),
    said(AbaRouting, &[9], checks::aba_routing, &["routing", "aba", "rtn"]),
    said(UkNhs, &[3, 3, 4], checks::uk_nhs, NHS),
    said(UkNhs, &[10], checks::uk_nhs, NHS),
    shape(GermanTaxId, &[2, 3, 3, 3], checks::german_tax_id),
    said(GermanTaxId, &[11], checks::german_tax_id, TAX),
    mixed(BrazilCpf, &[3, 3, 3, 2], b"..-", checks::brazil_cpf),
    said(BrazilCpf, &[11], checks::brazil_cpf, &["cpf"]),
    mixed(BrazilCnpj, &[2, 3, 3, 4, 2], b"../-", checks::brazil_cnpj),
    said(BrazilCnpj, &[14], checks::brazil_cnpj, &["cnpj"]),
    shape(IndiaAadhaar, &[4, 4, 4], checks::aadhaar),
    said(IndiaAadhaar, &[12], checks::aadhaar, AADHAAR),
    shape(FranceNir, &[1, 2, 2, 2, 3, 3, 2], checks::france_nir),
    shape(FranceNir, &[13, 2], checks::france_nir),
    shape(FranceNir, &[15], checks::france_nir),
];

/// So many blanks may stand between two groups.
const MOST_BLANKS: usize = 3;

/// A run has no more groups: it goes on as another.
const MOST_GROUPS: usize = 64;

/// Groups of digits, and what stands before each of them.
struct Run {
    groups: Vec<(usize, usize)>,
    gaps: Vec<Gap>,
}

#[derive(Clone, Copy)]
struct Gap {
    /// What joins two groups. It is a space for any blanks.
    byte: u8,
    /// True for what numbers of different things stand apart by, too: the lines of a column, the parts of a path or of a sum. The
    /// groups are then one number only where no others of their kind stand around them.
    is_loose: bool,
}

/// The first number in the run that begins at a digit, and where the run ends.
pub(super) fn run(scan: &Scan<'_>, at: usize) -> (Option<Hit>, usize) {
    let run = Run::gather(scan, at);
    let end = run.groups.last().map_or(at + 1, |(_, end)| *end);
    // A part of an identifier, such as the last twelve digits of a UUID.
    let is_tail = scan.before(at) == b'-' && at > 1 && {
        let word = scan.bytes.get(..at - 1).unwrap_or(&[]).iter().rev().take_while(|byte| byte.is_ascii_alphanumeric());
        word.clone().any(u8::is_ascii_digit)
    };
    let first = usize::from(is_tail || scan.before(at) == b'.');
    let hit = (first..run.groups.len()).find_map(|from| run.hit(scan, from));
    let mut lines = run.groups.iter().zip(&run.gaps).enumerate().filter(|(at, (_, gap))| *at == 0 || gap.is_loose);
    let phone = lines.find_map(|(_, ((start, _), _))| contact::national_phone(scan, *start));
    let first = match (hit, phone) {
        (Some((_, shape, _)), Some((_, dialled, _))) if dialled < shape => phone,
        _ => hit.or(phone),
    };
    (first, end)
}

// === impl Run ===

impl Run {
    fn gather(scan: &Scan<'_>, at: usize) -> Self {
        let (mut groups, mut gaps) = (Vec::new(), Vec::new());
        let (mut from, mut gap) = (at, Gap { byte: 0, is_loose: false });
        while groups.len() < MOST_GROUPS {
            let end = scan.while_is(from, |byte| byte.is_ascii_digit());
            let is_word_over = match scan.byte(end) {
                b'_' => scan.byte(end + 1).is_ascii_digit(),
                other => !is_word(other),
            };
            // Digits that go over into letters are a word of another kind.
            if end == from || !is_word_over {
                break;
            }
            groups.push((from, end));
            gaps.push(gap);
            let Some((next, behind)) = Gap::at(scan, end) else { break };
            (from, gap) = (behind, next);
        }
        Self { groups, gaps }
    }

    fn hit(&self, scan: &Scan<'_>, from: usize) -> Option<Hit> {
        let (start, _) = *self.groups.get(from)?;
        // What a hyphen or a point joins is one thing.
        if from > 0 && matches!(scan.before(start), b'-' | b'.' | b'_') {
            return None;
        }
        let shape = SHAPES.iter().find(|shape| scan.wants(shape.entry) && self.fits(scan, from, shape));
        if let Some(shape) = shape {
            let (_, end) = *self.groups.get(from + shape.groups.len() - 1)?;
            return Some((shape.entry, start, end));
        }
        let end = scan.wants(Entry::Ipv4).then(|| self.ipv4(scan, from)).flatten()?;
        Some((Entry::Ipv4, start, end))
    }

    fn fits(&self, scan: &Scan<'_>, from: usize, shape: &Shape) -> bool {
        let Some(groups) = self.groups.get(from..from + shape.groups.len()) else { return false };
        if !groups.iter().zip(shape.groups).all(|((start, end), length)| end - start == usize::from(*length)) {
            return false;
        }
        let (Some((start, _)), Some((_, end))) = (groups.first(), groups.last()) else { return false };
        let goes_on = matches!(scan.byte(*end), b'-' | b'.' | b'_') && scan.byte(end + 1).is_ascii_digit();
        let gaps = self.gaps.get(from + 1..from + shape.groups.len()).unwrap_or(&[]);
        let mut between = gaps.iter().map(|gap| gap.byte);
        let is_joined = match (shape.mixed, between.next()) {
            (b"", None) => true,
            (b"", Some(first)) => shape.between.contains(&first) && between.all(|other| other == first),
            (mixed, first) => first.into_iter().chain(between).eq(mixed.iter().copied()),
        };
        if goes_on || !is_joined || (gaps.iter().any(|gap| gap.is_loose) && !self.stands_alone(from, shape, gaps)) {
            return false;
        }
        let digits: Vec<u8> = scan.slice(*start, *end).iter().filter(|byte| byte.is_ascii_digit()).copied().collect();
        (shape.check)(&digits) && (shape.context.is_empty() || scan.has_context(*start, shape.context))
    }

    /// Whether groups that are loosely joined are one number: no group of the same length stands before or behind them.
    fn stands_alone(&self, from: usize, shape: &Shape, gaps: &[Gap]) -> bool {
        // Two numbers stand below each other often, and few lines are as many as the groups of a card.
        let is_enough = gaps.len() > 1 && (shape.entry == CreditCard || gaps.iter().all(|gap| gap.byte != b' '));
        let length = |at: usize| self.groups.get(at).map(|(start, end)| end - start);
        let last = from + gaps.len();
        let has_before = from > 0 && length(from - 1) == length(from);
        is_enough && !has_before && length(last + 1) != length(last)
    }

    fn ipv4(&self, scan: &Scan<'_>, from: usize) -> Option<usize> {
        let groups = self.groups.get(from..from + 4)?;
        let is_byte = |(start, end): &(usize, usize)| {
            let digits = scan.slice(*start, *end);
            let is_plain = digits.len() == 1 || (digits.len() <= 3 && digits.first() != Some(&b'0'));
            is_plain && std::str::from_utf8(digits).is_ok_and(|text| text.parse::<u8>().is_ok())
        };
        let (_, end) = *groups.last()?;
        let are_points = groups.iter().skip(1).all(|(start, _)| scan.before(*start) == b'.');
        let goes_on = scan.byte(end) == b'.' && scan.byte(end + 1).is_ascii_digit();
        (are_points && !goes_on && groups.iter().all(is_byte)).then_some(end)
    }
}

// === impl Gap ===

impl Gap {
    /// What joins the digits before a place with those behind it, and where these begin.
    fn at(scan: &Scan<'_>, at: usize) -> Option<(Self, usize)> {
        let blanks = |from: usize| scan.while_is_within(from, MOST_BLANKS, |byte| matches!(byte, b' ' | b'\n' | b'\r'));
        let mark = blanks(at);
        let (byte, end) = match scan.byte(mark) {
            byte @ (b'-' | b'.' | b'/' | b'_' | b'+') => (byte, blanks(mark + 1)),
            _ => (b' ', mark),
        };
        let is_loose = end - at != 1 || matches!(scan.byte(at), b'/' | b'_' | b'+' | b'\n' | b'\r');
        (end > at && scan.byte(end).is_ascii_digit()).then_some((Self { byte, is_loose }, end))
    }
}
