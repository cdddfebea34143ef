//! `…/export` and `…/import`: the configuration of an account as one document, without its secrets. What is in it is read, checked and
//! written by the resources' own routes, each asked as if a caller asked it, so that a document can do what requests can, and no more.

mod document;
mod endpoint;
pub mod import;
mod plan;
mod same;
mod secrets;
mod step;
#[cfg(test)]
mod tests;

use crate::api::custom_providers;
use crate::api::effect::Handled;
use crate::base::mask;
use crate::http::envelope::{ApiError, Reply};
use crate::http::query::Query;
use crate::policies;
use crate::providers::upstream;
use serde_json::{Map, Value};
use std::pin::Pin;

/// A request to one of the resources' own routes.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub method: &'static str,
    /// With its query.
    pub path: String,
    pub body: String,
    /// Whether it ends before it writes.
    pub is_rehearsal: bool,
}

/// Who asks. It is given as a value, so that the routes and this file do not know each other.
pub type Asking<'a> = dyn Fn(Ask) -> Pin<Box<dyn Future<Output = Handled> + 'a>> + 'a;

/// A list of the document, and the resource that it is about.
pub struct Section {
    /// The member of the document.
    pub name: &'static str,
    /// Behind the account's address, or the gateway's.
    path: &'static str,
    /// Where the list stands in its route's answer.
    list: &'static str,
    is_paged: bool,
    /// What tells one from another.
    keys: &'static [&'static str],
    fields: &'static [&'static str],
}

const MAX_PAGES: u32 = 100;
const PER_PAGE: usize = 100;

/// The version of the document's form.
const VERSION: u64 = 1;

const PROVIDERS: Section = Section {
    name: "custom_providers",
    path: "custom-providers",
    list: "/result",
    is_paged: true,
    keys: &["slug"],
    fields: custom_providers::FIELDS,
};

const COSTS: Section = Section {
    name: "costs",
    path: "custom-providers/costs",
    list: "/result",
    is_paged: true,
    keys: &["provider", "model", "model_rule"],
    fields: &["provider", "model", "model_rule", "cost_in", "cost_out", "token_pricing", "enable"],
};

const WEBHOOKS: Section = Section {
    name: "alert_webhooks",
    path: "alerts/webhooks",
    list: "/result",
    is_paged: false,
    keys: &["url", "gateway", "format"],
    fields: &["url", "gateway", "format", "events", "thresholds"],
};

/// Of an account, in the order in which they are made.
const OF_ACCOUNT: [&Section; 3] = [&PROVIDERS, &COSTS, &WEBHOOKS];

const ROUTES: Section = Section {
    name: "routes",
    path: "routes",
    list: "/data/routes",
    is_paged: false,
    keys: &["name"],
    fields: &["name", "elements"],
};

const POLICIES: Section = Section {
    name: "policies",
    path: "policies",
    list: "/result",
    is_paged: false,
    keys: &["name"],
    fields: policies::stored::FIELDS,
};

const DATASETS: Section = Section {
    name: "datasets",
    path: "datasets",
    list: "/result",
    is_paged: true,
    keys: &["name"],
    fields: &["name", "enable", "filters"],
};

/// Stored keys are only named.
const KEYS: Section = Section {
    name: "provider_configs",
    path: "provider_configs",
    list: "/result",
    is_paged: true,
    keys: &["provider_slug", "alias"],
    fields: &["provider_slug", "alias", "default_config", "rate_limit", "rate_limit_period", "weight"],
};

const OF_GATEWAY: [&Section; 4] = [&ROUTES, &POLICIES, &DATASETS, &KEYS];

/// Of a gateway: where its log push goes.
const ENDPOINT: &str = "logpush_endpoint";

/// What a gateway shows beside its settings.
const NO_SETTINGS: &[&str] =
    &["id", "account_id", "account_tag", "internal_id", "is_default", "log_database", "created_at", "modified_at"];

/// Stands for a value that is not shown.
const MASK: &str = "***";

/// What an account has, as the document has it. The members of each list keep their ids.
struct Current {
    whole: Map<String, Value>,
}

/// `GET /accounts/{account}/ai-gateway/export`
///
/// The configuration as one document. With `gateway` that of one gateway alone.
pub async fn export(account: &str, query: &Query, ask: &Asking<'_>) -> Result<Reply, ApiError> {
    let mut current = Current::read(account, query.get("gateway"), &|_| true, ask).await?;
    current.without_ids();
    Ok(Reply::result(current.whole))
}

/// Asks a route, and reads its answer.
async fn answer(ask: &Asking<'_>, asked: Ask) -> Result<Value, ApiError> {
    let reply = ask(asked).await.reply?;
    serde_json::from_str(&reply.body).map_err(|error| ApiError::internal(format!("an answer of one's own: {error}")))
}

fn at_account(account: &str, path: &str) -> String {
    format!("/accounts/{account}/ai-gateway/{path}")
}

fn at_gateway(account: &str, gateway: &str, path: &str) -> String {
    format!("/accounts/{account}/ai-gateway/gateways/{gateway}/{path}")
}

/// All pages of a list.
async fn listed(path: String, list: &str, is_paged: bool, ask: &Asking<'_>) -> Result<Vec<Value>, ApiError> {
    let mut all = Vec::new();
    for page in 1..=MAX_PAGES {
        let path = if is_paged {
            format!("{path}?per_page={PER_PAGE}&page={page}")
        } else {
            format!("{path}?per_page={PER_PAGE}")
        };
        let mut said = answer(ask, Ask { method: "GET", path, ..Ask::default() }).await?;
        let Some(Value::Array(some)) = said.pointer_mut(list).map(Value::take) else { break };
        let is_last = !is_paged || some.len() < PER_PAGE;
        all.extend(some);
        if is_last {
            break;
        }
    }
    Ok(all)
}

/// What stands under a name, as a list.
fn list_of<'a>(object: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text_of<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What a webhook's URL shows. That of Slack is a secret in itself, and others may have one in their query.
fn shown_url(url: &str, format: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let origin = plain.find("://").and_then(|at| plain.get(at + 3..)?.find('/').map(|end| at + 3 + end));
    match origin.and_then(|end| plain.get(..end)) {
        Some(origin) if format == "slack" || plain.len() < url.len() => format!("{origin}/{MASK}"),
        _ => mask::line(url).into_owned(),
    }
}

/// Settings without values that are secret or may be: headers that go along with what is sent elsewhere.
fn masked(setting: &mut Value) {
    match setting {
        Value::Array(list) => list.iter_mut().for_each(masked),
        Value::Object(object) => {
            for (name, value) in object.iter_mut() {
                match value {
                    Value::Object(headers) if name == "headers" => {
                        for (name, value) in headers.iter_mut() {
                            if value.as_str().is_none_or(|text| upstream::is_secret(name, text)) {
                                *value = MASK.into();
                            }
                        }
                    }
                    Value::String(_) if matches!(name.as_str(), "authorization" | "secret" | "password") => {
                        *value = MASK.into();
                    }
                    value => masked(value),
                }
            }
        }
        _ => {}
    }
}

// === impl Section ===

impl Section {
    /// The list, in an order of its own: two accounts that have the same are written the same. Policies may have one name, and stay in
    /// the order in which they were made.
    fn all(&self, shown: &[Value]) -> Value {
        let mut all: Vec<Value> = shown.iter().map(|shown| self.kept(shown)).collect();
        if self.name != POLICIES.name {
            all.sort_by_cached_key(|item| self.key(item));
        }
        Value::Array(all)
    }

    /// One of the list, with its id.
    fn kept(&self, shown: &Value) -> Value {
        let mut kept = Map::new();
        for name in self.fields.iter().chain(&["id"]) {
            match shown.get(*name) {
                None | Some(Value::Null) => {}
                Some(Value::String(url)) if *name == "url" => {
                    kept.insert((*name).to_owned(), shown_url(url, text_of(shown, "format")).into());
                }
                Some(value) => drop(kept.insert((*name).to_owned(), value.clone())),
            }
        }
        Value::Object(kept)
    }

    /// What tells one from others. A document may name a webhook by its whole URL.
    fn key(&self, item: &Value) -> String {
        let mut key = String::new();
        for name in self.keys {
            let usual = match *name {
                "model_rule" => "equals",
                "format" => "json",
                _ => "",
            };
            let text = item.get(*name).and_then(Value::as_str).unwrap_or(usual).trim();
            let shown = if *name == "url" { shown_url(text, text_of(item, "format")) } else { text.to_owned() };
            if !key.is_empty() && !shown.is_empty() {
                key.push(' ');
            }
            key.push_str(&shown);
        }
        key
    }
}

// === impl Current ===

impl Current {
    /// Reads an account, or one gateway of it. Of gateways that are not `wanted` only the settings are read.
    async fn read(
        account: &str,
        only: Option<&str>,
        wanted: &dyn Fn(&str) -> bool,
        ask: &Asking<'_>,
    ) -> Result<Self, ApiError> {
        let mut whole = Map::new();
        whole.insert("tollgate".to_owned(), VERSION.into());
        if only.is_none() {
            let path = at_account(account, "catalogue");
            let said = answer(ask, Ask { method: "GET", path, ..Ask::default() }).await?;
            let mut catalogue = Map::new();
            for name in ["as_of", "prices"] {
                let value = said.get("result").and_then(|result| result.get(name)).cloned();
                catalogue.insert(name.to_owned(), value.unwrap_or_default());
            }
            whole.insert("catalogue".to_owned(), Value::Object(catalogue));
            for section in OF_ACCOUNT {
                let shown = listed(at_account(account, section.path), section.list, section.is_paged, ask).await?;
                whole.insert(section.name.to_owned(), section.all(&shown));
            }
        }
        let shown = match only {
            None => listed(at_account(account, "gateways"), "/result", true, ask).await?,
            Some(id) => {
                let path = at_account(account, &format!("gateways/{}", checked_id(id)?));
                match answer(ask, Ask { method: "GET", path, ..Ask::default() }).await {
                    Ok(mut said) => vec![said.get_mut("result").map(Value::take).unwrap_or_default()],
                    // A document may bring it into being.
                    Err(error) if error.status == 404 && !wanted("") => Vec::new(),
                    Err(error) => return Err(error),
                }
            }
        };
        let mut gateways = Vec::new();
        for shown in shown {
            let id = text_of(&shown, "id").to_owned();
            let Value::Object(mut settings) = shown else { continue };
            settings.retain(|name, _| !NO_SETTINGS.contains(&name.as_str()));
            let mut gateway = Map::new();
            gateway.insert("id".to_owned(), id.as_str().into());
            let mut settings = Value::Object(settings);
            masked(&mut settings);
            gateway.insert("settings".to_owned(), settings);
            if wanted(&id) {
                for section in OF_GATEWAY {
                    let path = at_gateway(account, &id, section.path);
                    let shown = listed(path, section.list, section.is_paged, ask).await?;
                    gateway.insert(section.name.to_owned(), section.all(&shown));
                }
                gateway.insert(ENDPOINT.to_owned(), endpoint::read(account, &id, ask).await?);
            }
            gateways.push(Value::Object(gateway));
        }
        gateways.sort_by_cached_key(|gateway| text_of(gateway, "id").to_owned());
        whole.insert("gateways".to_owned(), gateways.into());
        Ok(Self { whole })
    }

    /// As others may have it: what has been made anew elsewhere has other ids.
    fn without_ids(&mut self) {
        fn strip(object: &mut Map<String, Value>, sections: &[&Section]) {
            for section in sections {
                let list = object.get_mut(section.name).and_then(Value::as_array_mut);
                for item in list.into_iter().flatten().filter_map(Value::as_object_mut) {
                    item.remove("id");
                }
            }
        }
        strip(&mut self.whole, &OF_ACCOUNT);
        let gateways = self.whole.get_mut("gateways").and_then(Value::as_array_mut);
        for gateway in gateways.into_iter().flatten().filter_map(Value::as_object_mut) {
            strip(gateway, &OF_GATEWAY);
        }
    }
}

/// An id that becomes part of a path.
fn checked_id(id: &str) -> Result<&str, ApiError> {
    match crate::gateways::gateway::is_gateway_id(id) {
        true => Ok(id),
        false => Err(ApiError::invalid(["query", "gateway"], "Expected the id of a gateway")),
    }
}
