//! Elements as they are written.

use super::{Arm, Element, Graph, Kind, Learning, Model, Percentage, Rate, Sticky, Unit};
use crate::routes::condition::{Condition, Wrong};
use crate::routes::learn::Goal;
use serde_json::{Map, Value};
use std::collections::HashMap;

const MOST_ELEMENTS: usize = 64;
const MOST_ARMS: usize = 6;
const MOST_RETRIES: u64 = 5;
const MOST_TIMEOUT: u64 = 600_000;
const MOST_WINDOW: u64 = 366 * 24 * 60 * 60;
const ROUNDING: f64 = 0.1;
const TYPES: &str = "start, conditional, percentage, rate, model and end";

pub(super) fn graph(given: &Value) -> Result<Graph, Wrong> {
    let list = given.as_array().filter(|list| (2..=MOST_ELEMENTS).contains(&list.len()));
    let Some(list) = list else {
        return wrong("elements", format!("a route has 2 to {MOST_ELEMENTS} elements, of which one is a start"));
    };
    let mut places = HashMap::new();
    for (place, element) in list.iter().enumerate() {
        let at = format!("elements[{place}].id");
        match element.get("id").and_then(Value::as_str).filter(|id| !id.is_empty() && id.len() <= 128) {
            Some(id) if places.insert(id, place).is_some() => {
                return wrong(at, format!("{id} is the id of another element, too"));
            }
            Some(_) => {}
            None => return wrong(at, "an element has an id of 1 to 128 characters"),
        }
    }
    let mut elements = Vec::with_capacity(list.len());
    for (place, element) in list.iter().enumerate() {
        let reader = Reader { element, path: format!("elements[{place}]"), places: &places };
        let id = element.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        elements.push(Element { id, kind: reader.kind()? });
    }
    let mut starts = elements.iter().enumerate().filter(|(_, element)| matches!(element.kind, Kind::Start { .. }));
    let (Some((start, _)), None) = (starts.next(), starts.next()) else {
        return wrong("elements", "a route has exactly one start");
    };
    let graph = Graph { start, elements };
    check(&graph)?;
    Ok(graph)
}

/// Whether every way through it comes to an end.
fn check(graph: &Graph) -> Result<(), Wrong> {
    /// Whether an element is on the way that is looked at, or was looked at before.
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnTheWay,
        Done,
    }
    let mut marks = vec![Mark::New; graph.elements.len()];
    let mut way = vec![(graph.start, 0)];
    let mut has_end = false;
    while let Some((place, turn)) = way.pop() {
        let Some(element) = graph.element(place) else { continue };
        has_end |= matches!(element.kind, Kind::End);
        let outputs = element.kind.outputs();
        let Some((name, next)) = outputs.get(turn).copied() else {
            set(&mut marks, place, Mark::Done);
            continue;
        };
        set(&mut marks, place, Mark::OnTheWay);
        way.push((place, turn + 1));
        match marks.get(next) {
            Some(Mark::OnTheWay) => {
                return wrong(
                    format!("elements[{place}].outputs.{name}"),
                    "it leads back to an element that a request has passed: a route has no circles",
                );
            }
            Some(Mark::New) => way.push((next, 0)),
            _ => {}
        }
    }
    if let Some(place) = marks.iter().position(|mark| *mark == Mark::New) {
        return wrong(format!("elements[{place}]"), "no output leads to this element");
    }
    if !has_end {
        return wrong("elements", "a route has an end");
    }
    if graph.models().next().is_none() {
        return wrong("elements", "a route has a model, or it could answer nothing");
    }
    fn set<M>(marks: &mut [M], place: usize, mark: M) {
        if let Some(known) = marks.get_mut(place) {
            *known = mark;
        }
    }
    Ok(())
}

/// Where the outputs of a percentage leave some requests without a way.
pub(super) fn gap(elements: &Value) -> Option<Wrong> {
    elements.as_array()?.iter().enumerate().find_map(|(place, element)| {
        let outputs = element.get("outputs")?.as_object()?;
        if element.get("type")?.as_str()? != "percentage" || outputs.contains_key("else") {
            return None;
        }
        let parts = outputs.keys().filter_map(|name| crate::base::number::parse(name.strip_suffix('%')?));
        let sum: f64 = parts.sum();
        // Three thirds of 33.33 % are meant to be all.
        ((sum - 100.0).abs() > ROUNDING).then(|| Wrong {
            path: format!("elements[{place}].outputs"),
            reason: format!(
                "the outputs of a percentage have {sum} % together: add an output else for the others, or make it 100 %"
            ),
        })
    })
}

fn wrong<T>(path: impl Into<String>, reason: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { path: path.into(), reason: reason.into() })
}

struct Reader<'a> {
    element: &'a Value,
    path: String,
    places: &'a HashMap<&'a str, usize>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn kind(&self) -> Result<Kind, Wrong> {
        let kind = self.element.get("type").and_then(Value::as_str).unwrap_or_default();
        Ok(match kind {
            "start" => {
                self.only(&["next"])?;
                Kind::Start { next: self.output("next")? }
            }
            "conditional" => {
                self.only(&["true", "false"])?;
                Kind::Conditional { condition: self.condition()?, yes: self.output("true")?, no: self.output("false")? }
            }
            "percentage" => Kind::Percentage(self.percentage()?),
            "rate" | "rate_limit" => {
                self.only(&["success", "fallback"])?;
                Kind::Rate(self.rate()?)
            }
            "model" => {
                self.only(&["success", "fallback"])?;
                Kind::Model(self.model()?)
            }
            "end" => {
                self.only(&[])?;
                Kind::End
            }
            other => return self.wrong("type", format!("{other} is no type of element: they are {TYPES}")),
        })
    }

    fn condition(&self) -> Result<Condition, Wrong> {
        // The documentation and the official SDK call it differently.
        let name = ["condition", "conditions"].into_iter().find(|name| self.property(name).is_some());
        let Some((name, given)) = name.and_then(|name| Some((name, self.property(name)?))) else {
            return self.wrong("properties.condition", "a conditional has a condition");
        };
        let place = |wrong: Wrong| Wrong {
            path: format!("{}.properties.{name}.{}", self.path, wrong.path).trim_end_matches('.').to_owned(),
            ..wrong
        };
        Condition::parse(given).map_err(place)
    }

    fn percentage(&self) -> Result<Percentage, Wrong> {
        let outputs = self.outputs()?;
        if outputs.is_empty() || outputs.len() > MOST_ARMS {
            return self.wrong(
                "outputs",
                format!("a percentage has 1 to {} outputs such as \"10%\", and else", MOST_ARMS - 1),
            );
        }
        let mut arms = Vec::with_capacity(outputs.len());
        let mut sum = 0.0;
        let mut rest = None;
        for name in outputs.keys() {
            let next = self.output(name)?;
            if name == "else" {
                rest = Some(next);
                continue;
            }
            let part = name.strip_suffix('%').and_then(crate::base::number::parse);
            let Some(part) = part.filter(|part| (0.0..=100.0).contains(part)) else {
                return self.wrong(
                    &format!("outputs.{name}"),
                    "an output of a percentage is called \"0%\" to \"100%\", or else",
                );
            };
            sum += part;
            arms.push(Arm { name: name.clone(), weight: part, next });
        }
        if sum > 100.0 + 1e-9 || (sum <= 0.0 && rest.is_none()) {
            return self.wrong("outputs", "the outputs of a percentage have more than 0 % together, and 100 % at most");
        }
        if let Some(next) = rest {
            arms.push(Arm { name: "else".to_owned(), weight: 100.0 - sum.min(100.0), next });
        }
        let whole: f64 = arms.iter().map(|arm| arm.weight).sum();
        for arm in &mut arms {
            arm.weight /= whole;
        }
        Ok(Percentage { sticky: self.sticky()?, learning: self.learning(arms.len())?, arms })
    }

    fn sticky(&self) -> Result<Sticky, Wrong> {
        let text = match self.property("sticky") {
            None | Some(Value::Null) => return Ok(Sticky::Nothing),
            Some(given) => given.as_str().unwrap_or_default(),
        };
        Ok(match (text, text.strip_prefix("metadata.")) {
            ("session", _) => Sticky::Session,
            ("event_id", _) => Sticky::EventId,
            (_, Some(key)) if !key.is_empty() => Sticky::Metadata(key.to_owned()),
            _ => return self.wrong("properties.sticky", "it is session, event_id or metadata.<key>"),
        })
    }

    fn learning(&self, arms: usize) -> Result<Option<Learning>, Wrong> {
        let Some(name) = self.property("goal").filter(|goal| !goal.is_null()) else { return Ok(None) };
        let Some(goal) = name.as_str().and_then(Goal::parse) else {
            return self.wrong("properties.goal", "it is feedback, score, cost, latency or success");
        };
        let floor = self.number("floor", 0.05, 0.0..=1.0)?;
        if floor * arms as f64 > 1.0 {
            return self.wrong("properties.floor", "the floors of all outputs are more than everything there is");
        }
        let least_samples = self.number("min_samples", 50.0, 1.0..=1e6)? as u32;
        let window = self.number("window", 7.0 * 86_400.0, 60.0..=MOST_WINDOW as f64)? as u64;
        Ok(Some(Learning { goal, floor, least_samples, window }))
    }

    fn rate(&self) -> Result<Rate, Wrong> {
        let unit = match self
            .property("limitType")
            .or(self.property("limit_type"))
            .map(|unit| unit.as_str().unwrap_or_default())
        {
            None | Some("count") => Unit::Count,
            Some("cost") => Unit::Cost,
            Some(_) => return self.wrong("properties.limitType", "it is count or cost"),
        };
        let key = match self.property("key") {
            None | Some(Value::Null) => None,
            Some(key) => match key.as_str().map(|key| key.strip_prefix("metadata.").unwrap_or(key)) {
                Some("") => None,
                Some(key) => Some(key.to_owned()),
                None => return self.wrong("properties.key", "it is the name of a metadata key"),
            },
        };
        let is_sliding = match self.property("technique").map(|technique| technique.as_str().unwrap_or_default()) {
            None | Some("sliding") => true,
            Some("fixed") => false,
            Some(_) => return self.wrong("properties.technique", "it is sliding or fixed"),
        };
        if self.property("limit").is_none() {
            return self.wrong("properties.limit", "a rate has a limit");
        }
        // The documentation and the interface call it differently.
        let name = if self.property("window").is_none() && self.property("interval").is_some() {
            "interval"
        } else {
            "window"
        };
        Ok(Rate {
            key,
            limit: self.number("limit", 0.0, 0.0..=1e12)?,
            unit,
            window: self.number(name, 60.0, 1.0..=MOST_WINDOW as f64)? as u64,
            is_sliding,
            within: self.output("success")?,
            beyond: self.optional("fallback")?,
        })
    }

    fn model(&self) -> Result<Model, Wrong> {
        let text = |name: &str| match self
            .property(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty() && text.len() <= 256)
        {
            Some(text) => Ok(text.to_owned()),
            None => self.wrong(&format!("properties.{name}"), format!("a model has a {name} of 1 to 256 characters")),
        };
        Ok(Model {
            provider: text("provider")?,
            model: text("model")?,
            retries: self.number("retries", 0.0, 0.0..=MOST_RETRIES as f64)? as u32,
            timeout: self.number("timeout", 0.0, 0.0..=MOST_TIMEOUT as f64)? as u64,
            success: self.output("success")?,
            fallback: self.optional("fallback")?,
        })
    }

    fn property(&self, name: &str) -> Option<&'a Value> {
        self.element.get("properties")?.get(name)
    }

    fn number(&self, name: &str, usual: f64, range: std::ops::RangeInclusive<f64>) -> Result<f64, Wrong> {
        match self.property(name) {
            None | Some(Value::Null) => Ok(usual),
            Some(given) => match given.as_f64().filter(|number| range.contains(number)) {
                Some(number) => Ok(number),
                None => self.wrong(
                    &format!("properties.{name}"),
                    format!("it is a number from {} to {}", range.start(), range.end()),
                ),
            },
        }
    }

    fn outputs(&self) -> Result<Map<String, Value>, Wrong> {
        match self.element.get("outputs") {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(outputs)) => Ok(outputs.clone()),
            Some(_) => self.wrong("outputs", "outputs are an object, each with the elementId that it leads to"),
        }
    }

    fn only(&self, known: &[&str]) -> Result<(), Wrong> {
        match self.outputs()?.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => self.wrong(
                &format!("outputs.{name}"),
                format!(
                    "such an element has {} as outputs",
                    if known.is_empty() { "none".to_owned() } else { known.join(" and ") }
                ),
            ),
            None => Ok(()),
        }
    }

    fn output(&self, name: &str) -> Result<usize, Wrong> {
        let place = self.optional(name)?;
        place.map_or_else(
            || self.wrong(&format!("outputs.{name}"), "this output leads nowhere: give the elementId of an element"),
            Ok,
        )
    }

    fn optional(&self, name: &str) -> Result<Option<usize>, Wrong> {
        let Some(target) =
            self.element.get("outputs").and_then(|outputs| outputs.get(name)).filter(|target| !target.is_null())
        else {
            return Ok(None);
        };
        let id = target.get("elementId").and_then(Value::as_str).unwrap_or_default();
        match self.places.get(id) {
            Some(place) => Ok(Some(*place)),
            None => self.wrong(&format!("outputs.{name}.elementId"), format!("no element has the id \"{id}\"")),
        }
    }

    fn wrong<T>(&self, place: &str, reason: impl Into<String>) -> Result<T, Wrong> {
        wrong(format!("{}.{place}", self.path), reason)
    }
}
