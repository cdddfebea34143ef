//! What a request asks for that is paid by the piece.

use crate::wire::picture::Picture;

/// What a request asks for that may be paid for by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// What kind of images.
    pub picture: Picture,
    /// How many of them.
    pub images: Option<u64>,
    /// The characters of a text that is to be spoken, or to be worked on otherwise.
    pub characters: Option<u64>,
    /// True where it brings the messages of a chat.
    pub has_messages: bool,
}

/// What a request says that its log is found by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The beginning of the last text of its user.
    pub last_user: Option<String>,
    /// Anthropic's `metadata.user_id`.
    pub user_id: Option<String>,
    pub previous_response_id: Option<String>,
    pub prompt_cache_key: Option<String>,
}
