-- Why a log has no cost although there is a figure to make one of: a cost that no request can have, for instance. NULL where the
-- cost is known, and where nobody has anything to say about it.
ALTER TABLE logs ADD COLUMN cost_unknown TEXT;

-- Rows of other tables that could not be read, whole, so that the work they were for goes on without them and nothing is lost.
-- An operator is told of each once.
CREATE TABLE put_aside (
  -- The table, or 'queue', and the id there.
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  at INTEGER NOT NULL,
  reason TEXT NOT NULL,
  -- What it was: its text, or its columns as a JSON object.
  content TEXT NOT NULL,
  told INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (source, id)
) WITHOUT ROWID;

CREATE INDEX put_aside_untold ON put_aside (at) WHERE told = 0;
