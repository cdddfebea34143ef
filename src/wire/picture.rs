//! What kind of image was asked for or made, as far as its price depends on it.

use serde_json::Value;

/// `None` is what was not told, and what is left to the model (`auto`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    pub quality: Option<Quality>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    Low,
    Medium,
    High,
    XHigh,
    Max,
    Standard,
    Hd,
}

/// No image has longer sides, in pixels.
const MAX_SIDE: u32 = 100_000;

/// fal's names of sizes. <https://fal.ai/models/fal-ai/flux/dev/api>
const NAMED: &[(&str, (u32, u32))] = &[
    ("square_hd", (1024, 1024)),
    ("square", (512, 512)),
    ("portrait_4_3", (768, 1024)),
    ("portrait_16_9", (576, 1024)),
    ("landscape_4_3", (1024, 768)),
    ("landscape_16_9", (1024, 576)),
];

// === impl Picture ===

impl Picture {
    /// What is known, and else what the other knows.
    pub fn or(self, other: Self) -> Self {
        Self { size: self.size.or(other.size), quality: self.quality.or(other.quality) }
    }

    pub fn shown_size(&self) -> Option<String> {
        self.size.map(|(width, height)| format!("{width}x{height}"))
    }
}

/// From `1024x1024`, a name, or an object with width and height.
pub fn size(value: &Value) -> Option<(u32, u32)> {
    let side = |side: u64| u32::try_from(side).ok().filter(|side| (1..=MAX_SIDE).contains(side));
    match value {
        Value::String(text) => {
            let text = text.trim().to_ascii_lowercase();
            let named = NAMED.iter().find(|(name, _)| *name == text).map(|(_, size)| *size);
            named.or_else(|| {
                let (width, height) = text.split_once(['x', '×'])?;
                Some((side(width.trim().parse().ok()?)?, side(height.trim().parse().ok()?)?))
            })
        }
        Value::Object(sides) => Some((side(sides.get("width")?.as_u64()?)?, side(sides.get("height")?.as_u64()?)?)),
        _ => None,
    }
}

// === impl Quality ===

impl Quality {
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Low, "low"),
        (Self::Medium, "medium"),
        (Self::High, "high"),
        (Self::XHigh, "xhigh"),
        (Self::Max, "max"),
        (Self::Standard, "standard"),
        (Self::Hd, "hd"),
    ];

    pub fn parse(word: &str) -> Option<Self> {
        let word = word.trim();
        Self::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(word)).map(|(quality, _)| *quality)
    }

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(quality, _)| *quality == self).map_or("", |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_are_read_however_they_are_written() {
        for (value, wanted) in [
            (json!("1024x1792"), Some((1024, 1792))),
            (json!(" 512 X 512 "), Some((512, 512))),
            (json!("landscape_4_3"), Some((1024, 768))),
            (json!({ "width": 1920, "height": 1080 }), Some((1920, 1080))),
            (json!("auto"), None),
            (json!("0x0"), None),
            (json!("99999999999x1"), None),
            (json!("-1x5"), None),
            (json!({ "width": 5 }), None),
            (json!(1024), None),
        ] {
            assert_eq!(size(&value), wanted, "{value}");
        }
        assert!(Quality::ALL.iter().all(|(quality, name)| Quality::parse(name) == Some(*quality)));
        assert_eq!((Quality::parse("auto"), Quality::parse(" HD ")), (None, Some(Quality::Hd)));
    }
}
