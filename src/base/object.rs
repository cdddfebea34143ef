//! JSON objects from pairs.

use serde_json::{Map, Value};

/// Not `collect()`, which sorts what it is given: each place that did so brought a sort of its own into the Worker, 3 KB.
pub fn of(pairs: impl IntoIterator<Item = (String, Value)>) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in pairs {
        object.insert(name, value);
    }
    object
}
