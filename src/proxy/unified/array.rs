//! A stream for Gemini's clients that do not ask for server-sent events: Google gives them an array, element by element.

use crate::translate::json::Json;

/// Turns the events of a translated stream into the elements of an array.
#[derive(Debug, Default)]
pub struct Elements {
    /// What has come of the next event.
    pending: String,
    is_begun: bool,
    /// What was left out of the answer. An array has no comments: the next element says it.
    warning: Option<String>,
}

/// What stands before that in a stream.
const WARNING: &str = ": cf-aig-warning ";

// === impl Elements ===

impl Elements {
    /// The array of a stream that is there as a whole.
    pub fn of(events: &str) -> String {
        Self::default().next(events, true)
    }

    /// What comes next of the array. It ends where the stream does: an answer that failed has an error as its last element.
    pub fn next(&mut self, events: &str, is_last: bool) -> String {
        self.pending.push_str(events);
        let (mut out, mut rest) = (String::new(), self.pending.as_str());
        while let Some((event, after)) = rest.split_once("\n\n") {
            rest = after;
            let Some(data) = event.strip_prefix("data: ") else {
                self.warning = event.strip_prefix(WARNING).map(str::to_owned);
                // A sign of life.
                out.push('\n');
                continue;
            };
            out.push_str(if self.is_begun { ",\n" } else { "[" });
            self.is_begun = true;
            match (self.warning.take(), data.strip_prefix('{')) {
                (Some(warning), Some(members)) => {
                    let warning = Json::from(warning).to_string();
                    out.extend(["{\"cf-aig-warning\":", &warning, ",", members]);
                }
                _ => out.push_str(data),
            }
        }
        self.pending = rest.to_owned();
        if is_last {
            out.push_str(if self.is_begun { "\n]" } else { "[]" });
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn events_become_elements() {
        let events =
            "data: {\"a\":1}\n\n: ping\n\n: cf-aig-warning left out of the answer: \"x\"\n\ndata: {\"b\":2}\n\n";
        let all = Elements::of(events);
        assert_eq!(read(&all), json!([{ "a": 1 }, { "cf-aig-warning": "left out of the answer: \"x\"", "b": 2 }]));
        assert_eq!(read(&Elements::of("")), json!([]));
    }

    #[test]
    fn each_element_comes_with_its_event() {
        let mut elements = Elements::default();
        assert_eq!(elements.next("data: {\"a\":1}\n\n", false), "[{\"a\":1}");
        assert_eq!(elements.next("data: {\"b\"", false), "");
        assert_eq!(elements.next(":2}\n\n", false), ",\n{\"b\":2}");
        assert_eq!(elements.next("", true), "\n]");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_array(texts in prop::collection::vec(".{0,20}", 0..6), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let wanted: Vec<Value> = texts.iter().map(|text| json!({ "text": text })).collect();
            let events: String = wanted.iter().map(|event| format!("data: {event}\n\n: ping\n\n")).collect();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(events.len() + 1)).filter(|at| events.is_char_boundary(*at)).collect();
            places.extend([0, events.len()]);
            places.sort_unstable();
            let mut elements = Elements::default();
            let mut all: String = places.windows(2).map(|pair| elements.next(events.get(pair[0]..pair[1]).unwrap(), false)).collect();
            all.push_str(&elements.next("", true));
            prop_assert_eq!(read(&all), Value::from(wanted));
        }
    }
}
