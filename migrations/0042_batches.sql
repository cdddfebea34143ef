-- Batches of providers that are asked for through the gateway, and how far their results have been read. `about` has what their logs take
-- over from the request that was first seen of each. A batch is done when `done_at` is set; `next_at` is when the cron looks at it, and null
-- where only its caller has a key for it. It is read by one runner at a time, until `lease`.
CREATE TABLE batches (
  gateway INTEGER NOT NULL,
  provider TEXT NOT NULL,
  id TEXT NOT NULL,
  path TEXT NOT NULL,
  query TEXT NOT NULL,
  about TEXT NOT NULL,
  log_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  file INTEGER NOT NULL DEFAULT 0,
  lines INTEGER NOT NULL DEFAULT 0,
  logs INTEGER NOT NULL DEFAULT 0,
  next_at INTEGER,
  lease INTEGER NOT NULL DEFAULT 0,
  done_at INTEGER,
  note TEXT,
  PRIMARY KEY (gateway, provider, id)
) WITHOUT ROWID;

CREATE INDEX batches_age ON batches (created_at);

CREATE INDEX batches_due ON batches (next_at) WHERE next_at IS NOT NULL AND done_at IS NULL;
