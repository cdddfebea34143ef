//! A request on its way through a route. It stops at each element that needs the runtime: at a rate, which counts, and at a model,
//! which is sent to. The caller says what came of it, and the way goes on.

use crate::base::json::json;
use crate::pattern::budget::{Exhausted, Meter};
use crate::routes::condition::Facts;
use crate::routes::graph::{Graph, Kind, Model, Percentage, Rate, Sticky};
use crate::routes::learn;
use serde_json::Value;

/// Where a way has come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop<'g> {
    /// To be counted; [`Walk::go_on`] with whether it is within its limit.
    Rate(&'g str, &'g Rate),
    /// To be sent to; [`Walk::go_on`] with whether an answer has begun.
    Model(&'g str, &'g Model),
    /// The route has ended. `answered` when its last model has answered.
    End { answered: bool },
}

/// An element that a request has passed, and by which output it went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    pub element: String,
    pub output: String,
    /// Why a model was left, such as `429` or `timeout`.
    pub reason: Option<String>,
}

/// What a percentage is decided by.
pub trait Chance {
    /// A number from 0 to 1, without 1.
    fn number(&mut self) -> f64;
    /// The caller's own value of what arms stick to, if the request has one.
    fn sticky(&self, to: &Sticky) -> Option<String>;
    /// The weights that an element has learned, if it has.
    fn learned(&self, element: &str) -> Option<Vec<f64>>;
}

pub struct Walk<'g> {
    graph: &'g Graph,
    /// The name by which the route is called.
    route: &'g str,
    place: usize,
    answered: bool,
    pub passed: Vec<Passed>,
}

// === impl Walk ===

impl<'g> Walk<'g> {
    pub fn new(graph: &'g Graph, route: &'g str) -> Self {
        Self { graph, route, place: graph.start, answered: false, passed: Vec::new() }
    }

    /// Goes on to the next element that needs the runtime.
    pub async fn next(
        &mut self,
        facts: &impl Facts,
        chance: &mut impl Chance,
        meter: &Meter<impl AsyncFn()>,
    ) -> Result<Stop<'g>, Exhausted> {
        // A graph has no circles, so that a way is no longer than there are elements.
        for _ in 0..=self.graph.elements.len() {
            let Some(element) = self.graph.element(self.place) else { break };
            match &element.kind {
                Kind::Start { next } => self.pass(&element.id, "next", Some(*next), None),
                Kind::Conditional { condition, yes, no } => match condition.holds(facts, meter).await? {
                    true => self.pass(&element.id, "true", Some(*yes), None),
                    false => self.pass(&element.id, "false", Some(*no), None),
                },
                Kind::Percentage(percentage) => {
                    let arm = self.chosen(&element.id, percentage, chance);
                    let Some(arm) = percentage.arms.get(arm) else { break };
                    self.pass(&element.id, &arm.name, Some(arm.next), None);
                }
                Kind::Rate(rate) => return Ok(Stop::Rate(&element.id, rate)),
                Kind::Model(model) => return Ok(Stop::Model(&element.id, model)),
                Kind::End => break,
            }
        }
        Ok(Stop::End { answered: self.answered })
    }

    /// Says what came of the element that the way has stopped at. `reason` says why it went badly.
    pub fn go_on(&mut self, well: bool, reason: Option<String>) {
        let Some(element) = self.graph.element(self.place) else { return };
        let (success, fallback) = match &element.kind {
            Kind::Rate(rate) => (rate.within, rate.beyond),
            Kind::Model(model) => {
                self.answered = well;
                (model.success, model.fallback)
            }
            _ => return,
        };
        match well {
            true => self.pass(&element.id, "success", Some(success), None),
            false => self.pass(&element.id, "fallback", fallback, reason),
        }
    }

    /// The way so far, as a log and a simulation have it.
    pub fn shown(&self) -> Value {
        let shown =
            |passed: &Passed| json!({"element": passed.element, "output": passed.output, "reason": passed.reason});
        self.passed.iter().map(shown).collect()
    }

    fn chosen(&self, element: &str, percentage: &Percentage, chance: &mut impl Chance) -> usize {
        let number = match chance.sticky(&percentage.sticky) {
            Some(text) => learn::part_of(self.route, element, &text),
            None => chance.number(),
        };
        let learned = percentage.learning.as_ref().and_then(|_| chance.learned(element));
        match learned.filter(|weights| weights.len() == percentage.arms.len()) {
            Some(weights) => learn::choose(weights, number),
            None => learn::choose(percentage.arms.iter().map(|arm| arm.weight), number),
        }
    }

    fn pass(&mut self, element: &str, output: &str, next: Option<usize>, reason: Option<String>) {
        self.passed.push(Passed { element: element.to_owned(), output: output.to_owned(), reason });
        // No output: the route ends here.
        self.place = next.unwrap_or(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::condition::Field;
    use pollster::block_on;
    use serde_json::json;

    struct Plan(&'static str);

    impl Facts for Plan {
        fn value(&self, field: &Field) -> Option<Value> {
            (*field == Field::Metadata("plan".to_owned())).then(|| json!(self.0))
        }
    }

    struct Fixed(f64, Option<&'static str>);

    impl Chance for Fixed {
        fn number(&mut self) -> f64 {
            self.0
        }

        fn sticky(&self, to: &Sticky) -> Option<String> {
            self.1.filter(|_| *to == Sticky::Session).map(str::to_owned)
        }

        fn learned(&self, _element: &str) -> Option<Vec<f64>> {
            None
        }
    }

    /// The way of a request, whose stops go as `well` says in turn.
    fn way(plan: &'static str, number: f64, well: &[bool]) -> (Vec<String>, bool) {
        let graph = Graph::parse(&crate::routes::graph::tests::everything()).unwrap();
        let mut walk = Walk::new(&graph, "r");
        let mut well = well.iter();
        let meter = Meter::new(1_000, async || {});
        loop {
            match block_on(walk.next(&Plan(plan), &mut Fixed(number, None), &meter)).unwrap() {
                Stop::End { answered } => {
                    return (
                        walk.passed.iter().map(|passed| format!("{}:{}", passed.element, passed.output)).collect(),
                        answered,
                    );
                }
                _ => walk.go_on(*well.next().unwrap(), Some("429".to_owned())),
            }
        }
    }

    #[test]
    fn a_request_goes_by_what_it_is_by_chance_and_by_what_came_of_it() {
        let ends = |plan, number, well: &[bool]| {
            let (way, answered) = way(plan, number, well);
            (way.join(" "), answered)
        };
        assert_eq!(ends("paid", 0.5, &[true]), ("s:next c:false big:success".to_owned(), true));
        assert_eq!(ends("paid", 0.5, &[false]), ("s:next c:false big:fallback".to_owned(), false));
        assert_eq!(ends("free", 0.05, &[true]), ("s:next c:true p:10% big:success".to_owned(), true));
        assert_eq!(ends("free", 0.5, &[true, true]), ("s:next c:true p:else r:success small:success".to_owned(), true));
        assert_eq!(ends("free", 0.5, &[false]), ("s:next c:true p:else r:fallback".to_owned(), false));
        assert_eq!(
            ends("free", 0.5, &[true, false, true]),
            ("s:next c:true p:else r:success small:fallback big:success".to_owned(), true)
        );
    }

    #[test]
    fn a_session_keeps_its_arm() {
        let graph = Graph::parse(&crate::routes::graph::tests::everything()).unwrap();
        let arm = |session| {
            let mut outputs: Vec<String> = (0..20)
                .map(|turn| {
                    let mut walk = Walk::new(&graph, "r");
                    let mut chance = Fixed(f64::from(turn) / 20.0, session);
                    block_on(walk.next(&Plan("free"), &mut chance, &Meter::new(1_000, async || {}))).unwrap();
                    walk.passed.last().unwrap().output.clone()
                })
                .collect();
            outputs.dedup();
            outputs.len()
        };
        assert_eq!((arm(Some("session-1")), arm(Some("session-2"))), (1, 1));
        assert!(arm(None) > 1);
    }
}
