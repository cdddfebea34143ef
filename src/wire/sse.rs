//! Server-sent events as slices of a body. <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::borrow::Cow;

/// The data of one event. Most providers repeat the name of an event inside its data.
pub type Data<'a> = Cow<'a, [u8]>;

/// The events of a body, without copying those of a single line.
pub struct Events<'a> {
    body: &'a [u8],
    /// Where the next event begins.
    at: usize,
    /// The name of the last event.
    name: &'a [u8],
}

impl<'a> Events<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { body: body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body), at: 0, name: b"" }
    }

    /// The name of the last event, or of the one that broke off after it; empty where it has none.
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// How many bytes the complete events took that were read so far.
    pub fn consumed(&self) -> usize {
        self.at
    }

    /// What follows the last complete event: nothing, or an event that broke off or lacks its blank line.
    pub fn rest(&self) -> Option<Data<'a>> {
        let mut data = None;
        let mut rest = self.body.get(self.at..)?;
        while !rest.is_empty() {
            let (line, after) = line(rest).unwrap_or((rest, &[]));
            take(line, &mut data);
            rest = after;
        }
        data
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Data<'a>;

    fn next(&mut self) -> Option<Data<'a>> {
        let mut data = None;
        let mut rest = self.body.get(self.at..)?;
        self.name = b"";
        while let Some((line, after)) = line(rest) {
            rest = after;
            if let Some(name) = line.strip_prefix(b"event:") {
                self.name = name.trim_ascii();
            } else if !line.is_empty() {
                take(line, &mut data);
                continue;
            } else {
                self.at = self.body.len() - rest.len();
                if data.is_some() {
                    return data;
                }
                self.name = b"";
            }
        }
        None
    }
}

/// The first line and what follows its end: LF, CRLF or CR. A CR at the very end may be half of a CRLF, so the line is
/// not complete yet.
fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr2(b'\n', b'\r', text)?;
    let (line, after) = text.split_at_checked(end)?;
    match after {
        [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => Some((line, rest)),
        [b'\r', rest @ ..] if !rest.is_empty() => Some((line, rest)),
        _ => None,
    }
}

fn take<'a>(line: &'a [u8], data: &mut Option<Data<'a>>) {
    let Some(value) = line.strip_prefix(b"data") else {
        return;
    };
    let value = match value {
        [b':', b' ', value @ ..] | [b':', value @ ..] => value,
        [] => value,
        _ => return,
    };
    match data {
        None => *data = Some(Cow::Borrowed(value)),
        Some(before) => {
            let before = before.to_mut();
            before.push(b'\n');
            before.extend_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(body: &[u8]) -> Vec<String> {
        Events::new(body).map(|data| String::from_utf8(data.into_owned()).unwrap()).collect()
    }

    #[test]
    fn events_are_found_whatever_ends_their_lines() {
        for end in ["\n", "\r\n", "\r"] {
            let body = format!(
                ": hello{end}event: x{end}data: {{\"a\":1}}{end}id: 7{end}{end}data:two{end}data: lines{end}{end}retry: 5{end}{end}x"
            );
            assert_eq!(texts(body.as_bytes()), ["{\"a\":1}", "two\nlines"], "{end:?}");
        }
        let mut events = Events::new(b"event: x\n\nevent:error\r\ndata: a\n\ndata: b\n\n");
        assert_eq!((events.next().is_some(), events.name()), (true, b"error".as_slice()));
        assert_eq!((events.next().is_some(), events.name()), (true, b"".as_slice()));
        assert_eq!(texts(b"\xef\xbb\xbfdata: a\n\ndata\n\ndatax: b\n\n"), ["a", ""]);
    }

    #[test]
    fn an_event_without_its_blank_line_is_the_rest() {
        for body in ["data: a\n\ndata: b", "data: a\n\ndata: b\n"] {
            let mut events = Events::new(body.as_bytes());
            assert_eq!((events.by_ref().count(), events.rest().as_deref()), (1, Some(b"b".as_slice())));
        }
        let mut events = Events::new(b"data: a\n\n: bye\n");
        assert_eq!((events.by_ref().count(), events.rest()), (1, None));
    }

    #[test]
    fn a_body_cut_at_any_byte_yields_the_events_before_the_cut() {
        let body = "data: {\"t\":\"é€😀\"}\r\n\r\n: ping\n\nevent: message\ndata: one\ndata: two\n\ndata: {\"usage\":1}\r\rdata: [DONE]\n\n".as_bytes();
        let whole: Vec<_> = Events::new(body).map(Cow::into_owned).collect();
        assert_eq!(whole.len(), 4);
        for cut in 0..=body.len() {
            let mut first = Events::new(&body[..cut]);
            let mut seen: Vec<_> = first.by_ref().map(Cow::into_owned).collect();
            seen.extend(Events::new(&body[first.at..]).map(Cow::into_owned));
            assert_eq!(seen, whole, "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(body in prop::collection::vec(prop::sample::select(b"data: \r\n\xef\xbb\xbf{}x".to_vec()), 0..80)) {
            let mut events = Events::new(&body);
            let _ = events.by_ref().count();
            let _ = events.rest();
        }
    }
}
