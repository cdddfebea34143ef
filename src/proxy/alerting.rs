//! What a request tells an operator of, beside its row: limits that are nearly used up, and circuits that open.

use crate::alerts::event::Event;
use crate::alerts::send_worker::raise;
use crate::base::json::json;
use crate::limit::spend;
use crate::limit::watch::{Crossed, Watch};
use crate::limit::{Demand, Reading};
use crate::logs::call::Call;
use crate::platform::{Runtime, now};
use serde_json::Value;
use std::rc::Rc;

/// An hour, in milliseconds: a circuit that opens again and again is told of once in it.
const HOUR_MS: u64 = 3_600_000;

/// Tells of the limits that have been used to a share that matters.
pub fn limits(runtime: &Rc<Runtime>, watch: &Watch, gateway: i64, demands: &[Demand], readings: &[Reading]) {
    for (demand, reading) in demands.iter().zip(readings) {
        for crossed in watch.crossed(demand, reading, now()) {
            raise(runtime, of_limit(watch, gateway, demand, reading, &crossed));
        }
    }
}

fn of_limit(watch: &Watch, gateway: i64, demand: &Demand, reading: &Reading, crossed: &Crossed) -> Event {
    let Crossed { threshold, window, is_money } = *crossed;
    let rule = demand.rule.split_once('/').map_or(demand.rule.as_str(), |(_, rule)| rule);
    let part: Value = serde_json::from_str(&demand.part).unwrap_or_default();
    let amount = |amount: u64| if is_money { spend::text(amount) } else { amount.to_string() };
    let whose = match part.as_array() {
        Some(values) if !values.is_empty() => {
            let values: Vec<String> =
                values.iter().map(|value| value.as_str().unwrap_or_default().chars().take(80).collect()).collect();
            format!(" of {}", values.join(", "))
        }
        _ => String::new(),
    };
    let (unit, kind) = if is_money { (" US dollars", "spend") } else { (" requests", "rate") };
    let summary = format!(
        "{:.0} % of the limit '{rule}'{whose} are used: {} of {}{unit}.",
        threshold * 100.0,
        amount(reading.used),
        amount(demand.limit)
    );
    let number = |amount: u64| if is_money { json!(spend::dollars(amount)) } else { json!(amount) };
    Event {
        kind,
        account: watch.account.clone(),
        gateway: Some((gateway, watch.gateway.clone())),
        name: format!("{} {} {window}", demand.rule, demand.part),
        threshold: Some(threshold),
        summary,
        data: json!({ "rule": rule, "partition": part, "used": number(reading.used), "limit": number(demand.limit),
            "resets_in_seconds": reading.resets_in_ms / 1_000 }),
    }
}

/// Tells of a circuit that is open.
pub fn circuit(runtime: &Rc<Runtime>, watch: Option<&Rc<Watch>>, call: &Call) {
    let Some(watch) = watch else { return };
    let hour = now() / HOUR_MS;
    raise(
        runtime,
        Event {
            kind: "circuit",
            account: watch.account.clone(),
            gateway: Some((call.gateway, watch.gateway.clone())),
            name: format!("{} {hour}", call.provider),
            threshold: None,
            summary: format!("{} failed repeatedly, so this gateway leaves it alone for a while.", call.provider),
            data: json!({ "provider": call.provider, "model": call.model() }),
        },
    );
}
