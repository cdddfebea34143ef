//! Answers that are a user's or a model's words as a whole and say nothing of themselves.

use percent_encoding::percent_decode_str;

/// Whether an answer is the content of a file: what a user uploaded, what a model made, or the results of a batch, each line
/// of which is about another request. Or the bare text of a transcript. All of it is theirs, whatever its members are
/// called.
pub fn is_words(rest: &str, content_type: &str) -> bool {
    let path = percent_decode_str(rest).decode_utf8_lossy().into_owned();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        [.., "files", _, "content" | "download"] | [.., "batches", _, "results"] => true,
        [.., "files", name] => name.ends_with(":download"),
        [.., "audio", "transcriptions" | "translations"] => {
            content_type.starts_with("text/") && !content_type.starts_with("text/event-stream")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_of_files_are_told_from_answers_about_them() {
        for path in [
            "v1/files/file-1/content",
            "files/file-1/content/",
            "containers/c/files/f/content",
            "v1/messages/batches/msgbatch_1/results",
            "v1beta/files/abc:download",
            "download/v1beta/files/abc%3Adownload",
            "files/f/download",
        ] {
            assert!(is_words(path, "application/json"), "{path}");
        }
        for path in
            ["v1/files/file-1", "files", "batches/b", "chat/completions", "content", "models/content:generateContent"]
        {
            assert!(!is_words(path, "application/json"), "{path}");
        }
    }

    #[test]
    fn a_transcript_is_a_text_where_its_type_says_so() {
        for (kind, wanted) in [
            ("text/plain; charset=utf-8", true),
            ("text/vtt", true),
            ("text/event-stream", false),
            ("application/json", false),
        ] {
            assert_eq!(is_words("v1/audio/transcriptions", kind), wanted, "{kind}");
        }
        assert!(!is_words("chat/completions", "text/plain"));
    }
}
