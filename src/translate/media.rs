//! What kind of file a request has: clients often name it and say nothing else.

use crate::translate::model::Source;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The media types of files, by how their names end.
const MEDIA_TYPES: &[(&str, &str)] = &[
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("md", "text/markdown"),
    ("txt", "text/plain"),
    ("json", "application/json"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("heic", "image/heic"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("mp4", "video/mp4"),
];

/// The media type of a file of that name.
pub fn type_of(name: &str) -> Option<&'static str> {
    let end = name.rsplit_once('.')?.1.to_ascii_lowercase();
    MEDIA_TYPES.iter().find(|(own, _)| *own == end).map(|(_, media_type)| *media_type)
}

/// Whether a file of that type is text that people read.
pub fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/") || matches!(media_type, "application/json" | "application/xml" | "application/yaml")
}

// === impl Source ===

impl Source {
    pub fn inline(media_type: &str, data: &str) -> Self {
        let media_type = if media_type == "image/jpg" { "image/jpeg" } else { media_type };
        Self::Inline { media_type: media_type.to_owned(), data: data.to_owned() }
    }

    /// The same, with the media type that its name tells where the caller's says nothing.
    pub fn named(mut self, name: Option<&str>) -> Self {
        if let Self::Inline { media_type, .. } = &mut self
            && matches!(media_type.as_str(), "" | "application/octet-stream" | "binary/octet-stream")
            && let Some(own) = name.and_then(type_of)
        {
            own.clone_into(media_type);
        }
        self
    }

    /// The words of a file that is sent in base64.
    pub fn words(&self) -> Option<String> {
        match self {
            Self::Inline { media_type, data } if is_text(media_type) => {
                String::from_utf8(STANDARD.decode(data).ok()?).ok()
            }
            _ => None,
        }
    }
}
