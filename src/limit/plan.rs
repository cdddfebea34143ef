//! What the limits of a gateway mean for one request: which counters it needs, and what its caller is told of them.

use super::cap::Cap;
use super::models::{Budgets, ByAnswer, Models};
use super::rules::{Dimension, KEY, Limits, MAX_REQUESTS, RateKey, SpendRule};
use super::watch::Watch;
use super::window::{Technique, Window};
use super::{Demand, Reading, Takes, spend};
use crate::base::number;
use crate::limit::part::{part, part_of};
use crate::limit::refused::{Reason, Refused};
use crate::limit::rules::UnknownModel;
use serde_json::Value;
use std::rc::Rc;

/// What a request says that limits are about.
#[derive(Clone, Debug, Default)]
pub struct LimitSubject<'a> {
    /// The id of the caller's token; the admin and anonymous callers have none.
    pub token: Option<&'a str>,
    pub metadata: &'a [(String, Value)],
    pub provider: &'a str,
    /// The model as the request names it.
    pub model: Option<&'a str>,
    /// All models that it may be for.
    pub models: Models,
    /// The limit of the stored key that it will use.
    pub key: Option<KeyLimit<'a>>,
    /// True for a later step of a universal request, which was counted with its first.
    pub is_counted: bool,
    /// True for a request that costs nothing: a budget that is used up does not stop it.
    pub is_free: bool,
    /// The caps that policies set for it.
    pub caps: &'a [Cap],
    /// Who is told of limits that are nearly used up.
    pub watch: Option<&'a Rc<Watch>>,
}

/// A limit that belongs to a stored key.
#[derive(Clone, Copy, Debug)]
pub struct KeyLimit<'a> {
    /// Tells the key from all others of the gateway.
    pub name: &'a str,
    pub limit: u64,
    /// In seconds.
    pub interval: u64,
}

/// What a request needs, and what each of it is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitCheck {
    pub demands: Vec<Demand>,
    about: Vec<About>,
    /// Rules that have to be told of the cost if the answer is of a model that they are about.
    pub later: Vec<ByAnswer>,
    /// Why the request is not let in although no counter refuses it.
    pub unknown: Option<Refused>,
    /// Budgets that are not asked, and learn what the request did cost if it did after all.
    unasked: Vec<Demand>,
}

#[derive(Clone, Debug, PartialEq)]
struct About {
    /// The rule as headers name it.
    name: String,
    /// What a refusal says of a spend limit.
    spend: Option<String>,
    /// The cap of a policy, which is one.
    cap: Option<Cap>,
}

// === impl Plan ===

impl LimitCheck {
    /// `estimate` is asked only if something is to be set aside.
    pub fn new(limits: &Limits, asked: &LimitSubject<'_>, estimate: impl Fn() -> u64) -> Self {
        let mut plan = Self::default();
        for rule in limits.rate.iter().filter(|_| !asked.is_counted) {
            let part = match &rule.key {
                RateKey::Everyone => Some(String::new()),
                RateKey::Token => asked.token.map(|token| part(&[token.to_owned()])),
                RateKey::Metadata(key) => asked.value(key).map(|value| part(&[value])),
            };
            let Some(part) = part else { continue };
            let demand =
                Demand { rule: rule.counters(), part, window: rule.window(), limit: rule.limit, takes: Takes::One };
            plan.add(demand, About { name: rule.id.clone(), spend: None, cap: None });
        }
        if let Some(key) = asked.key {
            let window = Window::seconds(key.interval, Technique::Fixed);
            let part = part(&[key.name.to_owned()]);
            let demand = Demand { rule: KEY.to_owned(), part, window, limit: key.limit, takes: Takes::One };
            plan.add(demand, About { name: KEY.to_owned(), spend: None, cap: None });
        }
        for rule in limits.spend.iter().filter(|rule| rule.enabled) {
            for values in plan.budgets(rule, asked, limits.unknown_model) {
                let (part, window, limit) = (part_of(&values), rule.window(), rule.amount());
                if asked.is_free {
                    plan.unasked.push(Demand { rule: rule.counters(), part, window, limit, takes: Takes::Later });
                    continue;
                }
                let takes = if rule.reserve { Takes::Reserve(estimate()) } else { Takes::Later };
                let demand = Demand { rule: rule.counters(), part, window, limit, takes };
                plan.add(demand, About { name: rule.id.clone(), spend: Some(rule.exceeded(asked)), cap: None });
            }
        }
        for cap in asked.caps {
            // A cap is meant to hold whatever comes at once, so the probable cost is set aside.
            match asked.is_free {
                true => plan.unasked.push(cap.demand(Takes::Later)),
                false => plan.add(cap.demand(Takes::Reserve(estimate())), about(cap)),
            }
        }
        plan
    }

    /// The budgets of a rule that the request is for, each as the values that tell it from others.
    fn budgets(
        &mut self,
        rule: &SpendRule,
        asked: &LimitSubject<'_>,
        unknown: Option<UnknownModel>,
    ) -> Vec<Vec<String>> {
        let Some([before, behind]) = rule.applies(asked) else { return Vec::new() };
        let Some(dimension) = &rule.model else { return vec![[before, behind].concat()] };
        let Budgets { parts, later, is_doubtful } = rule.budgets(&asked.models, dimension, [before, behind]);
        // What costs nothing is not stopped.
        let is_blocked = !asked.is_free
            && match unknown {
                Some(unknown) => unknown == UnknownModel::Block,
                None => rule.reserve,
            };
        if let Some(doubt) = asked.models.doubt.filter(|_| is_doubtful && is_blocked) {
            let reason = Reason::ModelUnknown { rule: rule.id.clone(), doubt: doubt.to_owned() };
            // Another step of a universal request may name its model.
            self.unknown.get_or_insert(Refused { reason, headers: Vec::new(), is_final: false });
        }
        self.later.push(later);
        parts
    }

    fn add(&mut self, demand: Demand, about: About) {
        self.demands.push(demand);
        self.about.push(about);
    }

    /// The demands whose counters learn what the request did cost.
    pub fn spends(&self) -> Vec<Demand> {
        self.demands.iter().filter(|demand| demand.takes != Takes::One).chain(&self.unasked).cloned().collect()
    }

    /// True when money is set aside: then the limit is meant to hold whatever happens.
    pub fn reserves(&self) -> bool {
        self.demands.iter().any(|demand| matches!(demand.takes, Takes::Reserve(_)))
    }

    /// The headers that tell of the limits, as of the IETF's draft-ietf-httpapi-ratelimit-headers.
    pub fn headers(&self, readings: &[Reading]) -> Vec<(&'static str, String)> {
        let (mut policies, mut states, mut budgets) = (Vec::new(), Vec::new(), Vec::new());
        for ((demand, about), reading) in self.demands.iter().zip(&self.about).zip(readings) {
            let (name, resets) = (&about.name, seconds(reading.resets_in_ms));
            if about.spend.is_some() {
                budgets.push(format!("\"{name}\";usd=\"{}\";t={resets}", spend::text(reading.remaining)));
            } else {
                let window = demand.window.length_ms / 1_000;
                policies.push(format!("\"{name}\";q={};w={}", integer(demand.limit), integer(window)));
                states.push(format!("\"{name}\";r={};t={}", integer(reading.remaining), integer(resets)));
            }
        }
        let all = [("ratelimit-policy", policies), ("ratelimit", states), ("cf-aig-spend-remaining", budgets)];
        all.into_iter().filter(|(_, items)| !items.is_empty()).map(|(name, items)| (name, items.join(", "))).collect()
    }

    /// Why a request is not let in, if it is not.
    pub fn refused(&self, readings: &[Reading]) -> Option<Refused> {
        let refusing = || self.about.iter().zip(readings).filter(|(_, reading)| reading.retry_in_ms > 0);
        let wait = seconds(refusing().map(|(_, reading)| reading.retry_in_ms).max()?);
        let (about, reading) = refusing().next()?;
        let reason = match &about.spend {
            Some(_) if about.cap.is_some() => Reason::Cap { cap: about.cap.clone()?, spent: reading.used, wait },
            None if about.name == KEY => Reason::Key { wait },
            None => Reason::Rate { rule: about.name.clone(), wait },
            Some(exceeded) => Reason::Spend { exceeded: exceeded.clone(), wait },
        };
        let mut headers = self.headers(readings);
        headers.push(("retry-after", wait.to_string()));
        let is_final = refusing().any(|(about, _)| about.spend.is_none() && about.name != KEY);
        Some(Refused { reason, headers, is_final })
    }
}

fn about(cap: &Cap) -> About {
    // A name in a header is plain, and short.
    let is_plain = |char: &char| matches!(char, ' '..='~') && !matches!(char, '"' | '\\');
    let name = cap.policy.chars().filter(is_plain).take(64).collect();
    About { name, spend: Some(String::new()), cap: Some(cap.clone()) }
}

/// Rounded up, so that a client that waits so long waits long enough.
fn seconds(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(1_000)
}

/// Integers of structured fields have at most fifteen digits.
fn integer(number: u64) -> u64 {
    number.min(MAX_REQUESTS)
}

// === impl Limits ===

impl Limits {
    /// Whether there is a budget that the request may be charged to, whichever model it turns out to be of.
    pub fn have_budget_for(&self, asked: &LimitSubject<'_>) -> bool {
        self.spend.iter().any(|rule| rule.enabled && rule.applies(asked).is_some())
    }
}

// === impl Asked ===

impl LimitSubject<'_> {
    /// A metadata value as a text, so that 5 and "5" are the same.
    fn value(&self, key: &str) -> Option<String> {
        let (_, value) = self.metadata.iter().find(|(name, _)| name == key)?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}

// === impl SpendRule ===

impl SpendRule {
    /// The values that tell the request's budget from others of this rule, or `None` if the rule is not about it. A model
    /// comes between the two lists, and is not looked at here.
    fn applies(&self, asked: &LimitSubject<'_>) -> Option<[Vec<String>; 2]> {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        match &self.provider {
            None => {}
            Some(Dimension::Filter(wanted))
                if wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(asked.provider)) => {}
            Some(Dimension::Filter(_)) => return None,
            Some(Dimension::Partition) => before.push(asked.provider.to_ascii_lowercase()),
        }
        for (key, dimension) in &self.metadata {
            let value = asked.value(key)?;
            match dimension {
                Dimension::Filter(wanted) if wanted.contains(&value) => {}
                Dimension::Filter(_) => return None,
                Dimension::Partition => behind.push(value),
            }
        }
        Some([before, behind])
    }

    fn exceeded(&self, asked: &LimitSubject<'_>) -> String {
        let model: String = asked.model.unwrap_or("").chars().take(64).collect();
        let text = format!(
            "Spend limit exceeded: rule '{}' (cost limit {} per {}s, {}) for {} {model}",
            self.id,
            number::text(self.limit),
            self.window,
            self.technique.name(),
            asked.provider,
        );
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests;
