//! The table of models, built in and of an account's own, and how a model is found in it.

use crate::providers::model::names;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

/// What is known of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub provider: &'a str,
    pub model: &'a str,
    /// What [`Line::facts`] reads.
    pub(super) facts: &'a str,
    /// What `pricing/price.rs` reads; empty where no price is known.
    pub rates: &'a str,
}

/// The models that an account knows: its own lines, and behind them the built-in ones. As cheap to clone as a reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    own: Option<Rc<Own>>,
}

/// What an account's operator has put into the catalogue.
#[derive(Debug, PartialEq)]
pub struct Own {
    /// The day of the figures.
    pub as_of: String,
    /// Sorted lines as those of [`TABLE`] are.
    lines: String,
}

include!(concat!(env!("OUT_DIR"), "/prices.rs"));

/// Platforms that serve other vendors' models under their names and prices, and where to look for these.
const SAME_PRICES: &[(&str, &[&str])] = &[
    ("azure-openai", &["openai"]),
    ("google-vertex-ai", &["google-ai-studio", "anthropic"]),
    ("google-ai-studio", &["google-vertex-ai"]),
];

/// Bedrock's inference profiles are named by where they run.
const BEDROCK_REGIONS: &[&str] = &["us.", "us-gov.", "eu.", "apac.", "global.", "jp.", "au.", "ca."];

/// What was looked for lately, and its line.
type Known = Vec<(String, String, Option<Line<'static>>)>;

/// So many names are kept, none longer than so many bytes: they come from providers' answers.
const MAX_KNOWN: usize = 32;
const MAX_NAME: usize = 128;

thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new(Vec::new()) };
}

/// Finds a model in the built-in table. A name is never taken for that of a different model: only what is known to be no part of
/// a model's name is left out.
pub fn built_in(provider: &str, model: &str) -> Option<Line<'static>> {
    KNOWN.with_borrow_mut(|known| {
        if let Some((.., line)) = known.iter().find(|(of, name, _)| of == provider && name == model) {
            return *line;
        }
        let line = resolved(provider, model, |provider, name| searched(TABLE, provider, name));
        if provider.len().max(model.len()) <= MAX_NAME {
            if known.len() == MAX_KNOWN {
                known.clear();
            }
            known.push((provider.to_owned(), model.to_owned(), line));
        }
        line
    })
}

/// The line of the table that a name means.
fn resolved<'a>(provider: &str, model: &str, line: impl Fn(&str, &str) -> Option<Line<'a>>) -> Option<Line<'a>> {
    let model = model.to_ascii_lowercase();
    let name = bare(provider, &model);
    // Where a model is served may be part of its price; where the table does not know the place, it is none.
    let region = BEDROCK_REGIONS.iter().filter(|_| provider == "aws-bedrock");
    let elsewhere = region.filter_map(|region| name.strip_prefix(region));
    std::iter::once(name).chain(elsewhere).find_map(|name| dated(provider, name, &line))
}

/// The line of a name, with or without what dates it.
fn dated<'a>(provider: &str, mut name: &str, line: &impl Fn(&str, &str) -> Option<Line<'a>>) -> Option<Line<'a>> {
    loop {
        let elsewhere =
            SAME_PRICES.iter().find(|(platform, _)| *platform == provider).map_or(&[][..], |(_, others)| others);
        let found =
            std::iter::once(provider).chain(elsewhere.iter().copied()).find_map(|provider| line(provider, name));
        if found.is_some() {
            return found;
        }
        name = undated(name)?;
    }
}

/// Searches sorted lines by halves.
fn searched<'a>(lines: &'a str, provider: &str, model: &str) -> Option<Line<'a>> {
    let (mut from, mut to) = (0, lines.len());
    while from < to {
        let middle = from + (to - from) / 2;
        let start = lines.get(from..middle)?.rfind('\n').map_or(from, |at| from + at + 1);
        let end = lines.get(middle..to)?.find('\n').map_or(to, |at| middle + at);
        let line = Line::parse(lines.get(start..end)?)?;
        match (line.provider, line.model).cmp(&(provider, model)) {
            Ordering::Equal => return Some(line),
            Ordering::Less => from = (end + 1).min(to),
            Ordering::Greater => to = start,
        }
    }
    None
}

/// A name without what only says where a model is served.
fn bare<'a>(provider: &str, model: &'a str) -> &'a str {
    match provider {
        "google-ai-studio" | "google-vertex-ai" => {
            let name = names::own(provider, model);
            // Vertex names vendors where it speaks OpenAI's language.
            name.strip_prefix("google/").unwrap_or(name)
        }
        // arn:aws:bedrock:eu-west-1:…:inference-profile/eu.anthropic.claude-…; others name no model.
        "aws-bedrock" if model.starts_with("arn:") => {
            let named = ["foundation-model", "inference-profile"];
            let part =
                model.rsplit_once('/').filter(|(kind, _)| named.iter().any(|of| kind.ends_with(&format!(":{of}"))));
            part.map_or(model, |(_, name)| name)
        }
        // The voices of Deepgram's generations.
        "deepgram" if model.starts_with("aura-2-") => "aura-2",
        "deepgram" if model.starts_with("aura-") && model != "aura-2" => "aura",
        _ => model.strip_prefix(provider).and_then(|name| name.strip_prefix('/')).unwrap_or(model),
    }
}

/// A name without the last part that dates it: `-2024-08-06`, `-20250929`, `@20250929`, `-001`, `-latest`, `-v1:0`.
fn undated(name: &str) -> Option<&str> {
    if let Some(shorter) = name.strip_suffix("-latest").or_else(|| name.strip_suffix("@default")) {
        return Some(shorter);
    }
    if let Some((before, version)) = name.rsplit_once(':')
        && version.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Some(before);
    }
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, last) = name.rsplit_once(['-', '@'])?;
    if digits(last, 8) || digits(last, 3) {
        return Some(before);
    }
    let (rest, month) = before.rsplit_once('-')?;
    let (rest, year) = rest.rsplit_once('-')?;
    (digits(last, 2) && digits(month, 2) && digits(year, 4)).then_some(rest)
}

// === impl Line ===

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(4, '\t');
        Some(Self { provider: fields.next()?, model: fields.next()?, facts: fields.next()?, rates: fields.next()? })
    }
}

// === impl Catalogue ===

impl Catalogue {
    /// A catalogue with an account's own lines, sorted by provider and model.
    pub fn of(as_of: String, lines: String) -> Self {
        Self { own: Some(Rc::new(Own { as_of, lines })) }
    }

    /// What an account's operator has put into it.
    pub fn own_lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.own.iter().flat_map(|own| own.lines.lines()).filter_map(Line::parse)
    }

    /// Finds a model by the very name that the table has.
    pub fn exactly(&self, provider: &str, model: &str) -> Option<Line<'_>> {
        let own = self.own.as_ref().and_then(|own| searched(&own.lines, provider, model));
        own.or_else(|| searched(TABLE, provider, model))
    }

    /// Finds a model, as [`built_in`] does. An account's own line comes before the built-in one of the same name.
    pub fn find(&self, provider: &str, model: &str) -> Option<Line<'_>> {
        match &self.own {
            None => built_in(provider, model),
            Some(own) => resolved(provider, model, |provider, name| {
                searched(&own.lines, provider, name).or_else(|| searched(TABLE, provider, name))
            }),
        }
    }

    /// All models by provider and name.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let own = self.own.as_ref().map_or("", |own| own.lines.as_str());
        let is_own = move |line: &Line<'_>| !own.is_empty() && searched(own, line.provider, line.model).is_some();
        let built_in = TABLE.lines().filter_map(Line::parse).filter(move |line| !is_own(line));
        own.lines().filter_map(Line::parse).chain(built_in)
    }

    /// The day of the figures.
    pub fn as_of(&self) -> &str {
        self.own.as_ref().map_or(AS_OF, |own| own.as_of.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(provider: &str, model: &str) -> Option<&'static str> {
        built_in(provider, model).map(|line| line.model)
    }

    #[test]
    fn dated_and_prefixed_names_are_resolved() {
        for (provider, model, wanted) in [
            ("openai", "gpt-4o", "gpt-4o"),
            ("openai", "GPT-4o", "gpt-4o"),
            ("openai", "openai/gpt-4o", "gpt-4o"),
            ("openai", "gpt-4o-2031-01-31", "gpt-4o"),
            ("openai", "gpt-4o-latest", "gpt-4o"),
            ("anthropic", "claude-sonnet-4-5-20310131", "claude-sonnet-4-5"),
            ("google-ai-studio", "models/gemini-2.5-flash", "gemini-2.5-flash"),
            ("google-ai-studio", "gemini-2.5-flash-001", "gemini-2.5-flash"),
            ("google-vertex-ai", "publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
            ("google-vertex-ai", "claude-sonnet-4-5@20310131", "claude-sonnet-4-5"),
            ("azure-openai", "gpt-4o-2031-01-31", "gpt-4o"),
        ] {
            assert_eq!(named(provider, model), Some(wanted), "{provider} {model}");
        }
        let profile = named("aws-bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0").unwrap();
        assert!(profile.ends_with("anthropic.claude-sonnet-4-5-20250929-v1:0"));
    }

    #[test]
    fn a_name_is_never_taken_for_another_model() {
        for (provider, model) in [
            ("openai", "gpt-4o-unheard-of"),
            ("openai", "gpt-4"),
            ("openai", "gpt-4o-mini"),
            ("openai", "gpt-4o-audio-preview"),
            ("openai", "gpt-5-pro"),
        ] {
            assert!(named(provider, model).is_none_or(|found| found == model), "{model}");
        }
        for nothing in ["", "-", "unheard-of", "-2024-08-06", ":0", "gpt"] {
            assert_eq!(named("openai", nothing), None, "{nothing}");
        }
        assert_eq!(named("unheard-of", "gpt-4o"), None);
    }

    #[test]
    fn the_table_is_sorted() {
        let catalogue = Catalogue::default();
        let lines: Vec<Line<'_>> = catalogue.lines().collect();
        assert!(lines.windows(2).all(|pair| (pair[0].provider, pair[0].model) < (pair[1].provider, pair[1].model)));
        assert!(lines.len() > 300 && AS_OF.len() == 10);
        for line in lines {
            assert!(crate::providers::table::find(line.provider).is_some(), "{}", line.provider);
        }
    }

    proptest! {
        #[test]
        fn any_name_is_looked_for_without_harm(provider in "\\PC{0,20}", model in "\\PC{0,40}") {
            let _ = (built_in(&provider, &model), built_in("openai", &model), built_in("aws-bedrock", &model));
        }
    }
}
