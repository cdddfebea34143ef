//! The lines of a file of results, piece by piece: no more than one line is in memory.

/// A longer line is not read.
pub const MAX_LINE: usize = 8 * 1024 * 1024;

/// Takes pieces and gives lines. With `in_list` it gives the objects of a list within a document instead, which is how Gemini answers
/// where results stand in the batch itself.
pub struct Lines {
    pending: Vec<u8>,
    is_skipping: bool,
    in_list: Option<InList>,
    /// How many lines were given so far that had more than [`MAX_LINE`] bytes: they come as empty ones.
    pub skipped: u64,
}

/// Where one is in a document: the member whose list has the lines, and how deep one is in it.
#[derive(Default)]
struct InList {
    depth: u32,
    in_text: bool,
    is_escaped: bool,
    /// The last text, to find the member by.
    text: Vec<u8>,
    /// How deep the list is that has the lines, once it is found.
    list: Option<u32>,
    is_named: bool,
}

const MEMBER: &[u8] = b"inlinedResponses";

// === impl Lines ===

impl Lines {
    pub fn new(in_list: bool) -> Self {
        Self { pending: Vec::new(), is_skipping: false, in_list: in_list.then(InList::default), skipped: 0 }
    }

    /// Takes a piece, and adds the lines that are complete with it.
    pub fn push(&mut self, piece: &[u8], lines: &mut Vec<Vec<u8>>) {
        if self.in_list.is_some() {
            return self.push_document(piece, lines);
        }
        let mut rest = piece;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            self.add(line);
            self.end(lines);
            rest = after.get(1..).unwrap_or_default();
        }
        self.add(rest);
    }

    /// The last line, which may have no end.
    pub fn finish(&mut self, lines: &mut Vec<Vec<u8>>) {
        if self.in_list.is_none() {
            self.end(lines);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.is_skipping {
            return;
        }
        if self.pending.len() + bytes.len() > MAX_LINE {
            self.is_skipping = true;
            self.pending = Vec::new();
            return;
        }
        self.pending.extend_from_slice(bytes);
    }

    fn end(&mut self, lines: &mut Vec<Vec<u8>>) {
        let line = std::mem::take(&mut self.pending);
        if std::mem::take(&mut self.is_skipping) {
            self.skipped += 1;
            lines.push(Vec::new());
        } else if !line.trim_ascii().is_empty() {
            lines.push(line);
        }
    }

    fn push_document(&mut self, piece: &[u8], lines: &mut Vec<Vec<u8>>) {
        for byte in piece {
            let Some(at) = &mut self.in_list else { return };
            let step = at.step(*byte);
            if step != Step::Outside {
                self.add(std::slice::from_ref(byte));
            }
            if step == Step::Last {
                self.end(lines);
            }
        }
    }
}

/// What a byte is of a document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Outside,
    Within,
    /// The end of a line.
    Last,
}

// === impl InList ===

impl InList {
    fn step(&mut self, byte: u8) -> Step {
        let is_within = self.list.is_some_and(|list| self.depth > list);
        let within = if is_within { Step::Within } else { Step::Outside };
        if self.in_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => {
                    self.in_text = false;
                    self.is_named |= self.list.is_none() && self.text == MEMBER;
                }
                // A name that is longer is another one.
                _ if self.list.is_none() && self.text.len() <= MEMBER.len() => self.text.push(byte),
                _ => {}
            }
            return within;
        }
        match byte {
            b'"' => {
                self.in_text = true;
                self.text.clear();
            }
            b'{' | b'[' => {
                self.depth += 1;
                if byte == b'[' && self.is_named && self.list.is_none() {
                    self.list = Some(self.depth);
                    return Step::Outside;
                }
                return if self.list.is_some_and(|list| self.depth > list) { Step::Within } else { Step::Outside };
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                match self.list {
                    Some(list) if self.depth < list => {
                        // Nothing behind the list is a line.
                        (self.list, self.is_named) = (None, false);
                        return Step::Outside;
                    }
                    Some(list) if self.depth == list && is_within => return Step::Last,
                    _ => {}
                }
            }
            // A member of another kind has that name.
            b',' if self.list.is_none() => self.is_named = false,
            _ => {}
        }
        within
    }
}
