-- Providers that an account adds. Requests name them `custom-{slug}`.
CREATE TABLE custom_providers (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  slug TEXT NOT NULL COLLATE NOCASE,
  name TEXT NOT NULL,
  base_url TEXT NOT NULL,
  -- A JSON object: headers that are added to every request. Values may be secret and are masked in answers.
  headers TEXT NOT NULL,
  -- Whether the host was found to be a public one when it was stored.
  checked INTEGER NOT NULL,
  enable INTEGER NOT NULL,
  beta INTEGER NOT NULL,
  position INTEGER,
  -- What is only shown: description, link, logo, curl_example and js_example, as one JSON object.
  about TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  modified_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX custom_providers_by_slug ON custom_providers (account_id, slug);

-- Prices that an account sets, before those of the built-in list.
CREATE TABLE price_rules (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  -- The id of a custom provider, or the slug of a built-in one.
  account_provider_id TEXT NOT NULL,
  model TEXT NOT NULL,
  -- 'equals', 'starts-with' or 'contains'.
  model_rule TEXT NOT NULL,
  -- Of several rules that fit, the heaviest counts.
  weight INTEGER NOT NULL,
  -- US dollars per token.
  cost_in REAL,
  cost_out REAL,
  -- A JSON object of rates by kind of token, or null.
  token_pricing TEXT,
  enable INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  modified_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX price_rules_by_weight ON price_rules (account_id, weight, id);

-- Pricing past logs anew, a slice at a time.
CREATE TABLE reprices (
  id TEXT PRIMARY KEY,
  gateway INTEGER NOT NULL,
  -- The query parameters that say which logs are meant: a JSON array of names and values in turn.
  query TEXT NOT NULL,
  dry_run INTEGER NOT NULL,
  processed INTEGER NOT NULL,
  -- Why it ended before its end.
  error TEXT,
  -- The last log that was looked at.
  cursor TEXT,
  logs_seen INTEGER NOT NULL,
  logs_changed INTEGER NOT NULL,
  cost_before REAL NOT NULL,
  cost_after REAL NOT NULL,
  -- Until when somebody works on it.
  lease_until INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  modified_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX reprices_unprocessed ON reprices (lease_until) WHERE processed = 0;
CREATE INDEX reprices_by_gateway ON reprices (gateway, created_at);

-- What a later price has to know of a log: what the answer called its model, whether cached tokens stand beside its input
-- tokens (null in logs from before), and what the provider itself said that the answer cost.
ALTER TABLE logs ADD COLUMN answer_model TEXT;
ALTER TABLE logs ADD COLUMN cached_beside INTEGER;
ALTER TABLE logs ADD COLUMN provider_cost REAL;
