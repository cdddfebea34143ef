-- Where alerts of an account go. `gateway` is the key of a gateway; null for all of the account's. `events` and `thresholds` are JSON
-- arrays; null events for all.
CREATE TABLE alert_webhooks (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  gateway INTEGER,
  url TEXT NOT NULL,
  format TEXT NOT NULL,
  events TEXT,
  thresholds TEXT NOT NULL,
  -- What bodies are signed with, sealed like a stored key, and which encryption key sealed it.
  secret TEXT NOT NULL,
  key_id TEXT NOT NULL,
  -- 1 where the host was found to be a public one when it was stored.
  checked INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Each request's snapshot asks for the webhooks of its account.
CREATE INDEX alert_webhooks_by_account ON alert_webhooks (account_id, created_at, id);
-- A gateway that goes takes its webhooks along.
CREATE INDEX alert_webhooks_by_gateway ON alert_webhooks (gateway) WHERE gateway IS NOT NULL;

-- What happened. `event_key` names it with its window, so that it is told once.
CREATE TABLE alerts (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  gateway INTEGER,
  kind TEXT NOT NULL,
  event_key TEXT NOT NULL,
  body TEXT NOT NULL,
  created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX alerts_by_event ON alerts (account_id, event_key);
-- The newest are listed, and the oldest removed.
CREATE INDEX alerts_by_time ON alerts (account_id, created_at, id);
CREATE INDEX alerts_by_age ON alerts (created_at);

-- What each webhook has been told. `next_at` is null once there is nothing left to do.
CREATE TABLE alert_deliveries (
  alert_id TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  status TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  next_at INTEGER,
  error TEXT,
  delivered_at INTEGER,
  PRIMARY KEY (alert_id, webhook_id)
) WITHOUT ROWID;

CREATE INDEX alert_deliveries_due ON alert_deliveries (next_at) WHERE next_at IS NOT NULL;
