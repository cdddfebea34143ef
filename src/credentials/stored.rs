//! The keys that gateways store: how they are read with a gateway's row, cleared, and, with the secrets of destinations, sealed anew.

use crate::credentials::key::{Held, KeyLimit, StoredKey};
use crate::credentials::vault::{Bound, Reference, Sealed, Vault};
use crate::db::store::{FromRow, Row as Columns, Statement, Store, StoreError, row};
use crate::providers::address;

/// How many keys are sealed anew at a time.
const RESEALED_AT_ONCE: i64 = 50;

pub const COLUMNS: &str = "id, provider, alias, default_config, secret, key_id, reference, preview, upstream, rate_limit, \
     rate_limit_period, weight, created_at, modified_at";

row! {
    #[derive(Debug)]
    pub struct StoredKeyRow {
        pub id: String,
        pub provider: String,
        pub alias: String,
        pub default_config: u8,
        pub secret: Option<String>,
        pub key_id: Option<String>,
        pub reference: Option<String>,
        pub preview: String,
        pub upstream: Option<String>,
        pub rate_limit: Option<u64>,
        pub rate_limit_period: u64,
        pub weight: u32,
        pub created_at: u64,
        pub modified_at: u64,
    }
}

/// The keys of the gateway in a row of `gateways`, as one JSON array for [`keys`].
pub const OF_GATEWAY: &str = "(SELECT json_group_array(json_object('id', id, 'provider', provider, 'alias', alias, \
     'default_config', default_config, 'secret', secret, 'key_id', key_id, 'reference', reference, 'preview', preview, \
     'upstream', upstream, 'rate_limit', rate_limit, 'rate_limit_period', rate_limit_period, 'weight', weight, 'created_at', created_at, \
     'modified_at', modified_at)) FROM (SELECT * FROM provider_configs WHERE gateway = gateways.key \
     ORDER BY provider, created_at, id))";

/// Reads what [`OF_GATEWAY`] found.
pub fn keys(json: &str) -> Result<Vec<StoredKey>, StoreError> {
    let rows: Vec<Columns> =
        serde_json::from_str(json).map_err(|error| StoreError(format!("the stored keys cannot be read: {error}")))?;
    rows.into_iter().map(|row| StoredKeyRow::from_row(row).map(StoredKeyRow::key)).collect()
}

/// Throws the keys of a custom provider away, unless an account's provider of that slug leads to `base` as it did.
pub fn clear_statement(account: &str, provider: &str, base: &str) -> Statement {
    Statement::new(
        "UPDATE provider_configs SET secret = NULL, key_id = NULL, reference = NULL, preview = '' \
         WHERE provider = ?2 AND gateway IN (SELECT key FROM gateways WHERE account_id = ?1) AND NOT EXISTS \
         (SELECT 1 FROM custom_providers AS own WHERE own.account_id = ?1 AND 'custom-' || own.slug = ?2 AND own.base_url = ?3)",
        [account.into(), provider.into(), base.into()],
    )
}

/// What is sealed, a row each: its table, what finds it there, and what it is bound to. Headers of `otel` and secrets of `logpush` and of
/// webhooks are bound to the origin of a URL, as the API seals them.
const SEALED: &str = "SELECT 'provider_configs' AS place, c.id AS id, g.account_id, g.key AS gateway, c.provider, c.alias, c.upstream, \
       NULL AS url, c.secret, c.key_id FROM provider_configs c JOIN gateways g ON g.key = c.gateway \
     UNION ALL SELECT 'otel_destinations', o.gateway || ' ' || o.id, g.account_id, g.key, 'otel', o.id, NULL, \
       (SELECT value->>'url' FROM json_each(g.settings->'otel') WHERE value->>'id' = o.id), o.secret, o.key_id \
       FROM otel_destinations o JOIN gateways g ON g.key = o.gateway \
     UNION ALL SELECT 'logpush_destinations', l.gateway || '', g.account_id, g.key, 'logpush', '', NULL, l.url, l.secret, l.key_id \
       FROM logpush_destinations l JOIN gateways g ON g.key = l.gateway \
     UNION ALL SELECT 'alert_webhooks', id, account_id, 0, 'alert-webhook', id, NULL, url, secret, key_id FROM alert_webhooks";

/// Seals with the newest encryption key what was sealed with an older one, so that the older can be taken away. What
/// cannot be opened stays: its encryption key may come back.
pub async fn reseal(store: &impl Store, vault: &impl Vault) -> Result<(), StoreError> {
    row! {
        struct Older {
            place: String,
            id: String,
            account_id: String,
            gateway: i64,
            provider: String,
            alias: String,
            upstream: Option<String>,
            url: Option<String>,
            secret: String,
            key_id: String,
        }
    }
    let Some(current) = vault.current() else { return Ok(()) };
    let mut after = (String::new(), String::new());
    loop {
        let older = Statement::new(
            format!(
                "SELECT * FROM ({SEALED}) WHERE secret IS NOT NULL AND key_id IS NOT NULL AND key_id <> ?1 \
                 AND (place, id) > (?2, ?3) ORDER BY place, id LIMIT ?4"
            ),
            [current.into(), after.0.as_str().into(), after.1.as_str().into(), RESEALED_AT_ONCE.into()],
        );
        let rows: Vec<Older> = store.rows(older).await?;
        let count = rows.len();
        for row in rows {
            let bound = Bound {
                account: &row.account_id,
                gateway: row.gateway,
                provider: &row.provider,
                alias: &row.alias,
                upstream: row.url.as_deref().map(address::origin_of).or(row.upstream.as_deref()),
            };
            let old = Sealed { text: row.secret.clone(), key_id: row.key_id.clone() };
            if let Ok(plain) = vault.open(&old, &bound).await
                && let Ok(new) = vault.seal(&plain, &bound).await
            {
                // What a secret is bound to makes its text its own. Another request may have put in another one meanwhile.
                let sql =
                    format!("UPDATE {} SET secret = ?2, key_id = ?3 WHERE secret = ?1 AND key_id <> ?3", row.place);
                let update = Statement::new(sql, [row.secret.into(), new.text.into(), new.key_id.into()]);
                store.batch(vec![update]).await?;
            }
            after = (row.place, row.id);
        }
        if count < RESEALED_AT_ONCE as usize {
            return Ok(());
        }
    }
}

// === impl Row ===

impl StoredKeyRow {
    fn key(self) -> StoredKey {
        let reference = self.reference.as_deref().and_then(Reference::parse).and_then(Result::ok);
        let held = match (self.secret, self.key_id, reference) {
            (Some(text), Some(key_id), _) => Held::Sealed(Sealed { text, key_id }),
            (_, _, Some(reference)) => Held::Reference(reference),
            _ => Held::Nothing,
        };
        let period = self.rate_limit_period;
        StoredKey {
            limit: self.rate_limit.map(|limit| KeyLimit { key_id: self.id.clone(), limit, period }),
            id: self.id,
            provider: self.provider,
            alias: self.alias,
            is_default: self.default_config == 1,
            weight: self.weight,
            held,
            upstream: self.upstream,
        }
    }
}
