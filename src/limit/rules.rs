//! The limits that an operator writes into a gateway's settings.

/// What becomes of a request that a rule by model is about, and whose model is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownModel {
    Block,
    Allow,
}

// === impl UnknownModel ===

impl UnknownModel {
    pub const NAMES: &[&str] = &["block", "allow"];

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "block" => Some(Self::Block),
            "allow" => Some(Self::Allow),
            _ => None,
        }
    }
}

#[cfg(test)]
pub mod tests;

use super::cap::Cap;
use super::spend;
use super::window::{Technique, Window};
use crate::base::fault::Invalid;
use serde_json::{Map, Value};

/// The limits of a gateway, read once for all of its requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub rate: Vec<RateRule>,
    pub spend: Vec<SpendRule>,
    /// What becomes of requests whose model is not known; each rule decides for itself where this is not set.
    pub unknown_model: Option<UnknownModel>,
    /// The caps of policies, where limits are looked at: a request has those of its own.
    pub caps: Vec<Cap>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RateRule {
    /// `gateway` for the gateway's own limit.
    pub id: String,
    pub key: RateKey,
    pub limit: u64,
    /// In seconds.
    pub interval: u64,
    pub technique: Technique,
}

/// Who shares a limit.
#[derive(Clone, Debug, PartialEq)]
pub enum RateKey {
    Everyone,
    Token,
    Metadata(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct SpendRule {
    pub id: String,
    pub enabled: bool,
    /// In US dollars.
    pub limit: f64,
    /// In seconds.
    pub window: u64,
    pub technique: Technique,
    /// True when the probable cost of a request is set aside while it is under way.
    pub reserve: bool,
    pub provider: Option<Dimension>,
    pub model: Option<Dimension>,
    pub metadata: Vec<(String, Dimension)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// The rule is about requests with one of these values.
    Filter(Vec<String>),
    /// Each value has a budget of its own.
    Partition,
}

/// Names of what is no rule of the operator's.
pub const GATEWAY: &str = "gateway";
pub const KEY: &str = "key";

const MAX_RULES: usize = 20;
const MAX_VALUES: usize = 100;
const MAX_METADATA: usize = 5;
const MAX_TEXT: usize = 256;
/// A year, in seconds.
const MAX_WINDOW: u64 = 366 * 86_400;
/// What a counter can hold is some eighteen millions.
const MAX_DOLLARS: f64 = 1e7;
/// Integers of a structured field have at most fifteen digits.
pub const MAX_REQUESTS: u64 = 999_999_999_999_999;

const RATE_FIELDS: &[&str] = &["id", "key", "limit", "interval", "technique"];
const SPEND_FIELDS: &[&str] =
    &["id", "enabled", "limit", "limitType", "window", "technique", "reserve", "provider", "model", "metadata"];

/// An object in a body, and where in it.
struct Place<'a> {
    object: &'a Map<String, Value>,
    path: Vec<&'a str>,
}

// === impl Limits ===

impl Limits {
    /// The limits of stored settings. What an older version took in without looking is no limit.
    pub fn of(gateway: Option<RateRule>, rate_rules: &Value, spend_limits: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let rules = list(rate_rules);
        let rate = rules.iter().filter_map(|rule| RateRule::parse(rule, &[]).ok());
        let enabled = spend_limits.get("enabled") != Some(&Value::Bool(false));
        let rules = spend_limits.get("rules").map(list).unwrap_or_default();
        let spend = rules.iter().filter(|_| enabled).filter_map(|rule| SpendRule::parse(rule, &[]).ok());
        Self { rate: gateway.into_iter().chain(rate).collect(), spend: spend.collect(), ..Self::default() }
    }

    /// These limits with those of a token. Its counters are its own: no rule of an operator's has a dot in its id.
    pub fn with_those_of_token(&self, token: &str, rate_rules: &Value, spend_limits: &Value) -> Self {
        let own = Self::of(None, rate_rules, spend_limits);
        let named = |id: &str| format!("token.{token}.{id}");
        let mut all = self.clone();
        all.rate.extend(own.rate.into_iter().map(|rule| RateRule { id: named(&rule.id), ..rule }));
        all.spend.extend(own.spend.into_iter().map(|rule| SpendRule { id: named(&rule.id), ..rule }));
        all
    }

    /// True where it matters which model a request is for.
    pub fn are_by_model(&self) -> bool {
        self.spend.iter().any(|rule| rule.enabled && rule.model.is_some())
    }
}

/// Checks `rate_limiting_rules`, as given.
pub fn check_rate_rules(rules: &Value) -> Result<(), Invalid> {
    let path = ["body", "rate_limiting_rules"];
    check_list(rules, &path, |rule, path| RateRule::parse(rule, path).map(|rule| rule.id))
}

/// Checks `spend_limits`, as given.
pub fn check_spend_limits(limits: &Value) -> Result<(), Invalid> {
    let place = Place::of(limits, &["body", "spend_limits"])?;
    place.only(&["enabled", "rules"])?;
    place.boolean("enabled", true)?;
    match place.object.get("rules") {
        None | Some(Value::Null) => Ok(()),
        Some(rules) => check_list(rules, &["body", "spend_limits", "rules"], |rule, path| {
            SpendRule::parse(rule, path).map(|rule| rule.id)
        }),
    }
}

/// Gives an id to every rule that has none, made of one that is unique.
pub fn mint_ids(rules: &mut Value, seed: &str) {
    for (place, rule) in rules.as_array_mut().into_iter().flatten().enumerate() {
        if let Some(rule) = rule.as_object_mut()
            && rule.get("id").is_none_or(Value::is_null)
        {
            rule.insert("id".to_owned(), format!("{}-{place}", seed.to_ascii_lowercase()).into());
        }
    }
}

fn check_list(
    rules: &Value,
    path: &[&str],
    id: impl Fn(&Value, &[&str]) -> Result<String, Invalid>,
) -> Result<(), Invalid> {
    let list = rules.as_array().filter(|rules| rules.len() <= MAX_RULES);
    let list = list.ok_or_else(|| invalid(path, format!("Expected at most {MAX_RULES} rules, or null")))?;
    let mut known: Vec<String> = Vec::new();
    for (n, rule) in list.iter().enumerate() {
        let n = n.to_string();
        let path = [path, &[&n]].concat();
        let id = id(rule, &path)?;
        if known.contains(&id) {
            return Err(invalid(&[&path[..], &["id"]].concat(), "Another rule has this id"));
        }
        if !id.is_empty() {
            known.push(id);
        }
    }
    Ok(())
}

fn invalid(path: &[&str], rule: impl Into<String>) -> Invalid {
    Invalid::at(path.iter().copied(), rule)
}

// === impl RateRule ===

impl RateRule {
    fn parse(rule: &Value, path: &[&str]) -> Result<Self, Invalid> {
        let place = Place::of(rule, path)?;
        place.only(RATE_FIELDS)?;
        let key = place.object.get("key").and_then(Value::as_str).and_then(RateKey::parse);
        Ok(Self {
            id: place.id()?,
            key: key.ok_or_else(|| place.wrong("key", "Expected token, or metadata.<key>"))?,
            limit: place.integer("limit", MAX_REQUESTS)?,
            interval: place.integer("interval", MAX_WINDOW)?,
            technique: place.technique()?.unwrap_or(Technique::Fixed),
        })
    }

    pub fn window(&self) -> Window {
        Window::seconds(self.interval, self.technique)
    }

    /// The name of its counters.
    pub fn counters(&self) -> String {
        match self.key {
            RateKey::Everyone => GATEWAY.to_owned(),
            _ => format!("rate/{}", self.id),
        }
    }
}

// === impl RateKey ===

impl RateKey {
    fn parse(key: &str) -> Option<Self> {
        match key.strip_prefix("metadata.") {
            Some(name) => is_text(name).then(|| Self::Metadata(name.to_owned())),
            None => (key == "token").then_some(Self::Token),
        }
    }

    pub fn name(&self) -> String {
        match self {
            Self::Everyone => GATEWAY.to_owned(),
            Self::Token => "token".to_owned(),
            Self::Metadata(name) => format!("metadata.{name}"),
        }
    }
}

// === impl SpendRule ===

impl SpendRule {
    fn parse(rule: &Value, path: &[&str]) -> Result<Self, Invalid> {
        let place = Place::of(rule, path)?;
        place.only(SPEND_FIELDS)?;
        if place.object.get("limitType").and_then(Value::as_str) != Some("cost") {
            return Err(place.wrong("limitType", "Expected cost"));
        }
        let limit = place.object.get("limit").and_then(Value::as_f64);
        let limit = limit.filter(|limit| *limit <= MAX_DOLLARS && spend::from_dollars(*limit) > 0);
        Ok(Self {
            id: place.id()?,
            enabled: place.boolean("enabled", true)?,
            limit: limit.ok_or_else(|| place.wrong("limit", "Expected US dollars, above 0 and at most 10000000"))?,
            window: place.integer("window", MAX_WINDOW)?,
            technique: place.technique()?.unwrap_or(Technique::Sliding),
            reserve: place.boolean("reserve", false)?,
            provider: place.dimension("provider")?,
            model: place.dimension("model")?,
            metadata: place.metadata()?,
        })
    }

    pub fn window(&self) -> Window {
        Window::seconds(self.window, self.technique)
    }

    /// The name of its counters.
    pub fn counters(&self) -> String {
        format!("spend/{}", self.id)
    }

    pub fn amount(&self) -> u64 {
        spend::from_dollars(self.limit)
    }

    /// What its budgets are divided by, in the order of the values in a counter's name.
    pub fn partitions(&self) -> Vec<String> {
        let named = [("provider", &self.provider), ("model", &self.model)].into_iter();
        let named = named.filter(|(_, dimension)| **dimension == Some(Dimension::Partition));
        let metadata = self.metadata.iter().filter(|(_, dimension)| *dimension == Dimension::Partition);
        named.map(|(name, _)| name.to_owned()).chain(metadata.map(|(key, _)| format!("metadata.{key}"))).collect()
    }
}

// === impl Dimension ===

impl Dimension {
    fn parse(place: &Place<'_>) -> Result<Self, Invalid> {
        place.only(&["mode", "values"])?;
        let values = place.object.get("values").filter(|values| !values.is_null());
        match place.object.get("mode").and_then(Value::as_str) {
            Some("partition") if values.is_none() => Ok(Self::Partition),
            Some("partition") => Err(place.wrong("values", "Only a filter has values")),
            Some("filter") => {
                let texts = values.and_then(Value::as_array).and_then(|values| {
                    let text = |value: &Value| value.as_str().filter(|text| is_text(text)).map(str::to_owned);
                    values.iter().map(text).collect::<Option<Vec<String>>>()
                });
                let texts = texts.filter(|texts| (1..=MAX_VALUES).contains(&texts.len()));
                let rule = format!("Expected 1 to {MAX_VALUES} texts of 1 to {MAX_TEXT} characters");
                texts.map(Self::Filter).ok_or_else(|| place.wrong("values", &rule))
            }
            _ => Err(place.wrong("mode", "Expected filter or partition")),
        }
    }
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.chars().take(MAX_TEXT + 1).count() <= MAX_TEXT
}

// === impl Place ===

impl<'a> Place<'a> {
    fn of(value: &'a Value, path: &[&'a str]) -> Result<Self, Invalid> {
        let object = value.as_object().ok_or_else(|| invalid(path, "Expected an object"))?;
        Ok(Self { object, path: path.to_vec() })
    }

    fn wrong(&self, name: &str, rule: &str) -> Invalid {
        Invalid::at(self.path.iter().copied().chain([name]), rule)
    }

    /// A rule with a field that is misspelt would limit something else than was meant.
    fn only(&self, known: &[&str]) -> Result<(), Invalid> {
        let unknown = self.object.keys().find(|name| !known.contains(&name.as_str()));
        let rule = || format!("There is no such field. Expected {}", known.join(", "));
        unknown.map_or(Ok(()), |name| Err(self.wrong(name, &rule())))
    }

    fn given(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn boolean(&self, name: &str, default: bool) -> Result<bool, Invalid> {
        match self.given(name) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(name, "Expected true or false")),
        }
    }

    fn integer(&self, name: &str, max: u64) -> Result<u64, Invalid> {
        let value = self.given(name);
        // JSON does not tell 60 from 60.0.
        let float = || value?.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as u64);
        let whole = value.and_then(Value::as_u64).or_else(float).filter(|number| (1..=max).contains(number));
        whole.ok_or_else(|| self.wrong(name, &format!("Expected an integer from 1 to {max}")))
    }

    fn technique(&self) -> Result<Option<Technique>, Invalid> {
        let Some(value) = self.given("technique") else { return Ok(None) };
        let technique = value.as_str().filter(|name| Technique::NAMES.contains(name)).and_then(Technique::parse);
        let rule = || format!("Expected one of {}, or null", Technique::NAMES.join(", "));
        technique.map(Some).ok_or_else(|| self.wrong("technique", &rule()))
    }

    /// Empty where none is given.
    fn id(&self) -> Result<String, Invalid> {
        let Some(value) = self.given("id") else { return Ok(String::new()) };
        let plain = |id: &&str| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let id = value.as_str().filter(plain).filter(|id| ![GATEWAY, KEY].contains(id));
        let rule = "Expected 1 to 64 letters, digits, - and _, other than gateway and key";
        id.map(str::to_owned).ok_or_else(|| self.wrong("id", rule))
    }

    fn inner(&self, name: &'a str) -> Result<Option<Place<'a>>, Invalid> {
        let path = [self.path.as_slice(), &[name]].concat();
        self.given(name).map(|value| Place::of(value, &path)).transpose()
    }

    fn dimension(&self, name: &'a str) -> Result<Option<Dimension>, Invalid> {
        self.inner(name)?.map(|place| Dimension::parse(&place)).transpose()
    }

    fn metadata(&self) -> Result<Vec<(String, Dimension)>, Invalid> {
        let Some(place) = self.inner("metadata")? else { return Ok(Vec::new()) };
        if place.object.len() > MAX_METADATA {
            return Err(self.wrong("metadata", &format!("Expected at most {MAX_METADATA} keys")));
        }
        let dimensions = place.object.keys().map(|key| match place.dimension(key)? {
            Some(dimension) if is_text(key) => Ok((key.clone(), dimension)),
            _ => Err(place.wrong(key, "Expected a key of 1 to 256 characters with a mode")),
        });
        dimensions.collect()
    }
}
