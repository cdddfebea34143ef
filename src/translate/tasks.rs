//! Embeddings, images and rankings of models that have no endpoint for OpenAI's clients, or Cohere's: Amazon Bedrock's are asked with
//! `InvokeModel`, Vertex AI's with `predict`, each in the words of the model's maker.

use crate::members;
use crate::translate::json::Json;
use crate::translate::model::{Failure, Notes, Untranslatable};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// In whose words a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    VertexEmbeddings,
    Titan,
    CohereEmbed,
    Rerank,
    Imagen,
    Canvas,
}

/// What a request leaves for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    words: Words,
    model: String,
    /// The vectors are wanted as OpenAI's SDKs ask for them: as bytes, in base64.
    in_base64: bool,
}

/// The models that are reached in this way, for the error about those that are not: by provider and the end of the address.
const REACHED: &[(&str, &str, &str)] = &[
    ("aws-bedrock", "embeddings", "amazon.titan-embed-text-… and cohere.embed-…"),
    ("aws-bedrock", "images/generations", "amazon.nova-canvas-… and amazon.titan-image-generator-…"),
    ("aws-bedrock", "rerank", "cohere.rerank-… and amazon.rerank-…"),
    ("google-vertex-ai", "embeddings", "those of Google's"),
    ("google-vertex-ai", "images/generations", "imagen-…"),
];

/// The proportions that Imagen makes, in hundredths.
const PROPORTIONS: &[(&str, u64)] = &[("9:16", 56), ("3:4", 75), ("1:1", 100), ("4:3", 133), ("16:9", 178)];

/// Which models of a provider can be asked for a task.
pub fn reached(provider: &str, task: &str) -> Option<&'static str> {
    REACHED.iter().find(|(slug, path, _)| (*slug, *path) == (provider, task)).map(|(_, _, models)| *models)
}

/// In whose words that model is asked for a task; `None` where it cannot be.
pub fn words(provider: &str, task: &str, model: &str) -> Option<Words> {
    let has = |part: &str| model.contains(part);
    Some(match (provider, task) {
        ("aws-bedrock", "embeddings") if has("amazon.titan-embed-text") => Words::Titan,
        ("aws-bedrock", "embeddings") if has("cohere.embed") => Words::CohereEmbed,
        ("aws-bedrock", "images/generations") if has("amazon.nova-canvas") || has("amazon.titan-image") => {
            Words::Canvas
        }
        ("aws-bedrock", "rerank") if has("cohere.rerank") || has("amazon.rerank") => Words::Rerank,
        ("google-vertex-ai", "embeddings") if !has("claude") => Words::VertexEmbeddings,
        ("google-vertex-ai", "images/generations") if has("imagen") => Words::Imagen,
        _ => return None,
    })
}

/// The request in the model's words, and what of it was left out.
pub fn request(words: Words, model: &str, body: &Json, notes: &mut Notes) -> Result<(Json, Mapped), Untranslatable> {
    let format = body.said("encoding_format");
    let (written, known): (Json, &[&str]) = match words {
        Words::VertexEmbeddings => {
            let instances = texts(body, "input")?.into_iter().map(|text| {
                let mut instance = members! { "content": text };
                instance.set_some("task_type", body.get("task_type"));
                instance.set_some("title", body.get("title"));
                instance
            });
            let mut written = members! { "instances": instances.collect::<Vec<_>>() };
            if let Some(dimensions) = body.get("dimensions") {
                written.set("parameters", members! { "outputDimensionality": dimensions });
            }
            (written, &["input", "dimensions", "encoding_format", "task_type", "title"])
        }
        Words::Titan => {
            let [text] = texts(body, "input")?[..] else {
                return Err(Untranslatable::new("input", "Titan takes one text in a request"));
            };
            let mut written = members! { "inputText": text };
            written.set_some("dimensions", body.get("dimensions"));
            (written, &["input", "dimensions", "encoding_format"])
        }
        Words::CohereEmbed => {
            let texts = texts(body, "input")?.into_iter().map(Json::from).collect::<Vec<_>>();
            let kind = body.said("input_type").unwrap_or("search_document");
            let mut written = members! { "texts": texts, "input_type": kind };
            written.set_some("truncate", body.get("truncate"));
            written.set_some("output_dimension", body.get("dimensions"));
            (written, &["input", "dimensions", "encoding_format", "input_type", "truncate"])
        }
        Words::Rerank => {
            let documents = texts(body, "documents")?.into_iter().map(Json::from).collect::<Vec<_>>();
            let query = body.said("query").ok_or_else(|| Untranslatable::new("query", "a text is wanted"))?;
            let mut written = members! { "query": query, "documents": documents };
            written.set_some("top_n", body.get("top_n"));
            if model.contains("cohere") {
                written.set_some("max_tokens_per_doc", body.get("max_tokens_per_doc"));
                written.set("api_version", 2_u64);
            }
            (written, &["query", "documents", "top_n", "max_tokens_per_doc", "return_documents"])
        }
        Words::Imagen | Words::Canvas => (images(words, body, notes)?, &["prompt", "n", "size", "response_format"]),
    };
    for (name, value) in body.members().into_iter().flatten() {
        if !value.is_null() && !["model", "user"].contains(&name.as_str()) && !known.contains(&name.as_str()) {
            notes.dropped.note(name.as_str());
        }
    }
    let in_base64 = match format {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Untranslatable::new("encoding_format", "float or base64 are wanted")),
    };
    Ok((written, Mapped { words, model: model.to_owned(), in_base64 }))
}

/// One text, or several. A document may be an object with its text in it.
fn texts<'a>(body: &'a Json, name: &str) -> Result<Vec<&'a str>, Untranslatable> {
    let of = |value: &'a Json| value.as_str().or_else(|| value.text("text"));
    let texts = match body.get(name) {
        Some(Json::Array(all)) => all.iter().map(of).collect(),
        Some(one) => of(one).map(|text| vec![text]),
        None => None,
    };
    let wanted = "a text or a list of texts is wanted; tokens as numbers mean something to OpenAI's models alone";
    texts.filter(|all| !all.is_empty()).ok_or_else(|| Untranslatable::new(name, wanted))
}

fn images(words: Words, body: &Json, notes: &mut Notes) -> Result<Json, Untranslatable> {
    let prompt = body.said("prompt").ok_or_else(|| Untranslatable::new("prompt", "a text is wanted"))?;
    if body.said("response_format").is_some_and(|format| format != "b64_json") {
        return Err(Untranslatable::new("response_format", "the provider gives images as b64_json, and no addresses"));
    }
    let size = body.said("size").filter(|size| *size != "auto");
    let pixels = size.map(|size| {
        let number = |text: &str| text.parse::<u64>().ok().filter(|number| (1..=10_000).contains(number));
        let (width, height) = size.split_once('x')?;
        Some((number(width)?, number(height)?))
    });
    let pixels = match pixels {
        Some(None) => return Err(Untranslatable::new("size", "it is not like 1024x1024")),
        Some(pixels) => pixels,
        None => None,
    };
    if words == Words::Imagen {
        let mut parameters = members! { "sampleCount": body.count("n").unwrap_or(1) };
        if let Some((width, height)) = pixels {
            let asked = width * 100 / height;
            let nearest = PROPORTIONS.iter().min_by_key(|(_, own)| own.abs_diff(asked));
            // It makes pictures of some proportions, and of no size that could be asked for.
            notes.dropped.note_if(nearest.is_none_or(|(_, own)| own.abs_diff(asked) > 5), "size");
            parameters.set_some("aspectRatio", nearest.map(|(name, _)| *name));
        }
        return Ok(members! { "instances": vec![members! { "prompt": prompt }], "parameters": parameters });
    }
    let mut config = members! { "numberOfImages": body.count("n").unwrap_or(1) };
    config.set_some("width", pixels.map(|(width, _)| width));
    config.set_some("height", pixels.map(|(_, height)| height));
    Ok(members! {
        "taskType": "TEXT_IMAGE",
        "textToImageParams": members! { "text": prompt },
        "imageGenerationConfig": config,
    })
}

// === impl Mapped ===

impl Mapped {
    /// The answer in the caller's words. `tokens` are those of the input, where the provider tells them beside its answer.
    pub fn answer(&self, answer: &Json, tokens: Option<u64>, id: &str, created: u64) -> Result<Json, Failure> {
        let lacks = |what: &str| {
            let said =
                answer.said("error").map_or_else(|| format!("The provider's answer has no {what}."), str::to_owned);
            Failure { status: 502, kind: None, message: said }
        };
        match self.words {
            Words::Rerank => {
                let results = answer.get("results").ok_or_else(|| lacks("results"))?;
                Ok(members! { "id": id, "results": results })
            }
            Words::Imagen | Words::Canvas => {
                let made = |image: &Json| image.as_str().or_else(|| image.text("bytesBase64Encoded")).map(Json::from);
                let all = [answer.list("predictions"), answer.list("images")].concat();
                let data: Vec<Json> = all.iter().filter_map(made).map(|own| members! { "b64_json": own }).collect();
                if data.is_empty() {
                    let why = all.iter().find_map(|own| own.said("raiFilteredReason")).map(str::to_owned);
                    return Err(why.map_or_else(|| lacks("images"), |message| Failure { message, ..lacks("images") }));
                }
                Ok(members! { "created": created, "data": data })
            }
            Words::VertexEmbeddings => {
                let all: Vec<&Json> =
                    answer.list("predictions").iter().filter_map(|own| own.get("embeddings")).collect();
                let count = |own: &&Json| own.at(&["statistics", "token_count"]).and_then(Json::as_u64);
                let counts: Option<u64> = all.iter().map(count).sum();
                let vectors = all.iter().filter_map(|own| own.get("values"));
                self.embeddings(vectors, counts).ok_or_else(|| lacks("vectors"))
            }
            Words::Titan => {
                let tokens = answer.count("inputTextTokenCount").or(tokens);
                self.embeddings(answer.get("embedding").into_iter(), tokens).ok_or_else(|| lacks("vectors"))
            }
            Words::CohereEmbed => {
                let vectors = match answer.get("embeddings") {
                    Some(by_type @ Json::Object(_)) => by_type.list("float"),
                    _ => answer.list("embeddings"),
                };
                self.embeddings(vectors.iter(), tokens).ok_or_else(|| lacks("vectors"))
            }
        }
    }

    fn embeddings<'a>(&self, vectors: impl Iterator<Item = &'a Json>, tokens: Option<u64>) -> Option<Json> {
        let mut data = Vec::new();
        for (index, vector) in vectors.enumerate() {
            let embedding = if self.in_base64 { packed(vector).into() } else { vector.clone() };
            data.push(members! { "object": "embedding", "index": index as u64, "embedding": embedding });
        }
        if data.is_empty() {
            return None;
        }
        let mut list = members! { "object": "list", "data": data, "model": &self.model };
        list.set_some("usage", tokens.map(|own| members! { "prompt_tokens": own, "total_tokens": own }));
        Some(list)
    }
}

/// A vector as OpenAI packs it: floats of four bytes, the lowest byte first.
fn packed(vector: &Json) -> String {
    let numbers = vector.as_array().unwrap_or_default().iter().filter_map(Json::as_f64);
    STANDARD.encode(numbers.flat_map(|number| (number as f32).to_le_bytes()).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(words: Words, model: &str, body: &str) -> (String, String, Mapped) {
        let mut notes = Notes::default();
        let (written, mapped) = request(words, model, &Json::parse(body).unwrap(), &mut notes).unwrap();
        (written.to_string(), notes.dropped.fields().join(","), mapped)
    }

    fn said(mapped: &Mapped, answer: &str, tokens: Option<u64>) -> String {
        mapped.answer(&Json::parse(answer).unwrap(), tokens, "id-1", 7).unwrap().to_string()
    }

    #[test]
    fn embeddings_are_asked_in_the_words_of_each_maker() {
        let body = r#"{"model":"m","input":["a","b"],"dimensions":256,"user":"u","odd":1}"#;
        let (sent, dropped, vertex) = mapped(Words::VertexEmbeddings, "m", body);
        let wanted = r#"{"instances":[{"content":"a"},{"content":"b"}],"parameters":{"outputDimensionality":256}}"#;
        assert_eq!((sent.as_str(), dropped.as_str()), (wanted, "odd"));
        let answer = r#"{"predictions":[{"embeddings":{"values":[1,0.5],"statistics":{"token_count":3}}},{"embeddings":{"values":[0],"statistics":{"token_count":4}}}]}"#;
        assert_eq!(
            said(&vertex, answer, None),
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1,0.5]},{"object":"embedding","index":1,"embedding":[0]}],"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}"#
        );
        let (sent, _, titan) =
            mapped(Words::Titan, "m", r#"{"input":"a","dimensions":256,"encoding_format":"base64"}"#);
        assert_eq!(sent, r#"{"inputText":"a","dimensions":256}"#);
        let given = said(&titan, r#"{"embedding":[1,0.5],"inputTextTokenCount":3}"#, None);
        assert!(given.contains(r#""embedding":"AACAPwAAAD8="}],"model":"m","usage":{"prompt_tokens":3"#), "{given}");
        let (sent, _, cohere) = mapped(Words::CohereEmbed, "m", r#"{"input":"a","input_type":"search_query"}"#);
        assert_eq!(sent, r#"{"texts":["a"],"input_type":"search_query"}"#);
        for answer in [r#"{"embeddings":[[1]]}"#, r#"{"embeddings":{"float":[[1]]}}"#] {
            let given = said(&cohere, answer, Some(5));
            assert!(given.contains(r#""embedding":[1]}],"model":"m","usage":{"prompt_tokens":5"#), "{given}");
        }
    }

    #[test]
    fn rankings_and_images_are_asked_in_the_words_of_each_maker() {
        let body = r#"{"query":"q","documents":["a",{"text":"b"}],"top_n":1}"#;
        let (sent, _, rerank) = mapped(Words::Rerank, "cohere.rerank-v3-5:0", body);
        assert_eq!(sent, r#"{"query":"q","documents":["a","b"],"top_n":1,"api_version":2}"#);
        let results = r#""results":[{"index":1,"relevance_score":0.9}]"#;
        assert_eq!(said(&rerank, &format!("{{{results}}}"), None), format!(r#"{{"id":"id-1",{results}}}"#));
        let body = r#"{"prompt":"p","n":2,"size":"1792x1024","quality":"hd"}"#;
        let (sent, dropped, imagen) = mapped(Words::Imagen, "m", body);
        let wanted = r#"{"instances":[{"prompt":"p"}],"parameters":{"sampleCount":2,"aspectRatio":"16:9"}}"#;
        assert_eq!((sent.as_str(), dropped.as_str()), (wanted, "quality"));
        let images = r#"{"created":7,"data":[{"b64_json":"AA"}]}"#;
        assert_eq!(
            said(&imagen, r#"{"predictions":[{"bytesBase64Encoded":"AA","mimeType":"image/png"}]}"#, None),
            images
        );
        let (sent, _, canvas) = mapped(Words::Canvas, "m", r#"{"prompt":"p","size":"1024x512"}"#);
        let wanted = r#"{"taskType":"TEXT_IMAGE","textToImageParams":{"text":"p"},"imageGenerationConfig":{"numberOfImages":1,"width":1024,"height":512}}"#;
        assert_eq!(
            (sent.as_str(), said(&canvas, r#"{"images":["AA"],"error":null}"#, None).as_str()),
            (wanted, images)
        );
        let failed = canvas.answer(&Json::parse(r#"{"error":"Blocked."}"#).unwrap(), None, "", 0).unwrap_err();
        assert_eq!((failed.status, failed.message.as_str()), (502, "Blocked."));
        let filtered = Json::parse(r#"{"predictions":[{"raiFilteredReason":"Filtered."}]}"#).unwrap();
        assert_eq!(imagen.answer(&filtered, None, "", 0).unwrap_err().message, "Filtered.");
    }

    #[test]
    fn what_a_model_cannot_do_is_refused_by_name() {
        for (words, body, field) in [
            (Words::Titan, r#"{"input":["a","b"]}"#, "input"),
            (Words::VertexEmbeddings, r#"{"input":[1,2]}"#, "input"),
            (Words::CohereEmbed, r#"{"input":[]}"#, "input"),
            (Words::CohereEmbed, r#"{"input":"a","encoding_format":"int8"}"#, "encoding_format"),
            (Words::Rerank, r#"{"documents":["a"]}"#, "query"),
            (Words::Canvas, r#"{"prompt":"p","response_format":"url"}"#, "response_format"),
            (Words::Imagen, r#"{"prompt":"p","size":"0x0"}"#, "size"),
            (Words::Imagen, "{}", "prompt"),
        ] {
            let refused = request(words, "m", &Json::parse(body).unwrap(), &mut Notes::default()).unwrap_err();
            assert_eq!(refused.field, field, "{body}");
        }
        assert_eq!(words("aws-bedrock", "embeddings", "us-east-1/amazon.nova-pro-v1:0"), None);
        assert_eq!(words("aws-bedrock", "embeddings", "eu-west-1/eu.cohere.embed-v4:0"), Some(Words::CohereEmbed));
        assert_eq!(reached("aws-bedrock", "audio/speech"), None);
    }
}
