//! Prices that an account sets: which of its rules fits a model, and what an answer costs by it.

#[cfg(test)]
use crate::catalogue::table::AS_OF;
use crate::catalogue::table::Catalogue;
use crate::pricing::bill::{Bill, Line};
use crate::pricing::price;
use crate::pricing::rates;
use crate::pricing::rates::{Rate, Rates, tier_name};
use crate::providers::model::names;
use crate::wire::Usage;
use serde_json::Value;

/// How a rule's model is compared with a request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    Equals,
    StartsWith,
    Contains,
}

/// What tokens cost by a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Tariff {
    /// With the factors of classes of service.
    ByKind(Box<Rates>, Value),
    /// US dollars for each token, whatever its kind.
    Total(f64),
}

/// A rule as requests use it.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceRule {
    pub id: String,
    /// As logs name it.
    pub provider: String,
    /// In lower case.
    pub model: String,
    pub matching: Matching,
    pub weight: i64,
    pub tariff: Tariff,
}

/// The rates that `token_pricing` may have, and what each is for.
pub const KINDS: &[(&str, Option<Rate>)] = &[
    ("input_tokens", Some(Rate::Input)),
    ("input_text_tokens", None),
    ("input_cached_tokens", Some(Rate::Cached)),
    ("input_cache_creation_tokens", Some(Rate::CacheWrite)),
    ("input_cache_creation_1h_tokens", Some(Rate::CacheWriteHour)),
    ("input_cache_creation_24h_tokens", Some(Rate::CacheWriteDay)),
    ("input_audio_tokens", Some(Rate::AudioIn)),
    ("input_image_tokens", Some(Rate::ImageIn)),
    ("input_video_tokens", Some(Rate::VideoIn)),
    ("input_cached_audio_tokens", Some(Rate::AudioCached)),
    ("input_cached_image_tokens", Some(Rate::ImageCached)),
    ("output_tokens", Some(Rate::Output)),
    ("output_reasoning_tokens", Some(Rate::Reasoning)),
    ("output_audio_tokens", Some(Rate::AudioOut)),
    ("output_image_tokens", Some(Rate::ImageOut)),
    ("output_video_tokens", Some(Rate::VideoOut)),
    ("total_tokens", None),
];

/// What `token_pricing` may have beside rates of tokens: US dollars for each.
pub const FEES: &[(&str, Rate)] = &[
    ("input_audio_seconds", Rate::Second),
    ("web_search_requests", Rate::Search),
    ("file_search_calls", Rate::FileSearch),
    ("code_interpreter_sessions", Rate::Container),
    ("search_units", Rate::SearchUnit),
    ("ocr_pages", Rate::Page),
    ("ocr_annotated_pages", Rate::AnnotatedPage),
    ("output_image_count", Rate::Image),
    ("input_characters", Rate::Character),
];

/// The classes of service for which `token_pricing.service_tiers` may have factors on all rates of tokens.
pub const TIERS: &[&str] = &["flex", "priority", "batch", "ultrafast", "fast"];

/// Those that Cloudflare AI Gateway has as well. Answers do not count these in what Tollgate reads of them, so that a
/// price for them would be left out without a word.
pub const UNCOUNTED: &[&str] = &["input_image_count"];

/// What an answer cost, and what says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quote {
    pub bill: Bill,
    /// What was used: an account's rule, the provider's own figure, or the built-in list. `None` where there is no price.
    pub from: Option<String>,
}

/// The columns of [`PriceRule::from_json`] as a JSON array, from `price_rules AS rule` and its `custom_providers AS own`.
const ROW: &str = "json_array(rule.id, coalesce('custom-' || own.slug, rule.account_provider_id), rule.model, \
     rule.model_rule, rule.cost_in, rule.cost_out, rule.token_pricing, rule.weight)";

pub const FROM: &str = "price_rules AS rule LEFT JOIN custom_providers AS own ON own.id = rule.account_provider_id";

/// The enabled rules of the account `?1`, as one value for [`from_json`].
pub fn select() -> String {
    format!("(SELECT json_group_array({ROW}) FROM {FROM} WHERE rule.account_id = ?1 AND rule.enable = 1)")
}

/// The rule for the first of some names of a model that has one. Of several that fit the heaviest counts, and of those
/// the newest.
pub fn find<'a>(rules: &'a [PriceRule], provider: &str, models: [Option<&str>; 2]) -> Option<&'a PriceRule> {
    models.into_iter().flatten().find_map(|model| {
        let model = model.to_ascii_lowercase();
        let model = names::own(provider, &model);
        let fits = |rule: &&PriceRule| rule.provider == provider && rule.matching.fits(&rule.model, model);
        rules.iter().filter(fits).max_by(|a, b| (a.weight, &a.id).cmp(&(b.weight, &b.id)))
    })
}

/// What an answer cost: by an account's rule, the provider itself, or the built-in list. A rule that fits decides alone: where
/// it lacks a rate, the cost is unknown.
#[cfg(test)]
pub fn quote(rules: &[PriceRule], provider: &str, models: [Option<&str>; 2], usage: &Usage) -> Quote {
    quote_in(&Catalogue::default(), rules, provider, models, usage)
}

/// The same with the list of an account.
pub fn quote_in(
    catalogue: &Catalogue,
    rules: &[PriceRule],
    provider: &str,
    models: [Option<&str>; 2],
    usage: &Usage,
) -> Quote {
    if let Some(rule) = find(rules, provider, models) {
        return Quote { bill: rule.bill(usage), from: Some(format!("rule:{}", rule.id)) };
    }
    if let Some(cost) = usage.cost {
        return Quote { bill: Bill::whole(cost, Vec::new()), from: Some("provider".to_owned()) };
    }
    match models.into_iter().flatten().find_map(|model| price::find_in(catalogue, provider, model)) {
        Some(listed) => {
            let (bill, which) = listed.bill(provider, usage);
            Quote { bill, from: Some(format!("list:{}{which}", catalogue.as_of())) }
        }
        None => Quote { bill: Bill::lacking(0.0, "there is no price for this model".to_owned()), from: None },
    }
}

/// Reads rules that the database put together as an array of arrays. What cannot be read is no rule.
pub fn from_json(rows: &str) -> Vec<PriceRule> {
    let rows: Vec<Value> = serde_json::from_str(rows).unwrap_or_default();
    rows.iter().filter_map(PriceRule::from_json).collect()
}

// === impl Matching ===

impl Matching {
    pub const ALL: &[(&str, Self)] =
        &[("equals", Self::Equals), ("starts-with", Self::StartsWith), ("contains", Self::Contains)];

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, matching)| *matching)
    }

    fn fits(self, wanted: &str, model: &str) -> bool {
        match self {
            Self::Equals => model == wanted,
            Self::StartsWith => model.starts_with(wanted),
            Self::Contains => model.contains(wanted),
        }
    }

    /// Exact rules weigh more than beginnings, beginnings more than parts, and of each the longer one.
    pub fn weight(self, model: &str) -> i64 {
        let kind = match self {
            Self::Equals => 2,
            Self::StartsWith => 1,
            Self::Contains => 0,
        };
        kind * 1_000 + model.chars().count() as i64
    }
}

// === impl Tariff ===

impl Tariff {
    /// From the rates per token of a rule. Those of `token_pricing` come before `cost_in` and `cost_out`.
    pub fn new(cost_in: Option<f64>, cost_out: Option<f64>, token_pricing: &Value) -> Self {
        let rate = |name: &str| token_pricing.get(name).and_then(Value::as_f64);
        if let Some(total) = rate("total_tokens") {
            return Self::Total(total);
        }
        let per_million = |rate: Option<f64>| rate.map(|rate| rate * 1e6);
        let mut rates = Rates::default();
        for (name, kind) in KINDS {
            if let Some(kind) = kind {
                rates.set(*kind, per_million(rate(name)));
            }
        }
        let input = rate("input_tokens").or_else(|| rate("input_text_tokens")).or(cost_in);
        rates.set(Rate::Input, per_million(input));
        rates.set(Rate::Output, per_million(rate("output_tokens").or(cost_out)));
        for (name, fee) in FEES {
            rates.set(*fee, rate(name));
        }
        let tiers = token_pricing.get("service_tiers").cloned().unwrap_or_default();
        rates.set(Rate::Fast, tiers.get("fast").and_then(Value::as_f64));
        Self::ByKind(Box::new(rates), tiers)
    }

    /// What an answer costs. A rule that sets one price for tokens of all kinds means those of all classes of service, too.
    fn bill(&self, usage: &Usage) -> Bill {
        match self {
            Self::ByKind(rates, tiers) => {
                let name = usage.details.tier.map_or("standard", |tier| tier.name());
                let factor = match tier_name(usage.details.tier) {
                    Some("") => Some(1.0),
                    _ => tiers.get(name).and_then(Value::as_f64),
                };
                match factor {
                    Some(factor) => rates.scaled(factor).bill(usage),
                    None => {
                        let what = format!("the rule has no factor for the service tier '{name}'");
                        Bill::lacking(rates.bill(usage).known, what)
                    }
                }
            }
            Self::Total(rate) => {
                let sum = || usage.tokens_in?.checked_add(usage.tokens_out?);
                match usage.total_tokens.or_else(sum) {
                    Some(tokens) => {
                        let line = Line { kind: "total_tokens", quantity: tokens as f64, rate: *rate };
                        Bill::whole(rates::rounded(tokens as f64 * rate), vec![line])
                    }
                    None => Bill::lacking(0.0, "the answer does not tell its tokens".to_owned()),
                }
            }
        }
    }
}

// === impl PriceRule ===

impl PriceRule {
    fn from_json(row: &Value) -> Option<Self> {
        let text = |index: usize| row.get(index).and_then(Value::as_str);
        let number = |index: usize| row.get(index).and_then(Value::as_f64);
        let pricing = text(6).and_then(|json| serde_json::from_str(json).ok()).unwrap_or(Value::Null);
        Some(Self {
            id: text(0)?.to_owned(),
            provider: text(1)?.to_owned(),
            model: names::own(text(1)?, &text(2)?.to_ascii_lowercase()).to_owned(),
            matching: Matching::parse(text(3)?)?,
            weight: row.get(7).and_then(Value::as_i64).unwrap_or(0),
            tariff: Tariff::new(number(4), number(5), &pricing),
        })
    }

    /// What an answer costs by the rule.
    fn bill(&self, usage: &Usage) -> Bill {
        // Regional endpoints are a matter of list prices.
        let mut usage = *usage;
        usage.details.place = None;
        self.tariff.bill(&usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn rule(id: &str, matching: &str, model: &str, cost_in: f64, cost_out: f64) -> Value {
        let weight = Matching::parse(matching).unwrap().weight(model);
        json!([id, "openai", model, matching, cost_in, cost_out, null, weight])
    }

    fn rules(rows: Vec<Value>) -> Vec<PriceRule> {
        from_json(&Value::from(rows).to_string())
    }

    fn usage(tokens_in: u64, tokens_out: u64) -> Usage {
        Usage { tokens_in: Some(tokens_in), tokens_out: Some(tokens_out), ..Usage::default() }
    }

    fn priced(quote: Quote) -> Option<(f64, String)> {
        quote.bill.cost().zip(quote.from)
    }

    #[test]
    fn the_most_telling_rule_counts() {
        let rules = rules(vec![
            rule("part", "contains", "4o", 1e-6, 0.0),
            rule("long part", "contains", "4o-mini", 1e-6, 0.0),
            rule("start", "starts-with", "gpt", 1e-6, 0.0),
            rule("long start", "starts-with", "gpt-4o-m", 1e-6, 0.0),
            rule("exact", "equals", "GPT-4o-mini", 1e-6, 0.0),
            rule("older, exact", "equals", "gpt-4o", 1e-6, 0.0),
            rule("the newer, exact", "equals", "gpt-4o", 1e-6, 0.0),
        ]);
        let found = |model| find(&rules, "openai", [Some(model), None]).map(|rule| rule.id.as_str());
        for (model, wanted) in [
            ("gpt-4o-mini", Some("exact")),
            ("gpt-4o-mini-2024", Some("long start")),
            ("gpt-5", Some("start")),
            ("o-4o-mini", Some("long part")),
            ("x4o", Some("part")),
            ("Gpt-4o", Some("the newer, exact")),
            ("claude", None),
        ] {
            assert_eq!(found(model), wanted, "{model}");
        }
        assert!(find(&rules, "azure-openai", [Some("gpt-4o"), None]).is_none());
        // The answer's name comes before the request's.
        assert_eq!(find(&rules, "openai", [Some("gpt-5"), Some("gpt-4o")]).unwrap().id, "start");
        assert_eq!(find(&rules, "openai", [None, Some("gpt-4o")]).unwrap().id, "the newer, exact");
    }

    #[test]
    fn a_price_says_where_it_is_from() {
        let rules = rules(vec![rule("mine", "equals", "gpt-4o", 1e-6, 2e-6)]);
        let quoted = |rules: &[PriceRule], usage: &Usage| priced(quote(rules, "openai", [None, Some("gpt-4o")], usage));
        assert_eq!(quoted(&rules, &usage(100, 10)), Some((0.00012, "rule:mine".to_owned())));
        let reported = Usage { cost: Some(0.5), ..usage(100, 10) };
        assert_eq!(quoted(&rules, &reported), Some((0.00012, "rule:mine".to_owned())));
        assert_eq!(quoted(&[], &reported), Some((0.5, "provider".to_owned())));
        let (cost, from) = quoted(&[], &usage(100, 10)).unwrap();
        assert_eq!(
            (Some(cost), from),
            (price::find("openai", "gpt-4o").unwrap().cost(&usage(100, 10)), format!("list:{}", AS_OF))
        );
        // A rule that lacks a rate hides the list: half a price would look like a low one.
        let half = from_json(&json!([["half", "openai", "gpt-4o", "equals", 1e-6, null, null]]).to_string());
        assert_eq!(quoted(&half, &usage(100, 10)), None);
        assert_eq!(priced(quote(&[], "custom-x", [Some("gpt-4o"), None], &usage(1, 1))), None);
    }

    #[test]
    fn kinds_of_tokens_have_rates_of_their_own() {
        let cost = |pricing: Value, usage: &Usage| {
            let row = json!([["r", "openai", "m", "equals", 9e-6, 9e-6, pricing.to_string()]]);
            from_json(&row.to_string()).first().and_then(|rule| rule.bill(usage).cost())
        };
        let answer = Usage {
            cached: Some(60),
            cache_write: Some(10),
            reasoning: Some(5),
            total_tokens: Some(120),
            ..usage(100, 20)
        };
        let full = json!({ "input_tokens": 1e-6, "input_cached_tokens": 1e-7, "input_cache_creation_tokens": 2e-6, "output_tokens": 4e-6, "output_reasoning_tokens": 1e-5 });
        // 30 × 1 + 60 × 0.1 + 10 × 2 + 15 × 4 + 5 × 10 = 166 millionths.
        assert_eq!(cost(full, &answer), Some(0.000_166));
        assert_eq!(cost(json!({ "total_tokens": 1e-6 }), &answer), Some(0.000_12));
        assert_eq!(cost(json!({ "total_tokens": 1e-6 }), &usage(3, 4)), Some(0.000_007));
        assert_eq!(cost(json!({ "total_tokens": 1e-6 }), &Usage::default()), None);
        assert_eq!(cost(json!({ "input_text_tokens": 1e-6, "output_tokens": 0 }), &usage(100, 20)), Some(0.0001));
        assert_eq!(cost(Value::Null, &usage(1, 1)), Some(0.000_018));
    }

    proptest! {
        #[test]
        fn any_rule_is_read_without_harm(row in "\\PC{0,60}", model in "\\PC{0,20}") {
            let _ = quote(&from_json(&row), "openai", [Some(&model), None], &usage(1, 1));
        }
    }
}
