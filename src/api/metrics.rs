//! `/metrics`: what was counted since the beginning, as Prometheus reads it.

use crate::api::request::Request;
use crate::api::shell::Shell;
use crate::db::databases::Databases;
use crate::db::store::{Bind, Statement, Store, row};
use crate::gateways::gateway;
use crate::http::envelope::{ApiError, Reply};
use crate::logs::rollup::figures::{BOUNDS, BUCKETS, DURATIONS, FIRST_BYTES, LENGTH, Sum};
use crate::logs::rollup::merge;
use crate::telemetry::exposition::{Format, Page};
use serde_json::Value;

/// More gateways are not shown at once, and no more rows: each is some forty series.
const MAX_GATEWAYS: i64 = 200;
const MAX_ROWS: i64 = 5_000;

row! {
    struct Gateway {
        key: i64,
        account_id: String,
        id: String,
        shard: u32,
    }
}

row! {
    struct Row {
        gateway: i64,
        provider: String,
        model: String,
        figures: String,
    }
}

row! {
    struct Spans {
        gateway: i64,
        id: String,
        exported: u64,
        rejected: u64,
        dropped: u64,
    }
}

row! {
    /// Of the table `counted`.
    struct Counted {
        gateway: i64,
        name: String,
        label: String,
        number: u64,
        until: Option<u64>,
    }
}

row! {
    struct Pushed {
        gateway: i64,
        pushed: u64,
        lost: u64,
    }
}

/// Counters of the table `counted`: their name there and on the page, what they are, and their labels.
const OTHERS: [(&str, &str, &str, &[&str]); 5] = [
    (
        "circuit",
        "tollgate_circuits_opened",
        "How often a provider was left alone because it failed repeatedly.",
        &["provider"],
    ),
    ("guardrail", "tollgate_guardrail", "What guardrails said of requests.", &["phase", "action", "category"]),
    (
        "push_failures",
        "tollgate_logpush_failures",
        "Batches of logs that did not arrive, and were tried again later.",
        &[],
    ),
    ("alerts", "tollgate_alerts", "Alerts by what became of them, for each webhook.", &["account", "result"]),
    ("lost", "tollgate_logs_lost", "Logs of all gateways that could not be written.", &[]),
];

/// The series of a gateway's provider and model.
struct Total<'a> {
    labels: [(&'static str, &'a str); 4],
    figures: Vec<f64>,
}

/// Counters whose samples are single sums: name, help, and for each sample the label that tells it from the others and where it is
/// found.
type Counter = (&'static str, &'static str, &'static [(&'static str, &'static str, usize)]);

const COUNTERS: &[Counter] = &[
    ("tollgate_attempts", "Calls of providers, with every retry.", &[("", "", Sum::Attempts as usize)]),
    (
        "tollgate_errors",
        "Requests that failed, by the layer that failed.",
        &[
            ("layer", "client", Sum::ByClient as usize),
            ("layer", "upstream", Sum::ByUpstream as usize),
            ("layer", "provider_4xx", Sum::By4xx as usize),
            ("layer", "provider_5xx", Sum::By5xx as usize),
        ],
    ),
    (
        "tollgate_refusals",
        "Requests that the gateway refused: at a limit, or for another reason.",
        &[("reason", "limit", Sum::ByLimit as usize), ("reason", "other", Sum::ByGateway as usize)],
    ),
    (
        "tollgate_tokens",
        "Tokens as the providers count them.",
        &[
            ("type", "input", Sum::TokensIn as usize),
            ("type", "output", Sum::TokensOut as usize),
            ("type", "cache_read", Sum::TokensCached as usize),
            ("type", "cache_write", Sum::TokensCacheWrite as usize),
            ("type", "reasoning", Sum::TokensReasoning as usize),
        ],
    ),
    ("tollgate_cost_usd", "What requests cost when they were made, in US dollars.", &[("", "", Sum::Cost as usize)]),
    ("tollgate_cost_unknown_requests", "Requests whose cost is not known.", &[("", "", Sum::Unpriced as usize)]),
    (
        "tollgate_saved_cost_usd",
        "What kept answers would have cost, in US dollars.",
        &[("", "", Sum::SavedCost as usize)],
    ),
];

/// The histograms: name, help, where the counts begin, and where the sum is.
const HISTOGRAMS: [(&str, &str, usize, usize); 2] = [
    (
        "tollgate_request_duration_seconds",
        "How long providers took for requests that succeeded.",
        DURATIONS,
        Sum::Durations as usize,
    ),
    (
        "tollgate_time_to_first_token_seconds",
        "How long it took until the first byte of their answers.",
        FIRST_BYTES,
        Sum::FirstBytes as usize,
    ),
];

/// `GET /metrics`
///
/// Of the gateways that the caller reaches, or of the `account` and `gateway` that the query names.
pub async fn get(databases: &impl Databases, shell: &impl Shell, request: &Request<'_>) -> Result<Reply, ApiError> {
    let (caller, query, store) = (request.caller, &request.query, databases.first());
    let account = query.get("account").or(caller.account());
    if caller.account().is_some_and(|own| account != Some(own)) {
        return Err(ApiError::not_found());
    }
    let sql = "SELECT key, account_id, id, shard FROM gateways WHERE (?1 IS NULL OR account_id = ?1) AND (?2 IS NULL OR id = ?2) \
               AND (?3 IS NULL OR id IN (SELECT value FROM json_each(?3))) ORDER BY key LIMIT ?4";
    let binds: [Bind; 4] = [account.into(), query.get("gateway").into(), caller.gateways().into(), MAX_GATEWAYS.into()];
    let gateways: Vec<Gateway> = store.rows(Statement::new(sql, binds)).await?;
    if gateways.is_empty() && query.get("gateway").is_some() {
        return Err(ApiError::not_found());
    }
    let (mut rows, mut pushed): (Vec<Row>, Vec<Pushed>) = (Vec::new(), Vec::new());
    for (shard, store) in databases.all() {
        let keys: Vec<i64> = gateways.iter().filter(|one| one.shard == shard).map(|one| one.key).collect();
        if !keys.is_empty() {
            merge::merge_tallies(store, request.now_ms).await?;
            let sql = "SELECT gateway, provider, model, figures FROM totals WHERE gateway IN (SELECT value FROM json_each(?1)) \
                       ORDER BY gateway, provider, model LIMIT ?2";
            let binds: [Bind; 2] = [Value::from(keys).to_string().into(), MAX_ROWS.into()];
            rows.extend(store.rows::<Row>(Statement::new(sql, binds.clone())).await?);
            let sql = "SELECT gateway, pushed, lost FROM logpush_progress WHERE gateway IN (SELECT value FROM json_each(?1)) \
                       ORDER BY gateway LIMIT ?2";
            pushed.extend(store.rows::<Pushed>(Statement::new(sql, binds)).await?);
        }
    }
    let format = Format::of(request.accept);
    let mut page = Page::new(format);
    let totals: Vec<Total<'_>> = rows.iter().filter_map(|row| Total::of(row, &gateways)).collect();
    counted(&totals, &mut page);
    timed(&totals, &mut page);
    let keys: Vec<i64> = gateways.iter().map(|one| one.key).collect();
    let sql = "SELECT gateway, id, exported, rejected, dropped FROM otel_destinations \
               WHERE gateway IN (SELECT value FROM json_each(?1)) ORDER BY gateway, id";
    let keys = Value::from(keys).to_string();
    let spans: Vec<Spans> = store.rows(Statement::new(sql, [keys.as_str().into()])).await?;
    traced(&spans, &gateways, &mut page);
    push(&pushed, &gateways, &mut page);
    // What is no gateway's is not shown to a token that reaches some gateways only.
    let is_wide = caller.gateways().is_none() && query.get("gateway").is_none();
    let sql = "SELECT gateway, name, label, number, until FROM counted WHERE gateway IN (SELECT value FROM json_each(?1)) \
               OR (gateway = 0 AND ?2) ORDER BY name, gateway, label LIMIT ?3";
    let binds: [Bind; 3] = [keys.into(), is_wide.into(), MAX_ROWS.into()];
    let mut others: Vec<Counted> = store.rows(Statement::new(sql, binds)).await?;
    others.retain(|one| match one.name.as_str() {
        "alerts" => account.is_none_or(|account| one.label.split(' ').next() == Some(account)),
        "lost" => caller.is_admin(),
        _ => true,
    });
    counted_others(&others, &gateways, request.now_ms, &mut page);
    if let (Some(_), [one]) = (query.get("gateway"), gateways.as_slice()) {
        limited(store, shell, one, &mut page).await?;
    }
    page.family("tollgate_build_info", "gauge", "Which version of Tollgate this is.");
    page.sample("tollgate_build_info", "", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let mut reply = Reply::json(200, &Value::Null);
    (reply.content_type, reply.body) = (format.content_type(), page.end());
    Ok(reply)
}

fn counted(totals: &[Total<'_>], page: &mut Page) {
    let name = "tollgate_requests";
    page.family(
        name,
        "counter",
        "Requests, by the class of the status that the client got, and whether the cache answered.",
    );
    for total in totals {
        let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].iter().enumerate();
        let by_status = classes.map(|(place, class)| (*class, "false", total.at(LENGTH + place)));
        // Only answers that succeed are kept.
        for (class, cached, number) in by_status.chain([("2xx", "true", total.at(Sum::Cached as usize))]) {
            if number > 0.0 {
                page.sample(name, "_total", &total.labelled(&[("status_class", class), ("cached", cached)]), number);
            }
        }
    }
    for (name, help, samples) in COUNTERS {
        page.family(name, "counter", help);
        for total in totals {
            for (label, value, place) in *samples {
                let more = [(*label, *value)];
                let labels = total.labelled(if label.is_empty() { &[] } else { &more });
                page.sample(name, "_total", &labels, total.at(*place));
            }
        }
    }
}

fn timed(totals: &[Total<'_>], page: &mut Page) {
    for (name, help, from, sum) in HISTOGRAMS {
        page.family(name, "histogram", help);
        for total in totals {
            // Every other bound is enough, and half the series.
            let bounds = BOUNDS.iter().skip(1).step_by(2).map(|bound| format!("{:?}", *bound as f64 / 1_000.0));
            let bounds = bounds.chain(["+Inf".to_owned()]).enumerate();
            let counts = bounds.map(|(place, bound)| {
                let at = |bucket: usize| if bucket < BUCKETS { total.at(from + bucket) } else { 0.0 };
                (bound, at(2 * place) + at(2 * place + 1))
            });
            let counts: Vec<(String, f64)> = counts.collect();
            page.histogram(name, &total.labels, &counts, total.at(sum) / 1_000.0);
        }
    }
}

fn traced(spans: &[Spans], gateways: &[Gateway], page: &mut Page) {
    let name = "tollgate_otel_spans";
    page.family(name, "counter", "Spans by what became of them, for each destination of the setting otel.");
    for of in spans {
        let Some(gateway) = gateways.iter().find(|one| one.key == of.gateway) else { continue };
        for (result, number) in [("exported", of.exported), ("rejected", of.rejected), ("dropped", of.dropped)] {
            let (account, id) = (gateway.account_id.as_str(), gateway.id.as_str());
            let labels = [("account", account), ("gateway", id), ("destination", of.id.as_str()), ("result", result)];
            page.sample(name, "_total", &labels, number as f64);
        }
    }
}

fn push(pushed: &[Pushed], gateways: &[Gateway], page: &mut Page) {
    let name = "tollgate_logpush_logs";
    page.family(name, "counter", "Logs that were pushed, and those that retention removed before they were.");
    for of in pushed {
        let Some(gateway) = gateways.iter().find(|one| one.key == of.gateway) else { continue };
        for (result, number) in [("pushed", of.pushed), ("lost", of.lost)] {
            let labels = [("account", gateway.account_id.as_str()), ("gateway", &gateway.id), ("result", result)];
            page.sample(name, "_total", &labels, number as f64);
        }
    }
}

fn counted_others(all: &[Counted], gateways: &[Gateway], now_ms: u64, page: &mut Page) {
    let mut family = |of: &str,
                      name: &str,
                      (kind, suffix): (&str, &str),
                      help: &str,
                      labels: &[&str],
                      value: fn(&Counted, u64) -> f64| {
        page.family(name, kind, help);
        for one in all.iter().filter(|one| one.name == of) {
            let gateway = gateways.iter().find(|gateway| gateway.key == one.gateway);
            let mut shown: Vec<(&str, &str)> = Vec::new();
            if let Some(gateway) = gateway {
                shown.extend([("account", gateway.account_id.as_str()), ("gateway", gateway.id.as_str())]);
            }
            shown.extend(labels.iter().copied().zip(one.label.splitn(labels.len().max(1), ' ')));
            page.sample(name, suffix, &shown, value(one, now_ms));
        }
    };
    for (of, name, help, labels) in OTHERS {
        family(of, name, ("counter", "_total"), help, labels, |one, _| one.number as f64);
    }
    let help = "1 where the isolate that spoke last leaves a provider alone.";
    let is_open = |one: &Counted, now_ms: u64| f64::from(u8::from(one.until.is_some_and(|until| until > now_ms)));
    family("circuit", "tollgate_circuit_open", ("gauge", ""), help, &["provider"], is_open);
}

/// Where the limits of one gateway stand; of a rule with several counters the one that has the least left.
async fn limited(store: &impl Store, shell: &impl Shell, one: &Gateway, page: &mut Page) -> Result<(), ApiError> {
    let Some(gateway) = gateway::by_key(store, one.key).await? else { return Ok(()) };
    if gateway.limits.rate.is_empty() && gateway.limits.spend.is_empty() {
        return Ok(());
    }
    let shown: Value = serde_json::from_str(&shell.limits(&gateway).await?.body).unwrap_or_default();
    for (list, name, help) in [
        ("rate", "tollgate_rate_limit_remaining", "Requests that a rate limit still lets pass in its window."),
        ("spend", "tollgate_budget_remaining_usd", "What a budget has left in its window, in US dollars."),
    ] {
        page.family(name, "gauge", help);
        let rules = shown.pointer(&format!("/result/{list}")).and_then(Value::as_array).into_iter().flatten();
        for rule in rules {
            let id = rule.get("id").and_then(Value::as_str).unwrap_or_default();
            let counters = rule.get("counters").and_then(Value::as_array).into_iter().flatten();
            let least = counters.filter_map(|counter| counter.get("remaining")?.as_f64()).min_by(f64::total_cmp);
            if let Some(least) = least {
                let labels = [("account", one.account_id.as_str()), ("gateway", one.id.as_str()), ("rule", id)];
                page.sample(name, "", &labels, least);
            }
        }
    }
    Ok(())
}

// === impl Total ===

impl<'a> Total<'a> {
    fn of(row: &'a Row, gateways: &'a [Gateway]) -> Option<Self> {
        let gateway = gateways.iter().find(|one| one.key == row.gateway)?;
        let labels = [
            ("account", gateway.account_id.as_str()),
            ("gateway", gateway.id.as_str()),
            ("provider", row.provider.as_str()),
            ("model", row.model.as_str()),
        ];
        let figures: Value = serde_json::from_str(&row.figures).ok()?;
        let figures = figures.as_array()?.iter().map(|figure| figure.as_f64().unwrap_or(0.0)).collect();
        Some(Self { labels, figures })
    }

    fn at(&self, place: usize) -> f64 {
        self.figures.get(place).copied().unwrap_or(0.0)
    }

    fn labelled<'b>(&'b self, more: &[(&'b str, &'b str)]) -> Vec<(&'b str, &'b str)> {
        self.labels.iter().copied().chain(more.iter().copied()).collect()
    }
}
