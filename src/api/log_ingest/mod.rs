//! `POST …/logs`: logs of requests that did not come through Tollgate.

mod fields;
mod line;
#[cfg(test)]
mod tests;

use crate::api::Place;
use crate::api::request::Request;
use crate::auth::caller::Caller;
use crate::base::id;
use crate::base::json::json;
use crate::db::databases::Databases;
use crate::db::store::{Bind, Statement, Store, StoreError};
use crate::gateways::catalogue;
use crate::gateways::snapshot::{self, GatewaySnapshot};
use crate::http::envelope::{ApiError, Reply};
use crate::logs::metadata;
use crate::logs::part::{Group, Part};
use crate::logs::pieces::name::NamingKey;
use crate::logs::pieces::plan::Plan;
use crate::logs::rollup::Tally;
use crate::logs::rows::{self, MAX_JSON};
use line::{Measured, Terms};
use serde_json::Value;

/// How long a request may be, in bytes. Each text of more than 8,000 is a statement of its own, and an invocation may send D1 a
/// thousand.
pub const MAX_BODY: u64 = 4 * 1024 * 1024;

const MAX_LINES: usize = 1_000;

/// Logs that are written in one transaction.
const AT_ONCE: usize = 250;

/// How often a transaction is tried that found some of its logs written by another.
const TIMES: usize = 4;

/// What a request is about beside its body.
struct Sent<'a> {
    snapshot: GatewaySnapshot,
    caller: &'a Caller,
    now_ms: u64,
    entropy: &'a [u8; 32],
    new_id: &'a str,
}

/// A line, and what has become of it.
struct Line {
    number: usize,
    id: Option<String>,
    fate: Fate,
}

enum Fate {
    Waits(Box<Measured>),
    Stored,
    /// A log of this id is there already.
    Exists,
    Refused(String),
}

/// Takes in logs by the settings and prices that hold for the gateway.
pub async fn taken(databases: &impl Databases, request: &Request<'_>) -> Result<Reply, ApiError> {
    let Request { route, body, caller, now_ms, entropy, new_id, .. } = request;
    let first = databases.first();
    let snapshot = snapshot::read_without_catalogue(first, route.account, route.gateway).await?;
    let mut snapshot = snapshot.ok_or_else(ApiError::not_found)?;
    if snapshot.catalogue_version > 0 {
        (snapshot.catalogue_version, snapshot.catalogue) = catalogue::read(first, route.account).await?;
    }
    let (store, place) = (databases.of(snapshot.gateway.shard)?, request.place(&snapshot.gateway));
    create(store, &place, body, Sent { snapshot, caller, now_ms: *now_ms, entropy, new_id }).await
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/logs`
///
/// Takes in one log, or NDJSON. Every line has a result of its own, and a line that is wrong does not stop the others.
async fn create(store: &impl Store, place: &Place<'_>, body: &[u8], sent: Sent<'_>) -> Result<Reply, ApiError> {
    let pinned = sent.caller.terms();
    let settings = &sent.snapshot.gateway.settings;
    let terms = Terms {
        gateway: place.key,
        shard: sent.snapshot.gateway.shard,
        caller: sent.caller.actor(),
        pinned: pinned.as_deref().map_or(&[], |terms| terms.metadata.as_slice()),
        prices: sent.snapshot.prices.clone(),
        catalogue: sent.snapshot.catalogue.clone(),
        has_log_limit: settings.log_management.is_some(),
        is_pushed: settings.pushes_logs(),
        keeps_bodies: !settings.zdr,
        retention_days: settings.log_retention_days,
        now_ms: sent.now_ms,
        entropy: sent.entropy,
    };
    let (mut lines, is_one) = read(body, &terms)?;
    if let ([Line { fate: Fate::Refused(reason), .. }], true) = (lines.as_slice(), is_one) {
        // Only the names of members have no blank.
        let named = reason.split_once(": ").filter(|(field, _)| !field.contains(' '));
        let (field, rule) = named.unwrap_or(("", reason));
        let path = std::iter::once("body").chain(field.split('.').filter(|part| !part.is_empty()));
        return Err(ApiError::invalid(path, rule));
    }
    write(store, &mut lines, &terms, sent.new_id).await?;
    Ok(Reply::result(shown(&lines)))
}

/// The lines of a body, and whether it is one alone.
fn read(body: &[u8], terms: &Terms<'_>) -> Result<(Vec<Line>, bool), ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::invalid(["body"], "Expected UTF-8"))?;
    let text = text.trim_start_matches('\u{feff}');
    let expected = "Expected a log as a JSON object, or NDJSON: one such object on each line";
    if let Ok(one @ Value::Object(_)) = serde_json::from_str::<Value>(text) {
        return Ok((vec![Line::of(1, Ok(one), terms)], true));
    }
    if text.trim_start().starts_with('[') || text.trim().is_empty() {
        return Err(ApiError::invalid(["body"], expected));
    }
    let all = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    if all.clone().nth(MAX_LINES).is_some() {
        let rule = format!("Expected at most {MAX_LINES} lines; send the rest in another request");
        return Err(ApiError::too_large(rule));
    }
    let lines = all.map(|(at, line)| {
        let log = serde_json::from_str(line).map_err(|error| format!("Expected a JSON object: {error}"));
        Line::of(at + 1, log, terms)
    });
    let lines: Vec<Line> = lines.collect();
    let is_one = lines.len() == 1;
    Ok((lines, is_one))
}

/// Writes the lines that wait. Those whose id the gateway has are left as they are.
async fn write(store: &impl Store, lines: &mut [Line], terms: &Terms<'_>, new_id: &str) -> Result<(), StoreError> {
    let mut rest = lines;
    while !rest.is_empty() {
        let (mut weight, mut count) = (0, 0);
        for line in rest.iter() {
            let own = if let Fate::Waits(measured) = &line.fate { measured.weight() } else { 0 };
            if count > 0 && (weight + own > MAX_JSON || count == AT_ONCE) {
                break;
            }
            (weight, count) = (weight + own, count + 1);
        }
        let Some((group, later)) = rest.split_at_mut_checked(count) else { break };
        let mut tries = 1;
        while let Err(error) = write_group(store, group, terms, new_id).await {
            // Another request has brought one of these logs after they were looked for.
            if tries == TIMES || !error.0.contains("constraint failed") {
                return Err(error);
            }
            tries += 1;
        }
        rest = later;
    }
    Ok(())
}

async fn write_group(
    store: &impl Store,
    lines: &mut [Line],
    terms: &Terms<'_>,
    new_id: &str,
) -> Result<(), StoreError> {
    let known = there(store, lines, terms.gateway).await?;
    let mut seen: Vec<String> = Vec::new();
    for line in lines.iter_mut().filter(|line| matches!(line.fate, Fate::Waits(_))) {
        let id = line.id.clone().unwrap_or_default();
        if known.contains(&id) || seen.contains(&id) {
            line.fate = Fate::Exists;
        }
        seen.push(id);
    }
    let waiting =
        || lines.iter().filter_map(|line| if let Fate::Waits(one) = &line.fate { Some(&**one) } else { None });
    let records: Vec<_> = waiting().map(|one| one.record.clone()).collect();
    let Some(first) = records.first() else { return Ok(()) };
    let group = Group { id: format!("{new_id}/{}", first.id), shard: terms.shard, records, unlogged: Tally::default() };
    let ids: Vec<&str> = group.records.iter().filter_map(|record| record.ingested_id.as_deref()).collect();
    let mut statements =
        vec![Statement::new(NONE_IS_THERE, [Value::from(ids).to_string().into(), terms.gateway.into()])];
    // Nothing is shared with other logs: what is would have to be looked up piece by piece.
    let part = Part::of(&group, NamingKey::default());
    statements.extend(rows::statements(&part, Plan::alone(&part)));
    statements.extend(judgements(waiting(), terms));
    store.batch(statements).await?;
    let turned_away = terms.has_log_limit;
    let stored = if turned_away { there(store, lines, terms.gateway).await? } else { Vec::new() };
    for line in lines.iter_mut().filter(|line| matches!(line.fate, Fate::Waits(_))) {
        line.fate = match &line.id {
            Some(id) if turned_away && !stored.contains(id) => {
                Fate::Refused("The gateway has as many logs as log_management lets it have".to_owned())
            }
            _ => Fate::Stored,
        };
    }
    Ok(())
}

/// Makes a transaction fail of which a log has come meanwhile, so that nothing of it is counted twice.
const NONE_IS_THERE: &str = "INSERT INTO written_groups (id) SELECT NULL FROM json_each(?1) AS new \
     WHERE EXISTS (SELECT 1 FROM logs WHERE logs.ingested_id = new.value AND logs.gateway = ?2)";

/// Which of the ids of some lines the gateway has: also of requests that came through it, which are never written over.
async fn there(store: &impl Store, lines: &[Line], gateway: i64) -> Result<Vec<String>, StoreError> {
    let ids: Vec<&str> =
        lines.iter().filter(|line| matches!(line.fate, Fate::Waits(_))).filter_map(|line| line.id.as_deref()).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT new.value AS id FROM json_each(?1) AS new WHERE EXISTS \
         (SELECT 1 FROM logs WHERE logs.ingested_id = new.value AND logs.gateway = ?2) \
         OR EXISTS (SELECT 1 FROM logs WHERE logs.id = new.value AND logs.gateway = ?2)";
    store.ids(Statement::new(sql, [Value::from(ids).to_string().into(), gateway.into()])).await
}

/// What people have said of the logs, each kind in one statement.
fn judgements<'a>(all: impl Iterator<Item = &'a Measured>, terms: &Terms<'_>) -> Vec<Statement> {
    let (mut history, mut figures, mut said) = (Vec::new(), Vec::new(), Vec::new());
    for Measured { record, thumb, score, said: data } in all {
        let id = record.id.as_str();
        let mut entry = |kind: &str, data: Value| {
            let own = id::mint(terms.now_ms, history.len() as u128);
            history.push(json!([id, own, kind, data.to_string()]));
        };
        if thumb.is_some() || score.is_some() {
            entry("patch", json!({ "feedback": thumb, "score": score }));
            figures.push(json!([id, thumb, score]));
        }
        if !data.is_empty() {
            entry("merge", Value::Object(data.clone()));
            said.extend(
                data.iter().map(|(key, value)| json!([id, key, value.to_string(), metadata::searchable(value)])),
            );
        }
    }
    let given = [Bind::Int(terms.now_ms as i64), terms.caller.into()];
    let mut statements = Vec::new();
    for (rows, sql, binds) in [
        (
            history,
            "INSERT OR IGNORE INTO feedback_history (log_id, id, given_at, given_by, kind, data) \
             SELECT logs.id, new.value->>1, ?2, ?3, new.value->>2, new.value->>3 FROM json_each(?1) AS new \
             JOIN logs ON logs.id = new.value->>0",
            given.as_slice(),
        ),
        (
            figures,
            "UPDATE logs SET feedback = new.value->>1, score = new.value->>2 FROM json_each(?1) AS new \
             WHERE logs.id = new.value->>0",
            &[],
        ),
        (
            said,
            "INSERT OR IGNORE INTO log_feedback (log_id, key, json, value, gateway, created_at, given_at, given_by) \
             SELECT logs.id, new.value->>1, new.value->>2, new.value->>3, logs.gateway, logs.created_at, ?2, ?3 \
             FROM json_each(?1) AS new JOIN logs ON logs.id = new.value->>0",
            given.as_slice(),
        ),
    ] {
        if !rows.is_empty() {
            let rows = Bind::Text(Value::Array(rows).to_string());
            statements.push(Statement::new(sql, [&[rows], binds].concat()));
        }
    }
    statements
}

fn shown(lines: &[Line]) -> Value {
    let mut counts = [0_u64; 3];
    let logs: Vec<Value> = lines
        .iter()
        .map(|line| {
            let (at, status, reason) = match &line.fate {
                Fate::Stored => (0, "stored", None),
                Fate::Exists => (1, "exists", None),
                Fate::Refused(reason) => (2, "refused", Some(reason)),
                Fate::Waits(_) => (2, "refused", None),
            };
            if let Some(count) = counts.get_mut(at) {
                *count += 1;
            }
            json!({ "line": line.number, "id": line.id, "status": status, "reason": reason })
        })
        .collect();
    let [stored, exists, refused] = counts;
    json!({ "stored": stored, "existing": exists, "refused": refused, "logs": logs })
}

// === impl Line ===

impl Line {
    fn of(number: usize, log: Result<Value, String>, terms: &Terms<'_>) -> Self {
        let id = log.as_ref().ok().and_then(line::id_of).map(str::to_owned);
        let fate = match log.and_then(|log| line::read(&log, terms)) {
            Ok(measured) => Fate::Waits(Box::new(measured)),
            Err(reason) => Fate::Refused(reason),
        };
        Self { number, id, fate }
    }
}
