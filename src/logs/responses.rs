//! Responses that clients may ask for later, in the database of their gateway's logs.

use crate::db::store::{Bind, Statement, Store, StoreError, row};

/// How long one is kept, in days. A gateway that keeps its logs or their bodies for less keeps it for less.
const DAYS: i64 = 30;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What the names of objects begin with that have one: no log's id does.
pub const PREFIX: &str = "responses/";

/// A response and the items of its request that are longer, in bytes, are in the bucket, where there is one.
pub const LONG: usize = 256 * 1024;

/// Longer ones fit no row.
pub const MOST_IN_ROW: usize = 1_900_000;

/// No conversation that is put together again has more responses, or more bytes.
const MOST_LINKS: i64 = 1_000;
const MOST_BYTES: i64 = 12 * 1024 * 1024;

/// How many are removed at once.
const AT_ONCE: i64 = 200;

/// So many times in one run, because an invocation may send D1 a thousand statements.
pub const SLICES: u32 = 50;

/// Whose responses are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub gateway: i64,
    pub owner: String,
}

row! {
    /// A response, and the items of its request, both as JSON.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredResponse {
        pub id: String,
        pub previous_id: Option<String>,
        pub created_at: u64,
        pub input: String,
        pub response: String,
        object: Option<String>,
    }
}

/// SQL for: the responses of an owner that are not too old.
macro_rules! owned {
    () => {
        "gateway = ?1 AND owner = ?2 AND created_at > ?3"
    };
}

/// Writes a response, in the place of one of the same id. `object` is the name of what has the texts where the row has none.
pub async fn write(
    store: &impl Store,
    of: &Owned,
    stored: &StoredResponse,
    object: Option<&str>,
) -> Result<(), StoreError> {
    let mut statements = removed(
        "SELECT key FROM stored_responses WHERE gateway = ?1 AND owner = ?2 AND id = ?3",
        vec![of.gateway.into(), of.owner.as_str().into(), stored.id.as_str().into()],
    );
    let sql = "INSERT INTO stored_responses (gateway, owner, id, previous_id, created_at, bytes, input, response, object) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let bytes = stored.input.len() + stored.response.len();
    let (input, response) = if object.is_some() { ("", "") } else { (&*stored.input, &*stored.response) };
    statements.push(Statement::new(
        sql,
        [
            of.gateway.into(),
            of.owner.as_str().into(),
            stored.id.as_str().into(),
            stored.previous_id.as_deref().into(),
            Bind::Int(stored.created_at as i64),
            Bind::Int(bytes as i64),
            input.into(),
            response.into(),
            object.into(),
        ],
    ));
    store.batch(statements).await.map(drop)
}

/// The text of an object that has a response and the items of its request: neither has an end of a line.
pub fn object_of(stored: &StoredResponse) -> String {
    format!("{}\n{}", stored.input, stored.response)
}

/// A response and those before it in its conversation, the oldest first.
pub async fn conversation(
    store: &impl Store,
    of: &Owned,
    id: &str,
    now_ms: u64,
) -> Result<Vec<StoredResponse>, StoreError> {
    let sql = concat!(
        "WITH RECURSIVE chain (key, previous_id, n, bytes) AS (SELECT key, previous_id, 0, bytes FROM stored_responses WHERE ",
        owned!(),
        " AND id = ?4 UNION ALL SELECT next.key, next.previous_id, n + 1, chain.bytes + next.bytes FROM chain \
         JOIN stored_responses AS next ON next.gateway = ?1 AND next.owner = ?2 AND next.created_at > ?3 \
           AND next.id = chain.previous_id WHERE n < ?5 AND chain.bytes + next.bytes < ?6) \
         SELECT stored.id, stored.previous_id, stored.created_at, stored.input, stored.response, stored.object FROM chain \
         JOIN stored_responses AS stored ON stored.key = chain.key ORDER BY n DESC"
    );
    let binds = [oldest(of, now_ms).as_slice(), &[id.into(), Bind::Int(MOST_LINKS), Bind::Int(MOST_BYTES)]].concat();
    with_texts(store, store.rows(Statement::new(sql, binds)).await?).await
}

/// The responses of some ids, as far as there are.
pub async fn some(
    store: &impl Store,
    of: &Owned,
    ids: &[&str],
    now_ms: u64,
) -> Result<Vec<StoredResponse>, StoreError> {
    let sql = concat!(
        "SELECT id, previous_id, created_at, input, response, object FROM stored_responses WHERE ",
        owned!(),
        " AND id IN (SELECT value FROM json_each(?4))"
    );
    let ids = serde_json::Value::from(ids).to_string();
    let binds = [oldest(of, now_ms).as_slice(), &[ids.into()]].concat();
    with_texts(store, store.rows(Statement::new(sql, binds)).await?).await
}

/// Removes a response. Tells whether there was one.
pub async fn remove(store: &impl Store, of: &Owned, id: &str, now_ms: u64) -> Result<bool, StoreError> {
    let binds = [oldest(of, now_ms).as_slice(), &[id.into()]].concat();
    let chosen = removed(concat!("SELECT key FROM stored_responses WHERE ", owned!(), " AND id = ?4"), binds);
    Ok(store.batch(chosen).await?.last() == Some(&1))
}

/// Removes some that are too old. True where there may be more.
pub async fn expire(store: &impl Store, now_ms: u64) -> Result<bool, StoreError> {
    let chosen = removed(
        "SELECT stored.key FROM gateways CROSS JOIN stored_responses AS stored ON stored.gateway = gateways.key AND stored.created_at <= ?1 \
         - ?2 * min(?3, coalesce(settings->>'log_retention_days', ?3), coalesce(settings->>'log_body_retention_days', ?3)) LIMIT ?4",
        vec![Bind::Int(now_ms as i64), Bind::Int(DAY_MS), Bind::Int(DAYS), Bind::Int(AT_ONCE)],
    );
    Ok(store.batch(chosen).await?.last() == Some(&(AT_ONCE as u64)))
}

/// Removes some of a gateway that was deleted. True where there may be more.
pub async fn remove_gateway(store: &impl Store, gateway: i64) -> Result<bool, StoreError> {
    let chosen = removed(
        "SELECT key FROM stored_responses WHERE gateway = ?1 LIMIT ?2",
        vec![gateway.into(), Bind::Int(AT_ONCE)],
    );
    Ok(store.batch(chosen).await?.last() == Some(&(AT_ONCE as u64)))
}

/// Statements that remove the responses whose keys are chosen, and note their objects. The last one is the removal.
fn removed(chosen: &str, binds: Vec<Bind>) -> Vec<Statement> {
    let objects = format!(
        "INSERT OR IGNORE INTO removed_objects (log_id) SELECT object FROM stored_responses WHERE key IN ({chosen}) AND object IS NOT NULL"
    );
    let rows = format!("DELETE FROM stored_responses WHERE key IN ({chosen})");
    let of = |sql: String, binds| Statement { sql: sql.into(), binds };
    vec![of(objects, binds.clone()), of(rows, binds)]
}

fn oldest(of: &Owned, now_ms: u64) -> [Bind; 3] {
    [of.gateway.into(), of.owner.as_str().into(), Bind::Int((now_ms as i64).saturating_sub(DAYS * DAY_MS))]
}

/// Fetches the texts that are in the bucket. A response whose object is not there is none.
async fn with_texts(store: &impl Store, rows: Vec<StoredResponse>) -> Result<Vec<StoredResponse>, StoreError> {
    let mut whole = Vec::with_capacity(rows.len());
    for mut row in rows {
        if let Some(name) = &row.object {
            let object = store.object(name).await?.and_then(|bytes| String::from_utf8(bytes).ok());
            let Some((input, response)) = object.as_deref().and_then(|text| text.split_once('\n')) else { continue };
            (row.input, row.response) = (input.to_owned(), response.to_owned());
        }
        whole.push(row);
    }
    Ok(whole)
}

// === impl StoredResponse ===

impl StoredResponse {
    pub fn new(id: String, previous_id: Option<String>, created_at: u64, input: String, response: String) -> Self {
        Self { id, previous_id, created_at, input, response, object: None }
    }
}

#[cfg(test)]
#[path = "responses_tests.rs"]
mod tests;
