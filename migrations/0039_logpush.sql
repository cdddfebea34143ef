-- In the database of a gateway's logs: which of them are still to be pushed. A row is written with its log where the gateway pushes
-- logs, and goes when its batch has arrived. Logs come later than their times say, so a time alone could not tell what was pushed.
CREATE TABLE logs_to_push (
  gateway INTEGER NOT NULL,
  log_id TEXT NOT NULL,
  PRIMARY KEY (gateway, log_id)
) WITHOUT ROWID;

-- In the same database: how far the pushing of a gateway is.
CREATE TABLE logpush_progress (
  gateway INTEGER PRIMARY KEY,
  -- The batch under way, and the ids of its logs as a JSON array; null between two. They stay the same until it has arrived, so that
  -- a batch that is sent again has the same name.
  batch_id TEXT,
  batch TEXT,
  -- Until when the batch is left to the isolate that works on it.
  lease_until INTEGER NOT NULL DEFAULT 0,
  -- When the next try is, and when the last one was.
  next_at INTEGER NOT NULL DEFAULT 0,
  served_at INTEGER NOT NULL DEFAULT 0,
  pushed INTEGER NOT NULL DEFAULT 0,
  batches INTEGER NOT NULL DEFAULT 0,
  -- Logs that retention removed before they were pushed.
  lost INTEGER NOT NULL DEFAULT 0,
  -- The last log of the last batch that arrived, and when that was; null before the first.
  pushed_up_to TEXT,
  pushed_at INTEGER,
  -- Failures since then, and the last failure of all; null where there was none.
  failures INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  error_at INTEGER
);

CREATE INDEX gateways_with_logpush ON gateways (key) WHERE settings->>'logpush' = 1;

-- In the first database: the endpoint that a gateway's logs go to. Without a row they go to the bucket.
CREATE TABLE logpush_destinations (
  gateway INTEGER PRIMARY KEY,
  url TEXT NOT NULL,
  -- The value of the header `authorization`, sealed like a stored key, and which encryption key sealed it; null for none.
  secret TEXT,
  key_id TEXT,
  -- 1 where the host was found to be a public one when it was stored.
  checked INTEGER NOT NULL,
  created_at INTEGER NOT NULL
);
