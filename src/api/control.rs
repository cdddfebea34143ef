//! The control plane: from a matched route to a reply, over any [`Databases`].

use crate::api::custom_providers::{self, Guard};
use crate::api::log_export::{self, Export};
use crate::api::logs::Part;
use crate::api::{
    Place, analytics, audit, billing, cache, costs, datasets, evaluation_types, evaluations, feedback, gateways,
    log_list, logs, provider_configs, reprices, storage, tokens,
};
use crate::auth::caller::Caller;
use crate::base::id::{self, MarkKey};
use crate::config::bounds::Bounds;
use crate::credentials::vault::Vault;
use crate::db::audit::Actor;
use crate::db::databases::Databases;
use crate::db::store::{Store, StoreError};
use crate::feedback::locate;
use crate::feedback::pending;
use crate::gateways::gateway;
use crate::gateways::gateway::Gateway;
use crate::gateways::shards::carry;
use crate::http::envelope::{ApiError, Reply};
use crate::http::query::{Query, percent_decoded};
use crate::http::router::{Endpoint, Route};
use crate::logs::retention::capacity;
use crate::logs::row;
use std::cell::Cell;

/// A request of the control plane whose caller is known.
#[derive(Clone)]
pub struct Request<'a> {
    pub route: Route<'a>,
    pub query: Query,
    pub body: &'a [u8],
    pub caller: &'a Caller,
    /// Scheme and host the caller used, for URLs in answers.
    pub origin: &'a str,
    pub now_ms: u64,
    /// An id for whatever the request creates.
    pub new_id: String,
    /// Randomness for a token.
    pub entropy: [u8; 32],
    /// What log ids are marked with.
    pub mark: MarkKey,
    /// What decides where a custom provider may lead.
    pub guard: Guard,
    /// How many of each kind can be made.
    pub bounds: &'a Bounds,
}

/// Pauses between looks for a log that is on its way, in milliseconds: about two seconds in all, a hundred times the
/// window in which rows are gathered.
const ARRIVAL_PAUSES_MS: &[u64] = &[10, 15, 25, 50, 100, 200, 400, 600, 600];

/// How old an id may be, in milliseconds, for its row to be still awaited. Answers can take minutes, and the row is
/// written when they end.
const ARRIVAL_AGE_MS: u64 = 10 * 60 * 1_000;

/// Carries out a request. `pause` waits so many milliseconds.
pub async fn handle(
    databases: &impl Databases,
    request: &Request<'_>,
    pause: impl AsyncFn(u64),
) -> Result<Reply, ApiError> {
    let store = databases.first();
    let Request { route, query, body, caller, bounds, .. } = request;
    let (account, gateway, id) = (route.account, route.gateway, route.id);
    if !account.is_empty() && !gateway::is_account_id(account) {
        return Err(ApiError::not_found());
    }
    caller.admit(route)?;
    let actor = request.actor();
    let new_id = request.new_id.as_str();
    match route.endpoint {
        Endpoint::ListGateways => gateways::list(store, account, query, caller).await,
        Endpoint::CreateGateway => {
            gateways::create(databases, account, body, &actor, request.new_id.clone(), &bounds.gateways).await
        }
        Endpoint::GetGateway => gateways::get(store, account, gateway).await,
        Endpoint::UpdateGateway => gateways::update(store, account, gateway, body, &actor).await,
        Endpoint::DeleteGateway => gateways::delete(store, account, gateway, &actor).await,
        Endpoint::ListEvaluationTypes => evaluation_types::list(query),
        Endpoint::ListTokens => tokens::list(store, account, query).await,
        Endpoint::CreateToken => {
            tokens::create(store, account, body, new_id, &request.entropy, &actor, &bounds.tokens).await
        }
        Endpoint::GetToken => tokens::get(store, account, id).await,
        Endpoint::RollToken => tokens::roll(store, account, id, &request.entropy, &actor).await,
        Endpoint::RevokeToken => tokens::revoke(store, account, id, &actor).await,
        Endpoint::ListCosts => costs::list(store, account, query).await,
        Endpoint::CreateCost => costs::create(store, account, body, new_id, &actor, &bounds.costs).await,
        Endpoint::GetCost => costs::get(store, account, id).await,
        Endpoint::UpdateCost => costs::update(store, account, id, body, &actor).await,
        Endpoint::DeleteCost => costs::delete(store, account, id, &actor).await,
        Endpoint::ListCustomProviders => {
            custom_providers::list(store, account, query, custom_providers::shown_to(caller)).await
        }
        Endpoint::CreateCustomProvider => {
            custom_providers::create(store, account, body, new_id, &request.guard, &actor, &bounds.custom_providers)
                .await
        }
        Endpoint::GetCustomProvider => {
            custom_providers::get(store, account, id, custom_providers::shown_to(caller)).await
        }
        Endpoint::UpdateCustomProvider => {
            custom_providers::update(store, account, id, body, &request.guard, &actor).await
        }
        Endpoint::DeleteCustomProvider => custom_providers::delete(store, account, id, &actor).await,
        Endpoint::ListAudit => audit::list(store, account, query).await,
        Endpoint::GetCreditBalance
        | Endpoint::ListInvoices
        | Endpoint::PreviewInvoice
        | Endpoint::GetUsageHistory
        | Endpoint::GetSpendingLimit
        | Endpoint::GetTopupConfig
        | Endpoint::GetTopupLimits => billing::show(route.endpoint),
        Endpoint::RefuseBilling => billing::refuse(),
        Endpoint::GiveFeedback | Endpoint::GiveFeedbackInBulk | Endpoint::GetFeedback | Endpoint::TakeFeedbackBack => {
            judged(databases, request, pause).await
        }
        _ => within_gateway(databases, request, pause).await,
    }
}

/// What is about one gateway, which has to exist.
async fn within_gateway(
    databases: &impl Databases,
    request: &Request<'_>,
    pause: impl AsyncFn(u64),
) -> Result<Reply, ApiError> {
    let Request { route, query, .. } = request;
    let store = databases.first();
    let found = found(store, route).await?;
    let place = place(route, &found);
    match route.endpoint {
        Endpoint::GetUrl => {
            let known = custom_providers::exists(store, place.account, route.provider).await?;
            gateways::url(request.origin, place.account, place.gateway, route.provider, known)
        }
        Endpoint::PurgeCache => cache::purge(store, &place, query, &request.actor()).await,
        Endpoint::ListProviderConfigs => provider_configs::list(store, &place, query).await,
        Endpoint::GetProviderConfig => provider_configs::get(store, &place, route.id).await,
        Endpoint::DeleteProviderConfig => provider_configs::delete(store, &place, route.id, &request.actor()).await,
        _ => about_logs(databases, &found, request, pause).await,
    }
}

/// What is about a gateway's logs, or was made of them: all in the database that has them.
async fn about_logs(
    databases: &impl Databases,
    gateway: &Gateway,
    request: &Request<'_>,
    pause: impl AsyncFn(u64),
) -> Result<Reply, ApiError> {
    let Request { route, query, body, bounds, .. } = request;
    let store = databases.of(gateway.shard)?;
    let place = place(route, gateway);
    let id = route.id;
    let actor = request.actor();
    let new_id = request.new_id.as_str();
    match route.endpoint {
        Endpoint::GetStorage => storage::get(store, gateway).await,
        Endpoint::GetAnalytics => analytics::get(store, place.key, query, request.now_ms).await,
        Endpoint::ListLogs => log_list::list(store, place.key, query).await,
        Endpoint::DeleteLogs => log_list::delete(store, &place, query, body, &actor).await,
        Endpoint::ExportLogs => log_export::collected(store, Export::parse(place.key, query)?).await,
        Endpoint::GetLog | Endpoint::GetLogRequest | Endpoint::GetLogResponse | Endpoint::PatchLog => {
            arrived(store, id, request.now_ms, pause).await?;
            if is_recent(id, request.now_ms) {
                carry::pending(databases, gateway.shard, id).await?;
            }
            match route.endpoint {
                Endpoint::GetLog => {
                    if is_recent(id, request.now_ms) {
                        pending::settle(store, Some(id), request.now_ms).await?;
                    }
                    logs::get(store, place.key, id).await
                }
                Endpoint::GetLogRequest => logs::body(store, place.key, id, Part::Request).await,
                Endpoint::GetLogResponse => logs::body(store, place.key, id, Part::Response).await,
                _ => {
                    let all: Vec<_> = databases.all().collect();
                    logs::patch(&all, (gateway.shard, store), &place, id, body, &request.judging()).await
                }
            }
        }
        Endpoint::RepriceLogs => reprices::create(store, &place, body, new_id, &actor, &bounds.reprices).await,
        Endpoint::GetReprice => reprices::get(store, &place, id).await,
        Endpoint::ListDatasets => datasets::list(store, &place, query).await,
        Endpoint::CreateDataset => datasets::create(store, &place, body, new_id, &actor, &bounds.datasets).await,
        Endpoint::GetDataset => datasets::get(store, &place, id).await,
        Endpoint::UpdateDataset => datasets::update(store, &place, id, body, &actor).await,
        Endpoint::DeleteDataset => datasets::delete(store, &place, id, &actor).await,
        Endpoint::ListEvaluations => evaluations::list(store, &place, query).await,
        Endpoint::CreateEvaluation => {
            evaluations::create(store, &place, body, new_id, &actor, &bounds.evaluations).await
        }
        Endpoint::CompareEvaluations => evaluations::compare(store, &place, query).await,
        Endpoint::GetEvaluation => evaluations::get(store, &place, id).await,
        Endpoint::DeleteEvaluation => evaluations::delete(store, &place, id, &actor).await,
        Endpoint::ListVerdicts => evaluations::verdicts(store, &place, id, query).await,
        _ => Err(ApiError::not_found()),
    }
}

/// An export that the shell sends piece by piece, for a caller who may see it, and the database it is read from.
pub async fn export(store: &impl Store, request: &Request<'_>) -> Result<(Export, u32), ApiError> {
    if !gateway::is_account_id(request.route.account) {
        return Err(ApiError::not_found());
    }
    request.caller.admit(&request.route)?;
    let found = found(store, &request.route).await?;
    Ok((Export::parse(found.key, &request.query)?, found.shard))
}

/// The gateway that a request is about, for a caller who may see it: what the shell adds to it is not in the store.
pub async fn gateway(store: &impl Store, request: &Request<'_>) -> Result<Gateway, ApiError> {
    let route = &request.route;
    if !gateway::is_account_id(route.account) {
        return Err(ApiError::not_found());
    }
    request.caller.admit(route)?;
    found(store, route).await
}

/// Stores a key or replaces one, which takes a vault.
pub async fn keep(
    store: &impl Store,
    request: &Request<'_>,
    vault: &impl Vault,
    base_override: &dyn Fn(&str) -> Option<String>,
) -> Result<Reply, ApiError> {
    let Request { route, body, caller, bounds, .. } = request;
    if !gateway::is_account_id(route.account) {
        return Err(ApiError::not_found());
    }
    caller.admit(route)?;
    let found = found(store, route).await?;
    let place = place(route, &found);
    let key_context = provider_configs::KeyContext { caller, vault, base_override, bound: &bounds.provider_configs };
    match route.endpoint {
        Endpoint::CreateProviderConfig => {
            provider_configs::create(store, &place, body, &request.new_id, &request.actor(), &key_context).await
        }
        _ => provider_configs::rotate(store, &place, route.id, body, &request.actor(), &key_context).await,
    }
}

/// The gateway of a route, if it exists.
async fn found(store: &impl Store, route: &Route<'_>) -> Result<Gateway, ApiError> {
    gateway::find(store, route.account, route.gateway).await?.ok_or_else(ApiError::not_found)
}

fn place<'a>(route: &Route<'a>, found: &Gateway) -> Place<'a> {
    Place { account: route.account, gateway: route.gateway, key: found.key }
}

/// Feedback on whatever log an id means. The answer has just gone out when the first feedback comes, so the log is
/// awaited.
async fn judged(
    databases: &impl Databases,
    request: &Request<'_>,
    pause: impl AsyncFn(u64),
) -> Result<Reply, ApiError> {
    let context = request.judging();
    let log_databases = locate::log_databases(databases, &context).await?;
    // The lines of a bulk request wait together: one that is unknown has been awaited for the others, too.
    let waited = Cell::new(0);
    let find = async |id: &str| -> Result<Option<locate::Found>, ApiError> {
        let mut found = locate::locate(&log_databases, id, &context).await?;
        // Other ids than ours do not tell their age.
        if id::minted_at(id).is_none() || is_recent(id, request.now_ms) {
            for wait in ARRIVAL_PAUSES_MS.iter().skip(waited.get()) {
                if found.is_some() {
                    break;
                }
                pause(*wait).await;
                waited.set(waited.get() + 1);
                found = locate::locate(&log_databases, id, &context).await?;
            }
        }
        Ok(found)
    };
    if request.route.endpoint == Endpoint::GiveFeedbackInBulk {
        return feedback::bulk(databases, &log_databases, request.body, &context, find).await;
    }
    let id = String::from_utf8(percent_decoded(request.route.id)).map_err(|_| ApiError::not_found())?;
    match request.route.endpoint {
        Endpoint::GiveFeedback => {
            let feedback = feedback::read(request.body)?;
            feedback::give(databases, &log_databases, &id, find(&id).await?, &feedback, &context).await
        }
        Endpoint::GetFeedback => {
            let found = find(&id).await?.ok_or_else(ApiError::not_found)?;
            pending::settle_in(databases, &found, request.now_ms).await?;
            feedback::show(databases.of(found.shard)?, &found).await
        }
        _ => feedback::take_back(databases, &find(&id).await?.ok_or_else(ApiError::not_found)?, &context).await,
    }
}

fn is_recent(id: &str, now_ms: u64) -> bool {
    id::is_younger(id, ARRIVAL_AGE_MS, now_ms)
}

/// Waits for the row of a log whose id was handed out a moment ago: rows are written behind the answers, and a caller
/// must not have to guess how far behind.
async fn arrived(store: &impl Store, id: &str, now_ms: u64, pause: impl AsyncFn(u64)) -> Result<(), StoreError> {
    if !is_recent(id, now_ms) {
        return Ok(());
    }
    for wait in ARRIVAL_PAUSES_MS {
        if row::exists(store, None, id).await? || capacity::turned_away(store, id).await? {
            break;
        }
        pause(*wait).await;
    }
    Ok(())
}

// === impl Request ===

impl Request<'_> {
    fn actor(&self) -> Actor<'_> {
        Actor { name: self.caller.actor(), now_ms: self.now_ms, entry: self.new_id.clone() }
    }

    fn judging(&self) -> locate::Context<'_> {
        locate::Context {
            caller: self.caller,
            query: &self.query,
            mark: &self.mark,
            now_ms: self.now_ms,
            entry: self.new_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::router;
    use crate::logs::group_commit;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::providers::resolver::Lookup;
    use crate::testing::sqlite::Sqlite;
    use crate::wire::Facts;
    use pollster::block_on;

    const NOW: u64 = 1_700_000_000_000;

    fn ask(store: &Sqlite, method: &str, path: &str, body: &str, pause: impl AsyncFn(u64)) -> Reply {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request {
            route: router::route(method, path).unwrap(),
            query: Query::parse(query),
            body: body.as_bytes(),
            caller: &Caller::Admin,
            origin: "http://localhost",
            now_ms: NOW,
            new_id: "new".to_owned(),
            entropy: [7; 32],
            mark: MarkKey([7; 32]),
            guard: Guard { internal_allowed: false, found: Lookup::NotAsked },
            bounds: &Bounds::USUAL,
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
                group_commit::write(&store, vec![record].into(), async |_| {}).await;
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
            LogRecord::new(crate::logs::call::Call { gateway: 99, ..call("0197f3c0") }, answered(Facts::default()));
        block_on(group_commit::write(&store, vec![record].into(), async |_| {}));
        for suffix in ["", "/request", "/response"] {
            let path = format!("/accounts/a/ai-gateway/gateways/gw/logs/0197f3c0{suffix}");
            assert_eq!(ask(&store, "GET", &path, "", async |_| {}).status, 404);
        }
    }
}
