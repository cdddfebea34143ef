-- What people want to look at again: the query of a page of the dashboard, under a name.
CREATE TABLE views (
  id TEXT PRIMARY KEY,
  gateway INTEGER NOT NULL,
  name TEXT NOT NULL,
  query TEXT NOT NULL,
  created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX views_by_gateway ON views (gateway, name);
