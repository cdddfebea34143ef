//! Answers that are somebody's file and say nothing of themselves.

use crate::query::percent_decoded;

/// Whether a path gives out the content of a file: what a user uploaded, what a model made, or the results of a batch, each
/// line of which is about another request. All of it is theirs, whatever its members are called.
pub fn is_file(rest: &str) -> bool {
    let path = String::from_utf8_lossy(&percent_decoded(rest)).into_owned();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        [.., "files", _, "content" | "download"] | [.., "batches", _, "results"] => true,
        [.., "files", name] => name.ends_with(":download"),
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
            assert!(is_file(path), "{path}");
        }
        for path in
            ["v1/files/file-1", "files", "batches/b", "chat/completions", "content", "models/content:generateContent"]
        {
            assert!(!is_file(path), "{path}");
        }
    }
}
