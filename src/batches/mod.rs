//! Batches of requests that a provider works on for hours: which paths are about one, whether it has ended, and what each line of its
//! results says. The gateway reads the results once, and each line becomes a log at the price of batches.

pub mod lines;
pub mod record;
pub mod stored;
#[cfg(test)]
mod tests;

use serde_json::Value;

/// Whose batches have the same form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// OpenAI, and all that speak its API; Mistral, whose batches differ in their words alone.
    OpenAi,
    Anthropic,
    Gemini,
}

/// What a path has to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    pub family: Family,
    /// The batch that is asked for; `None` where one is made.
    pub id: Option<&'a str>,
    /// Where batches of its kind are asked for: all before the id.
    pub base: &'a str,
}

/// How far a batch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    /// Where its results are, behind the provider, and why there are none if so.
    Ended {
        files: Vec<String>,
        note: Option<String>,
    },
}

/// What Gemini's batches are found under.
const GEMINI: &str = "v1beta/batches/";

/// Where Mistral has its batches.
const MISTRAL: &str = "batch/jobs";

/// What a request has to do with a batch, by its path.
pub fn seen<'a>(provider: &str, method: &str, rest: &'a str) -> Option<Seen<'a>> {
    let rest = rest.trim_end_matches('/');
    let is_gemini = provider == "google-ai-studio";
    if is_gemini && method == "POST" && rest.ends_with(":batchGenerateContent") {
        return Some(Seen { family: Family::Gemini, id: None, base: GEMINI });
    }
    let word = if provider == "mistral" { MISTRAL } else { "batches" };
    let at = rest.find(word)?;
    let (before, after) = (rest.get(..at)?, rest.get(at + word.len()..)?);
    if !(before.is_empty() || before.ends_with('/')) || before.ends_with("files/") {
        return None;
    }
    let base = rest.get(..at + word.len())?;
    let family = match before.ends_with("messages/") {
        true => Family::Anthropic,
        false if is_gemini => Family::Gemini,
        false => Family::OpenAi,
    };
    match (method, after.strip_prefix('/')) {
        ("POST", None) if after.is_empty() && family != Family::Gemini => Some(Seen { family, id: None, base }),
        ("GET", Some(id)) => {
            let id = id.strip_suffix("/results").unwrap_or(id);
            (!id.is_empty() && !id.contains('/')).then_some(Seen { family, id: Some(id), base })
        }
        _ => None,
    }
}

// === impl Family ===

impl Family {
    /// How far a batch is, by what its provider says of it. `path` is where that was asked.
    pub fn state(self, path: &str, said: &Value) -> State {
        let text = |place: &str| said.pointer(place).and_then(Value::as_str);
        let ended = |files: Vec<String>, how: &str| {
            let note = files.is_empty().then(|| format!("it ended without results: {how}"));
            State::Ended { files, note }
        };
        match self {
            Self::OpenAi => {
                let status = text("/status").unwrap_or("");
                let over = ["completed", "success", "failed", "expired", "timeout_exceeded", "cancelled", "canceled"];
                if !over.iter().any(|word| word.eq_ignore_ascii_case(status)) {
                    return State::Open;
                }
                let before = path.rfind("batches/").or_else(|| path.rfind(MISTRAL));
                let base = before.and_then(|at| path.get(..at)).unwrap_or("");
                let files = ["/output_file_id", "/error_file_id", "/output_file", "/error_file"];
                let files = files.into_iter().filter_map(text);
                let files = files.filter(|id| is_id(id)).map(|id| format!("{base}files/{id}/content"));
                ended(files.collect(), status)
            }
            Self::Anthropic => match text("/processing_status") {
                Some("ended") => ended(vec![format!("{path}/results")], "ended"),
                _ => State::Open,
            },
            Self::Gemini => {
                let state = text("/metadata/state").or(text("/state")).unwrap_or("");
                let is_done = said.get("done") == Some(&Value::Bool(true));
                let is_over = ["SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"].iter().any(|word| state.ends_with(word));
                if !is_done && !is_over {
                    return State::Open;
                }
                let file = ["/response/responsesFile", "/metadata/output/responsesFile", "/dest/fileName"];
                let file = file.into_iter().find_map(text).and_then(|name| name.strip_prefix("files/"));
                match file.filter(|id| is_id(id)) {
                    Some(id) => ended(vec![format!("v1beta/files/{id}:download?alt=media")], state),
                    // They stand in the batch itself.
                    None if said.get("response").is_some() => ended(vec![path.to_owned()], state),
                    None => ended(Vec::new(), state),
                }
            }
        }
    }
}

/// Whether a provider's word can become a part of a path.
fn is_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=200).contains(&id.len()) && id.bytes().all(is_plain) && id != ".." && id != "."
}
