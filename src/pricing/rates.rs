//! Rates of everything that has a price of its own, and what an answer costs by them.

use crate::pricing::bill::Bill;
use crate::wire::Usage;
use crate::wire::details::{Count, Place, Tier};

/// What has a rate: US dollars per million tokens, or per second, call and answer; or a factor on all tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    Input,
    Output,
    /// Input read from the provider's cache; where the rate is unknown such tokens cost as much as others.
    Cached,
    /// Input written to the provider's cache; likewise.
    CacheWrite,
    CacheWriteHour,
    CacheWriteDay,
    /// Output spent on reasoning, where it differs from other output.
    Reasoning,
    AudioIn,
    AudioOut,
    AudioCached,
    ImageIn,
    ImageOut,
    ImageCached,
    VideoIn,
    VideoOut,
    /// Text of a model whose output otherwise is images.
    TextOut,
    Second,
    Search,
    /// For all searches of an answer together.
    SearchOnce,
    Request,
    SearchUnit,
    Container,
    FileSearch,
    Page,
    /// For a page of which annotations are made, on top of its rate as a page.
    AnnotatedPage,
    Image,
    Character,
    /// Factors: for answers that are made in the USA, in fast mode, and at an endpoint of one region.
    Us,
    Fast,
    Region,
}

/// The rates that are known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates([Option<f64>; Rate::ALL.len()]);

// === impl Rate ===

impl Rate {
    /// In the order of the variants, with the letters that build.rs gives them.
    pub const ALL: &'static [(Self, u8)] = &[
        (Self::Input, b'i'),
        (Self::Output, b'o'),
        (Self::Cached, b'c'),
        (Self::CacheWrite, b'w'),
        (Self::CacheWriteHour, b'h'),
        (Self::CacheWriteDay, b'd'),
        (Self::Reasoning, b'r'),
        (Self::AudioIn, b'a'),
        (Self::AudioOut, b'A'),
        (Self::AudioCached, b'b'),
        (Self::ImageIn, b'm'),
        (Self::ImageOut, b'M'),
        (Self::ImageCached, b'n'),
        (Self::VideoIn, b'v'),
        (Self::VideoOut, b'V'),
        (Self::TextOut, b'x'),
        (Self::Second, b't'),
        (Self::Search, b's'),
        (Self::SearchOnce, b'p'),
        (Self::Request, b'q'),
        (Self::SearchUnit, b'z'),
        (Self::Container, b'k'),
        (Self::FileSearch, b'l'),
        (Self::Page, b'y'),
        (Self::AnnotatedPage, b'Y'),
        (Self::Image, b'j'),
        (Self::Character, b'H'),
        (Self::Us, b'u'),
        (Self::Fast, b'f'),
        (Self::Region, b'g'),
    ];

    pub fn is_of_tokens(self) -> bool {
        (self as usize) < Self::Second as usize
    }

    /// What it is a rate of.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Input => "input_tokens",
            Self::Output | Self::TextOut => "output_tokens",
            Self::Cached => "input_cached_tokens",
            Self::CacheWrite => "input_cache_write_tokens",
            Self::CacheWriteHour => "input_cache_write_1h_tokens",
            Self::CacheWriteDay => "input_cache_write_24h_tokens",
            Self::Reasoning => "output_reasoning_tokens",
            Self::AudioIn => "input_audio_tokens",
            Self::AudioOut => "output_audio_tokens",
            Self::AudioCached => "input_cached_audio_tokens",
            Self::ImageIn => "input_image_tokens",
            Self::ImageOut => "output_image_tokens",
            Self::ImageCached => "input_cached_image_tokens",
            Self::VideoIn => "input_video_tokens",
            Self::VideoOut => "output_video_tokens",
            Self::Second => "input_audio_seconds",
            Self::Search | Self::SearchOnce => "web_search_requests",
            Self::Request => "requests",
            Self::SearchUnit => "search_units",
            Self::Container => "code_interpreter_sessions",
            Self::FileSearch => "file_search_calls",
            Self::Page => "ocr_pages",
            Self::AnnotatedPage => "ocr_annotated_pages",
            Self::Image => "output_image_count",
            Self::Character => "input_characters",
            Self::Us | Self::Fast | Self::Region => "factor",
        }
    }
}

// === impl Rates ===

impl Rates {
    /// From a line of the table: letters, each with its number.
    pub fn parse(text: &str) -> Self {
        let mut rates = Self::default();
        let mut rest = text;
        while let Some(letter) = rest.bytes().next() {
            rest = rest.get(1..).unwrap_or("");
            let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let (number, others) = rest.split_at_checked(end).unwrap_or((rest, ""));
            rest = others;
            if let Some((rate, _)) = Rate::ALL.iter().find(|(_, known)| *known == letter) {
                rates.set(*rate, crate::base::number::parse(number));
            }
        }
        rates
    }

    pub fn get(&self, rate: Rate) -> Option<f64> {
        self.0.get(rate as usize).copied().flatten()
    }

    pub fn set(&mut self, rate: Rate, value: Option<f64>) {
        if let Some(own) = self.0.get_mut(rate as usize) {
            *own = value;
        }
    }

    #[cfg(test)]
    pub fn with(mut self, rate: Rate, value: impl Into<Option<f64>>) -> Self {
        self.set(rate, value.into());
        self
    }

    /// With all rates of tokens changed by a factor. Fees, and factors themselves, are no rates of tokens.
    pub fn scaled(&self, factor: f64) -> Self {
        let mut scaled = *self;
        for ((rate, _), own) in Rate::ALL.iter().zip(&mut scaled.0) {
            if rate.is_of_tokens() {
                *own = own.map(|own| own * factor);
            }
        }
        scaled
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied().flatten()
    }

    #[cfg(test)]
    pub fn cost(&self, usage: &Usage) -> Option<f64> {
        self.bill(usage).cost()
    }

    /// What an answer costs.
    pub fn bill(&self, usage: &Usage) -> Bill {
        let mut sum = Sum { rates: self, bill: Bill::default() };
        sum.tokens(usage);
        let factor = sum.factor(usage);
        sum.bill.known = sum.bill.known / 1e6 * factor;
        sum.bill.lines.iter_mut().for_each(|line| line.rate = line.rate / 1e6 * factor);
        sum.calls(usage);
        sum.bill.known = rounded(sum.bill.known);
        sum.bill
    }
}

/// What is paid for by its number where no tokens are told: its rate, its name in logs, and what is needed to learn of it.
const UNITS: &[(Count, Rate, &str, &str)] = &[
    (
        Count::Seconds,
        Rate::Second,
        "input_audio_seconds",
        "its seconds of audio, by which this model is paid; a transcript as plain text, SRT or VTT has none, \
         the response_format verbose_json has",
    ),
    (Count::Pages, Rate::Page, "ocr_pages", "its pages, by which this model is paid"),
    (Count::AnnotatedPages, Rate::AnnotatedPage, "ocr_annotated_pages", ""),
    (Count::Images, Rate::Image, "output_image_count", "its images, by which this model is paid"),
    (
        Count::Characters,
        Rate::Character,
        "input_characters",
        "its characters, by which this model is paid: Tollgate counts those of a text in a JSON body that it reads",
    ),
    (Count::SearchUnits, Rate::SearchUnit, "search_units", "its search units, by which this model is paid"),
];

/// A bill that is being made.
struct Sum<'a> {
    rates: &'a Rates,
    bill: Bill,
}

impl Sum<'_> {
    /// Adds so many of something at the first rate that is known. Tokens without one cost at least what those of text do.
    fn add(&mut self, number: u64, rates: &[Rate], what: &str) {
        if number == 0 {
            return;
        }
        match rates.iter().find_map(|rate| self.rates.get(*rate)) {
            // What is counted names the first of the rates that it may have.
            Some(rate) => self.bill.add(rates.first().map_or("", |first| first.kind()), number as f64, rate),
            None => {
                let text = match what {
                    what if what.starts_with("input_") && what.ends_with("_tokens") => self.rates.get(Rate::Input),
                    what if what.starts_with("output_") => self.rates.get(Rate::Output),
                    _ => None,
                };
                self.bill.known += number as f64 * text.unwrap_or(0.0);
                self.bill.lacks(|| format!("there is no price for the {number} {what} of this answer"));
            }
        }
    }

    /// Whether tokens are paid for. What is paid for by its number alone has a rate of 0 in the list for them.
    fn pays_tokens(&self) -> bool {
        self.rates.get(Rate::Input).is_some_and(|rate| rate > 0.0)
    }

    fn tokens(&mut self, usage: &Usage) {
        let has_rate = self.pays_tokens();
        let is_counted = |count: Count| usage.details.number(count) > 0;
        // What is paid for by the second or by the page has no price for its few tokens.
        let is_by_unit = |(count, rate, ..): &(Count, Rate, &str, &str)| {
            is_counted(*count) && (usage.tokens_in.is_none() || (!has_rate && self.rates.get(*rate).is_some()))
        };
        if UNITS.iter().any(is_by_unit) {
            return;
        }
        if !has_rate && usage.tokens_in.is_none() {
            let unit = UNITS.iter().find(|(_, rate, ..)| self.rates.get(*rate).is_some());
            if let Some((_, _, _, what)) = unit {
                return self.bill.lacks(|| format!("the answer does not tell {what}"));
            }
        }
        self.input(usage);
        self.output(usage);
    }

    fn input(&mut self, usage: &Usage) {
        let details = &usage.details;
        let Some(total) = usage.tokens_in else {
            return self.bill.lacks(|| "the answer does not tell its input tokens".to_owned());
        };
        let written = usage.cache_write.unwrap_or(0);
        let mut cached = usage.cached.unwrap_or(0);
        let inside = if usage.cached_outside { 0 } else { cached.saturating_add(written) };
        let mut rest = total.saturating_sub(inside);
        // What of a kind was read from the cache costs what cached ones of it do.
        for (all, of_cache, fresh, kept, what) in [
            (Count::AudioIn, Count::AudioCached, Rate::AudioIn, Rate::AudioCached, "input_audio_tokens"),
            (Count::ImageIn, Count::ImageCached, Rate::ImageIn, Rate::ImageCached, "input_image_tokens"),
            (Count::VideoIn, Count::VideoCached, Rate::VideoIn, Rate::Cached, "input_video_tokens"),
        ] {
            let from_cache = details.number(of_cache).min(details.number(all)).min(cached);
            let mut new = details.number(all).saturating_sub(from_cache);
            // A provider that does not say which tokens were cached may have cached some of these.
            let overlap = if usage.cached_outside { 0 } else { new.saturating_sub(rest).min(cached - from_cache) };
            new = new.saturating_sub(overlap).min(rest);
            cached -= from_cache + overlap;
            rest -= new;
            self.add(new, &[fresh], what);
            self.add(from_cache + overlap, &[kept, fresh], what);
        }
        self.add(rest, &[Rate::Input], "input tokens");
        self.add(cached, &[Rate::Cached, Rate::Input], "cached input tokens");
        let hour = details.number(Count::CacheWriteHour).min(written);
        let day = details.number(Count::CacheWriteDay).min(written - hour);
        self.add(hour, &[Rate::CacheWriteHour], "input_cache_write_1h_tokens");
        self.add(day, &[Rate::CacheWriteDay], "input_cache_write_24h_tokens");
        self.add(written - hour - day, &[Rate::CacheWrite, Rate::Input], "input tokens written to the cache");
    }

    fn output(&mut self, usage: &Usage) {
        let details = &usage.details;
        let Some(total) = usage.tokens_out else {
            // Embeddings have no output, and their models no rate for it, or none to speak of.
            if self.rates.get(Rate::Output).is_some_and(|rate| rate > 0.0) || self.rates.get(Rate::ImageOut).is_some() {
                self.bill.lacks(|| "the answer does not tell its output tokens".to_owned());
            }
            return;
        };
        let mut rest = total;
        let kinds = [
            (Count::AudioOut, Rate::AudioOut, "output_audio_tokens"),
            (Count::ImageOut, Rate::ImageOut, "output_image_tokens"),
            (Count::VideoOut, Rate::VideoOut, "output_video_tokens"),
        ];
        let are_told = kinds.iter().any(|(count, ..)| details.get(*count).is_some());
        for (count, rate, what) in kinds {
            let number = details.number(count).min(rest);
            rest -= number;
            self.add(number, &[rate], what);
        }
        let thought = usage.reasoning.unwrap_or(0).min(rest);
        self.add(thought, &[Rate::Reasoning, Rate::Output], "output tokens");
        // A model of images that does not tell its tokens apart made an image.
        let text: &[Rate] = if are_told { &[Rate::Output, Rate::TextOut] } else { &[Rate::Output, Rate::ImageOut] };
        self.add(rest - thought, text, "output tokens");
    }

    /// What all tokens of an answer cost more under the conditions that it was made under.
    fn factor(&mut self, usage: &Usage) -> f64 {
        let mut factor = 1.0;
        if usage.details.is_fast {
            match self.rates.get(Rate::Fast) {
                Some(fast) => factor *= fast,
                None => self.bill.lacks(|| "there is no price for the fast mode of this model".to_owned()),
            }
        }
        match usage.details.place {
            None => {}
            // Only some models cost more there.
            Some(Place::Region) => factor *= self.rates.get(Rate::Region).unwrap_or(1.0),
            Some(Place::Us) if self.rates.get(Rate::Us).is_some() => factor *= self.rates.get(Rate::Us).unwrap_or(1.0),
            Some(Place::Us | Place::Unknown) => {
                self.bill.lacks(|| "there is no price for this model at the inference_geo of the answer".to_owned());
            }
        }
        factor
    }

    fn calls(&mut self, usage: &Usage) {
        let number = |count| usage.details.number(count);
        let searches = number(Count::WebSearches);
        match self.rates.get(Rate::SearchOnce).filter(|_| searches > 0) {
            Some(once) => self.bill.add(Rate::SearchOnce.kind(), 1.0, once),
            None => self.add(searches, &[Rate::Search], "web_search_requests"),
        }
        self.add(number(Count::FileSearches), &[Rate::FileSearch], "file_search_calls");
        self.add(number(Count::Containers), &[Rate::Container], "code_interpreter_sessions");
        self.add(number(Count::ImageCalls), &[], "image_generation_calls");
        if let Some(request) = self.rates.get(Rate::Request) {
            self.bill.add(Rate::Request.kind(), 1.0, request);
        }
        // Tokens are how most transcriptions and images are paid for, and numbers how the others are.
        let is_by_number = !self.pays_tokens() || usage.tokens_in.is_none();
        for (count, unit, what, _) in UNITS {
            let is_always = *count == Count::SearchUnits;
            match self.rates.get(*unit) {
                _ if !is_by_number && !is_always => {}
                // Annotations are a part of reading where they have no price of their own.
                None if *count == Count::AnnotatedPages => {}
                // Where tokens are told, what else was counted may be no more than a remark.
                None if usage.tokens_in.is_some() && !is_always => {}
                _ if number(*count) == 0 => {}
                Some(rate) => self.bill.add(unit.kind(), number(*count) as f64 / count.unit() as f64, rate),
                None => {
                    let number = number(*count) as f64 / count.unit() as f64;
                    self.bill.lacks(|| format!("there is no price for the {number} {what} of this answer"));
                }
            }
        }
    }
}

/// A class of service as the table names it. What is paid for beforehand, or has a name that is not known, is no line of it.
pub fn tier_name(tier: Option<Tier>) -> Option<&'static str> {
    match tier {
        None | Some(Tier::Standard) => Some(""),
        Some(Tier::Reserved | Tier::Unknown) => None,
        Some(tier) => Some(tier.name()),
    }
}

/// To a millionth of a millionth of a dollar: what lies beyond is the noise of floating point.
pub fn rounded(cost: f64) -> f64 {
    (cost * 1e12).round() / 1e12
}
