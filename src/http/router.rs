//! Every URL Tollgate serves, in one table: [`ENDPOINTS`].
//!
//! Matching works on the raw path, split at `/` and never decoded, so that the check of who may call a route and
//! the route itself cannot disagree about what was asked for.

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every caller, even while the Worker has no usable admin token.
    Open,
    /// The callers whom the gateway's own `authentication` setting lets in.
    Gateway,
    /// Every caller who is known, whatever it may do.
    SignedIn,
    /// A token that may read, also one that sees no bodies, or edit.
    Read,
    /// A token that may read or edit, and sees what was asked and answered.
    ReadBodies,
    /// A token that may run.
    Run,
    /// A token that may edit.
    Edit,
    /// A token that may run or edit: who sends requests may say what came of them.
    Give,
    /// The same, and a token for feedback.
    Feedback,
    /// A token that may read, run or edit.
    See,
    /// The admin token alone.
    Admin,
}

/// Which of the two error formats a caller expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    Data,
    Control,
}

use Access::{Admin, Edit, Feedback, Gateway, Give, Open, Read, ReadBodies, Run, See, SignedIn};

/// Makes [`Endpoint`] and [`ENDPOINTS`] of the rows: each row is an endpoint. A row after `also` is a further address of one.
macro_rules! endpoints {
    (
        $( (Endpoint::$name:ident, $method:literal, $path:literal, $access:ident), )*
        also
        $( (Endpoint::$other:ident, $other_method:literal, $other_path:literal, $other_access:ident), )*
    ) => {
        /// What can be asked for. Its matches have an arm for each and no fallback, so that the compiler names what a new one lacks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Endpoint {
            $( $name, )*
        }

        /// (endpoint, method, path, access). `{name}` takes one segment, `{rest...}` takes all that follows.
        /// `*` as a method takes any. Paths below `/accounts` are served under `/client/v4` as well.
        pub const ENDPOINTS: &[(Endpoint, &str, &str, Access)] = &[
            $( (Endpoint::$name, $method, $path, $access), )*
            $( (Endpoint::$other, $other_method, $other_path, $other_access), )*
        ];
    };
}

endpoints! {
    // For operators.
    (Endpoint::Health, "GET", "/health", Open),
    (Endpoint::OpenApi, "GET", "/openapi.json", Open),
    (Endpoint::Root, "GET", "/", Open),
    (Endpoint::GetMetrics, "GET", "/metrics", Read),
    // The dashboard: its session, its way to run requests, and the page, which is the same at all other addresses.
    (Endpoint::SignIn, "POST", "/dashboard/session", Open),
    (Endpoint::SignOut, "DELETE", "/dashboard/session", Open),
    (Endpoint::GetMe, "GET", "/dashboard/me", SignedIn),
    (Endpoint::Playground, "POST", "/dashboard/playground/{account}/{gateway}/{provider}/{rest...}", Run),
    (Endpoint::Dashboard, "GET", "/dashboard", Open),
    // The data plane: what applications call.
    (Endpoint::Universal, "POST", "/v1/{account}/{gateway}", Gateway),
    (Endpoint::Socket, "GET", "/v1/{account}/{gateway}", Gateway),
    (Endpoint::Proxy, "*", "/v1/{account}/{gateway}/{provider}/{rest...}", Gateway),
    // Cloudflare's REST for the same. The gateway is named by a header.
    (Endpoint::AccountAi, "POST", "/accounts/{account}/ai/{rest...}", Gateway),
    // The control plane: gateways.
    (Endpoint::ListGateways, "GET", "/accounts/{account}/ai-gateway/gateways", Read),
    (Endpoint::CreateGateway, "POST", "/accounts/{account}/ai-gateway/gateways", Edit),
    (Endpoint::GetGateway, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}", Read),
    (Endpoint::UpdateGateway, "PUT", "/accounts/{account}/ai-gateway/gateways/{gateway}", Edit),
    (Endpoint::DeleteGateway, "DELETE", "/accounts/{account}/ai-gateway/gateways/{gateway}", Edit),
    (Endpoint::GetUrl, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/url/{provider}", Read),
    (Endpoint::GetStorage, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/storage", Read),
    (Endpoint::GetLogpush, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/logpush", Read),
    (Endpoint::PutLogpush, "PUT", "/accounts/{account}/ai-gateway/gateways/{gateway}/logpush", Admin),
    (Endpoint::DeleteLogpush, "DELETE", "/accounts/{account}/ai-gateway/gateways/{gateway}/logpush", Admin),
    (Endpoint::GetAnalytics, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/analytics", Read),
    // Cloudflare's analytics. The account stands in the query.
    (Endpoint::GraphQl, "POST", "/client/v4/graphql", Read),
    (Endpoint::GetTelemetry, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/telemetry", Read),
    (Endpoint::PurgeCache, "DELETE", "/accounts/{account}/ai-gateway/gateways/{gateway}/cache", Edit),
    // The control plane: logs.
    (Endpoint::GetLimits, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/limits", Read),
    (Endpoint::ListLogs, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs", Read),
    (Endpoint::IngestLogs, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs", Give),
    (Endpoint::DeleteLogs, "DELETE", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs", Edit),
    // Before the logs of these names.
    (Endpoint::ExportLogs, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs/export", Read),
    (Endpoint::GetFacets, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs/facets", Read),
    (Endpoint::RepriceLogs, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs/reprice", Edit),
    (Endpoint::GetReprice, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs/reprice/{id}", Read),
    (Endpoint::GetLog, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}", Read),
    (Endpoint::GetLogRequest, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}/request", ReadBodies),
    (Endpoint::GetLogResponse, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}/response", ReadBodies),
    (Endpoint::GetConversation, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}/conversation", ReadBodies),
    (Endpoint::GetAttempts, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}/attempts", Read),
    (Endpoint::ListSessions, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/sessions", Read),
    (Endpoint::GetSession, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/sessions/{id}", Read),
    (Endpoint::ListViews, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/views", Read),
    (Endpoint::CreateView, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/views", Edit),
    (Endpoint::DeleteView, "DELETE", "/accounts/{account}/ai-gateway/gateways/{gateway}/views/{id}", Edit),
    (Endpoint::PatchLog, "PATCH", "/accounts/{account}/ai-gateway/gateways/{gateway}/logs/{id}", Edit),
    // The control plane: feedback, under whatever id the application knows an answer by.
    (Endpoint::GiveFeedback, "POST", "/feedback/{id}", Feedback),
    (Endpoint::GiveFeedbackInBulk, "POST", "/feedback", Give),
    (Endpoint::GetFeedback, "GET", "/feedback/{id}", See),
    (Endpoint::TakeFeedbackBack, "DELETE", "/feedback/{id}", Give),
    // The control plane: datasets and evaluations.
    (Endpoint::ListDatasets, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/datasets", Read),
    (Endpoint::CreateDataset, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/datasets", Edit),
    (Endpoint::GetDataset, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/datasets/{id}", Read),
    (Endpoint::UpdateDataset, "PUT", "/accounts/{account}/ai-gateway/gateways/{gateway}/datasets/{id}", Edit),
    (Endpoint::DeleteDataset, "DELETE", "/accounts/{account}/ai-gateway/gateways/{gateway}/datasets/{id}", Edit),
    (Endpoint::ListEvaluationTypes, "GET", "/accounts/{account}/ai-gateway/evaluation-types", Read),
    (Endpoint::ListEvaluations, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/evaluations", Read),
    (Endpoint::CreateEvaluation, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/evaluations", Edit),
    (Endpoint::CompareEvaluations, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/evaluations/compare", Read),
    (Endpoint::GetEvaluation, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/evaluations/{id}", Read),
    (Endpoint::DeleteEvaluation, "DELETE", "/accounts/{account}/ai-gateway/gateways/{gateway}/evaluations/{id}", Edit),
    (Endpoint::ListVerdicts, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/evaluations/{id}/verdicts", ReadBodies),
    (Endpoint::ExportEvaluation, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/evaluations/{id}/export", ReadBodies),
    // The control plane: everything but secrets, as one document.
    (Endpoint::ExportConfig, "GET", "/accounts/{account}/ai-gateway/export", Admin),
    (Endpoint::ImportConfig, "PUT", "/accounts/{account}/ai-gateway/import", Admin),
    // The control plane: what an account adds to the providers and to their prices. It decides where all prompts go
    // and what they are said to cost, in all gateways, so it is the operator's. Costs come before the provider of that id.
    (Endpoint::ListCosts, "GET", "/accounts/{account}/ai-gateway/custom-providers/costs", Read),
    (Endpoint::CreateCost, "POST", "/accounts/{account}/ai-gateway/custom-providers/costs", Admin),
    (Endpoint::GetCost, "GET", "/accounts/{account}/ai-gateway/custom-providers/costs/{id}", Read),
    (Endpoint::UpdateCost, "PATCH", "/accounts/{account}/ai-gateway/custom-providers/costs/{id}", Admin),
    (Endpoint::DeleteCost, "DELETE", "/accounts/{account}/ai-gateway/custom-providers/costs/{id}", Admin),
    (Endpoint::GetCatalogue, "GET", "/accounts/{account}/ai-gateway/catalogue", Read),
    (Endpoint::PutCatalogue, "PUT", "/accounts/{account}/ai-gateway/catalogue", Admin),
    (Endpoint::ListCustomProviders, "GET", "/accounts/{account}/ai-gateway/custom-providers", Read),
    (Endpoint::CreateCustomProvider, "POST", "/accounts/{account}/ai-gateway/custom-providers", Admin),
    (Endpoint::GetCustomProvider, "GET", "/accounts/{account}/ai-gateway/custom-providers/{id}", Read),
    (Endpoint::UpdateCustomProvider, "PATCH", "/accounts/{account}/ai-gateway/custom-providers/{id}", Admin),
    (Endpoint::DeleteCustomProvider, "DELETE", "/accounts/{account}/ai-gateway/custom-providers/{id}", Admin),
    // The control plane: stored keys.
    (Endpoint::ListProviderConfigs, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/provider_configs", Read),
    (Endpoint::CreateProviderConfig, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/provider_configs", Edit),
    (Endpoint::GetProviderConfig, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/provider_configs/{id}", Read),
    (Endpoint::UpdateProviderConfig, "PUT", "/accounts/{account}/ai-gateway/gateways/{gateway}/provider_configs/{id}", Edit),
    (Endpoint::DeleteProviderConfig, "DELETE", "/accounts/{account}/ai-gateway/gateways/{gateway}/provider_configs/{id}", Edit),
    // The control plane: policies. Committing and trying out come before the policies of these names.
    (Endpoint::ListPolicies, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/policies", Read),
    (Endpoint::CreatePolicy, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/policies", Edit),
    (Endpoint::CommitPolicies, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/policies/commit", Edit),
    (Endpoint::SimulatePolicies, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/policies/simulate", Read),
    (Endpoint::GetPolicy, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/policies/{id}", Read),
    (Endpoint::UpdatePolicy, "PUT", "/accounts/{account}/ai-gateway/gateways/{gateway}/policies/{id}", Edit),
    (Endpoint::DeletePolicy, "DELETE", "/accounts/{account}/ai-gateway/gateways/{gateway}/policies/{id}", Edit),
    // The control plane: alerts. Where they go is for the operator to say.
    (Endpoint::ListAlerts, "GET", "/accounts/{account}/ai-gateway/alerts", Read),
    (Endpoint::ListAlertWebhooks, "GET", "/accounts/{account}/ai-gateway/alerts/webhooks", Admin),
    (Endpoint::CreateAlertWebhook, "POST", "/accounts/{account}/ai-gateway/alerts/webhooks", Admin),
    (Endpoint::UpdateAlertWebhook, "PATCH", "/accounts/{account}/ai-gateway/alerts/webhooks/{id}", Admin),
    (Endpoint::DeleteAlertWebhook, "DELETE", "/accounts/{account}/ai-gateway/alerts/webhooks/{id}", Admin),
    // The control plane: dynamic routes.
    (Endpoint::ListRoutes, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/routes", Read),
    (Endpoint::CreateRoute, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/routes", Edit),
    (Endpoint::GetRoute, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}", Read),
    (Endpoint::UpdateRoute, "PATCH", "/accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}", Edit),
    (Endpoint::DeleteRoute, "DELETE", "/accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}", Edit),
    (Endpoint::ListRouteVersions, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/versions", Read),
    (Endpoint::CreateRouteVersion, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/versions", Edit),
    (Endpoint::GetRouteVersion, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/versions/{version}", Read),
    (Endpoint::ListRouteDeployments, "GET", "/accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/deployments", Read),
    (Endpoint::DeployRoute, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/deployments", Edit),
    (Endpoint::SimulateRoute, "POST", "/accounts/{account}/ai-gateway/gateways/{gateway}/routes/{id}/simulate", Read),
    // The control plane: who may do what, and who did.
    (Endpoint::ListTokens, "GET", "/accounts/{account}/ai-gateway/tokens", Admin),
    (Endpoint::CreateToken, "POST", "/accounts/{account}/ai-gateway/tokens", Admin),
    (Endpoint::GetToken, "GET", "/accounts/{account}/ai-gateway/tokens/{id}", Admin),
    (Endpoint::UpdateToken, "PATCH", "/accounts/{account}/ai-gateway/tokens/{id}", Admin),
    (Endpoint::RollToken, "POST", "/accounts/{account}/ai-gateway/tokens/{id}/roll", Admin),
    (Endpoint::RevokeToken, "DELETE", "/accounts/{account}/ai-gateway/tokens/{id}", Admin),
    (Endpoint::ListAudit, "GET", "/accounts/{account}/ai-gateway/audit", Admin),
    // What Cloudflare's SDKs ask for where gateways sell credit.
    (Endpoint::GetCreditBalance, "GET", "/accounts/{account}/ai-gateway/billing/credit-balance", Read),
    (Endpoint::ListInvoices, "GET", "/accounts/{account}/ai-gateway/billing/invoice-history", Read),
    (Endpoint::PreviewInvoice, "GET", "/accounts/{account}/ai-gateway/billing/invoice-preview", Read),
    (Endpoint::GetUsageHistory, "GET", "/accounts/{account}/ai-gateway/billing/usage-history", Read),
    (Endpoint::GetSpendingLimit, "GET", "/accounts/{account}/ai-gateway/billing/spending-limit", Read),
    (Endpoint::RefuseBilling, "POST", "/accounts/{account}/ai-gateway/billing/spending-limit", Edit),
    (Endpoint::GetTopupLimits, "GET", "/accounts/{account}/ai-gateway/billing/topup/limits", Read),
    (Endpoint::GetTopupConfig, "GET", "/accounts/{account}/ai-gateway/billing/topup/config", Read),
    also
    (Endpoint::AccountAi, "GET", "/accounts/{account}/ai/{rest...}", Gateway),
    (Endpoint::AccountAi, "DELETE", "/accounts/{account}/ai/{rest...}", Gateway),
    (Endpoint::Dashboard, "GET", "/dashboard/{rest...}", Open),
    (Endpoint::RefuseBilling, "DELETE", "/accounts/{account}/ai-gateway/billing/spending-limit", Edit),
    (Endpoint::RefuseBilling, "POST", "/accounts/{account}/ai-gateway/billing/topup", Edit),
    (Endpoint::RefuseBilling, "POST", "/accounts/{account}/ai-gateway/billing/topup/status", Edit),
    (Endpoint::RefuseBilling, "POST", "/accounts/{account}/ai-gateway/billing/topup/config", Edit),
    (Endpoint::RefuseBilling, "DELETE", "/accounts/{account}/ai-gateway/billing/topup/config", Edit),
}

/// A matched request. Segments the path does not have are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    pub endpoint: Endpoint,
    pub access: Access,
    pub account: &'a str,
    pub gateway: &'a str,
    pub provider: &'a str,
    /// A log, a dataset or whatever else the path is about, as given and not interpreted here.
    pub id: &'a str,
    /// The version of a route.
    pub version: &'a str,
    /// What follows the provider, without its leading slash.
    pub rest: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    NotFound(Plane),
    /// The path exists, but not with this method; the methods it has, for the `allow` header.
    MethodNotAllowed(Plane, Vec<&'static str>),
    /// OPTIONS of a path that pages may call, with its methods.
    Asked(Vec<&'static str>),
}

/// Which of the two error formats a path's callers expect.
pub fn plane(path: &str) -> Plane {
    let path = path.strip_prefix("/client/v4").unwrap_or(path);
    let is_ai = path.strip_prefix("/accounts/").and_then(|path| path.split('/').nth(1)) == Some("ai");
    let planes = ["/accounts/", "/feedback", "/dashboard", "/graphql", "/metrics"];
    let control = planes.iter().any(|start| path.starts_with(start));
    if control && !is_ai { Plane::Control } else { Plane::Data }
}

/// The methods of a path that takes any.
const ANY: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Finds the endpoint of a method and a raw path (without query).
pub fn route<'a>(method: &str, path: &'a str) -> Result<Route<'a>, NoRoute> {
    let path = path.strip_prefix("/client/v4").filter(|rest| rest.starts_with("/accounts/")).unwrap_or(path);
    let plane = plane(path);
    let (mut allowed, mut is_asked) = (Vec::new(), false);
    for (endpoint, wanted, template, access) in ENDPOINTS {
        let Some(route) = matched(*endpoint, *access, template, path) else {
            continue;
        };
        if method == "OPTIONS" && is_for_pages(*access, path) {
            is_asked = true;
            allowed.extend(if *wanted == "*" { ANY } else { std::slice::from_ref(wanted) });
            continue;
        }
        if *wanted == "*" || *wanted == method || (*wanted == "GET" && method == "HEAD") {
            return Ok(route);
        }
        if !allowed.contains(wanted) {
            allowed.push(*wanted);
        }
    }
    if method == "OPTIONS" && is_asked && !allowed.is_empty() {
        allowed.push("OPTIONS");
        return Err(NoRoute::Asked(allowed));
    }
    Err(if allowed.is_empty() { NoRoute::NotFound(plane) } else { NoRoute::MethodNotAllowed(plane, allowed) })
}

/// Whether a browser may ask before a page calls a path. It asks without a token, and without the gateway of a log.
fn is_for_pages(access: Access, path: &str) -> bool {
    access == Access::Gateway || path.starts_with("/feedback")
}

fn matched<'a>(endpoint: Endpoint, access: Access, template: &str, path: &'a str) -> Option<Route<'a>> {
    let mut route = Route { endpoint, access, account: "", gateway: "", provider: "", id: "", version: "", rest: "" };
    if template == "/" {
        return (path == "/").then_some(route);
    }
    let mut remaining = path.strip_prefix('/');
    for wanted in template.split('/').skip(1) {
        let text = remaining?;
        if wanted == "{rest...}" {
            route.rest = text;
            return Some(route);
        }
        let (segment, after) = match text.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (text, None),
        };
        if segment.is_empty() {
            return None;
        }
        match wanted {
            "{account}" => route.account = segment,
            "{gateway}" => route.gateway = segment,
            "{provider}" => route.provider = segment,
            "{id}" => route.id = segment,
            "{version}" => route.version = segment,
            literal if literal == segment => {}
            _ => return None,
        }
        remaining = after;
    }
    // One trailing slash is forgiven: clients that join a base URL and an empty path send it. But feedback for an empty id
    // must not pass for feedback in bulk.
    match remaining {
        None => Some(route),
        Some("") => (endpoint != Endpoint::GiveFeedbackInBulk).then_some(route),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_proxied_path_is_taken_as_it_is() {
        let route = route("POST", "/v1/acct/gw/openai/v1//chat/%2e%2e/completions").unwrap();
        assert_eq!((route.endpoint, route.account, route.gateway), (Endpoint::Proxy, "acct", "gw"));
        assert_eq!((route.provider, route.rest), ("openai", "v1//chat/%2e%2e/completions"));
    }

    #[test]
    fn both_prefixes_reach_the_control_plane() {
        for prefix in ["", "/client/v4"] {
            let path = format!("{prefix}/accounts/a/ai-gateway/gateways/g/logs/01J/response");
            let route = route("GET", &path).unwrap();
            assert_eq!((route.endpoint, route.gateway, route.id), (Endpoint::GetLogResponse, "g", "01J"));
        }
        assert_eq!(route("GET", "/client/v4/health"), Err(NoRoute::NotFound(Plane::Data)));
    }

    #[test]
    fn requests_to_models_are_of_the_data_plane_on_both_addresses() {
        for path in ["/accounts/a/ai/v1/messages", "/client/v4/accounts/a/ai/v1/messages"] {
            let route = route("POST", path).unwrap();
            assert_eq!((route.endpoint, route.account, route.rest), (Endpoint::AccountAi, "a", "v1/messages"));
            assert_eq!(plane(path), Plane::Data);
        }
        assert_eq!(plane("/accounts/a/ai-gateway/x"), Plane::Control);
        assert_eq!((plane("/v1/a/g/openai/x"), plane("/accounts/ai")), (Plane::Data, Plane::Control));
    }

    #[test]
    fn a_wrong_method_names_the_right_ones() {
        let refused = route("PATCH", "/accounts/a/ai-gateway/gateways/g");
        assert_eq!(refused, Err(NoRoute::MethodNotAllowed(Plane::Control, vec!["GET", "PUT", "DELETE"])));
    }

    #[test]
    fn empty_segments_match_nothing() {
        for path in ["", "//", "/v1//gw/openai/x", "/v1/acct//openai/x", "/accounts//ai-gateway/gateways"] {
            assert!(route("GET", path).is_err(), "{path}");
        }
        assert!(route("POST", "/v1/a/").is_err());
    }

    #[test]
    fn a_gateway_without_a_provider_is_the_universal_endpoint() {
        for path in ["/v1/a/g", "/v1/a/g/"] {
            assert_eq!(route("POST", path).unwrap().endpoint, Endpoint::Universal, "{path}");
            assert_eq!(route("GET", path).unwrap().endpoint, Endpoint::Socket, "{path}");
            let refused = NoRoute::MethodNotAllowed(Plane::Data, vec!["POST", "GET"]);
            assert_eq!(route("PUT", path), Err(refused), "{path}");
        }
    }

    #[test]
    fn options_of_the_data_plane_are_answered_here() {
        let any = vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        assert_eq!(route("OPTIONS", "/v1/a/g/openai/chat/completions"), Err(NoRoute::Asked(any)));
        assert_eq!(route("OPTIONS", "/v1/a/g/"), Err(NoRoute::Asked(vec!["POST", "GET", "OPTIONS"])));
        assert_eq!(route("OPTIONS", "/v1/a"), Err(NoRoute::NotFound(Plane::Data)));
        assert_eq!(route("OPTIONS", "/feedback/x"), Err(NoRoute::Asked(vec!["POST", "GET", "DELETE", "OPTIONS"])));
        assert_eq!(route("OPTIONS", "/feedback"), Err(NoRoute::Asked(vec!["POST", "OPTIONS"])));
        let gateways = route("OPTIONS", "/accounts/a/ai-gateway/gateways");
        assert!(matches!(gateways, Err(NoRoute::MethodNotAllowed(Plane::Control, _))));
    }

    #[test]
    fn every_endpoint_is_reached_by_its_own_template() {
        for (endpoint, method, template, access) in ENDPOINTS {
            // The page is at all addresses that are not taken.
            if *template == "/dashboard/{rest...}" {
                continue;
            }
            let path = template.replace("{id}", "1").replace(['{', '}'], "").replace("...", "");
            let method = if *method == "*" { "POST" } else { method };
            let found = route(method, &path).unwrap();
            assert_eq!((found.endpoint, found.access), (*endpoint, *access), "{template}");
        }
    }

    /// The end-to-end matrix of routes and tokens reads this file, so a new route is in it by being in the table.
    #[test]
    fn the_list_for_the_end_to_end_tests_is_current() {
        let lines: Vec<String> = ENDPOINTS
            .iter()
            .map(|(endpoint, method, template, access)| {
                format!(r#"  ["{endpoint:?}", "{method}", "{template}", "{access:?}"]"#)
            })
            .collect();
        let wanted = format!("[\n{}\n]\n", lines.join(",\n"));
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/routes.json");
        if std::env::var_os("UPDATE_ROUTES").is_some() {
            std::fs::write(file, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(file).unwrap_or_default();
        assert_eq!(found, wanted, "run `UPDATE_ROUTES=1 cargo test the_list` to renew tests/e2e/routes.json");
    }

    /// Who looks for a route finds its handler, because the handler's first line is the route.
    #[test]
    fn every_route_of_the_control_plane_is_named_by_its_handler() {
        fn read(folder: &std::path::Path, all: &mut String) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    read(&path, all);
                } else {
                    let text = std::fs::read_to_string(&path).unwrap();
                    all.extend(text.lines().filter(|line| line.starts_with("/// ")).flat_map(|line| [line, "\n"]));
                }
            }
        }
        let mut documents = String::new();
        for room in ["src/api", "src/entry", "src/proxy"] {
            read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(room), &mut documents);
        }
        for (endpoint, method, template, access) in ENDPOINTS {
            let route = format!("`{method} {template}`");
            assert!(
                *access == Gateway || documents.contains(&route),
                "no handler of {endpoint:?} begins with /// {route}"
            );
        }
    }
}
