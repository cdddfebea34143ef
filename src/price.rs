//! What an answer cost: its tokens times the model's rates, or what the caller says it costs.

use crate::number;
use crate::wire::Usage;
use serde_json::Value;
use std::cell::RefCell;
use std::cmp::Ordering;

/// US dollars per million tokens. A rate that is not known is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    pub input: Option<f64>,
    pub output: Option<f64>,
    /// Input read from the provider's cache; where it is unknown such tokens cost as much as others.
    pub cached: Option<f64>,
    /// Input written to the provider's cache; likewise.
    pub cache_write: Option<f64>,
    /// Output spent on reasoning, where it differs from other output.
    pub reasoning: Option<f64>,
}

/// A model's price.
#[derive(Clone, Copy, Debug)]
pub struct Price {
    rates: Rates,
    /// The rates of a request whose input is long.
    above: Option<Tier>,
}

#[derive(Clone, Copy, Debug)]
struct Tier {
    /// With more input tokens than this, the whole request has these rates.
    tokens: u64,
    rates: Rates,
}

/// A request costs at most so much, in US dollars. A figure beyond it is a fault of whoever stated a rate or a count, and added
/// to others it would outweigh them all.
pub const MAX_COST: f64 = 10_000.0;

/// What a log says of a cost beyond [`MAX_COST`].
pub const BEYOND: &str = "more than 10000 dollars, which no request costs: a rate or a count is wrong";

/// The header `cf-aig-custom-cost`, in US dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CustomCost {
    PerToken { input: Option<f64>, output: Option<f64>, cache_read: Option<f64>, cache_write: Option<f64> },
    Total(f64),
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

/// What was looked for lately, and its price.
type Known = Vec<(String, String, Option<Price>)>;

/// So many names are kept, none longer than so many bytes: they come from providers' answers.
const MAX_KNOWN: usize = 32;
const MAX_NAME: usize = 128;

thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new(Vec::new()) };
}

/// Finds a model's price. Names may carry a prefix or a date that the table does not have; but a name is never taken
/// for that of a different model: only what is known to be no part of a model's name is left out.
pub fn find(provider: &str, model: &str) -> Option<Price> {
    KNOWN.with_borrow_mut(|known| {
        if let Some((.., price)) = known.iter().find(|(of, name, _)| of == provider && name == model) {
            return *price;
        }
        let price = resolved(provider, model).and_then(Price::parse);
        if provider.len().max(model.len()) <= MAX_NAME {
            if known.len() == MAX_KNOWN {
                known.clear();
            }
            known.push((provider.to_owned(), model.to_owned(), price));
        }
        price
    })
}

/// The line of the table that a name means.
fn resolved(provider: &str, model: &str) -> Option<&'static str> {
    let model = model.to_ascii_lowercase();
    let mut name = bare(provider, &model);
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

/// Searches the sorted lines of [`TABLE`] by halves.
fn line(provider: &str, model: &str) -> Option<&'static str> {
    let (mut from, mut to) = (0, TABLE.len());
    while from < to {
        let middle = from + (to - from) / 2;
        let start = TABLE.get(from..middle)?.rfind('\n').map_or(from, |at| from + at + 1);
        let end = TABLE.get(middle..to)?.find('\n').map_or(to, |at| middle + at);
        let line = TABLE.get(start..end)?;
        let mut fields = line.split('\t');
        match (fields.next()?, fields.next()?).cmp(&(provider, model)) {
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
        "google-ai-studio" | "google-vertex-ai" => model.rsplit_once("models/").map_or(model, |(_, name)| name),
        "aws-bedrock" => BEDROCK_REGIONS.iter().find_map(|region| model.strip_prefix(region)).unwrap_or(model),
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

// === impl Price ===

impl Price {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t').skip(2);
        let rates = Rates::parse(fields.next()?);
        let above = match (fields.next(), fields.next()) {
            (Some(tokens), Some(rates)) => Some(Tier { tokens: tokens.parse().ok()?, rates: Rates::parse(rates) }),
            _ => None,
        };
        Some(Self { rates, above })
    }

    /// The cost of an answer, or `None` where a figure that it depends on is unknown: a cost that leaves something out
    /// would look like a low one.
    pub fn cost(&self, usage: &Usage) -> Option<f64> {
        self.rates_for(usage).cost(usage)
    }

    fn rates_for(&self, usage: &Usage) -> &Rates {
        let outside = if usage.cached_outside {
            usage.cached.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0))
        } else {
            0
        };
        let input = usage.tokens_in.unwrap_or(0).saturating_add(outside);
        self.above.as_ref().filter(|tier| input > tier.tokens).map_or(&self.rates, |tier| &tier.rates)
    }
}

// === impl Rates ===

impl Rates {
    fn parse(text: &str) -> Self {
        let mut rates = text.split(',').map(number::parse);
        let mut next = || rates.next().flatten();
        Self { input: next(), output: next(), cached: next(), cache_write: next(), reasoning: next() }
    }

    pub fn cost(&self, usage: &Usage) -> Option<f64> {
        let input = priced_input(usage, self.input?, self.cached, self.cache_write)?;
        let output = match (usage.tokens_out, self.output) {
            (Some(output), Some(rate)) => {
                let thought = usage.reasoning.unwrap_or(0).min(output);
                (output - thought) as f64 * rate + thought as f64 * self.reasoning.unwrap_or(rate)
            }
            // Embeddings have no output, and their models no rate for it, or none to speak of.
            (None | Some(0), None) => 0.0,
            (None, Some(0.0)) => 0.0,
            _ => return None,
        };
        Some(rounded((input + output) / 1e6))
    }
}

/// A cost as it may be stored and added up, or why it is none. Every cost comes by here, whoever stated it.
pub fn bounded(cost: f64) -> Result<f64, &'static str> {
    // What is no number is in no range.
    if (0.0..=MAX_COST).contains(&cost) { Ok(cost) } else { Err(BEYOND) }
}

/// To a millionth of a millionth of a dollar: what lies beyond is the noise of floating point.
pub fn rounded(cost: f64) -> f64 {
    (cost * 1e12).round() / 1e12
}

/// Input tokens times their rates. Whether cached ones are inside the count or beside it is the provider's way.
fn priced_input(usage: &Usage, input: f64, cached: Option<f64>, cache_write: Option<f64>) -> Option<f64> {
    let total = usage.tokens_in?;
    let (read, written) = (usage.cached.unwrap_or(0), usage.cache_write.unwrap_or(0));
    let fresh = if usage.cached_outside { total } else { total.saturating_sub(read).saturating_sub(written) };
    Some(fresh as f64 * input + read as f64 * cached.unwrap_or(input) + written as f64 * cache_write.unwrap_or(input))
}

/// Reads `cf-aig-custom-cost`. The error says what is wrong with it.
pub fn parse_custom(header: &str) -> Result<CustomCost, String> {
    let Ok(Value::Object(fields)) = serde_json::from_str(header) else {
        return Err("wants a JSON object".to_owned());
    };
    let number = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64().filter(|number| number.is_finite() && *number >= 0.0) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{name} wants a number that is not negative")),
        },
    };
    if let Some(total) = number("total_cost")? {
        return Ok(CustomCost::Total(total));
    }
    let (input, output) = (number("per_token_in")?, number("per_token_out")?);
    let (cache_read, cache_write) = (number("per_cache_read_token")?, number("per_cache_write_token")?);
    if input.or(output).or(cache_read).or(cache_write).is_none() {
        return Err(
            "wants total_cost, or per_token_in, per_token_out, per_cache_read_token, per_cache_write_token".to_owned()
        );
    }
    Ok(CustomCost::PerToken { input, output, cache_read, cache_write })
}

/// What the caller's own rates make of an answer. A rate that is not given is 0, except that cached tokens cost what
/// input costs.
pub fn custom_cost(custom: &CustomCost, usage: &Usage) -> Option<f64> {
    match custom {
        CustomCost::Total(total) => Some(*total),
        CustomCost::PerToken { input, output, cache_read, cache_write } => {
            let taken = match priced_input(usage, input.unwrap_or(0.0), *cache_read, *cache_write) {
                None if input.or(*cache_read).or(*cache_write).is_some() => return None,
                taken => taken.unwrap_or(0.0),
            };
            let given = match (usage.tokens_out, output) {
                (Some(tokens), Some(rate)) => tokens as f64 * rate,
                (None, Some(rate)) if *rate > 0.0 && usage.tokens_in.is_none() => return None,
                _ => 0.0,
            };
            Some(taken + given)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATES: Rates =
        Rates { input: Some(3.0), output: Some(15.0), cached: Some(0.3), cache_write: Some(3.75), reasoning: None };

    fn usage(tokens_in: u64, tokens_out: u64) -> Usage {
        Usage { tokens_in: Some(tokens_in), tokens_out: Some(tokens_out), ..Usage::default() }
    }

    fn named(provider: &str, model: &str) -> Option<&'static str> {
        resolved(provider, model)?.split('\t').nth(1)
    }

    #[test]
    fn cached_tokens_are_inside_the_input_or_beside_it() {
        let inside = Usage { cached: Some(600), ..usage(1_000, 100) };
        // 400 × 3 + 600 × 0.3 + 100 × 15 = 2880 millionths.
        assert_eq!(RATES.cost(&inside), Some(0.00288));
        let beside = Usage { cached: Some(600), cache_write: Some(200), cached_outside: true, ..usage(1_000, 100) };
        // 1000 × 3 + 600 × 0.3 + 200 × 3.75 + 100 × 15 = 5430.
        assert_eq!(RATES.cost(&beside), Some(0.00543));
        let unlisted = Rates { cached: None, ..RATES };
        assert_eq!(unlisted.cost(&inside), Some(0.0045));
    }

    #[test]
    fn reasoning_has_its_own_rate_where_there_is_one() {
        let thought = Usage { reasoning: Some(80), ..usage(0, 100) };
        assert_eq!(RATES.cost(&thought), Some(0.0015));
        assert_eq!(Rates { reasoning: Some(30.0), ..RATES }.cost(&thought), Some((20.0 * 15.0 + 80.0 * 30.0) / 1e6));
    }

    #[test]
    fn a_cost_that_would_leave_something_out_is_unknown() {
        assert_eq!(RATES.cost(&Usage { tokens_in: Some(5), ..Usage::default() }), None);
        assert_eq!(RATES.cost(&Usage { tokens_out: Some(5), ..Usage::default() }), None);
        assert_eq!(RATES.cost(&Usage::default()), None);
        let embedding = Rates { output: None, ..RATES };
        assert_eq!(embedding.cost(&Usage { tokens_in: Some(10), ..Usage::default() }), Some(0.00003));
        assert_eq!(embedding.cost(&usage(10, 3)), None);
    }

    #[test]
    fn long_requests_have_the_rates_of_their_tier() {
        let tiered = TABLE.lines().filter_map(Price::parse).find(|price| price.above.is_some()).unwrap();
        let tier = tiered.above.as_ref().unwrap();
        assert_eq!(tiered.cost(&usage(tier.tokens, 1)), tiered.rates.cost(&usage(tier.tokens, 1)));
        assert_eq!(tiered.cost(&usage(tier.tokens + 1, 1)), tier.rates.cost(&usage(tier.tokens + 1, 1)));
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
    fn the_table_is_sorted_and_sane() {
        let key = |line: &'static str| line.split('\t').take(2).collect::<Vec<_>>();
        let lines: Vec<&str> = TABLE.lines().collect();
        assert!(lines.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        assert!(lines.len() > 300 && AS_OF.len() == 10);
        for line in lines {
            let [provider, model] = key(line)[..] else { panic!("{line}") };
            assert!(crate::providers::find(provider).is_some(), "{provider}");
            let price = Price::parse(line).unwrap();
            let tier = price.above.as_ref().map(|tier| tier.rates);
            for rates in [Some(price.rates), tier].into_iter().flatten() {
                let all = [rates.input, rates.output, rates.cached, rates.cache_write, rates.reasoning];
                assert!(
                    all.into_iter().flatten().all(|rate| rate.is_finite() && (0.0..100_000.0).contains(&rate)),
                    "{model}"
                );
            }
            assert!(price.rates.input.is_some(), "{model}");
        }
    }

    #[test]
    fn a_custom_cost_is_read_in_both_forms() {
        assert_eq!(parse_custom(r#"{"total_cost":0.0001234567}"#), Ok(CustomCost::Total(0.000_123_456_7)));
        let per_token = parse_custom(r#"{"per_token_in":0.000001,"per_token_out":0.00002}"#).unwrap();
        assert!((custom_cost(&per_token, &usage(10, 5)).unwrap() - 0.000_11).abs() < 1e-12);
        assert_eq!(custom_cost(&per_token, &Usage::default()), None);
        for wrong in [
            "",
            "1",
            "[]",
            "{}",
            r#"{"total_cost":-1}"#,
            r#"{"total_cost":"1"}"#,
            r#"{"total_cost":1e400}"#,
            r#"{"cost":1}"#,
        ] {
            assert!(parse_custom(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_name_and_header_is_read_without_harm(provider in "\\PC{0,20}", model in "\\PC{0,40}", header in "\\PC{0,60}") {
            let _ = (find(&provider, &model), find("openai", &model), find("aws-bedrock", &model), parse_custom(&header));
        }
    }
}
