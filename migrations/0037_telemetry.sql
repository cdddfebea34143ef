-- What is kept of the places that a gateway's spans are sent to, which its setting otel names: their secrets, sealed like a stored key,
-- and what became of the spans. Nothing is sent to a place without a row.
CREATE TABLE otel_destinations (
  gateway INTEGER NOT NULL,
  id TEXT NOT NULL,
  -- The headers with secrets, as a sealed JSON object, and which encryption key sealed it; null where there are none.
  secret TEXT,
  key_id TEXT,
  -- 1 where the host was found to be a public one when it was stored.
  checked INTEGER NOT NULL,
  exported INTEGER NOT NULL DEFAULT 0,
  -- Spans that the destination would not have.
  rejected INTEGER NOT NULL DEFAULT 0,
  -- Spans that did not reach it.
  dropped INTEGER NOT NULL DEFAULT 0,
  exported_at INTEGER,
  failed_at INTEGER,
  error TEXT,
  PRIMARY KEY (gateway, id)
) WITHOUT ROWID;
