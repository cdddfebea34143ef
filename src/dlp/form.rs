//! The parts of a form, and which of them are texts.

use memchr::memmem;

/// A part of a form: the bytes of its content, and whether it is text that can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub start: usize,
    pub end: usize,
    pub kind: PartKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    Text,
    /// Pictures, sound and films.
    Media,
    /// A file that is no text.
    Binary,
}

/// The parts of a form; `None` for a body that is none.
pub fn parts(body: &[u8], boundary: &str) -> Option<Vec<Part>> {
    let delimiter = format!("--{boundary}");
    let mut at = match body.starts_with(delimiter.as_bytes()) {
        true => delimiter.len(),
        false => memmem::find(body, format!("\r\n{delimiter}").as_bytes())? + 2 + delimiter.len(),
    };
    let behind = format!("\r\n{delimiter}");
    let mut parts = Vec::new();
    loop {
        let rest = body.get(at..)?;
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        let head = memmem::find(rest, b"\r\n\r\n")?;
        // A part without headers has the empty line at once.
        let start = at + head + 4;
        let content = body.get(start..)?;
        let length = memmem::find(content, behind.as_bytes())?;
        let headers = String::from_utf8_lossy(rest.get(..head)?).to_ascii_lowercase();
        let kind = kind(&headers, content.get(..length)?);
        parts.push(Part { start, end: start + length, kind });
        at = start + length + behind.len();
    }
}

/// The texts of a form, one below the other; `None` where there is a file that is none.
pub fn texts(body: &[u8], boundary: &str) -> Option<String> {
    let mut texts = Vec::new();
    for part in parts(body, boundary)? {
        match part.kind {
            PartKind::Text => texts.push(String::from_utf8_lossy(body.get(part.start..part.end)?)),
            PartKind::Media => {}
            PartKind::Binary => return None,
        }
    }
    Some(texts.join("\n"))
}

fn kind(headers: &str, content: &[u8]) -> PartKind {
    let content_type = headers.lines().find_map(|line| line.strip_prefix("content-type:")).unwrap_or("").trim();
    // Sound is often sent as a file of no type.
    let name = headers.split_once("filename=").map_or("", |(_, name)| name);
    let name = name.trim_start_matches('"').split(['"', ';', '\r', '\n']).next().unwrap_or("");
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    const MEDIA: [&str; 16] = [
        "mp3", "mp4", "mpeg", "mpga", "m4a", "wav", "webm", "ogg", "oga", "flac", "png", "jpg", "jpeg", "gif", "webp",
        "mov",
    ];
    match std::str::from_utf8(content) {
        Ok(_) if !content.contains(&0) => PartKind::Text,
        _ if is_media(content_type) || MEDIA.contains(&ending) => PartKind::Media,
        _ => PartKind::Binary,
    }
}

/// Whether a body, of which this is the beginning, begins with text.
pub fn begins_in_text(beginning: &[u8]) -> bool {
    // The last character may be cut.
    let is_utf8 = std::str::from_utf8(beginning).map_or_else(|fault| fault.error_len().is_none(), |_| true);
    is_utf8 && !beginning.contains(&0)
}

/// Whether a content type is one of pictures, sound or films.
pub fn is_media(content_type: &str) -> bool {
    ["audio/", "image/", "video/"].iter().any(|kind| content_type.trim_start().to_ascii_lowercase().starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let body = b"--xx\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--xx\r\nContent-Disposition: form-data; name=\"file\"; \
            filename=\"a.mp3\"\r\nContent-Type: application/octet-stream\r\n\r\n\xff\x00\r\n--xx\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.pdf\"\r\n\r\n%PDF\xff\r\n--xx--\r\n";
        let found = parts(body, "xx").unwrap();
        let all: Vec<(&[u8], PartKind)> =
            found.iter().map(|part| (body.get(part.start..part.end).unwrap(), part.kind)).collect();
        assert_eq!(
            all,
            [(&b"whisper"[..], PartKind::Text), (b"\xff\x00", PartKind::Media), (b"%PDF\xff", PartKind::Binary)]
        );
        assert_eq!(texts(body, "xx"), None);
        // A name of a type makes no picture of a text.
        let named = b"--x\r\nContent-Type: image/png\r\n\r\na\r\n--x--";
        assert_eq!(texts(named, "x").as_deref(), Some("a"));
        assert!(begins_in_text("{\"a\":\"\u{e4}".as_bytes().get(..7).unwrap()));
        assert!(!begins_in_text(b"\x89PNG") && !begins_in_text(b"{\0\"\0"));
        assert_eq!(texts(b"--x\r\n\r\na\r\n--x\r\n\r\nb\r\n--x--", "x").as_deref(), Some("a\nb"));
        assert_eq!((parts(b"--xx\r\n\r\nhalf", "xx"), parts(b"{}", "xx")), (None, None));
        assert_eq!(parts(b"--xx--", "xx"), Some(Vec::new()));
    }
}
