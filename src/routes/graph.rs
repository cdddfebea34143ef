//! A route as it is stored: elements, each with outputs that lead to others. A graph that could lead a request astray is refused when
//! it is stored, with the place of what is wrong.

mod parse;

use crate::routes::condition::{Condition, Wrong};
use crate::routes::learn::Goal;
use serde_json::Value;

/// The elements of a route, each by its place. Every way through it ends.
#[derive(Clone, Debug)]
pub struct Graph {
    pub start: usize,
    pub elements: Vec<Element>,
}

#[derive(Clone, Debug)]
pub struct Element {
    pub id: String,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Start { next: usize },
    Conditional { condition: Condition, yes: usize, no: usize },
    Percentage(Percentage),
    Rate(Rate),
    Model(Model),
    End,
}

#[derive(Clone, Debug)]
pub struct Percentage {
    /// In the order in which they were written.
    pub arms: Vec<Arm>,
    pub sticky: Sticky,
    pub learning: Option<Learning>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// The output: `"10%"`, `else`.
    pub name: String,
    /// A part of 1. All arms together have 1.
    pub weight: f64,
    pub next: usize,
}

/// By what a caller comes to the same arm again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    Nothing,
    Session,
    Metadata(String),
    EventId,
}

/// Weights that follow what is known of the arms.
#[derive(Clone, Debug, PartialEq)]
pub struct Learning {
    pub goal: Goal,
    /// What each arm gets whatever is known of it, as a part of 1.
    pub floor: f64,
    /// The weights stay as they are written until each arm has so many requests.
    pub least_samples: u32,
    /// How far back is looked, in seconds.
    pub window: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// A metadata key whose values are counted apart; all requests together without one.
    pub key: Option<String>,
    /// Requests, or US dollars.
    pub limit: f64,
    pub unit: Unit,
    /// Seconds.
    pub window: u64,
    pub is_sliding: bool,
    pub within: usize,
    /// The route ends where there is none.
    pub beyond: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Cost,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub provider: String,
    pub model: String,
    pub retries: u32,
    /// To the first byte of an answer, in milliseconds; no limit where it is 0.
    pub timeout: u64,
    pub success: usize,
    /// The route ends where there is none.
    pub fallback: Option<usize>,
}

// === impl Graph ===

impl Graph {
    /// Reads elements as `POST …/routes` takes them.
    pub fn parse(elements: &Value) -> Result<Self, Wrong> {
        parse::graph(elements)
    }

    /// Reads elements that are to be stored. What older versions of Tollgate have stored is still read, though it would be refused now.
    pub fn parse_new(elements: &Value) -> Result<Self, Wrong> {
        let graph = Self::parse(elements)?;
        parse::gap(elements).map_or(Ok(graph), Err)
    }

    pub fn element(&self, place: usize) -> Option<&Element> {
        self.elements.get(place)
    }

    /// The models that a request may come to.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.elements.iter().filter_map(|element| match &element.kind {
            Kind::Model(model) => Some(model),
            _ => None,
        })
    }
}

// === impl Kind ===

impl Kind {
    /// Where its outputs lead, by their names.
    pub fn outputs(&self) -> Vec<(&str, usize)> {
        let with = |name: &'static str, first: usize, other: &'static str, second: Option<usize>| {
            [Some((name, first)), second.map(|second| (other, second))].into_iter().flatten().collect()
        };
        match self {
            Self::Start { next } => vec![("next", *next)],
            Self::Conditional { yes, no, .. } => vec![("true", *yes), ("false", *no)],
            Self::Percentage(percentage) => percentage.arms.iter().map(|arm| (arm.name.as_str(), arm.next)).collect(),
            Self::Rate(rate) => with("success", rate.within, "fallback", rate.beyond),
            Self::Model(model) => with("success", model.success, "fallback", model.fallback),
            Self::End => Vec::new(),
        }
    }
}

#[cfg(test)]
pub mod tests;
