-- Dynamic routes: a name by which callers mean a graph. Requests take the version that was deployed last.
CREATE TABLE routes (
  id TEXT PRIMARY KEY,
  gateway INTEGER NOT NULL,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  deployment TEXT NOT NULL,
  -- What is known of the arms of percentages that learn, by the element's id: a JSON object.
  learned TEXT NOT NULL DEFAULT '{}',
  created_at INTEGER NOT NULL,
  modified_at INTEGER NOT NULL
);

CREATE UNIQUE INDEX routes_by_name ON routes (gateway, name);

-- A graph as it was stored. It never changes.
CREATE TABLE route_versions (
  id TEXT PRIMARY KEY,
  route TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  elements TEXT NOT NULL
);

CREATE INDEX route_versions_by_route ON route_versions (route, created_at, id);

-- Which version was put to use, and when.
CREATE TABLE route_deployments (
  id TEXT PRIMARY KEY,
  route TEXT NOT NULL,
  version TEXT NOT NULL,
  created_at INTEGER NOT NULL
);

CREATE INDEX route_deployments_by_route ON route_deployments (route, created_at, id);
