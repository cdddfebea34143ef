//! The short fields of a form, found wherever they stand. Files are passed over; a form is read piece by piece.

use memchr::memmem;

/// What is asked of a form's fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Names with their values, in the order in which they came.
    pub all: Vec<(String, String)>,
    /// True when there is a field that may have been meant in another way than it was read.
    pub is_doubtful: bool,
    /// True when there was any part at all.
    pub has_parts: bool,
}

/// Reads a `multipart/form-data` body in pieces.
#[derive(Debug)]
pub struct Scanner {
    delimiter: Vec<u8>,
    wanted: &'static [&'static str],
    /// What may be the beginning of a delimiter or of a field.
    pending: Vec<u8>,
    /// True at the beginning of the body, where no line break comes before the delimiter.
    is_first: bool,
    fields: Fields,
}

/// The headers of a part together with the value of a short field, in bytes.
const MAX_PART: usize = 16 * 1024;

/// The longest value of a field that is taken for one, in bytes.
const MAX_VALUE: usize = 4_096;

/// More than so many fields of a name are not meant to be understood.
const MAX_FIELDS: usize = 32;

/// The boundary that a content type names.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    parameters_of(parameters)
        .into_iter()
        .find(|(name, _)| name == "boundary")
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

/// The boundary of a body that begins like a form, whatever its content type says.
pub fn sniffed_boundary(body: &[u8]) -> Option<String> {
    let line = body.strip_prefix(b"--")?;
    let end = line.iter().position(|byte| *byte == b'\r' || *byte == b'\n').filter(|end| (1..=70).contains(end))?;
    let boundary = std::str::from_utf8(line.get(..end)?).ok()?;
    let rest = line.get(end..)?.get(..256).unwrap_or(line.get(end..)?).to_ascii_lowercase();
    memmem::find(&rest, b"content-disposition").map(|_| boundary.trim_end().to_owned())
}

/// The parameters of a header's value: names in lower case, values without their quotes and escapes.
fn parameters_of(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        // What stands alone before a name is no parameter.
        let name = name.rsplit(';').next().unwrap_or(name).trim().to_ascii_lowercase();
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, next) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), next)
            }
        };
        all.push((name, value));
        rest = next;
    }
    all
}

fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, text.get(at + 1..).unwrap_or("")),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            char => value.push(char),
        }
    }
    (value, "")
}

/// The fields of an `application/x-www-form-urlencoded` body.
pub fn urlencoded(body: &[u8], wanted: &[&str]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    let query = crate::http::query::Query::parse(text.trim());
    let found = query.iter().filter(|(name, _)| wanted.iter().any(|wanted| name.trim().eq_ignore_ascii_case(wanted)));
    found.take(MAX_FIELDS).map(|(name, value)| (name.trim().to_ascii_lowercase(), value.to_owned())).collect()
}

// === impl Scanner ===

impl Scanner {
    pub fn new(boundary: &str, wanted: &'static [&'static str]) -> Self {
        let delimiter = format!("--{boundary}").into_bytes();
        Self { delimiter, wanted, pending: Vec::new(), is_first: true, fields: Fields::default() }
    }

    pub fn push(&mut self, piece: &[u8]) {
        let mut all = std::mem::take(&mut self.pending);
        all.extend_from_slice(piece);
        let kept = self.scan(&all, false);
        self.pending = all.split_off(kept.min(all.len()));
    }

    pub fn finish(mut self) -> Fields {
        let all = std::mem::take(&mut self.pending);
        self.scan(&all, true);
        self.fields
    }

    /// Reads the parts of what has come, and returns where the rest begins that is needed once more.
    fn scan(&mut self, all: &[u8], is_last: bool) -> usize {
        let finder = memmem::Finder::new(&self.delimiter).into_owned();
        let mut at = 0;
        while let Some(found) = all.get(at..).and_then(|rest| finder.find(rest)) {
            let start = at + found;
            let begins_line = match start.checked_sub(1) {
                Some(before) => all.get(before) == Some(&b'\n'),
                None => self.is_first,
            };
            let after = start + self.delimiter.len();
            let rest = all.get(after..).unwrap_or_default();
            if !is_last && begins_line && rest.len() < MAX_PART {
                // One byte more, so that the line break before it is known again.
                return start.saturating_sub(1);
            }
            if begins_line {
                self.part(rest.get(..MAX_PART).unwrap_or(rest));
            }
            at = after;
            self.is_first = false;
        }
        let kept = all.len().saturating_sub(self.delimiter.len() + 1).max(at);
        self.is_first &= kept == 0;
        kept
    }

    /// Reads the beginning of what follows a delimiter.
    fn part(&mut self, part: &[u8]) {
        // Blanks may stand behind a delimiter; anything else makes it another one, or the last.
        let Some(line) = part.iter().position(|byte| *byte == b'\n') else { return };
        let (padding, part) = part.split_at_checked(line + 1).unwrap_or((part, &[]));
        if !padding.trim_ascii().is_empty() {
            return;
        }
        self.fields.has_parts = true;
        let Some((headers, content)) = head_of(part) else { return };
        let headers = String::from_utf8_lossy(headers);
        let header = |name: &str| {
            headers.lines().find_map(|line| {
                let (known, value) = line.split_once(':')?;
                known.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let Some(disposition) = header("content-disposition") else { return };
        let parameters = parameters_of(&disposition);
        let has_file = parameters.iter().any(|(name, _)| name.starts_with("filename"));
        let name =
            parameters.iter().find(|(name, _)| name == "name").map(|(_, value)| value.trim().to_ascii_lowercase());
        let Some(name) = name.filter(|name| !has_file && self.wanted.contains(&name.as_str())) else { return };
        let encoding = header("content-transfer-encoding").unwrap_or_default().to_ascii_lowercase();
        let encoded = !matches!(&*encoding, "" | "7bit" | "8bit" | "binary");
        let next = memmem::find(content, &[b"\n", self.delimiter.as_slice()].concat());
        let value = next.and_then(|end| content.get(..end)).map(|value| value.strip_suffix(b"\r").unwrap_or(value));
        match value.filter(|value| value.len() <= MAX_VALUE).and_then(|value| std::str::from_utf8(value).ok()) {
            Some(value) if self.fields.all.len() < MAX_FIELDS => self.fields.all.push((name, value.to_owned())),
            _ => self.fields.is_doubtful = true,
        }
        self.fields.is_doubtful |= encoded;
    }
}

/// The headers of a part and what follows them.
fn head_of(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let ends = [&b"\r\n\r\n"[..], b"\n\n"].into_iter().filter_map(|end| Some((memmem::find(part, end)?, end.len())));
    let (at, length) = ends.min()?;
    Some((part.get(..at)?, part.get(at + length..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WANTED: &[&str] = &["model", "stream"];

    fn read(body: &[u8], size: usize) -> Fields {
        let mut scanner = Scanner::new("XX", WANTED);
        body.chunks(size.max(1)).for_each(|piece| scanner.push(piece));
        scanner.finish()
    }

    fn models(body: &[u8]) -> Vec<String> {
        read(body, body.len()).all.into_iter().filter(|(name, _)| name == "model").map(|(_, value)| value).collect()
    }

    #[test]
    fn a_field_is_found_however_its_name_is_written() {
        for disposition in [
            "form-data; name=\"model\"",
            "form-data; name=model",
            "form-data;name=model",
            "form-data; NAME = \"model\"",
            "form-data; name=\"mo\\del\"",
            "form-data; x=\"a;b=c\\\"\"; name=model",
        ] {
            let body = format!("--XX\r\nContent-Disposition: {disposition}\r\n\r\nwhisper-1\r\n--XX--\r\n");
            assert_eq!(models(body.as_bytes()), ["whisper-1"], "{disposition}");
        }
        assert_eq!(models(b"--XX\ncontent-disposition: form-data; name=model\n\nwhisper-1\n--XX--\n"), ["whisper-1"]);
        assert_eq!(models(b"preamble\r\n--XX \r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=model\r\n\r\na\r\n--XX--"), ["a"]);
    }

    #[test]
    fn a_field_is_found_wherever_it_stands() {
        let file = |length: usize| {
            format!(
                "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n{}\r\n",
                "--XY\r\n".repeat(length / 6)
            )
        };
        let field = "--XX\r\nContent-Disposition: form-data; name=model\r\n\r\nwhisper-1\r\n";
        let stream = "--XX\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n";
        let body = format!("{}{field}{}{stream}--XX--\r\n", file(200_000), file(300_000));
        for size in [1_000, 16_384, 65_536, body.len()] {
            let fields = read(body.as_bytes(), size);
            assert_eq!(
                fields.all,
                [("model".to_owned(), "whisper-1".to_owned()), ("stream".to_owned(), "true".to_owned())],
                "{size}"
            );
        }
    }

    #[test]
    fn a_file_does_not_fool_and_two_fields_are_two() {
        let fake = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx --XX\r\nContent-Disposition: form-data; name=model\r\n\r\nfake\r\n--XX--";
        assert!(models(fake).is_empty());
        let two = b"--XX\r\nContent-Disposition: form-data; name=model\r\n\r\na\r\n--XX\r\nContent-Disposition: form-data; name=model\r\n\r\nb\r\n--XX--";
        assert_eq!(models(two), ["a", "b"]);
        let encoded = b"--XX\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=model\r\n\r\nYQ==\r\n--XX--";
        assert!(read(encoded, 10).is_doubtful);
    }

    #[test]
    fn boundaries_are_read_as_they_are_written() {
        for (kind, wanted) in [
            ("multipart/form-data; boundary=XX", Some("XX")),
            ("Multipart/Form-Data; charset=utf-8; Boundary=\"X X\"", Some("X X")),
            ("multipart/form-data", None),
            ("application/json; boundary=XX", None),
        ] {
            assert_eq!(boundary(kind).as_deref(), wanted, "{kind}");
        }
        assert_eq!(sniffed_boundary(b"--ab\r\nContent-Disposition: form-data").as_deref(), Some("ab"));
        assert_eq!(sniffed_boundary(b"--ab\r\nhello"), None);
    }

    #[test]
    fn fields_of_an_encoded_form_are_found() {
        assert_eq!(
            urlencoded(b"a=b&m%6fdel=gpt%2D4o+&stream=true", WANTED),
            [("model".to_owned(), "gpt-4o ".to_owned()), ("stream".to_owned(), "true".to_owned())]
        );
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(body in "(--XX\r?\n(Content-Disposition: form-data; name=model\r?\n\r?\n)?[a-c]{0,3}\r?\n){0,5}", size in 1usize..20) {
            prop_assert_eq!(read(body.as_bytes(), size), read(body.as_bytes(), body.len()));
        }

        #[test]
        fn any_body_is_read_without_harm(body in prop::collection::vec(any::<u8>(), 0..200), kind in "\\PC{0,60}") {
            let _ = (read(&body, 7), boundary(&kind), urlencoded(&body, WANTED), sniffed_boundary(&body));
        }
    }
}
