//! What an answer used besides plain tokens: whatever has a price of its own.

use super::picture::{self, Picture, Quality};
use crate::base::object;
use serde_json::{Map, Value};

/// Counts beside those of [`crate::wire::facts::Usage`], and under which conditions the answer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    counts: [Option<u64>; Count::ALL.len()],
    /// The provider's class of service; `None` where it does not say.
    pub tier: Option<Tier>,
    /// Anthropic's fast mode.
    pub is_fast: bool,
    pub place: Option<Place>,
    /// What kind of images were made.
    pub picture: Picture,
}

/// What is counted apart. Tokens of audio, images and video are contained in the input and the output, cached ones in those of
/// the input as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Input tokens written to the provider's cache for an hour, and for a day; contained in all that were written.
    CacheWriteHour,
    CacheWriteDay,
    AudioIn,
    ImageIn,
    VideoIn,
    AudioCached,
    ImageCached,
    VideoCached,
    AudioOut,
    ImageOut,
    VideoOut,
    /// Thousandths of the seconds of audio that were listened to; see [`Count::unit`].
    Seconds,
    WebSearches,
    FileSearches,
    /// Containers in which code of the model ran.
    Containers,
    /// Images that another model made.
    ImageCalls,
    /// What rerankers count.
    SearchUnits,
    /// Pages that were read, and those of them of which annotations were made.
    Pages,
    AnnotatedPages,
    /// Images that were made.
    Images,
    /// Characters of a text that was spoken.
    Characters,
}

/// A class of service, which has prices of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Standard,
    Flex,
    Priority,
    Batch,
    Ultrafast,
    /// Paid for beforehand, by a contract that Tollgate does not know.
    Reserved,
    Unknown,
}

/// Where an answer was made, as far as it has to do with its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Us,
    /// An endpoint of one region of Google's.
    Region,
    Unknown,
}

// === impl Details ===

impl Details {
    pub fn get(&self, count: Count) -> Option<u64> {
        self.counts.get(count as usize).copied().flatten()
    }

    /// How many there are; what is not told is none.
    pub fn number(&self, count: Count) -> u64 {
        self.get(count).unwrap_or(0)
    }

    pub fn set(&mut self, count: Count, number: Option<u64>) {
        if let Some(own) = self.counts.get_mut(count as usize) {
            *own = number;
        }
    }

    pub fn with(mut self, count: Count, number: impl Into<Option<u64>>) -> Self {
        self.set(count, number.into());
        self
    }

    pub fn has_counts(&self) -> bool {
        self.counts.iter().flatten().any(|count| *count > 0)
    }

    /// True where all that is to know about them is that there are none, under usual conditions.
    pub fn is_plain(&self) -> bool {
        let is_usual = self.tier.is_none_or(|tier| tier == Tier::Standard) && !self.is_fast && self.place.is_none();
        is_usual && !self.has_counts()
    }

    /// Takes over what a later event of the same answer says.
    pub fn merge(&mut self, later: Self) {
        for (own, later) in self.counts.iter_mut().zip(later.counts) {
            *own = crate::wire::counts::latest(*own, later);
        }
        self.tier = later.tier.or(self.tier);
        self.is_fast |= later.is_fast;
        self.place = later.place.or(self.place);
        self.picture = later.picture.or(self.picture);
    }

    /// Adds those of another answer.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.counts.iter_mut().zip(other.counts) {
            *own = crate::wire::counts::sum(*own, other);
        }
        self.tier = self.tier.or(other.tier);
        self.is_fast |= other.is_fast;
        self.place = self.place.or(other.place);
        self.picture = self.picture.or(other.picture);
    }

    /// What there is, by name, as logs show and keep it.
    pub fn show(&self) -> Map<String, Value> {
        let counts = Count::ALL.iter().filter_map(|(count, name)| {
            let number = self.get(*count).filter(|number| *number > 0)?;
            Some(((*name).to_owned(), count.shown(number)))
        });
        let mut shown = object::of(counts);
        let mut say = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                shown.insert(name.to_owned(), Value::from(value));
            }
        };
        say("service_tier", self.tier.filter(|tier| *tier != Tier::Standard).map(Tier::name));
        say("speed", self.is_fast.then_some("fast"));
        say("inference_geo", self.place.map(Place::name));
        say("image_size", self.picture.shown_size().as_deref());
        say("image_quality", self.picture.quality.map(Quality::name));
        shown
    }

    /// From what [`Details::show`] made.
    pub fn read(shown: &Value) -> Self {
        let mut details = Self::default();
        for (count, name) in Count::ALL {
            details.set(*count, shown.get(name).and_then(|number| count.read(number)));
        }
        let text = |name: &str| shown.get(name).and_then(Value::as_str);
        details.tier = text("service_tier").and_then(Tier::parse);
        details.is_fast = text("speed") == Some("fast");
        details.place = text("inference_geo").and_then(Place::parse);
        details.picture.size = shown.get("image_size").and_then(picture::size);
        details.picture.quality = text("image_quality").and_then(Quality::parse);
        details
    }
}

// === impl Count ===

impl Count {
    /// In the order of the variants, with the names that logs have for them.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::CacheWriteHour, "input_cache_write_1h_tokens"),
        (Self::CacheWriteDay, "input_cache_write_24h_tokens"),
        (Self::AudioIn, "input_audio_tokens"),
        (Self::ImageIn, "input_image_tokens"),
        (Self::VideoIn, "input_video_tokens"),
        (Self::AudioCached, "input_cached_audio_tokens"),
        (Self::ImageCached, "input_cached_image_tokens"),
        (Self::VideoCached, "input_cached_video_tokens"),
        (Self::AudioOut, "output_audio_tokens"),
        (Self::ImageOut, "output_image_tokens"),
        (Self::VideoOut, "output_video_tokens"),
        (Self::Seconds, "input_audio_seconds"),
        (Self::WebSearches, "web_search_requests"),
        (Self::FileSearches, "file_search_calls"),
        (Self::Containers, "code_interpreter_sessions"),
        (Self::ImageCalls, "image_generation_calls"),
        (Self::SearchUnits, "search_units"),
        (Self::Pages, "ocr_pages"),
        (Self::AnnotatedPages, "ocr_annotated_pages"),
        (Self::Images, "output_image_count"),
        (Self::Characters, "input_characters"),
    ];

    /// So many of what is counted are one. A second has parts, and providers charge for them.
    pub fn unit(self) -> u64 {
        if self == Self::Seconds { 1_000 } else { 1 }
    }

    /// A number of these as logs show it.
    fn shown(self, number: u64) -> Value {
        match self.unit() {
            unit if number.is_multiple_of(unit) => Value::from(number / unit),
            unit => Value::from(number as f64 / unit as f64),
        }
    }

    /// From what a provider or a log says. A count is a whole number that is not negative; of seconds it may have a part.
    pub fn read(self, value: &Value) -> Option<u64> {
        match self.unit() {
            1 => crate::wire::counts::whole(value),
            unit => crate::wire::counts::parts(value, unit),
        }
    }
}

// === impl Tier ===

impl Tier {
    /// From a provider's word for it; words without a meaning are no tier. Groq and Fireworks name tiers that cost the same.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase();
        Some(match word.as_str() {
            "" | "null" | "traffic_type_unspecified" | "unspecified" => return None,
            "default" | "standard" | "auto" | "standard_only" | "on_demand" | "performance" => Self::Standard,
            "flex" | "on_demand_flex" => Self::Flex,
            "priority" | "on_demand_priority" => Self::Priority,
            "batch" => Self::Batch,
            "ultrafast" => Self::Ultrafast,
            "scale" | "reserved" | "provisioned_throughput" => Self::Reserved,
            _ => Self::Unknown,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Batch => "batch",
            Self::Ultrafast => "ultrafast",
            Self::Reserved => "reserved",
            Self::Unknown => "unknown",
        }
    }
}

// === impl Place ===

impl Place {
    /// From Anthropic's `inference_geo`.
    pub fn parse(word: &str) -> Option<Self> {
        match word.trim().to_ascii_lowercase().as_str() {
            "" | "global" | "not_available" | "default" => None,
            "us" => Some(Self::Us),
            "region" => Some(Self::Region),
            _ => Some(Self::Unknown),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Region => "region",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_again() {
        assert!(Count::ALL.iter().enumerate().all(|(place, (count, _))| *count as usize == place));
        let mut details =
            Details { tier: Some(Tier::Flex), is_fast: true, place: Some(Place::Us), ..Details::default() };
        for (number, (count, _)) in Count::ALL.iter().enumerate() {
            details.set(*count, Some(number as u64 + 1));
        }
        details.picture = Picture { size: Some((1024, 1536)), quality: Some(Quality::High) };
        assert_eq!(Details::read(&Value::Object(details.show())), details);
        assert!(Details::default().show().is_empty() && Details::default().is_plain());
    }
}
