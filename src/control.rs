//! The control plane: from a matched route to a reply, over any [`Store`].

use crate::api::logs::Part;
use crate::api::{gateways, logs};
use crate::envelope::{ApiError, Reply};
use crate::id;
use crate::query::Query;
use crate::router::{Endpoint, Route};
use crate::store::{Store, StoreError};

/// A request of the control plane whose caller has been let in.
pub struct Request<'a> {
    pub route: Route<'a>,
    pub query: Query,
    pub body: &'a [u8],
    /// Scheme and host the caller used, for URLs in answers.
    pub origin: &'a str,
    pub now_ms: u64,
    /// An id for whatever the request creates.
    pub new_id: String,
}

/// Pauses between looks for a log that is on its way, in milliseconds: about two seconds in all, a hundred times the
/// window in which rows are gathered.
const ARRIVAL_PAUSES_MS: &[u64] = &[10, 15, 25, 50, 100, 200, 400, 600, 600];

/// How old an id may be, in milliseconds, for its row to be still awaited. Answers can take minutes, and the row is
/// written when they end.
const ARRIVAL_AGE_MS: u64 = 10 * 60 * 1_000;

/// Carries out a request. `pause` waits so many milliseconds.
pub async fn handle(store: &impl Store, request: &Request<'_>, pause: impl AsyncFn(u64)) -> Result<Reply, ApiError> {
    let Request { route, query, body, .. } = request;
    let (account, gateway, id) = (route.account, route.gateway, route.id);
    if !gateways::is_account_id(account) {
        return Err(ApiError::not_found());
    }
    match route.endpoint {
        Endpoint::ListGateways => gateways::list(store, account, query).await,
        Endpoint::CreateGateway => gateways::create(store, account, body, request.now_ms, request.new_id.clone()).await,
        Endpoint::GetGateway => gateways::get(store, account, gateway).await,
        Endpoint::UpdateGateway => gateways::update(store, account, gateway, body, request.now_ms).await,
        Endpoint::DeleteGateway => gateways::delete(store, account, gateway, request.now_ms).await,
        Endpoint::GetUrl => {
            known(store, account, gateway).await?;
            gateways::url(request.origin, account, gateway, route.provider)
        }
        Endpoint::ListLogs => logs::list(store, known(store, account, gateway).await?, query).await,
        Endpoint::GetLog | Endpoint::GetLogRequest | Endpoint::GetLogResponse => {
            let key = known(store, account, gateway).await?;
            arrived(store, key, id, request.now_ms, pause).await?;
            match route.endpoint {
                Endpoint::GetLog => logs::get(store, key, id).await,
                Endpoint::GetLogRequest => logs::body(store, key, id, Part::Request).await,
                _ => logs::body(store, key, id, Part::Response).await,
            }
        }
        Endpoint::Health | Endpoint::Universal | Endpoint::Proxy => Err(ApiError::not_found()),
    }
}

/// The key of a gateway that exists.
async fn known(store: &impl Store, account: &str, gateway: &str) -> Result<i64, ApiError> {
    gateways::find(store, account, gateway).await?.map(|gateway| gateway.key).ok_or_else(ApiError::not_found)
}

/// Waits for the row of a log whose id was handed out a moment ago: rows are written behind the answers, and a caller
/// must not have to guess how far behind.
async fn arrived(
    store: &impl Store,
    key: i64,
    id: &str,
    now_ms: u64,
    pause: impl AsyncFn(u64),
) -> Result<(), StoreError> {
    let recent = id::minted_at(id)
        .is_some_and(|minted| minted <= now_ms + 1_000 && now_ms.saturating_sub(minted) < ARRIVAL_AGE_MS);
    if !recent {
        return Ok(());
    }
    for wait in ARRIVAL_PAUSES_MS {
        if logs::exists(store, key, id).await? {
            break;
        }
        pause(*wait).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_batch;
    use crate::record::LogRecord;
    use crate::record::tests::{answered, call};
    use crate::router;
    use crate::store::sqlite::Sqlite;
    use crate::wire::Facts;
    use pollster::block_on;
    use std::cell::Cell;

    const NOW: u64 = 1_700_000_000_000;

    fn ask(store: &Sqlite, method: &str, path: &str, body: &str, pause: impl AsyncFn(u64)) -> Reply {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request {
            route: router::route(method, path).unwrap(),
            query: Query::parse(query),
            body: body.as_bytes(),
            origin: "http://localhost",
            now_ms: NOW,
            new_id: "new".to_owned(),
        };
        block_on(handle(store, &request, pause)).unwrap_or_else(|error| error.reply())
    }

    fn with_gateway() -> Sqlite {
        let store = Sqlite::new();
        let body = r#"{"id":"gw","cache_ttl":0,"collect_logs":true,"cache_invalidate_on_update":false,
            "rate_limiting_interval":0,"rate_limiting_limit":0}"#;
        assert_eq!(ask(&store, "POST", "/accounts/a/ai-gateway/gateways", body, async |_| {}).status, 200);
        store
    }

    #[test]
    fn a_log_on_its_way_is_awaited() {
        let store = with_gateway();
        let id = id::mint(NOW, 7);
        let path = format!("/accounts/a/ai-gateway/gateways/gw/logs/{id}");
        let looks = Cell::new(0);
        let found = ask(&store, "GET", &path, "", async |_| {
            looks.set(looks.get() + 1);
            if looks.get() == 3 {
                let record = LogRecord::new(call(&id), answered(Facts::default()));
                log_batch::write(&store, vec![record], async |_| {}).await;
            }
        });
        assert_eq!((found.status, looks.get()), (200, 3));
    }

    #[test]
    fn an_id_that_cannot_be_on_its_way_is_refused_at_once() {
        let store = with_gateway();
        for id in [
            id::mint(NOW - ARRIVAL_AGE_MS, 7),
            id::mint(NOW + 60_000, 7),
            "0197f3c0-0000-7000-8000-000000000000".to_owned(),
            "x'--".to_owned(),
        ] {
            let path = format!("/accounts/a/ai-gateway/gateways/gw/logs/{id}");
            let paused = Cell::new(false);
            let reply = ask(&store, "GET", &path, "", async |_| paused.set(true));
            assert_eq!((reply.status, paused.get()), (404, false), "{id}");
        }
    }

    #[test]
    fn an_id_of_another_gateway_is_not_found() {
        let store = with_gateway();
        let record =
            LogRecord::new(crate::record::Call { gateway: 99, ..call("0197f3c0") }, answered(Facts::default()));
        block_on(log_batch::write(&store, vec![record], async |_| {}));
        for suffix in ["", "/request", "/response"] {
            let path = format!("/accounts/a/ai-gateway/gateways/gw/logs/0197f3c0{suffix}");
            assert_eq!(ask(&store, "GET", &path, "", async |_| {}).status, 404);
        }
    }
}
