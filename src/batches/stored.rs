//! Batches in the database of their gateway's logs.

use super::{Family, Seen, seen};
use crate::base::json::json;
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::limit::cap::Cap;
use crate::limit::message;
use crate::limit::{Demand, Takes};
use crate::logs::call::{Call, Credential};
use crate::providers::model::names;
use crate::wire::Facts;
use serde_json::{Map, Value};

/// Older ones are not asked for any more; providers keep results for less long.
pub const KEPT_MS: u64 = 40 * 24 * 60 * 60 * 1_000;

/// How long a runner has a batch for itself.
pub const LEASE_MS: u64 = 45_000;

const MINUTE_MS: u64 = 60_000;
const LONGEST_MS: u64 = 30 * MINUTE_MS;

row! {
    #[derive(Clone, Debug)]
    pub struct BatchRow {
        pub gateway: i64,
        pub provider: String,
        pub id: String,
        pub path: String,
        pub query: String,
        pub about: String,
        pub log_id: String,
        pub created_at: u64,
        pub file: u64,
        pub lines: u64,
        pub logs: u64,
    }
}

const COLUMNS: &str = "gateway, provider, id, path, query, about, log_id, created_at, file, lines, logs";

/// A batch that is being read.
#[derive(Clone, Debug)]
pub struct Batch {
    pub gateway: i64,
    pub provider: String,
    pub id: String,
    /// Where it is asked for, behind the provider.
    pub path: String,
    pub query: String,
    pub log_id: String,
    pub created_at: u64,
    /// Which file of results is read, and how many of its lines have been.
    pub file: u64,
    pub lines: u64,
    pub logs: u64,
    about: Map<String, Value>,
}

/// How a request was kept.
#[derive(Clone, Copy, Debug)]
pub struct Keeps {
    pub log: bool,
    pub bodies: bool,
}

/// Remembers a batch that a request has made, or asked for. `caps` are the budgets of policies and tokens that pay for it.
pub fn remember(call: &Call, facts: &Facts, keeps: Keeps, caps: &[Cap]) -> Option<Statement> {
    let Seen { family, id: asked, base } = seen(&call.provider, &call.method, &call.rest)?;
    let named = facts.thing.id.as_deref()?;
    // Gemini names a batch by its path.
    let id = named.strip_prefix("batches/").unwrap_or(named);
    if !super::is_id(id) || asked.is_some_and(|asked| asked != id) {
        return None;
    }
    let base = base.trim_end_matches('/');
    let path = format!("{base}/{id}");
    // Only a request for its version may be repeated; others may have a key in them.
    let query = call.query.split(['?', '&']).find(|pair| pair.starts_with("api-version="));
    let query = query.map_or(String::new(), |pair| format!("?{pair}"));
    let alias = match &call.credential {
        Credential::Stored(alias) => Some(alias.as_str()),
        _ => None,
    };
    let masker = call.secrets.for_storage();
    let metadata: Vec<Value> = call
        .metadata
        .entries
        .iter()
        .map(|(key, value)| match value {
            Value::String(text) => json!([masker.said(key.clone()), masker.said(text.clone())]),
            value => json!([masker.said(key.clone()), value]),
        })
        .collect();
    let about = json!({
        "caller": call.caller,
        "authentication": call.authentication,
        "metadata": metadata,
        "session": call.session.iter().flatten().next().map(|session| masker.said(session.clone())),
        "user_agent": call.user_agent.as_ref().map(|agent| masker.said(agent.clone())),
        "credential": call.credential.name(),
        "alias": alias,
        "log": keeps.log,
        "keeps_bodies": keeps.bodies,
        "model": (family == Family::Gemini).then(|| call.model().map(|model| names::own(&call.provider, &model).to_owned())).flatten(),
        "caps": caps.iter().map(|cap| message::demand_to_json(&cap.demand(Takes::Later))).collect::<Vec<Value>>(),
    });
    // Its caller alone has a key for it: the cron cannot ask.
    let next_at = (call.credential != Credential::Request).then(|| Bind::Int((call.created_at + MINUTE_MS) as i64));
    Some(Statement::new(
        "INSERT OR IGNORE INTO batches (gateway, provider, id, path, query, about, log_id, created_at, next_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        [
            call.gateway.into(),
            call.provider.as_str().into(),
            id.into(),
            path.into(),
            query.into(),
            about.to_string().into(),
            call.id.as_str().into(),
            Bind::Int(call.created_at as i64),
            next_at.unwrap_or(Bind::Null),
        ],
    ))
}

/// The batches that the cron has to look at, those that wait longest first.
pub async fn due(store: &impl Store, now_ms: u64, most: u64) -> Result<Vec<Batch>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM batches WHERE next_at IS NOT NULL AND done_at IS NULL AND next_at <= ?1 AND lease < ?1 \
         ORDER BY next_at LIMIT ?2"
    );
    let rows: Vec<BatchRow> =
        store.rows(Statement::new(sql, [Bind::Int(now_ms as i64), Bind::Int(most as i64)])).await?;
    Ok(rows.into_iter().map(Batch::of).collect())
}

/// A batch that its caller asks for, if its results are still to be read.
pub async fn waiting(store: &impl Store, gateway: i64, provider: &str, id: &str) -> Result<Option<Batch>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM batches WHERE gateway = ?1 AND provider = ?2 AND id = ?3 AND done_at IS NULL");
    let row = store.row::<BatchRow>(Statement::new(sql, [gateway.into(), provider.into(), id.into()])).await?;
    Ok(row.map(Batch::of))
}

/// Removes batches that are no longer asked for, and those of gateways that are no more.
pub fn forgotten(now_ms: u64) -> Statement {
    Statement::new(
        "DELETE FROM batches WHERE (gateway, provider, id) IN (SELECT gateway, provider, id FROM batches \
         WHERE created_at < ?1 LIMIT 500)",
        [Bind::Int(now_ms.saturating_sub(KEPT_MS) as i64)],
    )
}

// === impl Batch ===

impl Batch {
    fn of(row: BatchRow) -> Self {
        let BatchRow { gateway, provider, id, path, query, about, log_id, created_at, file, lines, logs } = row;
        let about = serde_json::from_str(&about).unwrap_or_default();
        Self { gateway, provider, id, path, query, log_id, created_at, file, lines, logs, about }
    }

    pub fn family(&self) -> Option<Family> {
        seen(&self.provider, "GET", &self.path).map(|seen| seen.family)
    }

    pub fn about(&self, name: &str) -> Option<&str> {
        self.about.get(name)?.as_str()
    }

    pub fn is(&self, name: &str) -> bool {
        self.about.get(name) == Some(&Value::Bool(true))
    }

    pub fn metadata(&self) -> Vec<(String, Value)> {
        let list = self.about.get("metadata").and_then(Value::as_array);
        let pair = |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.clone()));
        list.into_iter().flatten().filter_map(pair).collect()
    }

    /// The budgets of policies and tokens that pay for it.
    pub fn caps(&self) -> Vec<Demand> {
        let list = self.about.get("caps").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(message::demand).collect()
    }

    fn key(&self) -> [Bind; 3] {
        [self.gateway.into(), self.provider.as_str().into(), self.id.as_str().into()]
    }

    fn binds(&self, more: impl IntoIterator<Item = Bind>) -> Vec<Bind> {
        self.key().into_iter().chain(more).collect()
    }

    /// Has the batch for one runner alone. Changes no row where another one has it.
    pub fn lease(&self, now_ms: u64) -> Statement {
        let sql = "UPDATE batches SET lease = ?4 WHERE gateway = ?1 AND provider = ?2 AND id = ?3 AND done_at IS NULL AND lease < ?5";
        Statement::new(sql, self.binds([Bind::Int((now_ms + LEASE_MS) as i64), Bind::Int(now_ms as i64)]))
    }

    /// Leaves it, to be looked at later: the older it is, the later.
    pub fn later(&self, now_ms: u64, note: Option<&str>) -> Statement {
        let age = now_ms.saturating_sub(self.created_at);
        let next = now_ms + (age / 10).clamp(MINUTE_MS, LONGEST_MS);
        let sql = "UPDATE batches SET lease = 0, next_at = iif(next_at IS NULL, NULL, ?4), note = ?5 WHERE gateway = ?1 AND provider = ?2 AND id = ?3";
        Statement::new(sql, self.binds([Bind::Int(next as i64), note.into()]))
    }

    /// Leaves it, to be gone on with at once.
    pub fn left(&self, now_ms: u64) -> Statement {
        let sql = "UPDATE batches SET lease = 0, next_at = iif(next_at IS NULL, NULL, ?4) WHERE gateway = ?1 AND provider = ?2 AND id = ?3";
        Statement::new(sql, self.binds([Bind::Int(now_ms as i64)]))
    }

    /// The first statement of a transaction that writes logs of lines: where the batch has been read beyond them meanwhile, it says that
    /// the transaction was carried out, which leaves all others of it without effect.
    pub fn guard(&self, group: &str) -> Statement {
        let sql = "INSERT OR IGNORE INTO written_groups (id) SELECT ?4 WHERE NOT EXISTS (SELECT 1 FROM batches \
                   WHERE gateway = ?1 AND provider = ?2 AND id = ?3 AND file = ?5 AND lines = ?6 AND done_at IS NULL)";
        let at = [Bind::from(group), Bind::Int(self.file as i64), Bind::Int(self.lines as i64)];
        Statement::new(sql, self.binds(at))
    }

    /// The last one: so many more lines have been read.
    pub fn advanced(&self, lines: u64, logs: u64, now_ms: u64) -> Statement {
        let sql = "UPDATE batches SET lines = lines + ?6, logs = logs + ?7, lease = ?8 WHERE gateway = ?1 AND provider = ?2 AND id = ?3 \
                   AND file = ?4 AND lines = ?5 AND done_at IS NULL";
        let [file, at, lines, logs] = [self.file, self.lines, lines, logs].map(|number| Bind::Int(number as i64));
        Statement::new(sql, self.binds([file, at, lines, logs, Bind::Int((now_ms + LEASE_MS) as i64)]))
    }

    /// The next file of results is to be read from its beginning.
    pub fn next_file(&self) -> Statement {
        let sql = "UPDATE batches SET file = file + 1, lines = 0 WHERE gateway = ?1 AND provider = ?2 AND id = ?3 AND file = ?4 AND lines = ?5";
        Statement::new(sql, self.binds([Bind::Int(self.file as i64), Bind::Int(self.lines as i64)]))
    }

    /// All has been read. The log of the request that made it says where the cost is.
    pub fn done(&self, now_ms: u64, note: Option<&str>) -> [Statement; 2] {
        let sql = "UPDATE batches SET done_at = ?4, next_at = NULL, lease = 0, note = ?5 WHERE gateway = ?1 AND provider = ?2 AND id = ?3";
        let log = "UPDATE logs SET cost = 0, cost_unknown = NULL WHERE id = ?1 AND gateway = ?2 AND cost IS NULL";
        [
            Statement::new(sql, self.binds([Bind::Int(now_ms as i64), note.into()])),
            Statement::new(log, [self.log_id.as_str().into(), self.gateway.into()]),
        ]
    }
}
