//! Keeps responses behind their answers, finds them again, and puts them into requests that go on from them.

use crate::auth::presented::Presented;
use crate::base::hex::hex;
use crate::credentials::select::{self, KEY_HEADERS};
use crate::db::bucket::Bucket;
use crate::db::store::StoreError;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::envelope::Reply;
use crate::http::headers::Headers;
use crate::http::message_worker::Incoming;
use crate::http::query::Query;
use crate::http::refusal::Refusal;
use crate::http::router::Route;
use crate::logs::responses::{self, LONG, MOST_IN_ROW, Owned, PREFIX, StoredResponse};
use crate::members;
use crate::platform::bodies::Bodies;
use crate::platform::d1::{D1Store, REQUEST_PATIENCE_MS};
use crate::platform::{Runtime, console, now, pause};
use crate::proxy::exchange::Exchange;
use crate::proxy::reach::Reach;
use crate::proxy::responses::{self as asked_for, Asked, GoneOn, Keeping};
use crate::proxy::unified::door::AI;
use crate::translate::model::Failure;
use crate::translate::{self, Format};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use js_sys::Uint8Array;
use sha2::{Digest, Sha256};

/// The only provider that runs responses in the background, and keeps them under ids that are told from others.
pub const OPENAI: &str = "openai";

/// How long a response may be on its way to the database while a client asks for it already, in milliseconds between looks.
const LOOKS_MS: &[u64] = &[0, 50, 150, 300, 500, 1_000];

/// The answer to a request for a response; `None` for any other request. It comes to `None` for a response that is not kept here, has
/// an id of OpenAI's, and can be asked for there.
pub fn answered<'a>(
    asked: &'a Incoming,
    route: &Route<'_>,
    query: &'a str,
    (snapshot, presented): (&GatewaySnapshot, &Presented),
    runtime: &'a Runtime,
) -> Option<LocalBoxFuture<'a, Option<Reply>>> {
    if route.provider != AI {
        return None;
    }
    let (id, what) = asked_for::asked(route.rest, &asked.method)?;
    let store = database(runtime, snapshot);
    let owner = owner(presented, &asked.headers);
    let is_elsewhere =
        asked_for::is_openais(&id) && Reach::new(&asked.headers, query, snapshot, presented, runtime).has_key(OPENAI);
    let of = owner.map(|owner| Owned { gateway: snapshot.gateway.key, owner });
    Some(async move { given(&store, of, (&id, is_elsewhere), what, query).await }.boxed_local())
}

async fn given(
    store: &D1Store,
    of: Option<Owned>,
    (id, is_elsewhere): (&str, bool),
    what: Asked,
    query: &str,
) -> Option<Reply> {
    let unknown = || (!is_elsewhere).then(|| not_found(id));
    let Some(of) = of else { return unknown() };
    if what == Asked::Delete {
        // One that is still on its way is waited for.
        let found = conversation(store, &of, id).await;
        return Some(match found {
            Err(error) => unreadable(&error),
            Ok(found) if found.is_empty() => return unknown(),
            Ok(_) => match responses::remove(store, &of, id, now()).await {
                Ok(_) => json(200, members! { "id": id, "object": "response", "deleted": true }.to_string()),
                Err(error) => unreadable(&error),
            },
        });
    }
    let found = match conversation(store, &of, id).await {
        Ok(found) => found,
        Err(error) => return Some(unreadable(&error)),
    };
    let Some(last) = found.last() else { return unknown() };
    Some(match what {
        Asked::Items => {
            let wanted = Query::parse(query.strip_prefix('?').unwrap_or(query));
            match asked_for::input_items(&found, &wanted) {
                Ok(list) => json(200, list.to_string()),
                Err(why) => failed(400, Some("invalid_value"), why),
            }
        }
        Asked::Cancel => {
            let why =
                "Cannot cancel a synchronous response: it has ended, and only OpenAI runs responses in the background.";
            failed(400, None, why.to_owned())
        }
        Asked::Get | Asked::Delete => json(200, last.response.clone()),
    })
}

/// A request that goes on from what is kept; `None` for any other.
pub async fn gone_on(
    body: &[u8],
    headers: &Headers,
    (snapshot, presented): (&GatewaySnapshot, &Presented),
    runtime: &Runtime,
) -> Result<Option<GoneOn>, Refusal> {
    let Some((json, references)) = asked_for::references(body) else { return Ok(None) };
    let Some(owner) = owner(presented, headers) else { return Ok(None) };
    let (store, of) = (database(runtime, snapshot), Owned { gateway: snapshot.gateway.key, owner });
    let unreadable = |error: StoreError| {
        console::failed("responses_failed", Err(error));
        Refusal::unavailable(
            "Tollgate's database does not answer, so the responses that it keeps are unknown. Try again.",
        )
    };
    let before = match &references.previous_id {
        Some(id) => conversation(&store, &of, id).await.map_err(unreadable)?,
        None => Vec::new(),
    };
    let ids: Vec<&str> = references.of_items.iter().map(String::as_str).collect();
    let referred = match ids.is_empty() {
        true => Vec::new(),
        false => responses::some(&store, &of, &ids, now()).await.map_err(unreadable)?,
    };
    if before.is_empty() && referred.is_empty() {
        return Ok(None);
    }
    let gone_on = asked_for::gone_on(json, &before, &referred);
    gone_on.map(Some).map_err(|why| Refusal::bad_chat(format!("previous_response_id: {why}.")))
}

/// A response with those before it. One that has just been given may still be on its way to the database.
async fn conversation(store: &D1Store, of: &Owned, id: &str) -> Result<Vec<StoredResponse>, StoreError> {
    let looks = if asked_for::is_openais(id) { LOOKS_MS.get(..1).unwrap_or_default() } else { LOOKS_MS };
    for wait in looks {
        if *wait > 0 {
            pause(*wait).await;
        }
        let found = responses::conversation(store, of, id, now()).await?;
        // A part of the conversation whose last response is missing is none.
        if found.last().is_some_and(|last| last.id == id) {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Tells whether the response of a request is going to be kept, and its caller where it is not.
pub fn decide(keeping: &Keeping, exchange: &mut Exchange) {
    let has_bucket = || Bodies::new(&exchange.runtime.env).is_bound();
    let why_not = if !exchange.collect_payload {
        "payloads are not collected"
    } else if keeping.owner.is_none() {
        "the request has neither a token nor a key"
    } else if keeping.input.len() > MOST_IN_ROW && !has_bucket() {
        "the request is longer than 1.9 MB, and no bucket is bound"
    } else {
        keeping.is_on.set(true);
        return;
    };
    exchange.warn(&format!("the response is not kept, because {why_not}"));
}

/// Keeps the response of an exchange, once its caller has it, where it is to be kept.
pub fn kept(exchange: &Exchange) -> Option<LocalBoxFuture<'static, ()>> {
    let keeping = exchange.translation()?.keeping()?;
    let (id, text) = keeping.written.take()?;
    let owner = keeping.owner.clone().filter(|_| keeping.is_on.get())?;
    let masker = exchange.call.secrets.for_storage();
    // It was read before anything was taken out of the request.
    let input = exchange.screening.as_ref().and_then(|screening| screening.kept(&keeping.input));
    let input = input.unwrap_or_else(|| keeping.input.clone());
    let (input, response) = (masker.body(input), masker.body(text));
    let stored = StoredResponse::new(id, keeping.previous_id.clone(), exchange.call.created_at, input, response);
    let of = Owned { gateway: exchange.call.gateway, owner };
    let name = format!("{PREFIX}{}", exchange.call.id);
    let (store, bucket) = (exchange.runtime.database_of(exchange.call.shard), Bodies::new(&exchange.runtime.env));
    Some(
        async move {
            let bytes = stored.input.len() + stored.response.len();
            if bytes <= LONG || !bucket.is_bound() {
                let written = match bytes <= MOST_IN_ROW {
                    true => responses::write(&store, &of, &stored, None).await,
                    false => Err(StoreError("a response is longer than 1.9 MB, and no bucket is bound".to_owned())),
                };
                return console::failed("response_not_kept", written);
            }
            let object = Uint8Array::from(responses::object_of(&stored).as_bytes());
            let mut written = bucket.put(&name, &object).await;
            if written.is_ok() {
                written = responses::write(&store, &of, &stored, Some(&name)).await;
                if written.is_err() {
                    // No row refers to it.
                    console::failed("response_not_kept", bucket.remove(&[name]).await);
                }
            }
            console::failed("response_not_kept", written);
        }
        .boxed_local(),
    )
}

/// By what a caller finds its responses again: its token, or the key that it brings.
pub fn owner(presented: &Presented, headers: &Headers) -> Option<String> {
    if !presented.identity.is_empty() {
        return Some(presented.identity.to_string());
    }
    let key = KEY_HEADERS.iter().find_map(|name| headers.get(name).filter(|value| !select::is_placeholder(value)))?;
    Some(format!("key:{}", hex(&Sha256::digest(key.as_bytes()))))
}

fn database(runtime: &Runtime, snapshot: &GatewaySnapshot) -> D1Store {
    runtime.database_of(snapshot.gateway.shard).within(REQUEST_PATIENCE_MS)
}

fn json(status: u16, body: String) -> Reply {
    Reply { status, content_type: "application/json", headers: Vec::new(), body, object: None }
}

fn failed(status: u16, kind: Option<&str>, message: String) -> Reply {
    let failure = Failure { status, kind: kind.map(str::to_owned), message };
    json(status, translate::error(Format::Responses, &failure).to_string())
}

fn not_found(id: &str) -> Reply {
    let message = format!(
        "Response with id '{id:.100}' not found. Tollgate keeps the responses of translated requests for 30 days, and gives them to the \
         same token in the same gateway; ask for another one at its provider, as in openai/responses/{{id}}."
    );
    failed(404, Some("not_found"), message)
}

fn unreadable(error: &StoreError) -> Reply {
    console::failed("responses_failed", Err(error.clone()));
    failed(503, Some("unavailable"), "Tollgate's database does not answer. Try again.".to_owned())
}
