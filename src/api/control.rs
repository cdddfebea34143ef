//! The control plane: from a matched route to an answer and to what is to be done for it, over any [`Databases`].

use crate::api::config_file::Ask;
use crate::api::custom_providers;
use crate::api::effect::Handled;
use crate::api::log_export::{self, Export};
use crate::api::provider_configs::KeyContext;
pub use crate::api::request::Request;
use crate::api::shell::{Shell, guard};
use crate::api::subject::{Subject, found};
use crate::api::{
    alerts, analytics, audit, billing, cache, catalogue, config_file, costs, datasets, evaluation_export,
    evaluation_types, evaluations, facets, feedback, gateways, graphql, limits, log_list, logpush, metrics, policies,
    provider_configs, reprices, route_control, sessions, storage, telemetry, tokens, views,
};
use crate::api::{log_control, log_ingest};
use crate::auth::caller::Caller;
use crate::db::databases::Databases;
use crate::db::store::Store;
use crate::feedback::pending;
use crate::http::envelope::ApiError;
use crate::http::query::Query;
use crate::http::router::{self, Endpoint};
use std::cell::Cell;
use std::pin::Pin;

/// Carries out a request. Without a right to it nothing happens.
pub async fn handle(databases: &impl Databases, shell: &impl Shell, request: &Request<'_>) -> Handled {
    match request.admitted() {
        Ok(()) => dispatched(databases, shell, request).await.unwrap_or_else(|error| Err(error).into()),
        Err(error) => Err(error).into(),
    }
}

/// One arm for each endpoint. What fails before a handler is called has done nothing, and leaves nothing to do.
async fn dispatched(
    databases: &impl Databases,
    shell: &impl Shell,
    request: &Request<'_>,
) -> Result<Handled, ApiError> {
    let store = databases.first();
    let Request { route, query, body, caller, bounds, new_id, entropy, .. } = request;
    let (account, gateway, id) = (route.account, route.gateway, route.id);
    let actor = &request.actor();
    let subject = Subject { databases, shell, request };
    Ok(match route.endpoint {
        // The shell answers these before a caller is asked for.
        Endpoint::Health
        | Endpoint::OpenApi
        | Endpoint::Root
        | Endpoint::Dashboard
        | Endpoint::SignIn
        | Endpoint::SignOut
        | Endpoint::GetMe
        | Endpoint::Playground
        | Endpoint::Universal
        | Endpoint::Socket
        | Endpoint::Proxy
        | Endpoint::AccountAi => {
            return Err(ApiError::not_found());
        }
        Endpoint::GetMetrics => metrics::get(databases, shell, request).await.into(),
        // Gateways.
        Endpoint::ListGateways => gateways::list(store, account, query, caller).await.into(),
        Endpoint::CreateGateway => telemetry::create(databases, shell, request).await?,
        Endpoint::GetGateway => gateways::get(store, account, gateway).await.into(),
        Endpoint::UpdateGateway => telemetry::update(store, shell, request).await?,
        Endpoint::DeleteGateway => gateways::delete(store, account, gateway, actor).await,
        Endpoint::GetUrl => {
            subject.gateway().await?;
            let is_custom = custom_providers::exists(store, account, route.provider).await?;
            gateways::url(request.origin, account, gateway, route.provider, is_custom).into()
        }
        Endpoint::GetStorage => {
            let gateway = subject.gateway().await?;
            storage::get(databases.of(gateway.shard)?, &gateway).await
        }
        Endpoint::GetLogpush | Endpoint::PutLogpush | Endpoint::DeleteLogpush => {
            let gateway = subject.gateway().await?;
            logpush::handle([store, databases.of(gateway.shard)?], shell, request, &gateway).await.into()
        }
        Endpoint::GetAnalytics => {
            let (store, place) = subject.logs().await?;
            analytics::get(store, place.key, query, request.now_ms).await.into()
        }
        Endpoint::GraphQl => graphql::answer(databases, body, caller, request.now_ms).await.into(),
        Endpoint::GetTelemetry => telemetry::get(store, &subject.gateway().await?).await.into(),
        Endpoint::PurgeCache => cache::purge(store, &subject.place().await?, query, actor).await,
        Endpoint::GetLimits => {
            let mut gateway = subject.gateway().await?;
            gateway.limits = limits::of_all(store, &gateway).await?;
            shell.limits(&gateway).await.into()
        }
        // Logs, and feedback on them.
        Endpoint::ListLogs => {
            let (store, place) = subject.logs().await?;
            log_list::list(store, place.key, query, caller.sees_bodies()).await.into()
        }
        Endpoint::IngestLogs => Box::pin(log_ingest::taken(databases, request)).await.into(),
        Endpoint::DeleteLogs => {
            let (store, place) = subject.logs().await?;
            log_list::delete(store, &place, query, body, actor).await
        }
        Endpoint::ExportLogs => {
            let (store, place) = subject.logs().await?;
            log_export::collected(store, export_for(caller, place.key, query)?).await.into()
        }
        Endpoint::RepriceLogs => {
            let (store, place) = subject.logs().await?;
            reprices::create(store, &place, body, new_id, actor, &bounds.reprices).await
        }
        Endpoint::GetReprice => {
            let (store, place) = subject.logs().await?;
            reprices::get(store, &place, id).await
        }
        Endpoint::GetLog
        | Endpoint::GetConversation
        | Endpoint::GetAttempts
        | Endpoint::GetLogRequest
        | Endpoint::GetLogResponse
        | Endpoint::PatchLog => log_control::handle(databases, shell, request, &subject.gateway().await?).await?,
        Endpoint::GetFacets => {
            let (store, place) = subject.logs().await?;
            facets::get(store, place.key, query).await.into()
        }
        Endpoint::ListSessions => {
            let (store, place) = subject.logs().await?;
            sessions::list(store, place.key, query).await.into()
        }
        Endpoint::GetSession => {
            let (store, place) = subject.logs().await?;
            sessions::get(store, place.key, id, query, caller.sees_bodies()).await.into()
        }
        Endpoint::ListViews => {
            let (store, place) = subject.logs().await?;
            views::list(store, place.key).await.into()
        }
        Endpoint::CreateView => {
            let (store, place) = subject.logs().await?;
            views::create(store, &place, body, new_id, actor).await.into()
        }
        Endpoint::DeleteView => {
            let (store, place) = subject.logs().await?;
            views::delete(store, &place, id, actor).await.into()
        }
        Endpoint::GiveFeedback => {
            let finder = subject.finder().await?;
            let id = request.feedback_id()?;
            let feedback = feedback::read(body)?;
            let found = finder.find(&id).await?;
            feedback::give(databases, &finder.log_databases, &id, found, &feedback, &finder.context).await
        }
        Endpoint::GiveFeedbackInBulk => {
            let finder = subject.finder().await?;
            let find = async |id: &str| finder.find(id).await;
            feedback::bulk(databases, &finder.log_databases, body, &finder.context, find).await
        }
        Endpoint::GetFeedback => {
            let (_, found) = subject.found().await?;
            pending::settle_in(databases, &found, request.now_ms).await?;
            feedback::show(databases.of(found.shard)?, &found).await.into()
        }
        Endpoint::TakeFeedbackBack => {
            let (finder, found) = subject.found().await?;
            feedback::take_back(databases, &found, &finder.context).await.into()
        }
        // Datasets and evaluations.
        Endpoint::ListDatasets => {
            let (store, place) = subject.logs().await?;
            datasets::list(store, &place, query).await.into()
        }
        Endpoint::CreateDataset => {
            let (store, place) = subject.logs().await?;
            datasets::create(store, &place, body, new_id, actor, &bounds.datasets).await.into()
        }
        Endpoint::GetDataset => {
            let (store, place) = subject.logs().await?;
            datasets::get(store, &place, id).await.into()
        }
        Endpoint::UpdateDataset => {
            let (store, place) = subject.logs().await?;
            datasets::update(store, &place, id, body, actor).await.into()
        }
        Endpoint::DeleteDataset => {
            let (store, place) = subject.logs().await?;
            datasets::delete(store, &place, id, actor).await.into()
        }
        Endpoint::ListEvaluationTypes => evaluation_types::list(query).into(),
        Endpoint::ListEvaluations => {
            let (store, place) = subject.logs().await?;
            evaluations::list(store, &place, query).await
        }
        Endpoint::CreateEvaluation => {
            let (store, place) = subject.logs().await?;
            evaluations::create(store, &place, body, new_id, actor, &bounds.evaluations).await
        }
        Endpoint::CompareEvaluations => {
            let (store, place) = subject.logs().await?;
            evaluations::compare(store, &place, query).await
        }
        Endpoint::GetEvaluation => {
            let (store, place) = subject.logs().await?;
            evaluations::get(store, &place, id).await
        }
        Endpoint::DeleteEvaluation => {
            let (store, place) = subject.logs().await?;
            evaluations::delete(store, &place, id, actor).await.into()
        }
        Endpoint::ListVerdicts => {
            let (store, place) = subject.logs().await?;
            evaluations::verdicts(store, &place, id, query).await.into()
        }
        Endpoint::ExportEvaluation => {
            let (store, place) = subject.logs().await?;
            evaluation_export::export(store, &place, id, query).await.into()
        }
        // Everything as one document.
        Endpoint::ExportConfig => config_file::export(account, query, &asking(databases, shell, request)).await.into(),
        Endpoint::ImportConfig => {
            config_file::import::import(account, query, body, &asking(databases, shell, request)).await
        }
        // Custom providers, and prices.
        Endpoint::GetCatalogue => catalogue::get(store, account).await.into(),
        Endpoint::PutCatalogue => catalogue::put(store, account, query, body, actor).await,
        Endpoint::ListCosts => costs::list(store, account, query).await.into(),
        Endpoint::CreateCost => costs::create(store, account, body, new_id, actor, &bounds.costs).await,
        Endpoint::GetCost => costs::get(store, account, id).await.into(),
        Endpoint::UpdateCost => costs::update(store, account, id, body, actor).await,
        Endpoint::DeleteCost => costs::delete(store, account, id, actor).await,
        Endpoint::ListCustomProviders => {
            custom_providers::list(store, account, query, custom_providers::shown_to(caller)).await.into()
        }
        Endpoint::CreateCustomProvider => {
            let guard = guard(shell, request, custom_providers::name_to_look_up(body)).await;
            custom_providers::create(store, account, body, new_id, &guard, actor, &bounds.custom_providers).await
        }
        Endpoint::GetCustomProvider => {
            custom_providers::get(store, account, id, custom_providers::shown_to(caller)).await.into()
        }
        Endpoint::UpdateCustomProvider => {
            let guard = guard(shell, request, custom_providers::name_to_look_up(body)).await;
            custom_providers::update(store, account, id, body, &guard, actor).await
        }
        Endpoint::DeleteCustomProvider => custom_providers::delete(store, account, id, actor).await,
        // Stored keys, policies, alerts.
        Endpoint::ListProviderConfigs => provider_configs::list(store, &subject.place().await?, query).await.into(),
        Endpoint::CreateProviderConfig => {
            let place = subject.place().await?;
            let base_override = |slug: &str| shell.base_url(slug);
            let (vault, bound) = (shell.vault(), &bounds.provider_configs);
            let context = KeyContext { caller, vault: &vault, base_override: &base_override, bound };
            provider_configs::create(store, &place, body, new_id, actor, &context).await
        }
        Endpoint::GetProviderConfig => provider_configs::get(store, &subject.place().await?, id).await.into(),
        Endpoint::UpdateProviderConfig => {
            let place = subject.place().await?;
            let base_override = |slug: &str| shell.base_url(slug);
            let (vault, bound) = (shell.vault(), &bounds.provider_configs);
            let context = KeyContext { caller, vault: &vault, base_override: &base_override, bound };
            provider_configs::rotate(store, &place, id, body, actor, &context).await
        }
        Endpoint::DeleteProviderConfig => provider_configs::delete(store, &subject.place().await?, id, actor).await,
        Endpoint::ListPolicies => policies::list(store, &subject.place().await?, query).await.into(),
        Endpoint::CreatePolicy => policies::create(store, &subject.place().await?, (query, body), new_id, actor).await,
        Endpoint::CommitPolicies => policies::commit(store, &subject.place().await?, actor).await,
        Endpoint::SimulatePolicies => policies::simulate(store, &subject.place().await?, body).await.into(),
        Endpoint::GetPolicy => policies::get(store, &subject.place().await?, id, query).await.into(),
        Endpoint::UpdatePolicy => policies::update(store, &subject.place().await?, id, (query, body), actor).await,
        Endpoint::DeletePolicy => policies::delete(store, &subject.place().await?, id, actor).await,
        Endpoint::ListAlerts => alerts::list(store, account, caller).await.into(),
        Endpoint::ListAlertWebhooks => alerts::webhooks(store, account).await.into(),
        Endpoint::CreateAlertWebhook => {
            let guard = guard(shell, request, alerts::name_to_look_up(body)).await;
            alerts::create(store, account, body, (new_id, entropy), (&guard, &shell.vault()), actor).await
        }
        Endpoint::UpdateAlertWebhook => {
            let guard = guard(shell, request, alerts::name_to_look_up(body)).await;
            alerts::update(store, account, id, body, (&guard, &shell.vault()), actor).await
        }
        Endpoint::DeleteAlertWebhook => alerts::delete(store, account, id, actor).await,
        // Dynamic routes.
        Endpoint::ListRoutes
        | Endpoint::CreateRoute
        | Endpoint::GetRoute
        | Endpoint::UpdateRoute
        | Endpoint::DeleteRoute
        | Endpoint::ListRouteVersions
        | Endpoint::CreateRouteVersion
        | Endpoint::GetRouteVersion
        | Endpoint::ListRouteDeployments
        | Endpoint::SimulateRoute
        | Endpoint::DeployRoute => route_control::handle(store, &subject.place().await?, request).await,
        // Who may do what, and who did.
        Endpoint::ListTokens => tokens::list(store, account, query).await.into(),
        Endpoint::CreateToken => {
            tokens::create(store, account, body, new_id, entropy, actor, &bounds.tokens).await.into()
        }
        Endpoint::GetToken => tokens::get(store, account, id).await.into(),
        Endpoint::UpdateToken => tokens::update(store, account, id, body, actor).await,
        Endpoint::RollToken => tokens::roll(store, account, id, entropy, actor).await,
        Endpoint::RevokeToken => tokens::revoke(store, account, id, actor).await,
        Endpoint::ListAudit => {
            // The other databases may have entries that the first one has not heard of.
            shell.sync_shards().await;
            audit::list(store, account, query).await.into()
        }
        // Credit, which is not for sale here.
        Endpoint::GetCreditBalance => Ok(billing::credit_balance()).into(),
        Endpoint::ListInvoices => Ok(billing::invoices()).into(),
        Endpoint::PreviewInvoice => Ok(billing::invoice_preview()).into(),
        Endpoint::GetUsageHistory => Ok(billing::usage_history()).into(),
        Endpoint::GetSpendingLimit => Ok(billing::spending_limit()).into(),
        Endpoint::GetTopupConfig => Ok(billing::topup_config()).into(),
        Endpoint::GetTopupLimits => Ok(billing::topup_limits()).into(),
        Endpoint::RefuseBilling => billing::refuse().into(),
    })
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/logs/export` without a limit: the shell sends it piece by piece, read from
/// the database with this number.
pub async fn export(store: &impl Store, request: &Request<'_>) -> Result<(Export, u32), ApiError> {
    request.admitted()?;
    let found = found(store, &request.route).await?;
    Ok((export_for(request.caller, found.key, &request.query)?, found.shard))
}

/// What a request that is about many resources asks of the routes of each.
fn asking<'a>(
    databases: &'a impl Databases,
    shell: &'a impl Shell,
    request: &'a Request<'a>,
) -> impl Fn(Ask) -> Pin<Box<dyn Future<Output = Handled> + 'a>> + 'a {
    let number = Cell::new(0);
    move |ask| {
        number.set(number.get() + 1);
        Box::pin(asked(databases, shell, request, ask, number.get()))
    }
}

async fn asked(
    databases: &impl Databases,
    shell: &impl Shell,
    request: &Request<'_>,
    ask: Ask,
    number: u32,
) -> Handled {
    let (path, query) = ask.path.split_once('?').unwrap_or((&ask.path, ""));
    let Ok(route) = router::route(ask.method, path) else { return Err(ApiError::not_found()).into() };
    let own = request.another(route, Query::parse(query), ask.body.as_bytes(), number);
    let rehearse = |is_on| databases.all().for_each(|(_, store)| store.rehearse(is_on));
    if ask.is_rehearsal {
        rehearse(true);
        if !databases.all().all(|(_, store)| store.is_rehearsal()) {
            return Err(ApiError::internal("the databases cannot rehearse")).into();
        }
    }
    let handled = handle(databases, shell, &own).await;
    rehearse(false);
    handled
}

/// An export with nothing in it that its caller may not see.
fn export_for(caller: &Caller, gateway: i64, query: &Query) -> Result<Export, ApiError> {
    let mut export = Export::parse(gateway, query)?;
    export.with_text = caller.sees_bodies();
    if export.has_bodies() && !export.with_text {
        return Err(ApiError::forbidden(
            "The token lacks the permission read or edit, without which it sees no bodies",
        ));
    }
    Ok(export)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::custom_providers::Guard;
    use crate::api::log_arrival::AGE_MS;
    use crate::base::id::{self, MarkKey};
    use crate::config::bounds::Bounds;
    use crate::http::envelope::Reply;
    use crate::http::router;
    use crate::logs::group_commit;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::providers::resolver::Lookup;
    use crate::testing::shell::TestShell;
    use crate::testing::sqlite::Sqlite;
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
            if_match: None,
            accept: None,
            caller: &Caller::Admin,
            origin: "http://localhost",
            now_ms: NOW,
            new_id: "new".to_owned(),
            entropy: [7; 32],
            mark: MarkKey([7; 32]),
            guard: Guard { internal_allowed: false, found: Lookup::NotAsked },
            metadata_entries: 5,
            bounds: &Bounds::USUAL,
        };
        block_on(handle(store, &TestShell(pause), &request)).reply.unwrap_or_else(|error| error.reply())
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
            id::mint(NOW - AGE_MS, 7),
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
