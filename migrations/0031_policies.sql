-- Policies of a gateway: who may call which models, and for how much. `live` is what is in force, as JSON; null for a policy that
-- was only staged so far. `draft` is a staged change; null for none.
CREATE TABLE policies (
  id TEXT PRIMARY KEY,
  gateway INTEGER NOT NULL,
  live TEXT,
  draft TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) WITHOUT ROWID;

-- A gateway's policies are read together with its settings.
CREATE INDEX policies_by_gateway ON policies (gateway, created_at, id);
