//! Windows of time.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Technique {
    /// Windows begin at whole multiples of their length since 1970.
    Fixed,
    /// The window is the time that has just passed.
    Sliding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub length_ms: u64,
    pub technique: Technique,
}

// === impl Technique ===

impl Technique {
    pub const NAMES: &[&str] = &["fixed", "sliding"];

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "fixed" => Some(Self::Fixed),
            "sliding" => Some(Self::Sliding),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Sliding => "sliding",
        }
    }
}

// === impl Window ===

impl Window {
    pub fn seconds(seconds: u64, technique: Technique) -> Self {
        Self { length_ms: seconds.saturating_mul(1_000).max(1), technique }
    }

    /// When the fixed window that a time is in began.
    pub fn start(&self, now: u64) -> u64 {
        now - now % self.length_ms.max(1)
    }

    /// How long until it ends.
    pub fn left(&self, now: u64) -> u64 {
        self.start(now).saturating_add(self.length_ms).saturating_sub(now)
    }
}
