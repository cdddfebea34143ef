-- How many logs a gateway has and what retention did to them. The transactions that write and remove logs keep `logs`
-- right, because counting millions of rows takes seconds.
CREATE TABLE log_storage (
  gateway INTEGER PRIMARY KEY,
  logs INTEGER NOT NULL,
  -- When `logs` was last compared with the rows themselves.
  counted_at INTEGER NOT NULL,
  -- How many logs of the last group there was room for; between two statements of one transaction.
  admitted INTEGER NOT NULL DEFAULT 0,
  not_stored INTEGER NOT NULL DEFAULT 0,
  -- Since when logs are turned away; null when there was room for the last one.
  full_since INTEGER,
  -- The bodies of all logs up to this one have been removed.
  bodies_at INTEGER NOT NULL DEFAULT 0,
  bodies_id TEXT NOT NULL DEFAULT '',
  logs_removed INTEGER NOT NULL DEFAULT 0,
  bodies_removed INTEGER NOT NULL DEFAULT 0,
  -- The last run that had something to do here, and what it removed.
  run_at INTEGER,
  run_logs INTEGER NOT NULL DEFAULT 0,
  run_bodies INTEGER NOT NULL DEFAULT 0
);

-- To be counted again at once: what an older version of the Worker still writes and removes is not in the number.
INSERT INTO log_storage (gateway, logs, counted_at) SELECT gateway, count(*), 0 FROM logs GROUP BY gateway;

-- The logs that found no room, for two hours: feedback must not wait for them, and a repeated write must not count them
-- twice.
CREATE TABLE unstored_logs (
  id TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE INDEX gateways_with_retention ON gateways (key) WHERE settings->>'log_management' IS NOT NULL
  OR settings->>'log_retention_days' IS NOT NULL OR settings->>'log_body_retention_days' IS NOT NULL;
