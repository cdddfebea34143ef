//! What models do beside conversing: embeddings, images, speech, transcripts, ranking, and whatever Workers AI runs. Such a request goes
//! to the provider's own endpoint in the caller's words; only the model's name changes. Where there is none, `translate::tasks` may have
//! the model's own words for it.

use crate::base::fault::shortened;
use crate::catalogue::resolve::Named;
use crate::http::query;
use crate::http::refusal::Refusal;
use crate::providers::fault::Fault;
use crate::providers::format::Format;
use crate::providers::formats;
use crate::providers::paths;
use crate::providers::table::KeyForm;
use crate::providers::upstream::{CustomProvider, Upstream};
use crate::translate::json::Json;
use crate::translate::model::Notes;
use crate::translate::tasks::{self, Mapped, Words};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    Embeddings,
    Images,
    Transcription,
    Speech,
    Rerank,
    /// Cloudflare's `ai/run`: the model is in the path, or in the body beside its `input`.
    Run(Option<String>),
}

/// Where such a request goes, and what it becomes.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent {
    pub provider: String,
    pub rest: String,
    pub body: Vec<u8>,
    pub key_form: KeyForm,
    /// By what the answer is read, where the request was written anew.
    pub mapped: Option<Mapped>,
    /// What was left out of it then.
    pub dropped: Vec<String>,
}

/// Where a model is asked.
struct Place {
    provider: String,
    rest: String,
    model: String,
    key_form: KeyForm,
    words: Option<Words>,
}

// === impl Place ===

impl Place {
    /// What goes there in the words that it came in.
    fn sent(self, body: Vec<u8>) -> Sent {
        let Self { provider, rest, key_form, .. } = self;
        Sent { provider, rest, body, key_form, mapped: None, dropped: Vec::new() }
    }
}

/// Where providers serve each task below their base, in OpenAI's words, and ranking in Cohere's. Google's and Cohere's endpoints for
/// clients of OpenAI take the key as a bearer token.
const EMBEDDINGS: &[(&str, &str)] = &[
    ("cohere", "compatibility/v1/embeddings"),
    ("fireworks", "embeddings"),
    ("google-ai-studio", "v1beta/openai/embeddings"),
    ("mistral", "v1/embeddings"),
    ("openai", "embeddings"),
    ("openrouter", "embeddings"),
    ("workers-ai", "v1/embeddings"),
];
const IMAGES: &[(&str, &str)] = &[
    ("google-ai-studio", "v1beta/openai/images/generations"),
    ("grok", "images/generations"),
    ("openai", "images/generations"),
];
const TRANSCRIPTIONS: &[(&str, &str)] =
    &[("groq", "audio/transcriptions"), ("mistral", "v1/audio/transcriptions"), ("openai", "audio/transcriptions")];
const SPEECH: &[(&str, &str)] = &[("groq", "audio/speech"), ("openai", "audio/speech")];
const RERANK: &[(&str, &str)] = &[("cohere", "v2/rerank"), ("fireworks", "rerank")];

/// A part of a form is looked for in so many bytes of its head.
const MAX_PART_HEAD: usize = 1_024;

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Run<'a> {
    model: String,
    #[serde(borrow)]
    input: &'a RawValue,
}

/// Below the segment `ai`.
pub fn of_ai(path: &str) -> Option<Task> {
    let path = path.trim_end_matches('/');
    if path == "run" {
        return Some(Task::Run(None));
    }
    if let Some(model) = path.strip_prefix("run/") {
        return Some(Task::Run(Some(query::understood(model).into_owned())));
    }
    Some(match path.trim_start_matches("v1/") {
        "embeddings" => Task::Embeddings,
        "images/generations" => Task::Images,
        "audio/transcriptions" => Task::Transcription,
        "audio/speech" => Task::Speech,
        "rerank" => Task::Rerank,
        _ => return None,
    })
}

/// Finds the provider of a request, and what it is sent.
pub fn sent(
    task: &Task,
    content_type: Option<&str>,
    body: &[u8],
    custom: &[CustomProvider],
    resolve: &dyn Fn(&str) -> Result<Named, Fault>,
) -> Result<Sent, Refusal> {
    let boundary = content_type.and_then(boundary);
    match (task, boundary) {
        (Task::Run(in_path), _) => run(in_path.as_deref(), body, custom, resolve),
        (Task::Transcription, Some(boundary)) => {
            let part = form_model(body, boundary).ok_or_else(|| bad(task, "it has no field 'model'"))?;
            let text = body.get(part.clone()).and_then(|part| std::str::from_utf8(part).ok());
            let model = text.ok_or_else(|| bad(task, "its model is not UTF-8"))?.trim();
            let at = place(task, model, custom, resolve)?;
            let body = spliced(body, part, at.model.as_bytes());
            Ok(at.sent(body))
        }
        (Task::Transcription, None) => Err(bad(task, "it is no multipart/form-data")),
        _ => {
            let text = text(task, body)?;
            let head: Head<'_> = serde_json::from_str(text).map_err(|error| bad(task, &error.to_string()))?;
            let raw = head.model.ok_or_else(|| bad(task, "it has no model"))?.get();
            let model: String = serde_json::from_str(raw).map_err(|_| bad(task, "the model is no string"))?;
            let at = place(task, &model, custom, resolve)?;
            if let Some(words) = at.words {
                return mapped(task, text, words, at);
            }
            let start = (raw.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
            let name = Value::from(at.model.as_str()).to_string();
            let body = spliced(body, start..start.saturating_add(raw.len()), name.as_bytes());
            Ok(at.sent(body))
        }
    }
}

/// The request in the words of the model's maker.
fn mapped(task: &Task, text: &str, words: Words, at: Place) -> Result<Sent, Refusal> {
    let json = Json::parse(text).ok_or_else(|| bad(task, "it is nested too deeply"))?;
    let mut notes = Notes::default();
    let (body, mapped) = tasks::request(words, &at.model, &json, &mut notes).map_err(|wrong| {
        bad(task, &format!("{}: {} (the model's provider is {})", wrong.field, wrong.why, at.provider))
    })?;
    let dropped = notes.dropped.fields().to_vec();
    let Place { provider, rest, key_form, .. } = at;
    Ok(Sent { provider, rest, body: body.to_string().into_bytes(), key_form, mapped: Some(mapped), dropped })
}

/// Where a model is asked for a task.
fn place(
    task: &Task,
    model: &str,
    custom: &[CustomProvider],
    resolve: &dyn Fn(&str) -> Result<Named, Fault>,
) -> Result<Place, Refusal> {
    let Named { provider, model, .. } = resolve(model)?;
    let upstream = Upstream::find(&provider, custom)?;
    let slug = upstream.slug();
    let known = task.endpoints();
    if let Upstream::Custom(own) = upstream {
        let version = if own.has_path() { "" } else { "v1/" };
        let (provider, rest) = (slug.to_owned(), format!("{version}{}", task.path()));
        return Ok(Place { provider, rest, model, key_form: KeyForm::Bearer, words: None });
    }
    if slug == "azure-openai" && *task != Task::Rerank {
        let (resource, deployment) = model.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(|| {
            Fault::path(
                "azure-openai wants the model as azure-openai/{resource}/{deployment}, for the host is the resource's",
            )
        })?;
        if !paths::is_azure_resource(resource) {
            return Err(Fault::path("azure-openai: the resource in the model's name is no name of one").into());
        }
        let rest = format!("{resource}/openai/v1/{}", task.path());
        let (provider, model, key_form) = (slug.to_owned(), deployment.to_owned(), upstream.key_form());
        return Ok(Place { provider, rest, model, key_form, words: None });
    }
    if let Some(reached) = tasks::reached(slug, task.path()) {
        let format = if slug == "aws-bedrock" { Format::Converse } else { Format::Gemini };
        let at = formats::place(upstream, format, &model, false)?;
        let words = tasks::words(slug, task.path(), &at.model).ok_or_else(|| {
            let (path, model) = (task.path(), shortened(&at.model));
            Refusal::bad_path(format!("ai/v1/{path} does not reach '{model}'. Of {slug} it reaches {reached}."))
        })?;
        // The address of a conversation, with the verb of these models.
        let rest = match at.rest.rsplit_once(':') {
            Some((before, _)) if format == Format::Gemini => format!("{before}:predict"),
            _ => format!("{}/invoke", at.rest.trim_end_matches("/converse")),
        };
        let (provider, key_form) = (slug.to_owned(), upstream.key_form());
        return Ok(Place { provider, rest, model: at.model, key_form, words: Some(words) });
    }
    let Some((_, rest)) = known.iter().find(|(of, _)| *of == slug) else {
        let others: Vec<&str> = known.iter().map(|(slug, _)| *slug).collect();
        return Err(Refusal::bad_path(format!(
            "ai/v1/{} does not reach {slug}, which has no such endpoint. These have: {}, and providers of the account's own. \
             Call {slug} by its own name for what it has: {slug}/….",
            task.path(),
            others.join(", ")
        )));
    };
    let key_form = if slug == "google-ai-studio" { KeyForm::Bearer } else { upstream.key_form() };
    Ok(Place { provider: slug.to_owned(), rest: (*rest).to_owned(), model, key_form, words: None })
}

/// Workers AI runs a model by its name in the path, with the input as the body.
fn run(
    in_path: Option<&str>,
    body: &[u8],
    custom: &[CustomProvider],
    resolve: &dyn Fn(&str) -> Result<Named, Fault>,
) -> Result<Sent, Refusal> {
    let task = Task::Run(None);
    let (model, input) = match in_path {
        Some(model) => (model.to_owned(), body.to_vec()),
        None => {
            let run: Run<'_> =
                serde_json::from_str(text(&task, body)?).map_err(|error| bad(&task, &error.to_string()))?;
            (run.model, run.input.get().as_bytes().to_vec())
        }
    };
    let Named { provider, model, .. } = resolve(&model)?;
    let upstream = Upstream::find(&provider, custom)?;
    if upstream.slug() != "workers-ai" {
        return Err(Refusal::bad_path(format!(
            "ai/run runs the models of Workers AI, such as @cf/meta/llama-3.1-8b-instruct, and '{}' is one of {provider}. Send it to \
             ai/v1/chat/completions, ai/v1/responses or ai/v1/messages.",
            shortened(&model)
        )));
    }
    let (rest, key_form) = (format!("run/{model}"), upstream.key_form());
    Ok(Sent { provider, rest, body: input, key_form, mapped: None, dropped: Vec::new() })
}

fn text<'a>(task: &Task, body: &'a [u8]) -> Result<&'a str, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| bad(task, "it is not UTF-8"))?;
    // An array would be read as the fields in their order.
    if !text.trim_start().starts_with('{') {
        return Err(bad(task, "it is no JSON object"));
    }
    Ok(text)
}

fn bad(task: &Task, what: &str) -> Refusal {
    Refusal::bad_request(format!("The body is none for ai/v1/{}: {what}.", task.path()))
}

fn boundary(content_type: &str) -> Option<&str> {
    let kind = content_type.split(';').next()?.trim();
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.trim().split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    let value = value.trim_matches('"');
    (1..=70).contains(&value.len()).then_some(value)
}

/// Where the value of the field `model` stands in a form.
fn form_model(body: &[u8], boundary: &str) -> Option<std::ops::Range<usize>> {
    let mark = format!("--{boundary}");
    let (mut at, mut found) = (find(body, mark.as_bytes(), 0)?, None);
    while found.is_none() {
        let head = at.checked_add(mark.len())?;
        let most = head.saturating_add(MAX_PART_HEAD).min(body.len());
        let Some(end) = find(body.get(..most)?, b"\r\n\r\n", head) else { break };
        let text = String::from_utf8_lossy(body.get(head..end)?).to_ascii_lowercase();
        let next = find(body, mark.as_bytes(), end)?;
        let is_model = ["name=\"model\"", "name=model"]
            .iter()
            .any(|name| text.split([';', '\r', '\n']).any(|part| part.trim() == *name));
        if is_model {
            let start = end.checked_add(4)?;
            found = next.checked_sub(2).filter(|stop| *stop >= start).map(|stop| start..stop);
            break;
        }
        at = next;
    }
    found
}

fn find(text: &[u8], part: &[u8], from: usize) -> Option<usize> {
    let first = *part.first()?;
    let mut at = from;
    loop {
        let next = text.get(at..)?.iter().position(|byte| *byte == first)?;
        at = at.checked_add(next)?;
        if text.get(at..)?.starts_with(part) {
            return Some(at);
        }
        at = at.checked_add(1)?;
    }
}

/// The text with other bytes in the place of a part of it.
fn spliced(text: &[u8], part: std::ops::Range<usize>, with: &[u8]) -> Vec<u8> {
    let before = text.get(..part.start).unwrap_or(text);
    let after = text.get(part.end..).unwrap_or(&[]);
    [before, with, after].concat()
}

// === impl Task ===

impl Task {
    /// The end of its address.
    fn path(&self) -> &'static str {
        match self {
            Self::Embeddings => "embeddings",
            Self::Images => "images/generations",
            Self::Transcription => "audio/transcriptions",
            Self::Speech => "audio/speech",
            Self::Rerank => "rerank",
            Self::Run(_) => "run",
        }
    }

    fn endpoints(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Embeddings => EMBEDDINGS,
            Self::Images => IMAGES,
            Self::Transcription => TRANSCRIPTIONS,
            Self::Speech => SPEECH,
            Self::Rerank => RERANK,
            Self::Run(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{table, upstream};
    use proptest::prelude::*;

    fn named(model: &str) -> Result<Named, Fault> {
        match model.split_once('/') {
            Some(("@cf", _)) => {
                Ok(Named { provider: "workers-ai".to_owned(), model: model.to_owned(), is_alias: false })
            }
            Some((provider, model)) => {
                Ok(Named { provider: provider.to_owned(), model: model.to_owned(), is_alias: false })
            }
            None => Err(Fault::Model("no such model".to_owned())),
        }
    }

    fn asked(path: &str, content_type: &str, body: &[u8]) -> Result<Sent, Refusal> {
        let custom = upstream::from_json(r#"[["own","https://llm.example/","{}",1,1,0]]"#);
        sent(&of_ai(path).unwrap(), Some(content_type), body, &custom, &named)
    }

    fn json(path: &str, body: &str) -> (String, String, String) {
        let sent = asked(path, "application/json", body.as_bytes()).unwrap();
        (sent.provider, sent.rest, String::from_utf8(sent.body).unwrap())
    }

    fn is(provider: &str, rest: &str, body: &str) -> (String, String, String) {
        (provider.to_owned(), rest.to_owned(), body.to_owned())
    }

    #[test]
    fn every_endpoint_is_one_of_a_known_provider() {
        for task in [Task::Embeddings, Task::Images, Task::Transcription, Task::Speech, Task::Rerank] {
            assert!(task.endpoints().is_sorted());
            assert!(
                task.endpoints().iter().all(|(slug, _)| table::find(slug).is_some_and(|found| found.slug == *slug))
            );
            assert_eq!(of_ai(&format!("v1/{}", task.path())), Some(task));
        }
    }

    #[test]
    fn models_without_such_an_endpoint_are_asked_in_their_own_words() {
        let titan = "amazon.titan-embed-text-v2:0";
        let body = format!(r#"{{"model":"aws-bedrock/us-east-1/{titan}","input":"a","odd":1}}"#);
        let sent = asked("v1/embeddings", "application/json", body.as_bytes()).unwrap();
        assert_eq!((sent.mapped.is_some(), sent.dropped), (true, vec!["odd".to_owned()]));
        let rest = "bedrock-runtime/us-east-1/model/amazon.titan-embed-text-v2%3A0/invoke";
        assert_eq!(json("v1/embeddings", &body), is("aws-bedrock", rest, r#"{"inputText":"a"}"#));
        let rest = "v1/projects/p/locations/global/publishers/google/models/gemini-embedding-001:predict";
        let body = r#"{"model":"google-vertex-ai/p/global/gemini-embedding-001","input":"a"}"#;
        assert_eq!(json("v1/embeddings", body), is("google-vertex-ai", rest, r#"{"instances":[{"content":"a"}]}"#));
        for (path, body, wanted) in [
            (
                "v1/embeddings",
                r#"{"model":"aws-bedrock/us-east-1/amazon.nova-pro-v1:0","input":"a"}"#,
                "it reaches amazon.titan-embed-text-…",
            ),
            (
                "v1/embeddings",
                r#"{"model":"aws-bedrock/us-east-1/cohere.embed-v4:0","input":[7]}"#,
                "input: a text or a list of texts is wanted",
            ),
            (
                "v1/audio/speech",
                r#"{"model":"aws-bedrock/us-east-1/cohere.embed-v4:0","input":"a"}"#,
                "has no such endpoint",
            ),
        ] {
            let refused = asked(path, "application/json", body.as_bytes()).unwrap_err();
            assert!(refused.status == 400 && refused.description.contains(wanted), "{}", refused.description);
        }
    }

    #[test]
    fn only_the_name_of_the_model_changes() {
        let body = r#" {"input": ["é", 1.0], "model" : "openai\/text-embedding-3-small","n":12345678901234567890123}"#;
        let wanted = body.replace(r#""openai\/text-embedding-3-small""#, r#""text-embedding-3-small""#);
        assert_eq!(json("v1/embeddings", body), is("openai", "embeddings", &wanted));
        let (_, rest, _) = json("v1/embeddings", r#"{"model":"google-ai-studio/gemini-embedding-001"}"#);
        assert_eq!(rest, "v1beta/openai/embeddings");
        assert_eq!(json("v1/rerank", r#"{"model":"cohere/rerank-v3.5"}"#).1, "v2/rerank");
        assert_eq!(
            json("v1/audio/speech", r#"{"model":"custom-own/tts"}"#),
            is("custom-own", "v1/audio/speech", r#"{"model":"tts"}"#)
        );
        assert_eq!(
            json("v1/images/generations", r#"{"model":"azure-openai/res/dep"}"#),
            is("azure-openai", "res/openai/v1/images/generations", r#"{"model":"dep"}"#)
        );
    }

    #[test]
    fn workers_ai_runs_what_is_in_the_path_or_beside_the_input() {
        let model = "@cf/meta/llama-3.1-8b-instruct";
        assert_eq!(
            json(&format!("run/{model}"), r#"{"prompt":"hi"}"#),
            is("workers-ai", &format!("run/{model}"), r#"{"prompt":"hi"}"#)
        );
        let body = format!(r#"{{"model":"{model}","input":{{"prompt":"hi"}}}}"#);
        assert_eq!(json("run", &body), is("workers-ai", &format!("run/{model}"), r#"{"prompt":"hi"}"#));
        // What Workers AI takes need not be JSON.
        assert_eq!(asked("run/@cf/openai/whisper", "application/octet-stream", b"\xff\x00").unwrap().body, b"\xff\x00");
        let refused = asked("run", "application/json", br#"{"model":"openai/gpt-5","input":{}}"#).unwrap_err();
        assert!(refused.description.contains("ai/v1/chat/completions"), "{}", refused.description);
    }

    #[test]
    fn the_model_of_a_form_changes_and_its_file_does_not() {
        let form = |model: &str| {
            let mut form =
                b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n\r\n\xff\r\n--y\x00\r\n"
                    .to_vec();
            form.extend(
                format!("--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--x--\r\n").bytes(),
            );
            form
        };
        for kind in ["multipart/form-data; boundary=x", "Multipart/Form-Data; charset=a; boundary=\"x\""] {
            let sent = asked("v1/audio/transcriptions", kind, &form("groq/whisper-large-v3")).unwrap();
            assert_eq!((sent.provider.as_str(), sent.body), ("groq", form("whisper-large-v3")), "{kind}");
        }
        for (kind, body) in [("multipart/form-data; boundary=z", form("groq/x")), ("application/json", b"{}".to_vec())]
        {
            assert_eq!(asked("v1/audio/transcriptions", kind, &body).unwrap_err().status, 400, "{kind}");
        }
    }

    #[test]
    fn what_a_provider_does_not_have_is_refused() {
        let refused = asked("v1/embeddings", "application/json", br#"{"model":"anthropic/claude"}"#).unwrap_err();
        assert!(refused.description.contains("anthropic, which has no such endpoint"), "{}", refused.description);
        for body in ["", "[]", "{", "{}", r#"{"model":5}"#, r#"{"model":"x"}"#] {
            assert_eq!(asked("v1/embeddings", "application/json", body.as_bytes()).unwrap_err().status, 400, "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_form_is_read_without_harm(body in proptest::collection::vec(any::<u8>(), 0..200), start in "(--x\r\n)?[a-z=\";: \r\n]{0,40}") {
            let all = [start.as_bytes(), &body].concat();
            let _ = asked("v1/audio/transcriptions", "multipart/form-data; boundary=x", &all);
            let _ = asked("v1/embeddings", "application/json", &all);
        }
    }
}
