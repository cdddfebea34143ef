//! What people say about an answer, and how it becomes part of a log: thumbs and scores, tags added later, and feedback
//! of any shape that is merged key by key.

use crate::base::fault::Invalid;
use crate::base::json::json;
use crate::base::mask;
use crate::db::store::{Bind, Statement};
use crate::logs::metadata;
use serde_json::{Map, Value};

/// Feedback on one log.
#[derive(Clone, Debug, PartialEq)]
pub enum Feedback {
    /// `PATCH` of a log.
    Patch(Patch),
    /// Feedback of any shape; each key replaces the value it had.
    Merge(Map<String, Value>),
}

/// Fields that are `None` stay as they are; `Some(None)` clears.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    pub feedback: Option<Option<i64>>,
    pub score: Option<Option<f64>>,
    /// Strings, numbers and booleans by key; null removes the entry.
    pub metadata: Map<String, Value>,
}

/// Who gives feedback, and when.
#[derive(Clone, Debug)]
pub struct FeedbackAuthor<'a> {
    pub name: &'a str,
    pub at: u64,
    /// For the row of the history.
    pub id: String,
}

/// Keys that feedback may have.
const MAX_KEYS: usize = 256;

/// Characters of a key.
const MAX_KEY: usize = 256;

/// Bytes of feedback as JSON: it is bound to a statement twice escaped, and D1 takes 2 MB there.
pub const MAX_FEEDBACK: usize = 256 * 1024;

const MAX_METADATA_TEXT: usize = 4_096;

/// Bytes of all metadata of a log, as JSON.
pub const MAX_METADATA: u64 = 65_536;

// === impl Feedback ===

impl Feedback {
    /// Reads the body of a `PATCH`.
    pub fn patch(body: &Value) -> Result<Self, Invalid> {
        let object = body.as_object().ok_or_else(|| Invalid::at(["body"], "Expected a JSON object"))?;
        let feedback = match object.get("feedback") {
            None => None,
            Some(Value::Null) => Some(None),
            Some(value) => match value.as_f64() {
                Some(thumb) if [-1.0, 0.0, 1.0].contains(&thumb) => Some(Some(thumb as i64)),
                _ => return Err(Invalid::at(["body", "feedback"], "Expected -1, 0, 1 or null")),
            },
        };
        let score = match object.get("score") {
            None => None,
            Some(Value::Null) => Some(None),
            Some(value) => match value.as_f64() {
                Some(score) if (0.0..=100.0).contains(&score) => Some(Some(score)),
                _ => return Err(Invalid::at(["body", "score"], "Expected a number from 0 to 100, or null")),
            },
        };
        let metadata = match object.get("metadata") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(entries)) => {
                let place = |key| ["body", "metadata", key];
                keys(entries, &["body", "metadata"])?;
                for (key, value) in entries {
                    let short = value.as_str().is_none_or(|text| text.len() <= MAX_METADATA_TEXT);
                    if value.is_array() || value.is_object() || !short {
                        let rule = format!(
                            "Expected a string of at most {MAX_METADATA_TEXT} bytes, a number, a boolean, or null to remove the entry"
                        );
                        return Err(Invalid::at(place(key), rule));
                    }
                    if key.starts_with("cf.") {
                        return Err(Invalid::at(place(key), "Keys that begin with 'cf.' are reserved"));
                    }
                }
                mask::object(entries)
            }
            Some(_) => return Err(Invalid::at(["body", "metadata"], "Expected an object")),
        };
        Ok(Self::Patch(Patch { feedback, score, metadata }))
    }

    /// Reads the body of feedback, `{"data": {…}}`.
    pub fn merge(body: &Value) -> Result<Self, Invalid> {
        let Some(Value::Object(data)) = body.get("data") else {
            return Err(Invalid::at(["body", "data"], "Expected {\"data\": {…}} with an object of feedback values"));
        };
        keys(data, &["body", "data"])?;
        Ok(Self::Merge(mask::object(data)))
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Patch(_) => "patch",
            Self::Merge(_) => "merge",
        }
    }

    /// The feedback as the JSON that [`Feedback::restore`] reads, and that the history shows.
    pub fn data(&self) -> Value {
        match self {
            Self::Patch(patch) => {
                let mut data = Map::new();
                if let Some(feedback) = patch.feedback {
                    data.insert("feedback".to_owned(), json!(feedback));
                }
                if let Some(score) = patch.score {
                    data.insert("score".to_owned(), json!(score));
                }
                if !patch.metadata.is_empty() {
                    data.insert("metadata".to_owned(), Value::Object(patch.metadata.clone()));
                }
                Value::Object(data)
            }
            Self::Merge(data) => Value::Object(data.clone()),
        }
    }

    /// Reads back what [`Feedback::kind`] and [`Feedback::data`] gave.
    pub fn restore(kind: &str, data: Value) -> Result<Self, Invalid> {
        if kind == "patch" { Self::patch(&data) } else { Self::merge(&json!({ "data": data })) }
    }

    /// The thumb and the score that it tells of.
    pub fn figures(&self) -> (Option<i64>, Option<f64>) {
        match self {
            Self::Patch(patch) => (patch.feedback.flatten(), patch.score.flatten()),
            Self::Merge(data) => {
                figures(data, false).map_or((None, None), |read| (read.feedback.flatten(), read.score.flatten()))
            }
        }
    }

    /// The statements that make the feedback part of a log, for one transaction. They do nothing where it is already.
    pub fn statements(&self, log: &str, author: &FeedbackAuthor<'_>) -> Vec<Statement> {
        match self {
            Self::Patch(patch) => patch.statements(log, author, self.data()),
            Self::Merge(data) => merge_statements(data, log, author),
        }
    }
}

/// Checks the keys of what is about to be stored.
fn keys(entries: &Map<String, Value>, place: &[&str]) -> Result<(), Invalid> {
    let refused = |key: &str, rule: String| {
        let key: String = key.chars().take(MAX_KEY).collect();
        Invalid::at(place.iter().copied().chain([key.as_str()]), rule)
    };
    if entries.len() > MAX_KEYS {
        return Err(Invalid::at(place.iter().copied(), format!("Expected at most {MAX_KEYS} keys")));
    }
    for key in entries.keys() {
        if key.is_empty() || key.chars().count() > MAX_KEY || key.chars().any(char::is_control) {
            return Err(refused(
                key,
                format!("Expected a key of 1 to {MAX_KEY} characters without control characters"),
            ));
        }
    }
    Ok(())
}

// === impl Patch ===

impl Patch {
    fn statements(&self, log: &str, author: &FeedbackAuthor<'_>, data: Value) -> Vec<Statement> {
        let metadata = Value::Object(self.metadata.clone()).to_string();
        let figures = [
            self.feedback.is_some().into(),
            self.feedback.flatten().into(),
            self.score.is_some().into(),
            self.score.flatten().into(),
            metadata.as_str().into(),
        ];
        let history = Statement::new(
            "INSERT OR IGNORE INTO feedback_history (log_id, id, given_at, given_by, kind, data) \
             SELECT id, ?2, ?3, ?4, 'patch', ?5 FROM logs WHERE id = ?1 AND ((?6 AND feedback IS NOT ?7) \
             OR (?8 AND score IS NOT ?9) OR coalesce(metadata, '{}') <> json_patch(coalesce(metadata, '{}'), ?10))",
            [given(log, author).as_slice(), &[data.to_string().into()], &figures].concat(),
        );
        let update = Statement::new(
            "UPDATE logs SET feedback = iif(?2, ?3, feedback), score = iif(?4, ?5, score), \
             metadata = nullif(json_patch(coalesce(metadata, '{}'), ?6), '{}') WHERE id = ?1",
            [&[log.into()], figures.as_slice()].concat(),
        );
        if self.metadata.is_empty() {
            return vec![history, update];
        }
        let gone = "DELETE FROM log_metadata WHERE log_id = ?1 AND key IN (SELECT key FROM json_each(?2))";
        let entries: Vec<Value> = self
            .metadata
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| json!([key, metadata::searchable(value)]))
            .collect();
        let added = "INSERT OR REPLACE INTO log_metadata (log_id, key, value, gateway, created_at) \
             SELECT logs.id, entry.value->>0, entry.value->>1, logs.gateway, logs.created_at \
             FROM logs, json_each(?2) AS entry WHERE logs.id = ?1";
        vec![
            history,
            update,
            Statement::new(gone, [log.into(), metadata.into()]),
            Statement::new(added, [log.into(), Value::from(entries).to_string().into()]),
        ]
    }
}

/// The first columns of a row of the history.
fn given(log: &str, author: &FeedbackAuthor<'_>) -> [Bind; 4] {
    [log.into(), author.id.as_str().into(), Bind::Int(author.at as i64), author.name.into()]
}

fn merge_statements(data: &Map<String, Value>, log: &str, author: &FeedbackAuthor<'_>) -> Vec<Statement> {
    let entries: Vec<Value> =
        data.iter().map(|(key, value)| json!([key, value.to_string(), metadata::searchable(value)])).collect();
    let entries = Value::from(entries).to_string();
    let history = Statement::new(
        "INSERT OR IGNORE INTO feedback_history (log_id, id, given_at, given_by, kind, data) \
         SELECT ?1, ?2, ?3, ?4, 'merge', ?5 WHERE EXISTS (SELECT 1 FROM json_each(?6) AS entry \
         LEFT JOIN log_feedback AS old ON old.log_id = ?1 AND old.key = entry.value->>0 WHERE old.json IS NOT entry.value->>1)",
        [given(log, author).as_slice(), &[Value::Object(data.clone()).to_string().into(), entries.as_str().into()]]
            .concat(),
    );
    let merged = Statement::new(
        "INSERT INTO log_feedback (log_id, key, json, value, gateway, created_at, given_at, given_by) \
         SELECT logs.id, entry.value->>0, entry.value->>1, entry.value->>2, logs.gateway, logs.created_at, ?3, ?4 \
         FROM logs, json_each(?2) AS entry WHERE logs.id = ?1 \
         ON CONFLICT (log_id, key) DO UPDATE SET json = excluded.json, value = excluded.value, \
         given_at = excluded.given_at, given_by = excluded.given_by \
         WHERE json IS NOT excluded.json AND excluded.given_at >= given_at",
        [log.into(), entries.into(), Bind::Int(author.at as i64), author.name.into()],
    );
    let mut statements = vec![history, merged];
    statements.extend(figures(data, false).map(|figures| figures.statement(log, author.at)));
    statements
}

/// What feedback of any shape says about thumbs and score.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Figures {
    feedback: Option<Option<i64>>,
    score: Option<Option<f64>>,
}

/// Reads the keys that mean a thumb or a score:
///
/// - `feedback`: -1, 0, 1, a boolean, or a word for up or down,
/// - else `helpful`: a boolean,
/// - else `rating`: five stars, so 4 and 5 are up, 1 and 2 down, and 3 is neither (0); other numbers could be of any
///   scale and mean nothing here,
/// - `score`: a number from 0 to 100.
///
/// With `clear` what is not said is cleared.
fn figures(data: &Map<String, Value>, clear: bool) -> Option<Figures> {
    let thumb = data
        .get("feedback")
        .and_then(thumb)
        .or_else(|| data.get("helpful").and_then(Value::as_bool).map(|helpful| if helpful { 1 } else { -1 }))
        .or_else(|| match data.get("rating").and_then(Value::as_f64) {
            Some(stars) if stars == 4.0 || stars == 5.0 => Some(1),
            Some(stars) if stars == 1.0 || stars == 2.0 => Some(-1),
            Some(3.0) => Some(0),
            _ => None,
        });
    let score = data.get("score").and_then(Value::as_f64).filter(|score| (0.0..=100.0).contains(score));
    let figures = Figures {
        feedback: (clear || thumb.is_some()).then_some(thumb),
        score: (clear || score.is_some()).then_some(score),
    };
    (figures != Figures::default()).then_some(figures)
}

fn thumb(value: &Value) -> Option<i64> {
    if let Some(yes) = value.as_bool() {
        return Some(if yes { 1 } else { -1 });
    }
    if let Some(number) = value.as_f64() {
        return [-1.0, 0.0, 1.0].contains(&number).then_some(number as i64);
    }
    match value.as_str()?.to_ascii_lowercase().replace(['-', ' '], "_").as_str() {
        "up" | "thumbs_up" | "thumb_up" | "positive" | "like" | "good" | "👍" => Some(1),
        "down" | "thumbs_down" | "thumb_down" | "negative" | "dislike" | "bad" | "👎" => Some(-1),
        "neutral" | "none" => Some(0),
        _ => None,
    }
}

/// The statements that take feedback back: the keys of `taken`. `remaining` is what is left then; thumbs and score
/// that came from what goes are derived from it anew.
pub fn take_back(
    log: &str,
    taken: &Map<String, Value>,
    remaining: &Map<String, Value>,
    author: &FeedbackAuthor<'_>,
) -> Vec<Statement> {
    let history = Statement::new(
        "INSERT OR IGNORE INTO feedback_history (log_id, id, given_at, given_by, kind, data) VALUES (?1, ?2, ?3, ?4, 'delete', ?5)",
        [
            log.into(),
            author.id.as_str().into(),
            Bind::Int(author.at as i64),
            author.name.into(),
            json!(taken.keys().collect::<Vec<_>>()).to_string().into(),
        ],
    );
    let keys: Vec<&str> = taken.keys().map(String::as_str).collect();
    // By name: what was said meanwhile is not taken back.
    let delete = Statement::new(
        "DELETE FROM log_feedback WHERE log_id = ?1 AND key IN (SELECT value FROM json_each(?2))",
        [log.into(), Value::from(keys).to_string().into()],
    );
    // What is taken back is not to be read in the history either; who said something, and when, stays.
    let mut gone = Map::new();
    gone.extend(taken.keys().map(|name| (name.clone(), Value::Null)));
    let forget = Statement::new(
        "UPDATE feedback_history SET data = json_patch(data, ?2) WHERE log_id = ?1 AND kind = 'merge'",
        [log.into(), Value::Object(gone).to_string().into()],
    );
    let mut statements = vec![history, delete, forget];
    if let Some(before) = figures(taken, false) {
        let now = figures(remaining, true).unwrap_or_default();
        // A thumb that a later request has changed is not that of this feedback any more.
        statements.push(Statement::new(
            "UPDATE logs SET feedback = iif(?2 AND feedback IS ?3, ?4, feedback), score = iif(?5 AND score IS ?6, ?7, score) WHERE id = ?1",
            [
                log.into(),
                before.feedback.is_some().into(),
                before.feedback.flatten().into(),
                now.feedback.flatten().into(),
                before.score.is_some().into(),
                before.score.flatten().into(),
                now.score.flatten().into(),
            ],
        ));
    }
    statements
}

// === impl Figures ===

impl Figures {
    /// Sets them, unless something newer has been said already.
    fn statement(self, log: &str, given_at: u64) -> Statement {
        Statement::new(
            "UPDATE logs SET feedback = iif(?2, ?3, feedback), score = iif(?4, ?5, score) WHERE id = ?1 AND NOT EXISTS \
             (SELECT 1 FROM log_feedback WHERE log_id = ?1 AND key IN ('feedback', 'helpful', 'rating', 'score') AND given_at > ?6)",
            [
                log.into(),
                self.feedback.is_some().into(),
                self.feedback.flatten().into(),
                self.score.is_some().into(),
                self.score.flatten().into(),
                Bind::Int(given_at as i64),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::envelope::ApiError;

    fn said(value: Value) -> Option<(Option<i64>, Option<f64>)> {
        let figures = figures(value.as_object().unwrap(), false)?;
        Some((figures.feedback.flatten(), figures.score.flatten()))
    }

    #[test]
    fn thumbs_and_scores_are_read_where_they_are_unambiguous() {
        let seed =
            json!({ "message": "accurate", "rating": 5, "helpful": true, "user_id": "user_1234", "tags": ["a"] });
        assert_eq!(said(seed), Some((Some(1), None)));
        for (data, wanted) in [
            (json!({ "feedback": -1, "helpful": true }), Some((Some(-1), None))),
            (json!({ "feedback": "thumbs-down" }), Some((Some(-1), None))),
            (json!({ "helpful": false, "rating": 5 }), Some((Some(-1), None))),
            (json!({ "rating": 3, "score": 70 }), Some((Some(0), Some(70.0)))),
            (json!({ "rating": 7 }), None),
            (json!({ "rating": "5" }), None),
            (json!({ "score": 101, "helpful": "yes" }), None),
            (json!({ "score": 0 }), Some((None, Some(0.0)))),
            (json!({}), None),
        ] {
            assert_eq!(said(data.clone()), wanted, "{data}");
        }
    }

    #[test]
    fn a_patch_keeps_its_bounds() {
        for (body, place) in [
            (json!([]), "body"),
            (json!({ "feedback": 2 }), "feedback"),
            (json!({ "feedback": 0.5 }), "feedback"),
            (json!({ "feedback": "1" }), "feedback"),
            (json!({ "score": -0.1 }), "score"),
            (json!({ "score": 100.1 }), "score"),
            (json!({ "score": true }), "score"),
            (json!({ "metadata": [] }), "metadata"),
            (json!({ "metadata": { "a": {} } }), "a"),
            (json!({ "metadata": { "cf.a": 1 } }), "cf.a"),
            (json!({ "metadata": { "": 1 } }), ""),
        ] {
            let error = ApiError::from(Feedback::patch(&body).unwrap_err());
            assert_eq!((error.code, error.path.last().map(String::as_str)), (7001, Some(place)), "{body}");
        }
        let key = json!({ "a": "see sk-proj-0123456789abcdef", "sk-proj-0123456789abcdef": 1 });
        for read in [Feedback::patch(&json!({ "metadata": key })), Feedback::merge(&json!({ "data": key }))] {
            assert!(!read.unwrap().data().to_string().contains("sk-proj"));
        }
        let all = json!({ "feedback": null, "score": 100, "metadata": { "a": null, "b": "x" } });
        let read = Feedback::patch(&all).unwrap();
        assert_eq!(Feedback::restore(read.kind(), read.data()).unwrap(), read);
        assert_eq!(read.data(), json!({ "feedback": null, "score": 100.0, "metadata": { "a": null, "b": "x" } }));
    }

    #[test]
    fn feedback_is_an_object_of_values() {
        for body in
            [json!({}), json!({ "data": [] }), json!({ "data": "x" }), json!([]), json!({ "data": { "a\u{0}": 1 } })]
        {
            assert_eq!(ApiError::from(Feedback::merge(&body).unwrap_err()).code, 7001, "{body}");
        }
        assert!(Feedback::merge(&json!({ "data": { "__proto__": { "a": [1, null] } } })).is_ok());
    }
}
