//! What a document changes: compared with what there is, without asking or writing anything.

use super::document::refused;
use super::same::{destinations_stay, same};
use super::step::{Step, change};
use super::{
    Ask, COSTS, Current, ENDPOINT, KEYS, MASK, NO_SETTINGS, OF_GATEWAY, POLICIES, PROVIDERS, ROUTES, Section, WEBHOOKS,
    at_account, at_gateway, list_of, text_of,
};
use crate::base::json;
use crate::base::object;
use crate::gateways::settings::GatewaySettings;
use crate::http::envelope::ApiError;
use serde_json::{Map, Value};

/// What a document comes to.
#[derive(Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub unchanged: u64,
    /// What there is beside it.
    pub others: u64,
    pub warnings: Vec<String>,
}

/// What an import is about.
pub struct Terms<'a> {
    pub account: &'a str,
    /// One gateway alone.
    pub only: Option<&'a str>,
    pub prune: bool,
}

/// Stands in a later request for what the one before it has made.
pub const MADE: &str = "{made}";

/// Where a list stands.
struct At<'a> {
    gateway: Option<&'a str>,
    place: &'a [String],
}

pub(super) fn body(fields: Map<String, Value>) -> String {
    Value::Object(fields).to_string()
}

pub(super) fn headers_of(provider: &Map<String, Value>) -> Map<String, Value> {
    let text = provider.get("headers").and_then(Value::as_str).unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

// === impl Plan ===

impl Plan {
    /// What a document changes of what there is.
    pub(super) fn of(document: &Map<String, Value>, current: &Current, terms: &Terms<'_>) -> Result<Self, ApiError> {
        let mut plan = Self::default();
        let mut deletes = Vec::new();
        plan.references(document, current, terms)?;
        let at = At { gateway: None, place: &[] };
        for section in [&PROVIDERS, &COSTS] {
            plan.section(section, document, &current.whole, &at, terms, &mut deletes)?;
        }
        let gateways = list_of(&current.whole, "gateways");
        for (index, gateway) in list_of(document, "gateways").iter().enumerate() {
            let place = ["gateways".to_owned(), index.to_string()];
            let id = text_of(gateway, "id");
            let found = gateways.iter().find(|found| text_of(found, "id") == id).and_then(Value::as_object);
            let Some(given) = gateway.as_object() else { continue };
            plan.settings(id, given, found, &place, terms);
            let (nothing, at) = (Map::new(), At { gateway: Some(id), place: &place });
            for section in OF_GATEWAY {
                plan.section(section, given, found.unwrap_or(&nothing), &at, terms, &mut deletes)?;
            }
            if let Some(wanted) = given.get(ENDPOINT) {
                let was = found.and_then(|found| found.get(ENDPOINT)).unwrap_or(&Value::Null);
                plan.endpoint((terms.account, id), &place, wanted, was);
            }
        }
        let named = |id: &str| list_of(document, "gateways").iter().any(|gateway| text_of(gateway, "id") == id);
        for gateway in gateways.iter().map(|gateway| text_of(gateway, "id")).filter(|id| !named(id)) {
            plan.others += 1;
            if terms.prune && document.contains_key("gateways") {
                deletes.push(Step {
                    action: "delete",
                    kind: "gateways",
                    gateway: None,
                    name: gateway.to_owned(),
                    changes: Value::Null,
                    place: vec!["gateways".to_owned()],
                    asks: vec![Ask {
                        method: "DELETE",
                        path: at_account(terms.account, &format!("gateways/{gateway}")),
                        ..Ask::default()
                    }],
                });
            }
        }
        plan.section(&WEBHOOKS, document, &current.whole, &at, terms, &mut deletes)?;
        // What refers to others goes before them.
        deletes.reverse();
        plan.steps.extend(deletes);
        Ok(plan)
    }

    /// Whether what the document refers to is there, or is going to be. A rehearsal does not see it.
    fn references(&self, document: &Map<String, Value>, current: &Current, terms: &Terms<'_>) -> Result<(), ApiError> {
        let known = |list: &str, member: &str, name: &str| {
            let has =
                |whole: &Map<String, Value>| list_of(whole, list).iter().any(|item| text_of(item, member) == name);
            has(document) || (has(&current.whole) && !(terms.prune && document.contains_key(list)))
        };
        for (index, cost) in list_of(document, COSTS.name).iter().enumerate() {
            let slug = text_of(cost, "provider").strip_prefix("custom-");
            if slug.is_some_and(|slug| !known(PROVIDERS.name, "slug", slug)) {
                let place = [COSTS.name.to_owned(), index.to_string(), "provider".to_owned()];
                return Err(refused(&place, "Neither the document nor the account has this custom provider"));
            }
        }
        for (index, webhook) in list_of(document, WEBHOOKS.name).iter().enumerate() {
            let gateway = text_of(webhook, "gateway");
            if !gateway.is_empty() && !known("gateways", "id", gateway) {
                let place = [WEBHOOKS.name.to_owned(), index.to_string(), "gateway".to_owned()];
                return Err(refused(&place, "Neither the document nor the account has this gateway"));
            }
        }
        Ok(())
    }

    /// A gateway itself.
    fn settings(
        &mut self,
        id: &str,
        given: &Map<String, Value>,
        found: Option<&Map<String, Value>>,
        place: &[String],
        terms: &Terms<'_>,
    ) {
        let known = json::of(&GatewaySettings::default());
        let at: Vec<String> = place.iter().cloned().chain(["settings".to_owned()]).collect();
        let mut settings = Map::new();
        for (name, value) in given.get("settings").and_then(Value::as_object).into_iter().flatten() {
            if NO_SETTINGS.contains(&name.as_str()) {
                continue;
            }
            if known.get(name).is_none() {
                self.warnings.push(format!("{}.{name}: there is no such setting; it is left out", at.join(".")));
                continue;
            }
            settings.insert(name.clone(), value.clone());
        }
        let shown = found.and_then(|found| found.get("settings")).and_then(Value::as_object);
        let usual = Map::new();
        let mut whole = shown.unwrap_or(&usual).clone();
        whole.extend(settings.clone());
        // What is wrong with them the gateway's own route says.
        let parsed = GatewaySettings::parse(&whole).map_or(Value::Object(whole), |parsed| json::of(&parsed));
        let was = |name: &str| shown.and_then(|shown| shown.get(name)).or(known.get(name)).unwrap_or(&Value::Null);
        let (mut changes, mut sent) = (Map::new(), Map::new());
        for (name, value) in settings {
            if same(parsed.get(&name).unwrap_or(&Value::Null), was(&name)) {
                continue;
            }
            // The gateway's own route keeps the headers of destinations that stay.
            let is_kept = name == "otel" && shown.is_some() && destinations_stay(&value, was(&name));
            if !is_kept && value.to_string().contains("\"***\"") {
                self.warnings.push(format!(
                    "{}.{name}: it has a value that the document does not show, and is left as it is; PUT …/gateways/{id} changes it",
                    at.join(".")
                ));
                continue;
            }
            changes.extend([change(&name, was(&name), &value)]);
            sent.insert(name, value);
        }
        let (action, method, path) = match shown {
            Some(_) if sent.is_empty() => {
                self.unchanged += 1;
                return;
            }
            Some(_) => ("update", "PUT", at_account(terms.account, &format!("gateways/{id}"))),
            None => {
                sent.insert("id".to_owned(), id.into());
                ("create", "POST", at_account(terms.account, "gateways"))
            }
        };
        self.steps.push(Step {
            action,
            kind: "gateways",
            gateway: None,
            name: id.to_owned(),
            changes: Value::Object(changes),
            place: at,
            asks: vec![Ask { method, path, body: body(sent), is_rehearsal: false }],
        });
    }

    fn section(
        &mut self,
        section: &Section,
        given: &Map<String, Value>,
        current: &Map<String, Value>,
        at: &At<'_>,
        terms: &Terms<'_>,
        deletes: &mut Vec<Step>,
    ) -> Result<(), ApiError> {
        let shown = list_of(current, section.name);
        let mut taken = vec![false; shown.len()];
        let mut keys: Vec<String> = Vec::new();
        let base = match at.gateway {
            Some(gateway) => at_gateway(terms.account, gateway, section.path),
            None => at_account(terms.account, section.path),
        };
        for (index, item) in list_of(given, section.name).iter().enumerate() {
            let place: Vec<String> =
                at.place.iter().cloned().chain([section.name.to_owned(), index.to_string()]).collect();
            let Some(fields) = item.as_object() else { return Err(refused(&place, "Expected an object")) };
            let key = section.key(item);
            // Of prices and policies there may be several with one name.
            if keys.contains(&key) && ![COSTS.name, POLICIES.name].contains(&section.name) {
                return Err(refused(&place, format!("The document has '{key}' twice")));
            }
            keys.push(key.clone());
            let found = shown.iter().zip(&mut taken).find(|(shown, taken)| !**taken && section.key(shown) == key);
            let step = |action, changes, asks| Step {
                action,
                kind: section.name,
                gateway: at.gateway.map(str::to_owned),
                name: key.clone(),
                changes,
                place: place.clone(),
                asks,
            };
            let mut changes = Map::new();
            match found {
                None => {
                    if let Some(sent) = self.creates(section, fields, &place, at) {
                        let path =
                            if section.name == POLICIES.name { format!("{base}?commit=true") } else { base.clone() };
                        let ask = Ask { method: "POST", path, body: body(sent), is_rehearsal: false };
                        self.steps.push(step("create", Value::Null, vec![ask]));
                    }
                }
                Some((shown, taken)) => {
                    *taken = true;
                    let mut sent = Map::new();
                    for (name, value) in fields {
                        let was = shown.get(name).unwrap_or(&Value::Null);
                        if !section.keys.contains(&name.as_str()) && name != "secret" && !same(value, was) {
                            changes.extend([change(name, was, value)]);
                            sent.insert(name.clone(), value.clone());
                        }
                    }
                    // A secret cannot be compared, so it goes along with what can.
                    if let Some(secret) =
                        fields.get("secret").filter(|_| section.name == WEBHOOKS.name && !sent.is_empty())
                    {
                        sent.insert("secret".to_owned(), secret.clone());
                    }
                    if section.name == PROVIDERS.name {
                        self.missing_headers(fields, shown, &place.join("."));
                        self.left_behind(&mut sent, shown, &place.join("."));
                    }
                    if section.name == KEYS.name {
                        self.of_keys_alone(&mut changes, &mut sent, &place.join("."));
                    }
                    let asks = Self::updates(section, (&base, text_of(shown, "id")), sent);
                    match asks.is_empty() {
                        true => self.unchanged += 1,
                        false => self.steps.push(step("update", Value::Object(changes), asks)),
                    }
                }
            }
        }
        for (shown, _) in shown.iter().zip(&taken).filter(|(_, taken)| !**taken) {
            self.others += 1;
            if terms.prune && given.contains_key(section.name) && section.name != KEYS.name {
                let path = format!("{base}/{}", text_of(shown, "id"));
                deletes.push(Step {
                    action: "delete",
                    kind: section.name,
                    gateway: at.gateway.map(str::to_owned),
                    name: section.key(shown),
                    changes: Value::Null,
                    place: at.place.iter().cloned().chain([section.name.to_owned()]).collect(),
                    asks: vec![Ask { method: "DELETE", path, ..Ask::default() }],
                });
            }
        }
        Ok(())
    }

    /// The body that makes one, unless it cannot be made without what the document does not have.
    fn creates(
        &mut self,
        section: &Section,
        fields: &Map<String, Value>,
        place: &[String],
        at: &At<'_>,
    ) -> Option<Map<String, Value>> {
        let mut sent = fields.clone();
        sent.remove("id");
        let place = place.join(".");
        if section.name == KEYS.name {
            let text = |name| fields.get(name).and_then(Value::as_str).unwrap_or_default();
            self.warnings.push(format!(
                "{place}: the gateway '{}' stores no key of '{}' with the alias '{}'. Keys stand in no document: POST …/provider_configs stores one",
                at.gateway.unwrap_or_default(),
                text("provider_slug"),
                text("alias")
            ));
            return None;
        }
        if section.name == WEBHOOKS.name {
            let item = Value::Object(fields.clone());
            let is_masked = text_of(&item, "url").ends_with(MASK);
            if is_masked || (!fields.contains_key("secret") && text_of(&item, "format") != "slack") {
                let lacks = if is_masked { "the whole of its url" } else { "its secret" };
                self.warnings.push(format!(
                    "{place}: the account has no such webhook, and the document does not have {lacks}. Give it, or add the webhook by POST …/alerts/webhooks"
                ));
                return None;
            }
        }
        if section.name == COSTS.name
            && let Some(provider) = sent.remove("provider")
        {
            sent.insert("account_provider_id".to_owned(), provider);
        }
        if section.name == PROVIDERS.name {
            self.without_masked_headers(&mut sent, &place);
        }
        Some(sent)
    }

    /// The requests that make one what the document says.
    fn updates(section: &Section, (base, id): (&str, &str), sent: Map<String, Value>) -> Vec<Ask> {
        if sent.is_empty() {
            return Vec::new();
        }
        let ask = |method, path: String, body| Ask { method, path, body, is_rehearsal: false };
        let one = format!("{base}/{id}");
        if section.name == ROUTES.name {
            let deployed = object::of([("version_id".to_owned(), MADE.into())]);
            return vec![
                ask("POST", format!("{one}/versions"), body(sent)),
                ask("POST", format!("{one}/deployments"), body(deployed)),
            ];
        }
        let (method, path) = match section.name {
            name if name == POLICIES.name => ("PUT", format!("{one}?commit=true")),
            name if [PROVIDERS.name, COSTS.name, WEBHOOKS.name].contains(&name) => ("PATCH", one),
            _ => ("PUT", one),
        };
        vec![ask(method, path, body(sent))]
    }
}
