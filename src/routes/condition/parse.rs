//! Conditions as they are written. Everything that is wrong with one is said when it is stored, with its place.

use super::{Condition, Field, Order, Test, Wrong};
use crate::pattern::Pattern;
use serde_json::{Map, Value};

/// Deeper conditions are refused.
const MOST_DEPTH: usize = 16;

/// So many comparisons, and lists of them, has a condition at most.
const MOST_NODES: usize = 256;

const TYPES: &[&str] = &["string", "number", "bool", "object", "array", "null"];

pub(super) fn condition(given: &Value) -> Result<Condition, Wrong> {
    Parser { path: Vec::new(), nodes: 0 }.condition(given)
}

/// Reads a condition, and knows where it is.
struct Parser {
    path: Vec<String>,
    nodes: usize,
}

// === impl Parser ===

impl Parser {
    fn wrong<T>(&self, reason: impl Into<String>) -> Result<T, Wrong> {
        Err(Wrong { path: self.path.join("."), reason: reason.into() })
    }

    fn within<T>(&mut self, step: String, work: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        self.nodes += 1;
        self.path.push(step);
        if self.path.len() > MOST_DEPTH {
            return self.wrong(format!("a condition is {MOST_DEPTH} levels deep at most"));
        }
        if self.nodes > MOST_NODES {
            return self.wrong(format!("a condition has {MOST_NODES} parts at most"));
        }
        let made = work(self)?;
        self.path.pop();
        Ok(made)
    }

    fn condition(&mut self, given: &Value) -> Result<Condition, Wrong> {
        let Some(object) = given.as_object() else {
            return self.wrong("a condition is an object, such as {\"metadata.plan\": {\"$eq\": \"free\"}}");
        };
        let mut all = Vec::with_capacity(object.len());
        for (name, value) in object {
            all.push(self.within(name.clone(), |parser| parser.member(name, value))?);
        }
        Ok(match all.pop() {
            Some(one) if all.is_empty() => one,
            Some(last) => {
                all.push(last);
                Condition::All(all)
            }
            None => Condition::All(Vec::new()),
        })
    }

    fn member(&mut self, name: &str, value: &Value) -> Result<Condition, Wrong> {
        match name {
            "$and" => Ok(Condition::All(self.conditions(value)?)),
            "$or" => Ok(Condition::Any(self.conditions(value)?)),
            "$nor" => Ok(Condition::Not(Box::new(Condition::Any(self.conditions(value)?)))),
            "$not" => Ok(Condition::Not(Box::new(self.condition(value)?))),
            _ if name.starts_with('$') => {
                self.wrong(format!("{name} joins no conditions: $and, $or, $nor and $not do"))
            }
            _ => match Field::parse(name) {
                Ok(field) => Ok(Condition::Field(field, self.test(value)?)),
                Err(reason) => self.wrong(reason),
            },
        }
    }

    fn conditions(&mut self, given: &Value) -> Result<Vec<Condition>, Wrong> {
        let Some(list) = given.as_array().filter(|list| !list.is_empty()) else {
            return self.wrong("a list of at least one condition belongs here");
        };
        let each = list.iter().enumerate();
        each.map(|(at, one)| self.within(format!("[{at}]"), |parser| parser.condition(one))).collect()
    }

    /// `"free"`, or `{"$in": […], "$exists": true}`.
    fn test(&mut self, given: &Value) -> Result<Test, Wrong> {
        let operators =
            given.as_object().filter(|object| object.keys().next().is_some_and(|name| name.starts_with('$')));
        let Some(operators) = operators else {
            return match given {
                Value::Object(object) if !object.is_empty() => self.wrong(
                    "an object has operators here, such as {\"$eq\": \"free\"}; use a path to look at a member of one",
                ),
                _ => Ok(Test::Equal(given.clone())),
            };
        };
        let mut all = Vec::with_capacity(operators.len());
        for (name, value) in operators {
            // It belongs to the pattern beside it.
            if name == "$options" && operators.contains_key("$regex") {
                continue;
            }
            all.push(self.within(name.clone(), |parser| parser.operator(name, value, operators))?);
        }
        Ok(Test::Each(all))
    }

    fn operator(&mut self, name: &str, value: &Value, beside: &Map<String, Value>) -> Result<Test, Wrong> {
        let not = |test: Test| Test::Not(Box::new(test));
        Ok(match name {
            "$eq" => Test::Equal(value.clone()),
            "$ne" => not(Test::Equal(value.clone())),
            "$gt" => Test::Order(Order::Greater, self.ordered(value)?),
            "$gte" => Test::Order(Order::GreaterOrEqual, self.ordered(value)?),
            "$lt" => Test::Order(Order::Less, self.ordered(value)?),
            "$lte" => Test::Order(Order::LessOrEqual, self.ordered(value)?),
            "$in" => Test::In(self.list(value)?),
            "$nin" => not(Test::In(self.list(value)?)),
            "$exists" => match value.as_bool() {
                Some(wanted) => Test::Exists(wanted),
                None => return self.wrong("true or false belongs here"),
            },
            "$regex" => {
                let options = beside.get("$options").map_or(Some(""), Value::as_str);
                let Some(options @ ("" | "i")) = options else {
                    return self.wrong("$options is \"i\", for any case, or nothing");
                };
                match Pattern::new(self.text(value)?, options != "i") {
                    Ok(pattern) => Test::Matches(pattern),
                    Err(reason) => return self.wrong(reason),
                }
            }
            "$contains" => Test::Contains(value.clone()),
            "$startsWith" => Test::StartsWith(self.text(value)?.to_owned()),
            "$endsWith" => Test::EndsWith(self.text(value)?.to_owned()),
            "$size" => match value.as_u64() {
                Some(size) => Test::Size(size),
                None => return self.wrong("a whole number belongs here"),
            },
            "$elemMatch" => self.element(value)?,
            "$not" => not(self.test(value)?),
            "$type" => match TYPES.iter().find(|known| value.as_str() == Some(**known)) {
                Some(known) => Test::Type(known),
                None => return self.wrong(format!("one of {} belongs here", TYPES.join(", "))),
            },
            _ => {
                return self.wrong(format!(
                    "{name} is no operator: they are $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $regex, $contains, $startsWith, \
                     $endsWith, $size, $elemMatch, $not and $type"
                ));
            }
        })
    }

    /// `{"$gt": 2}` for lists of values, or `{"role": "tool", "content.0.type": {"$ne": "text"}}` for lists of objects.
    fn element(&mut self, given: &Value) -> Result<Test, Wrong> {
        let is_of_members =
            |object: &&Map<String, Value>| !object.is_empty() && !object.keys().any(|name| name.starts_with('$'));
        let members = given.as_object().filter(is_of_members);
        let Some(members) = members else { return Ok(Test::Element(Box::new(self.test(given)?))) };
        let mut all = Vec::with_capacity(members.len());
        for (name, value) in members {
            let test = self.within(name.clone(), |parser| parser.test(value))?;
            all.push((name.split('.').map(str::to_owned).collect(), test));
        }
        Ok(Test::Members(all))
    }

    fn ordered(&self, value: &Value) -> Result<Value, Wrong> {
        match value {
            Value::Number(_) | Value::String(_) => Ok(value.clone()),
            _ => self.wrong("a number or a text belongs here"),
        }
    }

    fn list(&self, value: &Value) -> Result<Vec<Value>, Wrong> {
        value.as_array().cloned().map_or_else(|| self.wrong("a list of values belongs here"), Ok)
    }

    fn text<'v>(&self, value: &'v Value) -> Result<&'v str, Wrong> {
        value.as_str().map_or_else(|| self.wrong("a text belongs here"), Ok)
    }
}
