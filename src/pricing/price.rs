//! What an answer cost: its tokens times the model's rates, or what the caller says it costs.

use crate::catalogue::table::{self, Catalogue, Line};
use crate::pricing::bill::Bill;
use crate::pricing::rates::{Rate, Rates};
use crate::wire::Usage;
use crate::wire::details::Count;
use crate::wire::picture::{Picture, Quality};
use serde_json::Value;

/// A model's price: what its line in the list says of it.
#[derive(Clone, Copy, Debug)]
pub struct Price<'a> {
    rates: &'a str,
    /// Where fees are looked up that are the same for all of a provider's models; `None` for the built-in list.
    own: Option<&'a Catalogue>,
}

/// A request costs at most so much, in US dollars. A figure beyond it is a fault of the rate or the count that was stated, and added
/// to others it would outweigh them all.
pub const MAX_COST: f64 = 10_000.0;

/// The size of an image where neither its request nor its answer says one.
const USUAL_SIZE: &str = "1024x1024";

/// What a log says of a cost beyond [`MAX_COST`].
pub const BEYOND: &str = "more than 10000 dollars, which no request costs: a rate or a count is wrong";

/// The header `cf-aig-custom-cost`, in US dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CustomCost {
    PerToken { input: Option<f64>, output: Option<f64>, cache_read: Option<f64>, cache_write: Option<f64> },
    Total(f64),
}

/// Finds a model's price in the built-in list. Names may carry a prefix or a date that the list does not have.
pub fn find(provider: &str, model: &str) -> Option<Price<'static>> {
    table::built_in(provider, model).map(|line| Price { rates: line.rates, own: None })
}

/// Finds a model's price in an account's list.
pub fn find_in<'a>(catalogue: &'a Catalogue, provider: &str, model: &str) -> Option<Price<'a>> {
    catalogue.find(provider, model).map(|line| Price { rates: line.rates, own: Some(catalogue) })
}

// === impl Price ===

impl<'a> Price<'a> {
    /// The price that a line has.
    pub fn of(line: &Line<'a>) -> Self {
        Self { rates: line.rates, own: None }
    }

    /// The cost of an answer, or `None` where a figure that it depends on is unknown: a cost that leaves something out
    /// would look like a low one.
    #[cfg(test)]
    pub fn cost(&self, usage: &Usage) -> Option<f64> {
        self.bill("", usage).0.cost()
    }

    /// What an answer costs, and which of the model's prices that is where it is not the usual one.
    pub fn bill(&self, provider: &str, usage: &Usage) -> (Bill, String) {
        let lacks = |what: String| (Bill::lacking(self.base().bill(usage).known, what), String::new());
        // Groq's classes of service differ in how soon they answer, and not in price.
        let tier = if provider == "groq" { Some("") } else { crate::pricing::rates::tier_name(usage.details.tier) };
        let named = usage.details.tier.map_or("", |tier| tier.name());
        let Some(tier) = tier else {
            return lacks(format!("there is no price for the service tier '{named}', which is a matter of contracts"));
        };
        let Some((mut rates, above)) = self.rates_for(tier, usage) else {
            return lacks(format!("there is no price for this model in the service tier '{named}'"));
        };
        if usage.details.number(Count::Containers) > 0 {
            let fees = match self.own {
                Some(catalogue) => find_in(catalogue, provider, "container"),
                None => find(provider, "container"),
            };
            rates.set(Rate::Container, fees.and_then(|fees| fees.base().get(Rate::Container)));
        }
        if usage.details.number(Count::Images) > 0
            && let Some(image) = self.image(&usage.details.picture)
        {
            rates.set(Rate::Image, image.as_ref().ok().copied());
            if let (Err(lacking), None) = (image, usage.tokens_in) {
                return lacks(lacking);
            }
        }
        let mut which = String::new();
        for part in [tier, above].into_iter().filter(|part| !part.is_empty()) {
            which.push('+');
            which.push_str(part);
        }
        (rates.bill(usage), which)
    }

    /// The price of an image, for a model of which the list has prices by size and quality.
    fn image(&self, picture: &Picture) -> Option<Result<f64, String>> {
        let sized = |name: &str| {
            let mut groups =
                self.rates.split('\t').skip(1).filter_map(|group| group.strip_prefix('#')?.split_once(':'));
            groups.find(|(of, _)| *of == name).and_then(|(_, rates)| Rates::parse(rates).get(Rate::Image))
        };
        if !self.rates.contains("\t#") {
            return None;
        }
        let own = self.base().get(Rate::Image);
        let usual = own.filter(|_| *picture == Picture::default());
        // A model with a price for its own usual size has another one than others.
        let size = picture.shown_size().unwrap_or_else(|| if own.is_some() { "?" } else { USUAL_SIZE }.to_owned());
        let quality = picture.quality.unwrap_or(Quality::Standard).name();
        let found = usual.or_else(|| sized(&format!("{quality}/{size}"))).or_else(|| {
            // Some models have one quality.
            sized(&size).filter(|_| matches!(picture.quality, None | Some(Quality::Standard)))
        });
        Some(found.ok_or_else(|| {
            format!("there is no price for an image of {size} in the quality '{quality}' of this model")
        }))
    }

    /// The usual rates.
    pub fn base(&self) -> Rates {
        Rates::parse(self.rates.split('\t').next().unwrap_or(""))
    }

    /// The rates of a class of service, for an input of this length: above some length a whole request has others. Fees and
    /// factors are the same in all of them.
    fn rates_for(&self, tier: &str, usage: &Usage) -> Option<(Rates, &'static str)> {
        let outside = if usage.cached_outside {
            usage.cached.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0))
        } else {
            0
        };
        let input = usage.tokens_in.unwrap_or(0).saturating_add(outside);
        let base = self.base();
        let mut found = tier.is_empty().then_some((0, base, ""));
        let mut longest = 0;
        for group in self.rates.split('\t').skip(1) {
            let (name, rates) = group.split_once(':')?;
            let (of, tokens) = name.split_once('>').unwrap_or((name, "0"));
            let tokens: u64 = tokens.parse().ok()?;
            if tokens > 0 && (usage.is_sum || input <= tokens) {
                continue;
            }
            longest = longest.max(tokens);
            if of == tier && found.is_none_or(|(least, ..)| tokens >= least) {
                found = Some((tokens, Rates::parse(rates), if tokens > 0 { "long" } else { "" }));
            }
        }
        // A class of service without a price for long requests does not take them at that of short ones.
        let (_, mut rates, above) = found.filter(|(tokens, ..)| *tokens == longest)?;
        for (rate, _) in Rate::ALL.iter().filter(|(rate, _)| !rate.is_of_tokens()) {
            rates.set(*rate, base.get(*rate));
        }
        Some((rates, above))
    }
}

/// A cost as it may be stored and added up, or why it is none. Every cost comes by here, be it computed or stated.
pub fn bounded(cost: f64) -> Result<f64, &'static str> {
    // What is no number is in no range.
    if (0.0..=MAX_COST).contains(&cost) { Ok(cost) } else { Err(BEYOND) }
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
mod table_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates() -> Rates {
        Rates::parse("i3o15c0.3w3.75")
    }

    fn usage(tokens_in: u64, tokens_out: u64) -> Usage {
        Usage { tokens_in: Some(tokens_in), tokens_out: Some(tokens_out), ..Usage::default() }
    }

    #[test]
    fn cached_tokens_are_inside_the_input_or_beside_it() {
        let inside = Usage { cached: Some(600), ..usage(1_000, 100) };
        // 400 × 3 + 600 × 0.3 + 100 × 15 = 2880 millionths.
        assert_eq!(rates().cost(&inside), Some(0.00288));
        let beside = Usage { cached: Some(600), cache_write: Some(200), cached_outside: true, ..usage(1_000, 100) };
        // 1000 × 3 + 600 × 0.3 + 200 × 3.75 + 100 × 15 = 5430.
        assert_eq!(rates().cost(&beside), Some(0.00543));
        let unlisted = rates().with(Rate::Cached, None);
        assert_eq!(unlisted.cost(&inside), Some(0.0045));
    }

    #[test]
    fn reasoning_has_its_own_rate_where_there_is_one() {
        let thought = Usage { reasoning: Some(80), ..usage(0, 100) };
        assert_eq!(rates().cost(&thought), Some(0.0015));
        assert_eq!(rates().with(Rate::Reasoning, 30.0).cost(&thought), Some((20.0 * 15.0 + 80.0 * 30.0) / 1e6));
    }

    #[test]
    fn a_cost_that_would_leave_something_out_is_unknown() {
        assert_eq!(rates().cost(&Usage { tokens_in: Some(5), ..Usage::default() }), None);
        assert_eq!(rates().cost(&Usage { tokens_out: Some(5), ..Usage::default() }), None);
        assert_eq!(rates().cost(&Usage::default()), None);
        let embedding = rates().with(Rate::Output, None);
        assert_eq!(embedding.cost(&Usage { tokens_in: Some(10), ..Usage::default() }), Some(0.00003));
        assert_eq!(embedding.cost(&usage(10, 3)), None);
    }

    #[test]
    fn long_requests_have_the_rates_of_their_tier() {
        let price = find("google-ai-studio", "gemini-2.5-pro").unwrap();
        let cost = |tokens| price.bill("google-ai-studio", &usage(tokens, 1_000));
        assert_eq!((cost(200_000).0.cost(), cost(200_000).1.as_str()), (Some(0.26), ""));
        assert_eq!((cost(200_001).0.cost(), cost(200_001).1.as_str()), (Some(0.515_002_5), "+long"));
        // What many requests add up to is not long.
        assert_eq!(price.cost(&Usage { is_sum: true, ..usage(300_000, 0) }), Some(0.375));
    }

    #[test]
    fn every_price_of_the_list_is_sane() {
        for line in Catalogue::default().lines() {
            let model = line.model;
            let price = Price { rates: line.rates, own: None };
            for group in price.rates.split('\t') {
                let rates = Rates::parse(group.split_once(':').map_or(group, |(_, rates)| rates));
                assert!(rates.iter().all(|rate| rate.is_finite() && (0.0..100_000.0).contains(&rate)), "{model}");
            }
            let paid = [
                Rate::Input,
                Rate::AudioIn,
                Rate::Second,
                Rate::SearchUnit,
                Rate::Container,
                Rate::Page,
                Rate::Image,
                Rate::Character,
            ];
            let is_by_size = price.rates.contains("\t#");
            assert!(is_by_size || paid.iter().any(|rate| price.base().get(*rate).is_some()), "{model}");
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
