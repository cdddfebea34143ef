//! Answers who asks which models there are. No provider is asked, so there is no row for it.

use crate::auth::presented::Presented;
use crate::base::fault::Fault;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::envelope::Reply;
use crate::http::message_worker::Incoming;
use crate::http::query::Query;
use crate::http::router::Route;
use crate::platform::Runtime;
use crate::proxy::models::{self, Asked, Entry, Words};
use crate::proxy::reach::Reach;
use crate::proxy::unified::door::AI;
use crate::translate::model::Failure;
use crate::translate::{self, Format};

/// The answer to a request for models; `None` for any other.
pub fn answered(
    asked: &Incoming,
    route: &Route<'_>,
    query: &str,
    (snapshot, presented): (&GatewaySnapshot, &Presented),
    runtime: &Runtime,
) -> Option<Reply> {
    if route.provider != AI || !matches!(asked.method.as_str(), "GET" | "HEAD") {
        return None;
    }
    let what = models::asked(route.rest)?;
    let is_anthropic = asked.headers.get("anthropic-version").is_some();
    let words = if is_anthropic { Words::Anthropic } else { Words::OpenAi };
    let reach = Reach::new(&asked.headers, query, snapshot, presented, runtime);
    let catalogue = &snapshot.catalogue;
    let (as_of, aliases) = (catalogue.as_of(), &*snapshot.gateway.aliases);
    let wanted = Query::parse(query.strip_prefix('?').unwrap_or(query));
    let found = match what {
        Asked::List => {
            let entries = models::entries(catalogue, aliases, |slug| reach.has_key(slug), &wanted);
            match words {
                Words::OpenAi => Ok(models::openai(&entries, as_of)),
                Words::Anthropic => models::anthropic(&entries, as_of, &wanted).map_err(|why| (400, why)),
            }
        }
        Asked::One(id) => match reach.resolve(&id) {
            Ok(named) if catalogue.find(&named.provider, &named.model).is_some() || named.is_alias => {
                Ok(Entry::of(&id, catalogue, &named.provider, &named.model, aliases).shown(words, as_of))
            }
            Ok(named) => Err((404, format!("The catalogue has no model '{}' of {}.", named.model, named.provider))),
            Err(fault) => Err((404, fault.message())),
        },
    };
    Some(match found {
        Ok(body) => Reply::json(200, &body),
        Err((status, message)) => {
            let kind = if status == 404 { "model_not_found" } else { "invalid_value" };
            let failure = Failure { status, kind: Some(kind.to_owned()), message };
            let format = if is_anthropic { Format::Messages } else { Format::Chat };
            let body = translate::error(format, &failure).to_string();
            Reply { status, content_type: "application/json", headers: Vec::new(), body, object: None }
        }
    })
}
