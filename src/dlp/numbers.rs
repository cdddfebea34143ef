//! Numbers: a run of groups of digits, and the shapes that an issuer writes its numbers in.

use crate::dlp::checks;
use crate::dlp::entry::Entry;
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
    Shape { entry, groups, between: b" -.", mixed: b"", check, context: &[] }
}

const fn said(
    entry: Entry,
    groups: &'static [u8],
    check: fn(&[u8]) -> bool,
    context: &'static [&'static str],
) -> Shape {
    Shape { entry, groups, between: b" -.", mixed: b"", check, context }
}

const fn mixed(entry: Entry, groups: &'static [u8], mixed: &'static [u8], check: fn(&[u8]) -> bool) -> Shape {
    Shape { entry, groups, between: b"", mixed, check, context: &[] }
}

use Entry::*;

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

/// A run has no more groups: it goes on as another.
const MOST_GROUPS: usize = 64;

/// Groups of digits, one character between two of them.
struct Run {
    groups: Vec<(usize, usize)>,
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
    (hit, end)
}

// === impl Run ===

impl Run {
    fn gather(scan: &Scan<'_>, at: usize) -> Self {
        let mut groups = Vec::new();
        let mut from = at;
        while groups.len() < MOST_GROUPS {
            let end = scan.while_is(from, |byte| byte.is_ascii_digit());
            // Digits that go over into letters are a word of another kind.
            if end == from || scan.word_end(from) != end {
                break;
            }
            groups.push((from, end));
            if !matches!(scan.byte(end), b' ' | b'-' | b'.' | b'/') {
                break;
            }
            from = end + 1;
        }
        Self { groups }
    }

    fn hit(&self, scan: &Scan<'_>, from: usize) -> Option<Hit> {
        let (start, _) = *self.groups.get(from)?;
        // What a hyphen or a point joins is one thing.
        if from > 0 && matches!(scan.before(start), b'-' | b'.') {
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
        let goes_on = matches!(scan.byte(*end), b'-' | b'.') && scan.byte(end + 1).is_ascii_digit();
        let mut between = groups.iter().skip(1).map(|(start, _)| scan.before(*start));
        let is_joined = match (shape.mixed, between.next()) {
            (b"", None) => true,
            (b"", Some(first)) => shape.between.contains(&first) && between.all(|other| other == first),
            (mixed, first) => first.into_iter().chain(between).eq(mixed.iter().copied()),
        };
        if goes_on || !is_joined {
            return false;
        }
        let digits: Vec<u8> = scan.slice(*start, *end).iter().filter(|byte| byte.is_ascii_digit()).copied().collect();
        (shape.check)(&digits) && (shape.context.is_empty() || scan.has_context(*start, shape.context))
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
