//! Members of settings that are read one by one, each with the place that an error names.

use crate::base::fault::Invalid;
use serde_json::{Map, Value};

/// What is wrong with a member; with all of it where the member has no name.
pub fn wrong(path: &[&str], member: &str, what: impl Into<String>) -> Invalid {
    Invalid::at(path.iter().copied().chain(Some(member).filter(|member| !member.is_empty())), what)
}

/// The members of an object that has known ones only.
pub fn members<'a>(given: &'a Value, known: &[&str], path: &[&str]) -> Result<&'a Map<String, Value>, Invalid> {
    let Some(members) = given.as_object() else { return Err(wrong(path, "", "Expected an object")) };
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(members),
        Some(name) => Err(wrong(path, name, format!("Expected {} only", known.join(", ")))),
    }
}

pub fn flag(given: &Value, name: &str, default: bool, path: &[&str]) -> Result<bool, Invalid> {
    match given.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(wrong(path, name, "Expected true or false")),
    }
}

/// A list that may be absent.
pub fn list<'a>(given: &'a Value, name: &str, most: usize, path: &[&str]) -> Result<&'a [Value], Invalid> {
    match given.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(all)) if all.len() <= most => Ok(all),
        Some(_) => Err(wrong(path, name, format!("Expected an array of up to {most}, or null"))),
    }
}

/// A list of `most` texts at most, none of them empty or longer than a number of bytes.
pub fn texts<'a>(
    given: &'a Value,
    name: &str,
    (most, longest): (usize, usize),
    path: &[&str],
) -> Result<Vec<&'a str>, Invalid> {
    let all =
        given.get(name).filter(|all| !all.is_null()).map_or(Some(&[][..]), |all| all.as_array().map(Vec::as_slice));
    let fits = |text: &'a Value| text.as_str().filter(|text| (1..=longest).contains(&text.len()));
    let all = all.filter(|all| all.len() <= most).and_then(|all| all.iter().map(fits).collect::<Option<Vec<&str>>>());
    all.ok_or_else(|| wrong(path, name, format!("Expected up to {most} strings of 1 to {longest} bytes")))
}
