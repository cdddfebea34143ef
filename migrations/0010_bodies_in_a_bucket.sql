-- Where a bucket is bound, `request` and `response` have the beginning of a body that is longer, and these tell how many bytes
-- it has in the log's object. Null: the column has all of it.
ALTER TABLE log_bodies ADD COLUMN request_bytes INTEGER;
ALTER TABLE log_bodies ADD COLUMN response_bytes INTEGER;
-- 1 when the bucket did not take the object, and only the beginnings are left.
ALTER TABLE log_bodies ADD COLUMN cut INTEGER;

-- Objects that are to be removed from the bucket. They get here in the transaction that removes the last reference to them,
-- and leave when the bucket has confirmed it.
CREATE TABLE removed_objects (
  log_id TEXT PRIMARY KEY
) WITHOUT ROWID;

-- How far the bucket has been searched for objects whose row never came: a single row.
CREATE TABLE object_search (
  id INTEGER PRIMARY KEY,
  searched_at INTEGER NOT NULL,
  up_to TEXT NOT NULL
);
