//! Which bodies of a log are in the bucket.

/// Which bodies of a log are in its object, the request's first, and how many bytes they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub request: Option<u64>,
    pub response: Option<u64>,
    /// The bucket did not take the object.
    pub cut: bool,
}

// === impl Stored ===

impl Stored {
    pub fn is_empty(&self) -> bool {
        self.request.is_none() && self.response.is_none()
    }
}
