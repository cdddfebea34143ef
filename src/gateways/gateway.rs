//! A gateway: its row in the database, and how it is found and made.

use crate::cache::epoch::Epoch;
use crate::catalogue::aliases::Aliases;
use crate::db::audit::{self, Actor, Change};
use crate::db::databases::Databases;
use crate::db::store::{Bind, FromRow, Statement, Store, StoreError, row};
use crate::dlp::Dlp;
use crate::gateways::settings::GatewaySettings;
use crate::guardrails::Guardrails;
use crate::http::cors::Cors;
use crate::limit::rules::Limits;
use crate::telemetry::destination;
use serde_json::Map;
use std::rc::Rc;

/// A gateway: the settings under which an application's requests run.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// What other tables refer to; see the migrations for why it is no id.
    pub key: i64,
    pub account_id: String,
    pub id: String,
    pub internal_id: String,
    pub created_at: u64,
    pub modified_at: u64,
    /// Which database has its logs.
    pub shard: u32,
    pub settings: GatewaySettings,
    pub cache: Epoch,
    /// What the settings say of limits, read once.
    pub limits: Limits,
    /// Which more places a session is taken from, read once.
    pub session_from: Rc<[String]>,
    /// Which pages may use it, read once.
    pub cors: Option<Cors>,
    /// What models are asked about requests and answers, read once.
    pub guardrails: Option<Rc<Guardrails>>,
    /// What must not leave, read once.
    pub dlp: Option<Rc<Dlp>>,
    /// What names of models mean, read once.
    pub aliases: Rc<Aliases>,
}

/// The gateway that authenticated requests bring into being.
pub const DEFAULT: &str = "default";

row! {
    pub struct GatewayRow {
        key: i64,
        account_id: String,
        id: String,
        internal_id: String,
        created_at: u64,
        modified_at: u64,
        settings: String,
        cache_generation: u64,
        cache_purged: String,
        shard: u32,
    }
}

pub const COLUMNS: &str =
    "key, account_id, id, internal_id, created_at, modified_at, settings, cache_generation, cache_purged, shard";

/// 1 to 64 characters: lower-case letters, digits and `_`, with single hyphens between them.
pub fn is_gateway_id(id: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    (1..=64).contains(&id.len()) && id.split('-').all(word)
}

/// 1 to 64 letters, digits, `-` and `_`: Cloudflare's ids, and names of one's own.
pub fn is_account_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

pub async fn find(store: &impl Store, account: &str, id: &str) -> Result<Option<Gateway>, StoreError> {
    let statement = Statement::new(
        format!("SELECT {COLUMNS} FROM gateways WHERE account_id = ?1 AND id = ?2"),
        [account.into(), id.into()],
    );
    store.row::<GatewayRow>(statement).await?.map(Gateway::read).transpose()
}

pub async fn by_key(store: &impl Store, key: i64) -> Result<Option<Gateway>, StoreError> {
    let statement = Statement::new(format!("SELECT {COLUMNS} FROM gateways WHERE key = ?1"), [key.into()]);
    store.row::<GatewayRow>(statement).await?.map(Gateway::read).transpose()
}

/// The accounts that have gateways.
pub async fn accounts(store: &impl Store) -> Result<Vec<String>, StoreError> {
    // The database has few gateways, but one account may have all of them: the next account is looked up and not walked to.
    let sql = "WITH RECURSIVE known (id) AS (SELECT min(account_id) FROM gateways UNION ALL \
         SELECT (SELECT min(account_id) FROM gateways WHERE account_id > known.id) FROM known WHERE known.id IS NOT NULL) \
         SELECT id FROM known WHERE id IS NOT NULL LIMIT 200";
    store.ids(Statement::new(sql, [])).await
}

/// Makes the account's `default` gateway, or finds the one that another request made meanwhile.
pub async fn create_default(
    databases: &impl Databases,
    account: &str,
    actor: &Actor<'_>,
    internal_id: String,
) -> Result<Gateway, StoreError> {
    let settings = GatewaySettings::of_default_gateway();
    let row = actor.row(&Change {
        action: "gateway.create",
        account,
        gateway: Some(DEFAULT),
        target: DEFAULT,
        fields: audit::fields(&Map::new()),
    });
    // Every account has it, however many others it has.
    let insert = insert(account, DEFAULT, &internal_id, actor.now_ms, &settings, databases.numbers(), Bind::Null);
    databases.first().batch(vec![insert, row]).await?;
    find(databases.first(), account, DEFAULT)
        .await?
        .ok_or_else(|| StoreError("the gateway 'default' was made and is not there".to_owned()))
}

/// The statement that makes a gateway, in the one of some databases (a JSON array of numbers) that has the fewest, unless the
/// account has as many as it may.
pub fn insert(
    account: &str,
    id: &str,
    internal_id: &str,
    now_ms: u64,
    settings: &GatewaySettings,
    shards: String,
    most: Bind,
) -> Statement {
    Statement::new(
        "INSERT INTO gateways (account_id, id, internal_id, created_at, modified_at, settings, shard) \
         SELECT ?1, ?2, ?3, ?4, ?4, ?5, CASE json_array_length(?6) WHEN 1 THEN ?6->>0 ELSE \
           (SELECT value FROM json_each(?6) ORDER BY (SELECT count(*) FROM gateways WHERE shard = value), value LIMIT 1) END \
         WHERE ?7 IS NULL OR (SELECT count(*) FROM gateways WHERE account_id = ?1) < ?7 \
         ON CONFLICT (account_id, id) DO NOTHING",
        [account.into(), id.into(), internal_id.into(), time(now_ms), stored(settings).into(), shards.into(), most],
    )
}

/// Settings as the row has them.
pub fn stored(settings: &GatewaySettings) -> String {
    // Settings are plain values with string keys, which always serialize.
    serde_json::to_string(settings).unwrap_or_else(|_| "{}".to_owned())
}

pub fn time(now_ms: u64) -> Bind {
    Bind::Int(now_ms as i64)
}

// === impl Gateway ===

impl FromRow for Gateway {
    fn from_row(row: crate::db::store::Row) -> Result<Self, StoreError> {
        Self::read(GatewayRow::from_row(row)?)
    }
}

impl Gateway {
    /// One that is about to be made, with no rows of its own, for the rehearsal of what is to be made in it.
    pub fn supposed(account: &str, id: &str) -> Result<Self, StoreError> {
        Self::read(GatewayRow {
            key: 0,
            account_id: account.to_owned(),
            id: id.to_owned(),
            internal_id: String::new(),
            created_at: 0,
            modified_at: 0,
            settings: "{}".to_owned(),
            cache_generation: 0,
            cache_purged: "{}".to_owned(),
            shard: 0,
        })
    }

    pub fn read(row: GatewayRow) -> Result<Self, StoreError> {
        let mut settings = GatewaySettings::read(&row.settings)
            .map_err(|error| StoreError(format!("the settings of gateway '{}' cannot be read: {error}", row.id)))?;
        // An older version stored the secrets of destinations, and the key of Stripe, as they were given.
        destination::mask(&mut settings.otel);
        settings.forget_stripe_key();
        let cache = Epoch::read(row.cache_generation, &row.cache_purged);
        let GatewayRow { key, account_id, id, internal_id, created_at, modified_at, shard, .. } = row;
        let (limits, cors) = (settings.limits(), Cors::of(&settings.cors));
        let aliases = Rc::new(Aliases::of(&settings.model_aliases));
        let guardrails = Guardrails::of(&settings.guardrails).map(Rc::new);
        let dlp = Dlp::of(&settings.dlp).map(Rc::new);
        let session_from = settings.session_from.as_array().into_iter().flatten();
        let session_from = session_from.filter_map(|name| name.as_str().map(str::to_owned)).collect();
        Ok(Self {
            key,
            account_id,
            id,
            internal_id,
            created_at,
            modified_at,
            shard,
            settings,
            cache,
            limits,
            session_from,
            cors,
            guardrails,
            dlp,
            aliases,
        })
    }
}
