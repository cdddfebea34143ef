//! What an answer says of where its words come from, from the members of one format into those of another.

use crate::members;
use crate::translate::json::Json;

/// No more of them are passed on of an answer.
pub const MOST: usize = 500;

/// A source of some words of an answer. Only one with an address can be said in every format.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Citation {
    pub url: String,
    pub title: String,
    /// The words of the source.
    pub quote: String,
    /// The characters of the answer that it is for, from and to; all of its text where that is not said.
    pub span: Option<(u64, u64)>,
    /// A place in a document of the request, as Anthropic names it.
    pub place: Option<Json>,
}

fn text(json: &Json, names: &[&str]) -> String {
    names.iter().find_map(|name| json.said(name)).unwrap_or_default().to_owned()
}

/// One of Anthropic's.
pub fn of_messages(own: &Json) -> Citation {
    let (url, quote) = (text(own, &["url", "source"]), text(own, &["cited_text"]));
    let url = if url.starts_with("http") { url } else { String::new() };
    let place = url.is_empty().then(|| own.clone());
    Citation { url, title: text(own, &["title", "document_title"]), quote, span: None, place }
}

/// One of OpenAI's. Chat completions put it into a member that is called as its kind, and Responses do not.
pub fn of_annotation(own: &Json) -> Option<Citation> {
    let own = own.get("url_citation").unwrap_or(own);
    let url = own.said("url")?.to_owned();
    let span = own.count("start_index").zip(own.count("end_index")).filter(|(start, end)| start < end);
    Some(Citation { url, title: text(own, &["title"]), quote: text(own, &["content"]), span, place: None })
}

/// One of Bedrock's.
pub fn of_converse(own: &Json) -> Citation {
    let none = Json::Null;
    let location = own.get("location").unwrap_or(&none);
    let parts = own.list("sourceContent").iter().filter_map(|part| part.text("text"));
    let quote: String = parts.collect();
    let title = text(own, &["title"]);
    if let Some(url) = location.at(&["web", "url"]).and_then(Json::as_str) {
        return Citation { url: url.to_owned(), title, quote, ..Citation::default() };
    }
    let kinds = [
        ("documentChar", "char_location", "start_char_index", "end_char_index"),
        ("documentPage", "page_location", "start_page_number", "end_page_number"),
        ("documentChunk", "content_block_location", "start_block_index", "end_block_index"),
    ];
    let place = kinds.iter().find_map(|(theirs, kind, start, end)| {
        let at = location.get(theirs)?;
        let count = |name| at.count(name).unwrap_or(0);
        let document = Some(title.as_str()).filter(|own| !own.is_empty());
        let place = members! { "type": *kind, "cited_text": &quote, "document_index": count("documentIndex"), "document_title": document };
        Some(place.with(start, count("start")).with(end, count("end")))
    });
    Citation { title, quote: quote.clone(), place, ..Citation::default() }
}

/// Those of a candidate of Gemini's. Its places are in bytes, which are characters where the text has no others.
pub fn of_gemini(candidate: &Json, is_ascii: bool) -> Vec<Citation> {
    let mut all = Vec::new();
    if let Some(grounding) = candidate.get("groundingMetadata") {
        let chunks: Vec<_> = grounding.list("groundingChunks").iter().map(|chunk| chunk.get("web")).collect();
        let of = |chunk: &Json, span, quote: &str| {
            let (url, title) = (text(chunk, &["uri"]), text(chunk, &["title"]));
            Citation { url, title, quote: quote.to_owned(), span, place: None }
        };
        for support in grounding.list("groundingSupports") {
            let segment = support.get("segment");
            let count = |name| segment.and_then(|own| own.count(name)).unwrap_or(0);
            let span = Some((count("startIndex"), count("endIndex"))).filter(|(from, to)| is_ascii && from < to);
            let indexes = support.list("groundingChunkIndices").iter().filter_map(Json::as_u64);
            let cited = indexes.filter_map(|index| *chunks.get(usize::try_from(index).ok()?)?);
            all.extend(cited.map(|chunk| of(chunk, span, "")));
        }
        if all.is_empty() {
            all.extend(chunks.into_iter().flatten().map(|chunk| of(chunk, None, "")));
        }
    }
    for source in candidate.at(&["citationMetadata"]).map(|own| own.list("citationSources")).unwrap_or_default() {
        let span = source.count("startIndex").zip(source.count("endIndex")).filter(|_| is_ascii);
        all.push(Citation {
            url: text(source, &["uri"]),
            title: text(source, &["title"]),
            span,
            ..Citation::default()
        });
    }
    all.retain(|own| !own.url.is_empty());
    all
}

/// Sources that some servers name beside the answer, for all of it.
pub fn of_beside(data: &Json) -> Vec<Citation> {
    let results = data.list("search_results");
    let named = |url: &str| results.iter().find(|result| result.text("url") == Some(url));
    let urls =
        data.list("citations").iter().filter_map(Json::as_str).chain(
            results.iter().filter(|_| data.list("citations").is_empty()).filter_map(|result| result.text("url")),
        );
    let urls = urls.filter(|url| !url.is_empty());
    let of = |url: &str| Citation {
        url: url.to_owned(),
        title: named(url).map(|result| text(result, &["title"])).unwrap_or_default(),
        ..Citation::default()
    };
    urls.map(of).collect()
}

// === impl Citation ===

impl Citation {
    pub fn to_messages(&self) -> Json {
        if let Some(place) = &self.place {
            return place.clone();
        }
        members! {
            "type": "web_search_result_location", "url": &self.url, "title": &self.title, "cited_text": &self.quote,
            "encrypted_index": "",
        }
    }

    /// As Responses have it; `all` is what it is for where it does not say.
    pub fn to_responses(&self, all: (u64, u64)) -> Json {
        let (start, end) = self.span.unwrap_or(all);
        members! {
            "type": "url_citation", "url": &self.url, "title": &self.title, "start_index": start, "end_index": end,
        }
    }

    pub fn to_chat(&self, all: (u64, u64)) -> Json {
        let Json::Object(mut own) = self.to_responses(all) else { return Json::Null };
        own.retain(|(name, _)| name != "type");
        members! { "type": "url_citation", "url_citation": Json::Object(own) }
    }
}

pub fn length(text: &str) -> u64 {
    text.chars().count() as u64
}

#[cfg(test)]
mod tests {
    use crate::translate::json::Json;
    use crate::translate::{Format, Return, request};
    use serde_json::{Value, json};

    fn parsed(value: &Value) -> Json {
        Json::parse(&value.to_string()).unwrap()
    }

    fn back(caller: Format, provider: Format) -> Return {
        let asked = parsed(&match caller {
            Format::Responses => json!({ "model": "m", "input": "hi" }),
            Format::Gemini => json!({ "contents": [{ "parts": [{ "text": "hi" }] }] }),
            _ => json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] }),
        });
        let translated = request(caller, provider, &asked, "m", true, "m").unwrap();
        Return::new(caller, provider, &translated, &asked, "id", "m", 7)
    }

    fn whole(caller: Format, provider: Format, answer: &Value) -> (Value, String) {
        let (answer, _, dropped) = back(caller, provider).answered(&parsed(answer));
        (serde_json::from_str(&answer.to_string()).unwrap(), dropped)
    }

    const URL: &str = "https://example.com/ramen";

    /// An answer of each format that says twice where a text is from.
    fn answers() -> [(Format, Value); 5] {
        let url = json!({ "url": URL, "title": "Ramen", "start_index": 3, "end_index": 8 });
        let web = json!({ "type": "web_search_result_location", "url": URL, "title": "Ramen", "cited_text": "noodles", "encrypted_index": "E" });
        let mut flat = url.clone();
        flat["type"] = json!("url_citation");
        [
            (
                Format::Chat,
                json!({ "id": "c", "choices": [{ "message": { "content": "Ah ramen.", "annotations": [{ "type": "url_citation", "url_citation": url }] }, "finish_reason": "stop" }] }),
            ),
            (
                Format::Responses,
                json!({ "id": "r", "status": "completed", "output": [{ "type": "message", "content": [{ "type": "output_text", "text": "Ah ramen.", "annotations": [flat] }] }] }),
            ),
            (
                Format::Messages,
                json!({ "id": "m", "content": [{ "type": "text", "text": "Ah " }, { "type": "text", "text": "ramen.", "citations": [web] }], "stop_reason": "end_turn" }),
            ),
            (
                Format::Gemini,
                json!({ "candidates": [{ "content": { "parts": [{ "text": "Ah ramen.", "thoughtSignature": "s" }] }, "finishReason": "STOP",
                "groundingMetadata": { "groundingChunks": [{ "web": { "uri": URL, "title": "Ramen" } }], "groundingSupports": [{ "segment": { "startIndex": 3, "endIndex": 8 }, "groundingChunkIndices": [0, 7] }] } }] }),
            ),
            (
                Format::Converse,
                json!({ "output": { "message": { "content": [{ "citationsContent": { "content": [{ "text": "Ah ramen." }],
                "citations": [{ "title": "Ramen", "sourceContent": [{ "text": "noodles" }], "location": { "web": { "url": URL } } }] } }] } }, "stopReason": "end_turn" }),
            ),
        ]
    }

    fn sources(caller: Format, answer: &Value) -> Vec<String> {
        let text = answer.to_string();
        let name = match caller {
            Format::Chat => "url_citation",
            Format::Responses => "start_index",
            Format::Messages => "web_search_result_location",
            _ => "groundingSupports",
        };
        assert!(text.contains(name), "{caller:?}: {text}");
        text.match_indices(URL).map(|(_, url)| url.to_owned()).collect()
    }

    #[test]
    fn a_source_with_an_address_comes_in_every_format() {
        for (provider, given) in answers() {
            for caller in [Format::Chat, Format::Responses, Format::Messages, Format::Gemini] {
                if caller == provider {
                    continue;
                }
                let (answer, dropped) = whole(caller, provider, &given);
                assert_eq!(
                    (sources(caller, &answer).len(), dropped.as_str()),
                    (1, ""),
                    "{caller:?} from {provider:?}: {answer}"
                );
                let mut stream = String::new();
                back(caller, provider).whole_as_stream(&parsed(&given), &mut stream);
                assert!(
                    stream.contains(URL) && !stream.contains("cf-aig-warning"),
                    "{caller:?} from {provider:?}: {stream}"
                );
            }
        }
    }

    #[test]
    fn a_source_says_for_which_characters_it_is() {
        let [(_, chat), (_, responses), (_, messages), (_, gemini), _] = answers();
        let span = |own: &Value| (own["start_index"].as_u64().unwrap(), own["end_index"].as_u64().unwrap());
        let of_chat = |provider, given| {
            span(&whole(Format::Chat, provider, given).0["choices"][0]["message"]["annotations"][0]["url_citation"])
        };
        assert_eq!(
            (
                of_chat(Format::Messages, &messages),
                of_chat(Format::Gemini, &gemini),
                of_chat(Format::Responses, &responses)
            ),
            ((3, 9), (3, 8), (3, 8))
        );
        let wide: Value = serde_json::from_str(&chat.to_string().replace("Ah ramen", "Äh ramen")).unwrap();
        let segment = &whole(Format::Gemini, Format::Chat, &wide).0["candidates"][0]["groundingMetadata"]["groundingSupports"]
            [0]["segment"];
        assert_eq!(segment, &json!({ "startIndex": 4, "endIndex": 9, "text": "ramen" }));
    }

    #[test]
    fn places_in_documents_are_for_anthropics_clients_alone() {
        let place = json!({ "documentChar": { "documentIndex": 0, "start": 2, "end": 9 } });
        let cited = json!({ "title": "Menu", "sourceContent": [{ "text": "noodles" }], "location": place });
        let given = json!({ "output": { "message": { "content": [{ "citationsContent": { "content": [{ "text": "Ramen." }], "citations": [cited] } }] } }, "stopReason": "end_turn" });
        let (answer, dropped) = whole(Format::Messages, Format::Converse, &given);
        let wanted = json!({ "type": "char_location", "cited_text": "noodles", "document_index": 0, "document_title": "Menu", "start_char_index": 2, "end_char_index": 9 });
        assert_eq!((&answer["content"][0]["citations"], dropped.as_str()), (&json!([wanted]), ""));
        assert_eq!(whole(Format::Chat, Format::Converse, &given).1, "left out of the answer: citations");
    }

    #[test]
    fn sources_beside_an_answer_are_for_all_of_it() {
        let chunk = |delta: Value, finish: Value| json!({ "id": "p", "citations": [URL, ""], "search_results": [{ "url": URL, "title": "Ramen" }], "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] });
        let (mut answer, mut out) = (back(Format::Messages, Format::Chat), String::new());
        for event in
            [chunk(json!({ "content": "Ra" }), Value::Null), chunk(json!({ "content": "men." }), json!("stop"))]
        {
            answer.event("", &parsed(&event), &mut out);
        }
        answer.end(&mut out);
        assert_eq!(
            (out.matches(URL).count(), out.contains("citations_delta"), out.contains("\"title\":\"Ramen\"")),
            (1, true, true),
            "{out}"
        );
    }
}
