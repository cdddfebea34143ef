//! What an error says that is no JSON: a page or a line of text by whatever stands between us and a provider.

use memchr::memmem;

/// So much of a page is looked at, in bytes; what it says stands at its beginning.
const MAX_PAGE: usize = 64 * 1024;

const MAX_SENTENCE: usize = 300;

/// The sentence of an error, if it has one. Documents of JSON have theirs elsewhere.
pub fn sentence(body: &[u8]) -> Option<String> {
    let body = body.get(..MAX_PAGE).unwrap_or(body);
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let found = match text.chars().next()? {
        '{' | '[' | '"' => return None,
        '<' => of_page(text),
        _ if text
            .chars()
            .take(200)
            .any(|char| char.is_control() && !char.is_whitespace() || char == char::REPLACEMENT_CHARACTER) =>
        {
            return None;
        }
        _ if text.starts_with("data:") || text.starts_with("event:") => return None,
        _ => text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned),
    };
    let found: String = found?.chars().filter(|char| !char.is_control()).take(MAX_SENTENCE).collect();
    Some(found.trim().to_owned()).filter(|found| !found.is_empty())
}

/// The title of a page and its heading, the message of an XML error, or else the first words.
fn of_page(page: &str) -> Option<String> {
    let lower = page.to_ascii_lowercase();
    let element = |name: &str| {
        let start = opened(&lower, name)?;
        let end = lower.get(start..)?.find(&format!("</{name}"))? + start;
        Some(words(page.get(start..end)?)).filter(|words| !words.is_empty())
    };
    if let Some(message) = element("message") {
        return Some(message);
    }
    let (title, heading) = (element("title"), element("h1"));
    match (title, heading) {
        (Some(title), Some(heading)) => {
            let (small, other) = (title.to_lowercase(), heading.to_lowercase());
            if small.contains(&other) {
                Some(title)
            } else if other.contains(&small) {
                Some(heading)
            } else {
                Some(format!("{title}: {heading}"))
            }
        }
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) => {
            // Styles and scripts are no words.
            let body = opened(&lower, "body").and_then(|start| page.get(start..)).unwrap_or(page);
            Some(words(&without(&without(body, "style"), "script")))
        }
    }
}

/// Where the content of the first element of a name begins.
fn opened(lower: &str, name: &str) -> Option<usize> {
    let tag = format!("<{name}");
    let mut from = 0;
    loop {
        let start = memmem::find(lower.as_bytes().get(from..)?, tag.as_bytes())? + from;
        let rest = lower.get(start + tag.len()..)?;
        if rest.starts_with(['>', ' ', '\t', '\n', '\r', '/']) {
            return Some(start + tag.len() + rest.find('>')? + 1);
        }
        from = start + tag.len();
    }
}

fn without(page: &str, name: &str) -> String {
    let mut kept = String::new();
    let mut rest = page;
    loop {
        let lower = rest.to_ascii_lowercase();
        let Some(start) = lower.find(&format!("<{name}")) else { break };
        kept.push_str(rest.get(..start).unwrap_or(""));
        let Some(end) = lower.get(start..).and_then(|after| after.find(&format!("</{name}"))) else { return kept };
        rest = rest.get(start + end..).unwrap_or("");
        rest = rest.split_once('>').map_or("", |(_, after)| after);
    }
    kept + rest
}

/// The text of a part of a page, on one line.
fn words(part: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for char in part.chars() {
        match char {
            '<' => {
                in_tag = true;
                text.push(' ');
            }
            '>' if in_tag => in_tag = false,
            char if !in_tag => text.push(char),
            _ => {}
        }
    }
    for (entity, char) in
        [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
    {
        text = text.replace(entity, char);
    }
    text.split_whitespace().collect::<Vec<&str>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_of_proxies_leave_their_sentence() {
        for (body, wanted) in [
            (
                "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.25.3</center>\r\n</body>\r\n</html>\r\n",
                "502 Bad Gateway",
            ),
            (
                "upstream connect error or disconnect/reset before headers. reset reason: connection timeout",
                "upstream connect error or disconnect/reset before headers. reset reason: connection timeout",
            ),
            (
                "<!DOCTYPE html><html lang=\"en-US\"><head><title>api.example.com | 524: A timeout occurred</title><style>h1 {}</style></head><body><h1 class=\"x\"><span>A timeout occurred</span> <span>Error code 524</span></h1></body></html>",
                "api.example.com | 524: A timeout occurred: A timeout occurred Error code 524",
            ),
            ("error code: 1015", "error code: 1015"),
            (
                "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access &amp; more denied</Message></Error>",
                "Access & more denied",
            ),
            (
                "<html><body><script>var a = 1;</script><p>Service <b>Unavailable</b></p></body></html>",
                "Service Unavailable",
            ),
            ("<html><head><header>x</header></head><h1>Not here</h1>", "Not here"),
            ("\n\n  no healthy upstream\n", "no healthy upstream"),
        ] {
            assert_eq!(sentence(body.as_bytes()).as_deref(), Some(wanted), "{body}");
        }
        for none in ["", " ", "{\"a\":1}", "[1]", "<html></html>", "\u{1}\u{2}abc", "data: x\n\n", "<title>"] {
            assert_eq!(sentence(none.as_bytes()), None, "{none:?}");
        }
        assert_eq!(sentence(&[b'x'; 100_000]).map(|text| text.len()), Some(MAX_SENTENCE));
        assert_eq!(sentence(b"\x1f\x8b\x08\0abc"), None);
    }

    proptest! {
        #[test]
        fn any_page_is_read_without_harm(page in "(<(title|h1|style|body|/)|>|İ|&lt;|x| ){0,30}", bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = (sentence(page.as_bytes()), sentence(&bytes));
        }
    }
}
