//! One model that a route sends a request to: what the attempt has to know of it.

use crate::base::json::json;
use crate::catalogue::resolve::Named;
use crate::http::refusal::Refusal;
use crate::proxy::exchange::Exchange;
use crate::proxy::limits::Admission;
use crate::proxy::options::Options;
use crate::routes::deployed::WAY;
use crate::routes::graph::Model;
use crate::routes::walk::Passed;
use std::rc::Rc;

pub struct Hop {
    pub route_id: String,
    /// The way so far, as the log has it.
    pub log: String,
    /// The same for the caller, who has asked for it.
    pub told: Option<String>,
    /// `None` where the route has ended without a model.
    pub model: Option<Model>,
    /// Why nothing is sent.
    pub refusal: Option<Refusal>,
    /// The counters of the route that learn of the cost.
    pub rates: Vec<Rc<Admission>>,
}

/// The way as one text: `start:next,m1:fallback:429,m2`.
pub fn told(passed: &[Passed], last: &str) -> String {
    let mut text = String::new();
    for Passed { element, output, reason } in passed {
        text.extend([element.as_str(), ":", output.as_str()]);
        if let Some(reason) = reason {
            text.extend([":", reason.as_str()]);
        }
        text.push(',');
    }
    text.push_str(last);
    printable(&text)
}

/// The way as a log has it.
pub fn logged(name: &str, version: &str, path: serde_json::Value, element: &str) -> String {
    json!({ "name": name, "version": version, "path": path, "element": element }).to_string()
}

/// A response header takes printable ASCII only.
fn printable(text: &str) -> String {
    text.chars().take(2_000).map(|char| if matches!(char, ' '..='~') { char } else { '?' }).collect()
}

// === impl Hop ===

impl Hop {
    /// What the name of the route means here.
    pub fn named(&self) -> Named {
        let (provider, model) =
            self.model.as_ref().map(|model| (model.provider.clone(), model.model.clone())).unwrap_or_default();
        Named { provider, model, is_alias: false }
    }

    /// How often it is tried, and for how long, where the element says so.
    pub fn limit(&self, options: &mut Options) {
        let Some(model) = &self.model else { return };
        if model.retries > 0 {
            options.retry.attempts = model.retries + 1;
        }
        if model.timeout > 0 {
            options.retry.timeout_ms = Some(model.timeout);
        }
    }

    /// Lets the exchange know the way, and what the caller is told.
    pub fn tell(&self, exchange: &mut Exchange) {
        exchange.call.route = Some(self.log.clone());
        exchange.call.route_id = Some(self.route_id.clone());
        exchange.rates.extend(self.rates.iter().cloned());
        if let Some(model) = &self.model {
            exchange.gateway_headers.push(("cf-aig-model", printable(&model.model)));
            exchange.gateway_headers.push(("cf-aig-provider", printable(&model.provider)));
        }
        if let Some(told) = &self.told {
            exchange.gateway_headers.push((WAY, told.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_told_in_one_line_of_ascii() {
        let passed = |element: &str, output: &str, reason: Option<&str>| Passed {
            element: element.to_owned(),
            output: output.to_owned(),
            reason: reason.map(str::to_owned),
        };
        let way = [passed("s", "next", None), passed("é\r\n", "fallback", Some("429"))];
        assert_eq!(told(&way, "m2"), "s:next,???:fallback:429,m2");
    }
}
