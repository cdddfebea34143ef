//! Reads a query of GraphQL, as far as charts need the language: one operation with fields, aliases, arguments and variables. What it
//! does not read, such as fragments, is an error that names it.

use serde_json::{Map, Value};

/// How deep fields and values may stand in each other, and how many there may be of them.
const MOST_DEPTH: usize = 12;
const MOST_STEPS: usize = 2_000;

/// A field that is asked for.
#[derive(Debug, PartialEq)]
pub struct Field {
    /// What the answer calls it: its alias, or its name.
    pub key: String,
    pub name: String,
    /// Variables have their values here, and names of enums are texts.
    pub arguments: Map<String, Value>,
    /// What is asked for in it; none where it stands alone.
    pub fields: Vec<Self>,
}

struct Parser<'q> {
    text: &'q str,
    at: usize,
    steps: usize,
    variables: &'q Map<String, Value>,
    /// The variables that the operation declares, with what they are without a value.
    declared: Map<String, Value>,
}

/// Reads the operation of this name, or the only one.
pub fn read(text: &str, operation: Option<&str>, variables: &Map<String, Value>) -> Result<Vec<Field>, String> {
    let mut parser = Parser { text, at: 0, steps: 0, variables, declared: Map::new() };
    let mut found = None;
    let mut names = Vec::new();
    while parser.peek().is_some() {
        let (name, fields) = parser.operation(operation)?;
        let is_meant = operation.is_none_or(|wanted| name == wanted);
        names.push(name);
        if is_meant {
            if found.is_some() {
                return Err("there are several operations: operationName has to say which is meant".to_owned());
            }
            found = Some(fields);
        }
    }
    found.ok_or_else(|| match operation {
        Some(wanted) => format!("there is no operation {wanted:?} among {}", names.join(", ")),
        None => "the query is empty".to_owned(),
    })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

// === impl Parser ===

impl<'q> Parser<'q> {
    fn rest(&self) -> &'q str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next character that means something.
    fn peek(&mut self) -> Option<char> {
        loop {
            let c = self.rest().chars().next()?;
            match c {
                '#' => self.at += self.rest().find(['\n', '\r']).unwrap_or(self.rest().len()),
                ',' | '\u{feff}' => self.at += c.len_utf8(),
                c if c.is_whitespace() => self.at += c.len_utf8(),
                c => return Some(c),
            }
        }
    }

    fn takes(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.at += if is_there { wanted.len_utf8() } else { 0 };
        is_there
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.takes(wanted) { Ok(()) } else { Err(self.wrong(&format!("expected '{wanted}'"))) }
    }

    fn wrong(&mut self, what: &str) -> String {
        let found = match self.peek() {
            Some(c) => format!("'{}'", c.escape_default()),
            None => "the end".to_owned(),
        };
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("syntax error at line {line}, column {column}: {what}, found {found}")
    }

    /// Counts a step, so that no query takes long.
    fn step(&mut self, depth: usize) -> Result<(), String> {
        self.steps += 1;
        if depth > MOST_DEPTH {
            return Err(format!("the query is nested more than {MOST_DEPTH} deep"));
        }
        if self.steps > MOST_STEPS {
            return Err(format!("the query has more than {MOST_STEPS} fields and values"));
        }
        Ok(())
    }

    fn name(&mut self) -> Result<&'q str, String> {
        let starts = self.peek().is_some_and(|c| is_name(c) && !c.is_ascii_digit());
        let length = self.rest().find(|c| !is_name(c)).unwrap_or(self.rest().len());
        if !starts {
            return Err(self.wrong("expected a name"));
        }
        let name = self.rest().get(..length).unwrap_or_default();
        self.at += length;
        Ok(name)
    }

    fn operation(&mut self, wanted: Option<&str>) -> Result<(String, Vec<Field>), String> {
        self.declared.clear();
        let mut name = String::new();
        if self.peek() != Some('{') {
            match self.name()? {
                "query" => {}
                other @ ("mutation" | "subscription" | "fragment") => {
                    return Err(format!("{other} is not served here: expected one query"));
                }
                _ => return Err("expected a query".to_owned()),
            }
            if self.peek().is_some_and(is_name) {
                name = self.name()?.to_owned();
            }
            if self.takes('(') {
                while !self.takes(')') {
                    self.declare(wanted.is_none_or(|wanted| wanted == name))?;
                }
            }
        }
        Ok((name, self.fields(1)?))
    }

    /// A variable's declaration: `$name: [Type!]! = default`.
    fn declare(&mut self, is_meant: bool) -> Result<(), String> {
        self.step(0)?;
        self.expect('$')?;
        let name = self.name()?;
        self.expect(':')?;
        while self.takes('[') {}
        self.name()?;
        let mut is_needed = false;
        while matches!(self.peek(), Some(']' | '!')) {
            is_needed = self.takes('!');
            if !is_needed {
                self.expect(']')?;
            }
        }
        let usual = if self.takes('=') { self.value(1)? } else { Value::Null };
        if is_needed && usual.is_null() && is_meant && self.variables.get(name).is_none_or(Value::is_null) {
            return Err(format!("the variable ${name} has no value"));
        }
        self.declared.insert(name.to_owned(), usual);
        Ok(())
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<Field>, String> {
        if self.takes('@') {
            return Err("directives are not served here".to_owned());
        }
        self.expect('{')?;
        let mut fields: Vec<Field> = Vec::new();
        while !self.takes('}') {
            let field = self.field(depth)?;
            if fields.iter().any(|other| other.key == field.key) {
                return Err(format!("{:?} is asked for twice in one place: give one of them another alias", field.key));
            }
            fields.push(field);
        }
        if fields.is_empty() { Err(self.wrong("expected a field before this")) } else { Ok(fields) }
    }

    fn field(&mut self, depth: usize) -> Result<Field, String> {
        self.step(depth)?;
        if self.peek() == Some('.') {
            return Err("fragments are not served here: write their fields out".to_owned());
        }
        let key = self.name()?.to_owned();
        let name = if self.takes(':') { self.name()?.to_owned() } else { key.clone() };
        let arguments = if self.takes('(') { self.members(')', depth)? } else { Map::new() };
        let has_more = matches!(self.peek(), Some('{' | '@'));
        let fields = if has_more { self.fields(depth + 1)? } else { Vec::new() };
        Ok(Field { key, name, arguments, fields })
    }

    fn members(&mut self, end: char, depth: usize) -> Result<Map<String, Value>, String> {
        let mut members = Map::new();
        while !self.takes(end) {
            let name = self.name()?;
            self.expect(':')?;
            let value = self.value(depth + 1)?;
            if members.insert(name.to_owned(), value).is_some() {
                return Err(format!("{name:?} is given twice in one place"));
            }
        }
        Ok(members)
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.step(depth)?;
        match self.peek() {
            Some('$') => {
                self.at += 1;
                let name = self.name()?;
                // Cloudflare takes variables that are not declared: the example of its documents has such.
                let value =
                    self.variables.get(name).filter(|value| !value.is_null()).or_else(|| self.declared.get(name));
                value.cloned().ok_or_else(|| format!("the variable ${name} has no value"))
            }
            Some('{') => {
                self.at += 1;
                self.members('}', depth).map(Value::Object)
            }
            Some('[') => {
                self.at += 1;
                let mut values = Vec::new();
                while !self.takes(']') {
                    values.push(self.value(depth + 1)?);
                }
                Ok(Value::Array(values))
            }
            Some('"') => self.text(),
            Some(c) if c == '-' || c.is_ascii_digit() => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
                let length = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
                let number = self.rest().get(..length).and_then(|number| serde_json::from_str::<Value>(number).ok());
                let number = number.ok_or_else(|| self.wrong("expected a number"))?;
                self.at += length;
                Ok(number)
            }
            _ => Ok(match self.name()? {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                word => word.into(),
            }),
        }
    }

    /// A text, whose escapes are those of JSON.
    fn text(&mut self) -> Result<Value, String> {
        if self.rest().starts_with("\"\"\"") {
            return Err(self.wrong("texts of several lines are not served here"));
        }
        let mut is_escaped = true;
        let ends = |c: char| {
            let ends = (c == '"' && !is_escaped) || c == '\n';
            is_escaped = c == '\\' && !is_escaped;
            ends
        };
        let end = self.rest().find(ends).map(|end| end + 1);
        let whole = end.and_then(|end| self.rest().get(..end));
        let read = whole.and_then(|whole| Some((whole.len(), serde_json::from_str::<Value>(whole).ok()?)));
        let (length, text) = read.ok_or_else(|| self.wrong("expected a text that ends"))?;
        self.at += length;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parsed(text: &str, variables: Value) -> Result<Vec<Field>, String> {
        read(text, None, variables.as_object().unwrap())
    }

    #[test]
    fn the_example_of_cloudflares_documents_is_read() {
        let text = "query{\n  viewer {\n\taccounts(filter: { accountTag: \"acct\" }) {\n\trequests: aiGatewayRequestsAdaptiveGroups(\n limit: $limit\n \
             filter: { datetimeHour_geq: $start, datetimeHour_leq: $end }\n orderBy: [datetimeMinute_ASC]\n ) {\n count,\n dimensions {\n model,\n ts: datetimeMinute\n }\n }\n}\n }\n}";
        let read = parsed(
            text,
            json!({ "limit": 1000, "start": "2023-09-01T10:00:00.000Z", "end": "e", "orderBy": "date_ASC" }),
        )
        .unwrap();
        let accounts = &read[0].fields[0];
        assert_eq!(accounts.arguments["filter"], json!({ "accountTag": "acct" }));
        let set = &accounts.fields[0];
        assert_eq!((set.key.as_str(), set.name.as_str()), ("requests", "aiGatewayRequestsAdaptiveGroups"));
        assert_eq!(set.arguments["orderBy"], json!(["datetimeMinute_ASC"]));
        assert_eq!(set.arguments["filter"]["datetimeHour_geq"], "2023-09-01T10:00:00.000Z");
        assert_eq!(
            (set.fields[1].fields[1].key.as_str(), set.fields[1].fields[1].name.as_str()),
            ("ts", "datetimeMinute")
        );
    }

    #[test]
    fn variables_have_types_defaults_and_values() {
        let text = "# a comment\nquery Q($a: [String!]!, $b: Int = -3, $c: string) { f(a: $a, b: $b, c: $c, d: \"\\u00e9\\\"\", e: 1.5e2, g: true, h: null) }";
        let read = parsed(text, json!({ "a": ["x"] })).unwrap();
        assert_eq!(
            Value::Object(read[0].arguments.clone()),
            json!({ "a": ["x"], "b": -3, "c": null, "d": "é\"", "e": 150.0, "g": true, "h": null })
        );
        assert!(parsed(text, json!({})).unwrap_err().contains("$a has no value"));
        let two = "query A { a } query B { b }";
        assert!(parsed(two, json!({})).unwrap_err().contains("operationName"));
        assert_eq!(super::read(two, Some("B"), &Map::new()).unwrap()[0].key, "b");
        assert!(super::read(two, Some("C"), &Map::new()).unwrap_err().contains("\"C\""));
    }

    #[test]
    fn what_is_not_read_is_named() {
        for (text, says) in [
            ("", "empty"),
            ("{", "expected a name"),
            ("{}", "expected a field"),
            ("{ a", "expected a name"),
            ("{ a a }", "twice"),
            ("{ a(x: 1, x: 2) }", "twice"),
            ("{ ...f }", "fragments"),
            ("fragment f on T { a }", "fragment"),
            ("mutation { a }", "mutation"),
            ("{ a @skip(if: true) }", "directives"),
            ("{ a(x: $y) }", "$y has no value"),
            ("{ a(x: \"\"\"b\"\"\") }", "several lines"),
            ("{ a(x: \"b\n\") }", "that ends"),
            ("{ a(x: 1.) }", "number"),
            ("{\n  a(x: %) }", "line 2, column 8"),
            ("{ a } x", "expected a query"),
        ] {
            let error = parsed(text, json!({})).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let deep = "{ a".repeat(50) + &"}".repeat(50);
        assert!(parsed(&deep, json!({})).unwrap_err().contains("deep"));
        let lists = format!("{{ a(x: {}) }}", "[".repeat(100_000));
        assert!(parsed(&lists, json!({})).unwrap_err().contains("deep"));
        let long = format!("{{ a(x: [{}]) }}", "1 ".repeat(3_000));
        assert!(parsed(&long, json!({})).unwrap_err().contains("2000"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail_otherwise(text in "[{}()\\[\\]\"\\\\$:!=.@#,a-z0-9 \n\u{e9}-]{0,80}") {
            let _ = parsed(&text, json!({ "a": 1 }));
        }

        #[test]
        fn no_part_of_a_query_makes_it_fail_otherwise(words in prop::collection::vec(prop::sample::select(vec![
            "query", "{", "}", "(", ")", "[", "]", "$a", ":", "a", "b", "\"x\"", "\"", "1", "-", "!", "=", "...", "\u{1f424}", "null",
        ]), 0..40)) {
            let _ = parsed(&words.join(" "), json!({ "a": [1] }));
        }
    }
}
