-- Times are milliseconds since 1970 as integers; booleans are 0 or 1.

-- `key` is what every other table refers to. AUTOINCREMENT never hands a number out twice, so a gateway that is
-- deleted and created again under the same id does not inherit the logs of its predecessor.
CREATE TABLE gateways (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  account_id TEXT NOT NULL,
  id TEXT NOT NULL,
  internal_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  modified_at INTEGER NOT NULL,
  -- The settings as the control plane shows them, one JSON object: they are always read together.
  settings TEXT NOT NULL,
  UNIQUE (account_id, id)
);

-- Gateways whose logs are still to be removed, a slice at a time.
CREATE TABLE deleted_gateways (
  key INTEGER PRIMARY KEY,
  deleted_at INTEGER NOT NULL
);

CREATE TABLE logs (
  id TEXT PRIMARY KEY,
  gateway INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  provider TEXT NOT NULL,
  model TEXT,
  model_type TEXT,
  path TEXT NOT NULL,
  -- 'native' for a provider's own API, 'websocket' for a relayed connection.
  request_type TEXT NOT NULL,
  status_code INTEGER,
  success INTEGER NOT NULL,
  cached INTEGER NOT NULL,
  step INTEGER NOT NULL,
  -- Why it failed, as '<layer>: <what>'; null when it did not.
  error TEXT,
  -- Milliseconds from the arrival of the request to the last byte of the answer, and to its first.
  duration INTEGER NOT NULL,
  first_byte INTEGER,
  tokens_in INTEGER,
  tokens_out INTEGER,
  total_tokens INTEGER,
  tokens_cached INTEGER,
  tokens_cache_write INTEGER,
  tokens_reasoning INTEGER,
  -- US dollars; null when the model's price or the tokens are unknown.
  cost REAL,
  custom_cost INTEGER NOT NULL,
  finish_reason TEXT,
  event_id TEXT NOT NULL,
  -- The id inside the provider's answer (chatcmpl-…, msg_…), and the one in its headers.
  response_id TEXT,
  provider_request_id TEXT,
  user_agent TEXT,
  authentication INTEGER NOT NULL,
  request_content_type TEXT,
  response_content_type TEXT,
  request_size INTEGER,
  response_size INTEGER,
  -- A flat JSON object of strings, numbers and booleans; log_metadata has the same for searching.
  metadata TEXT
) WITHOUT ROWID;

CREATE INDEX logs_by_time ON logs (gateway, created_at, id);
CREATE INDEX logs_by_response ON logs (response_id) WHERE response_id IS NOT NULL;

-- One row per metadata entry. `value` has no type of its own, so it keeps the type it was sent with, and numbers
-- compare as numbers; `kind` tells the boolean true ('b', 1) from the number 1 ('n').
CREATE TABLE log_metadata (
  log_id TEXT NOT NULL,
  key TEXT NOT NULL,
  kind TEXT NOT NULL,
  value,
  gateway INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (log_id, key)
) WITHOUT ROWID;

CREATE INDEX log_metadata_by_value ON log_metadata (gateway, key, value, created_at, log_id);

-- Bodies apart from the rows, which stay small for scanning. The n-th piece of the request and of the response share
-- a row, so that a usual log has one; a piece is at most 900,000 bytes, because D1 limits a row to 2 MB.
CREATE TABLE log_bodies (
  log_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  request TEXT,
  response TEXT,
  PRIMARY KEY (log_id, seq)
) WITHOUT ROWID;
