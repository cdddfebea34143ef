//! [`schema`] held against the official test suite of JSON Schema: what it accepts as a schema it decides as the suite does, and it
//! refuses the rest. The suite comes with a crate, as of draft 2019-09, in which the supported keywords mean what they mean in 2020-12.

use super::schema::{self, Schema};
use crate::pattern::budget::Meter;
use pollster::block_on;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

const KEYWORD: &str = "it is about a keyword that is not supported";
const BESIDE: &str = "a keyword stands beside it that is not supported";
const ITEMS: &str = "`items` as a list became `prefixItems` in 2020-12, which is not supported";
const ELSEWHERE: &str = "`$ref` leads out of the schema, and nothing is fetched";
const NAMES: &str = "`$ref` goes by a name that `$id` or `$anchor` gives, and only pointers are followed";
const ENCODED: &str = "`$ref` is a pointer with percent-encoding, which is not undone";

/// The groups of cases that are left out because their schema is refused: file, group (all of the file if it is empty), and why.
const LEFT_OUT: &[(&str, &str, &str)] = &[
    ("additionalItems", "", KEYWORD),
    ("additionalProperties", "additionalProperties being false does not allow other properties", BESIDE),
    ("additionalProperties", "non-ASCII pattern with additionalProperties", BESIDE),
    ("anchor", "", NAMES),
    ("contains", "", KEYWORD),
    ("defs", "", ELSEWHERE),
    ("dependentRequired", "", KEYWORD),
    ("dependentSchemas", "", KEYWORD),
    ("id", "", ELSEWHERE),
    ("if-then-else", "", KEYWORD),
    ("items", "an array of schemas for items", ITEMS),
    ("items", "items and subitems", BESIDE),
    ("items", "items with boolean schemas", ITEMS),
    ("maxContains", "", KEYWORD),
    ("maxProperties", "", KEYWORD),
    ("minContains", "", KEYWORD),
    ("minProperties", "", KEYWORD),
    ("patternProperties", "", KEYWORD),
    ("properties", "properties, patternProperties, additionalProperties interaction", BESIDE),
    ("propertyNames", "", KEYWORD),
    ("ref", "Recursive references between schemas", NAMES),
    ("ref", "escaped pointer ref", ENCODED),
    ("ref", "ref creates new scope when adjacent to keywords", BESIDE),
    ("ref", "refs with quote", ENCODED),
    ("ref", "relative pointer ref to array", ITEMS),
    ("ref", "remote ref, containing refs itself", ELSEWHERE),
    ("refRemote", "", ELSEWHERE),
    ("unevaluatedItems", "", KEYWORD),
    ("unevaluatedProperties", "", KEYWORD),
    ("uniqueItems", "uniqueItems with an array of items", ITEMS),
    ("uniqueItems", "uniqueItems with an array of items and additionalItems=false", ITEMS),
    ("uniqueItems", "uniqueItems=false with an array of items", ITEMS),
    ("uniqueItems", "uniqueItems=false with an array of items and additionalItems=false", ITEMS),
];

/// As many cases are decided, so that a suite that is not found is no success.
const DECIDED: usize = 520;

/// What a program prints.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The folder of the suite, wherever cargo keeps the crate.
fn suite() -> PathBuf {
    let metadata = output(env!("CARGO"), &["metadata", "--locked", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let package =
        metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == "json_schema_test_suite");
    let manifest = PathBuf::from(package.unwrap()["manifest_path"].as_str().unwrap());
    manifest.with_file_name("path/to/JSON-Schema-Test-Suite/repository/tests/draft2019-09")
}

/// The files of the suite with their groups.
fn groups() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(suite()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    let of_file = |path: PathBuf| {
        let groups: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        groups.into_iter().map(move |group| (file.clone(), group))
    };
    files.into_iter().flat_map(of_file).collect()
}

#[test]
fn what_is_accepted_is_decided_as_the_suite_says() {
    let (mut decided, mut problems) = (0, Vec::new());
    let mut met = vec![false; LEFT_OUT.len()];
    for (file, group) in groups() {
        let name = group["description"].as_str().unwrap();
        let left_out = LEFT_OUT.iter().position(|(of, only, _)| *of == file && (only.is_empty() || *only == name));
        let schema = match (Schema::new(&group["schema"]), left_out) {
            (Err(_), Some(at)) => {
                met[at] = true;
                continue;
            }
            (Err(why), None) => {
                problems.push(format!("{file}: {name}: is refused and not in LEFT_OUT: {why}"));
                continue;
            }
            (Ok(_), Some(_)) => {
                problems.push(format!("{file}: {name}: is accepted now, so it may not be in LEFT_OUT"));
                continue;
            }
            (Ok(schema), None) => schema,
        };
        for case in group["tests"].as_array().unwrap() {
            let meter = Meter::new(1_000_000, async || {});
            let verdict = block_on(schema::check(&schema, &case["data"], &meter)).unwrap();
            decided += 1;
            if verdict.is_ok() != case["valid"] {
                problems.push(format!("{file}: {name}: {}: the verdict is {verdict:?}", case["description"]));
            }
        }
    }
    let unmet = LEFT_OUT.iter().zip(met).filter(|(_, met)| !met);
    problems.extend(unmet.map(|(entry, _)| format!("is in no file: {entry:?}")));
    assert_eq!(problems, Vec::<String>::new());
    assert!(decided >= DECIDED, "only {decided} cases were decided");
}
