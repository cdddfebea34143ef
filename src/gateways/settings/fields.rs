//! The members of a body, read with their types and bounds.

use crate::base::fault::Invalid;
use crate::http::cors;
use crate::http::envelope::ApiError;
use serde_json::{Map, Value};

/// Of `circuit_breaker`: (name, smallest, greatest). The times are in seconds.
pub const CIRCUIT_BOUNDS: [(&str, u64, u64); 3] = [("failures", 1, 100), ("window", 1, 3_600), ("cooldown", 1, 3_600)];

/// The same for the one member that a setting need not have.
pub const TIMEOUT_FLOOR: (&str, u64, u64) = ("timeout_floor", 1, 3_600);

/// Ten years.
pub const MAX_DAYS: u64 = 3_650;

/// Members that are read into where they belong. What is missing or null leaves what is there, and
/// the first fault is kept.
pub struct Fields<'a> {
    body: &'a Map<String, Value>,
    fault: Option<ApiError>,
}

// === impl Fields ===

impl<'a> Fields<'a> {
    pub fn new(body: &'a Map<String, Value>) -> Self {
        Self { body, fault: None }
    }

    /// What was read, unless something was wrong.
    pub fn done<T>(self, read: T) -> Result<T, ApiError> {
        self.fault.map_or(Ok(read), Err)
    }

    fn given(&self, name: &str) -> Option<&'a Value> {
        self.body.get(name).filter(|value| !value.is_null())
    }

    fn fail(&mut self, error: ApiError) {
        self.fault.get_or_insert(error);
    }

    fn wrong(&mut self, name: &str, what: &str) {
        self.fail(expected(name, what));
    }

    pub fn boolean(&mut self, name: &str, to: &mut bool) {
        match self.given(name) {
            None => {}
            Some(Value::Bool(value)) => *to = *value,
            Some(_) => self.wrong(name, "true or false"),
        }
    }

    pub fn integer(&mut self, name: &str, min: u64, max: u64, to: &mut u64) {
        match integer(self.body, name, min, max) {
            Ok(read) => *to = read.unwrap_or(*to),
            Err(error) => self.fail(error),
        }
    }

    pub fn optional(&mut self, name: &str, min: u64, max: u64, to: &mut Option<u64>) {
        match integer(self.body, name, min, max) {
            Ok(read) => *to = read.or(*to),
            Err(error) => self.fail(error),
        }
    }

    /// One of some words, where there is no other than the usual one.
    pub fn choice(&mut self, name: &str, allowed: &[&str], to: &mut String) {
        let mut read = None;
        self.one_of(name, allowed, &mut read);
        if let Some(read) = read {
            *to = read;
        }
    }

    pub fn one_of(&mut self, name: &str, allowed: &[&str], to: &mut Option<String>) {
        match self.given(name) {
            None => {}
            Some(Value::String(value)) if allowed.contains(&value.as_str()) => *to = Some(value.clone()),
            Some(_) => self.wrong(name, &format!("one of {}, or null", allowed.join(", "))),
        }
    }

    pub fn text(&mut self, name: &str, min: usize, max: usize, to: &mut Option<String>) {
        match self.given(name) {
            None => {}
            Some(Value::String(value)) if (min..=max).contains(&value.chars().count()) => *to = Some(value.clone()),
            Some(_) => self.wrong(name, &format!("a string of {min} to {max} characters, or null")),
        }
    }

    pub fn json(&mut self, name: &str, accepts: fn(&Value) -> bool, what: &str, to: &mut Value) {
        match self.given(name) {
            None => {}
            Some(value) if accepts(value) => *to = value.clone(),
            Some(_) => self.wrong(name, &format!("{what}, or null")),
        }
    }

    /// A body is not kept longer than the log it belongs to.
    pub fn body_days(&mut self, log_days: Option<u64>, to: &mut Option<u64>) {
        let name = "log_body_retention_days";
        self.optional(name, 1, MAX_DAYS, to);
        if let (Some(days), Some(most)) = (*to, log_days)
            && days > most
        {
            self.wrong(name, &format!("at most log_retention_days, which is {most}, or null"));
        }
    }

    /// A value that is more than one field, and is kept as given.
    pub fn checked(&mut self, name: &str, check: fn(&Value) -> Result<(), Invalid>, to: &mut Value) {
        let Some(value) = self.given(name) else { return };
        match check(value) {
            Ok(()) => *to = value.clone(),
            Err(invalid) => self.fail(invalid.into()),
        }
    }

    /// A value that is read as a whole.
    pub fn read(&mut self, read: fn(&mut Self) -> Result<Value, ApiError>, to: &mut Value) {
        match read(self) {
            Ok(value) => *to = value,
            Err(error) => self.fail(error),
        }
    }
}

fn integer(body: &Map<String, Value>, name: &str, min: u64, max: u64) -> Result<Option<u64>, ApiError> {
    let Some(value) = body.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    // JSON does not tell 60 from 60.0.
    let whole = value.as_u64().or_else(|| {
        value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0).map(|number| number as u64)
    });
    match whole {
        Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
        _ => Err(expected(name, &format!("an integer from {min} to {max}, or null"))),
    }
}

pub fn circuit_breaker(fields: &mut Fields<'_>) -> Result<Value, ApiError> {
    let mut given = Value::Null;
    fields.json("circuit_breaker", Value::is_object, "an object", &mut given);
    let Some(members) = given.as_object() else { return Ok(given) };
    let within = |name: &str, what: String| ApiError::invalid(["body", "circuit_breaker", name], what);
    let mut read = Map::new();
    for (name, min, max) in CIRCUIT_BOUNDS {
        match integer(members, name, min, max) {
            Ok(Some(number)) => read.insert(name.to_owned(), number.into()),
            _ => return Err(within(name, format!("Expected an integer from {min} to {max}"))),
        };
    }
    let (name, min, max) = TIMEOUT_FLOOR;
    match integer(members, name, min, max) {
        Ok(None) => {}
        Ok(Some(number)) => drop(read.insert(name.to_owned(), number.into())),
        Err(_) => return Err(within(name, format!("Expected an integer from {min} to {max}, or null"))),
    }
    let unknown = |name: &&String| !read.contains_key(*name) && *name != TIMEOUT_FLOOR.0;
    match members.keys().find(unknown) {
        Some(unknown) => Err(within(unknown, "Expected failures, window, cooldown and timeout_floor only".to_owned())),
        None => Ok(Value::Object(read)),
    }
}

pub fn cors(fields: &mut Fields<'_>) -> Result<Value, ApiError> {
    let mut given = Value::Null;
    fields.json("cors", Value::is_object, "an object", &mut given);
    let Some(members) = given.as_object() else { return Ok(given) };
    let within = |name: &str, what: String| ApiError::invalid(["body", "cors", name], what);
    if let Some(unknown) = members.keys().find(|name| !cors::MEMBERS.contains(&name.as_str())) {
        return Err(within(unknown, "Expected origins and max_age only".to_owned()));
    }
    cors::check(members).map_err(|(member, what)| within(member, what))?;
    Ok(given)
}

fn expected(name: &str, what: &str) -> ApiError {
    ApiError::invalid(["body", name], format!("Expected {what}"))
}
