-- What a provider keeps and can be asked for again: responses, batches, runs, predictions. Each time it says what it used, and
-- that is counted once. A row is there for 40 days, which is longer than providers keep such things.
CREATE TABLE things (
  gateway INTEGER NOT NULL,
  provider TEXT NOT NULL,
  -- The provider's id of it.
  id TEXT NOT NULL,
  -- The log that its usage belongs to: of the request that made it, or else of the first that showed what it used.
  log_id TEXT NOT NULL,
  -- The log with which its usage was counted; NULL as long as none has shown it.
  counted_by TEXT,
  -- 1 when the gateway did not see it being made.
  is_found INTEGER NOT NULL,
  -- When log_id began, and its model, which is where charts have the usage.
  time INTEGER NOT NULL,
  model TEXT,
  PRIMARY KEY (gateway, provider, id)
) WITHOUT ROWID;

CREATE INDEX things_by_time ON things (time);
