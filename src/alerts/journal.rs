//! Events in the database: each once for its window, with what each webhook has been told of it.

use crate::alerts::event::{Event, next_try};
use crate::credentials::vault::Bound;
use crate::db::store::{Bind, Statement, Store, StoreError, row};

/// An account has no more new events in an hour: callers can make up values that budgets are divided by.
const MOST_AN_HOUR: i64 = 200;

/// Longer than the longest window that an event belongs to.
const KEPT_MS: u64 = 40 * 24 * 60 * 60 * 1_000;

/// How long a delivery that has begun is left to the isolate that began it.
const UNDER_WAY_MS: u64 = 60_000;

const AT_ONCE: i64 = 50;

/// So many of one webhook at once.
const OF_A_WEBHOOK: i64 = 10;

row! {
    /// A webhook that is to be told of an event.
    pub struct Due {
        pub alert_id: String,
        pub webhook_id: String,
        pub account_id: String,
        pub url: String,
        pub format: String,
        pub secret: String,
        pub key_id: String,
        pub checked: u64,
        pub body: String,
        pub happened: u64,
        pub attempts: u64,
    }
}

/// What a webhook's secret is sealed for.
pub fn bound<'a>(account: &'a str, id: &'a str, origin: &'a str) -> Bound<'a> {
    Bound { account, gateway: 0, provider: "alert-webhook", alias: id, upstream: Some(origin) }
}

/// Notes an event, unless it is known. True where there is something to deliver.
pub async fn raise(store: &impl Store, event: &Event, id: &str, now: u64) -> Result<bool, StoreError> {
    let (kind, gateway) = (event.kind, event.gateway.as_ref().map(|(key, _)| *key));
    let time = Bind::Int(now as i64);
    let noted = Statement::new(
        "INSERT OR IGNORE INTO alerts (id, account_id, gateway, kind, event_key, body, created_at) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 \
         WHERE (SELECT count(*) FROM alerts WHERE account_id = ?2 AND created_at > ?7 - 3600000) < ?8",
        [
            id.into(),
            event.account.as_str().into(),
            gateway.into(),
            kind.into(),
            event.key().into(),
            event.body(id, now).into(),
            time.clone(),
            MOST_AN_HOUR.into(),
        ],
    );
    let deliveries = Statement::new(
        "INSERT OR IGNORE INTO alert_deliveries (alert_id, webhook_id, status, attempts, next_at) \
         SELECT ?1, id, 'pending', 0, ?5 FROM alert_webhooks WHERE account_id = ?2 AND (gateway IS NULL OR gateway = ?3) \
         AND (events IS NULL OR ?4 IN (SELECT value FROM json_each(events))) \
         AND (?6 IS NULL OR ?6 IN (SELECT value FROM json_each(thresholds))) \
         AND EXISTS (SELECT 1 FROM alerts WHERE id = ?1)",
        [
            id.into(),
            event.account.as_str().into(),
            gateway.into(),
            kind.into(),
            time,
            event.threshold.map_or(Bind::Null, Bind::from),
        ],
    );
    let changed = store.batch(vec![noted, deliveries]).await?;
    Ok(changed.get(1).is_some_and(|deliveries| *deliveries > 0))
}

/// What is to be delivered now: some of each webhook, so that one that is not reached holds up no other.
pub async fn due(store: &impl Store, now: u64) -> Result<Vec<Due>, StoreError> {
    let sql = "SELECT d.alert_id, d.webhook_id, w.account_id, w.url, w.format, w.secret, w.key_id, w.checked, a.body, \
               a.created_at AS happened, d.attempts FROM ( \
                 SELECT alert_id, webhook_id, attempts, next_at, \
                   row_number() OVER (PARTITION BY webhook_id ORDER BY next_at) AS place FROM alert_deliveries \
                 WHERE next_at IS NOT NULL AND next_at <= ?1) d \
               JOIN alert_webhooks w ON w.id = d.webhook_id JOIN alerts a ON a.id = d.alert_id \
               WHERE d.place <= ?3 ORDER BY d.next_at LIMIT ?2";
    store.rows(Statement::new(sql, [Bind::Int(now as i64), AT_ONCE.into(), OF_A_WEBHOOK.into()])).await
}

/// Takes a delivery over. False where another isolate has.
pub async fn claim(store: &impl Store, due: &Due, now: u64) -> Result<bool, StoreError> {
    let sql = "UPDATE alert_deliveries SET attempts = attempts + 1, next_at = ?3 \
               WHERE alert_id = ?1 AND webhook_id = ?2 AND attempts = ?4 AND next_at <= ?5";
    let binds: [Bind; 5] = [
        due.alert_id.as_str().into(),
        due.webhook_id.as_str().into(),
        Bind::Int((now + UNDER_WAY_MS) as i64),
        Bind::Int(due.attempts as i64),
        Bind::Int(now as i64),
    ];
    Ok(store.batch(vec![Statement::new(sql, binds)]).await?.first() == Some(&1))
}

/// Notes how a delivery went, and says it: `delivered`, `pending` or `failed`.
pub async fn settle(
    store: &impl Store,
    due: &Due,
    sent: Result<(), String>,
    now: u64,
) -> Result<&'static str, StoreError> {
    let next = sent.as_ref().err().and_then(|_| next_try(due.happened, due.attempts, now));
    let status = match (&sent, next) {
        (Ok(()), _) => "delivered",
        (Err(_), Some(_)) => "pending",
        (Err(_), None) => "failed",
    };
    let delivered = sent.is_ok().then_some(now as i64);
    let error: Option<String> = sent.err().map(|error| error.chars().take(300).collect());
    let sql = "UPDATE alert_deliveries SET status = ?3, next_at = ?4, error = ?5, delivered_at = ?6 \
               WHERE alert_id = ?1 AND webhook_id = ?2";
    let binds: [Bind; 6] = [
        due.alert_id.as_str().into(),
        due.webhook_id.as_str().into(),
        status.into(),
        next.map(|next| next as i64).into(),
        error.into(),
        delivered.into(),
    ];
    store.batch(vec![Statement::new(sql, binds)]).await?;
    Ok(status)
}

/// Removes what is too old to be told twice, and deliveries to webhooks that are no more.
pub async fn tidy(store: &impl Store, now: u64) -> Result<(), StoreError> {
    let before = Bind::Int(now.saturating_sub(KEPT_MS) as i64);
    let old = "SELECT id FROM alerts WHERE created_at < ?1 ORDER BY created_at LIMIT 500";
    let statements = vec![
        Statement::new(format!("DELETE FROM alert_deliveries WHERE alert_id IN ({old})"), [before.clone()]),
        Statement::new(format!("DELETE FROM alerts WHERE id IN ({old})"), [before]),
        Statement::new(
            "UPDATE alert_deliveries SET status = 'failed', error = 'the webhook was removed', next_at = NULL \
             WHERE next_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM alert_webhooks WHERE id = webhook_id)",
            [],
        ),
    ];
    store.batch(statements).await.map(drop)
}

row! {
    /// A gateway that has a webhook.
    pub struct Watched {
        pub account_id: String,
        pub key: u64,
        pub id: String,
        pub shard: u32,
    }
}

/// The gateways whose alerts are delivered somewhere.
pub async fn watched(store: &impl Store) -> Result<Vec<Watched>, StoreError> {
    let sql = "SELECT DISTINCT g.account_id, g.key, g.id, g.shard FROM alert_webhooks w JOIN gateways g \
               ON g.account_id = w.account_id AND (w.gateway IS NULL OR w.gateway = g.key) LIMIT 500";
    store.rows(Statement::new(sql, [])).await
}

/// How many requests of a gateway there were since some time, and how many failed.
pub async fn errors_since(store: &impl Store, gateway: u64, since: u64) -> Result<(u64, u64), StoreError> {
    row! {
        struct Share {
            total: u64,
            failed: u64,
        }
    }
    let sql = "SELECT count(*) AS total, coalesce(sum(success = 0), 0) AS failed FROM \
               (SELECT success FROM logs WHERE gateway = ?1 AND created_at > ?2 LIMIT 5000)";
    let share = store.row::<Share>(Statement::new(sql, [Bind::Int(gateway as i64), Bind::Int(since as i64)])).await?;
    Ok(share.map_or((0, 0), |share| (share.total, share.failed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sqlite::Sqlite;
    use pollster::block_on;
    use serde_json::json;

    const NOW: u64 = 1_700_000_000_000;

    fn store(webhooks: &[(&str, Option<i64>, Option<&str>)]) -> Sqlite {
        let store = Sqlite::new();
        for (id, gateway, events) in webhooks {
            let sql = "INSERT INTO alert_webhooks (id, account_id, gateway, url, format, events, thresholds, secret, key_id, checked, created_at) \
                       VALUES (?1, 'acct', ?2, 'https://x', 'json', ?3, '[0.8,1.0]', 's', 'k', 1, 0)";
            let binds: [Bind; 3] = [(*id).into(), (*gateway).into(), (*events).into()];
            block_on(store.batch(vec![Statement::new(sql, binds)])).unwrap();
        }
        store
    }

    fn event(threshold: f64) -> Event {
        Event {
            kind: "spend",
            account: "acct".into(),
            gateway: Some((1, "gw".into())),
            name: "a".into(),
            threshold: Some(threshold),
            summary: String::new(),
            data: json!({}),
        }
    }

    #[test]
    fn an_event_is_noted_once_and_told_to_whom_it_is_for() {
        let store = store(&[
            ("all", None, None),
            ("own", Some(1), Some("[\"spend\"]")),
            ("other", Some(2), None),
            ("rates", None, Some("[\"rate\"]")),
        ]);
        assert!(block_on(raise(&store, &event(0.8), "1", NOW)).unwrap());
        for n in 2..66 {
            assert!(!block_on(raise(&store, &event(0.8), &n.to_string(), NOW + n)).unwrap());
        }
        assert!(!block_on(raise(&store, &event(0.5), "x", NOW)).unwrap(), "no webhook has this threshold");
        let found = block_on(due(&store, NOW)).unwrap();
        let told: Vec<&str> = found.iter().map(|due| due.webhook_id.as_str()).collect();
        assert_eq!(told, ["all", "own"]);
        let first = &found[0];
        assert!(block_on(claim(&store, first, NOW)).unwrap() && !block_on(claim(&store, first, NOW)).unwrap());
        block_on(settle(&store, first, Ok(()), NOW)).unwrap();
        assert_eq!(block_on(due(&store, NOW)).unwrap().len(), 1);
    }

    #[test]
    fn many_deliveries_of_one_webhook_hold_up_no_other() {
        let store = store(&[("dead", Some(1), None)]);
        for n in 0..60 {
            let event = Event { name: n.to_string(), ..event(1.0) };
            assert!(block_on(raise(&store, &event, &n.to_string(), NOW)).unwrap());
        }
        let sql = "INSERT INTO alert_webhooks (id, account_id, gateway, url, format, events, thresholds, secret, key_id, checked, created_at) \
                   VALUES ('well', 'acct', 1, 'https://x', 'json', NULL, '[0.8,1.0]', 's', 'k', 1, 0)";
        block_on(store.batch(vec![Statement::new(sql, [])])).unwrap();
        assert!(block_on(raise(&store, &event(0.8), "late", NOW + 1)).unwrap());
        let due = block_on(due(&store, NOW + 1)).unwrap();
        assert!(due.iter().any(|due| due.webhook_id == "well") && due.len() == 11, "{}", due.len());
    }

    #[test]
    fn a_delivery_that_fails_is_tried_for_an_hour_and_then_given_up() {
        let store = store(&[("all", None, None)]);
        block_on(raise(&store, &event(1.0), "1", NOW)).unwrap();
        let (mut now, mut tries) = (NOW, 0);
        while now < NOW + 2 * 60 * 60_000 {
            for due in block_on(due(&store, now)).unwrap() {
                assert!(block_on(claim(&store, &due, now)).unwrap());
                block_on(settle(&store, &due, Err("503".to_owned()), now)).unwrap();
                tries += 1;
            }
            now += 60_000;
        }
        assert!((6..=8).contains(&tries), "{tries}");
        assert_eq!(
            block_on(store.ids(Statement::new("SELECT status AS id FROM alert_deliveries", []))).unwrap(),
            ["failed"]
        );
        block_on(tidy(&store, NOW + 2 * KEPT_MS)).unwrap();
        assert!(block_on(store.ids(Statement::new("SELECT id FROM alerts", []))).unwrap().is_empty());
    }
}
