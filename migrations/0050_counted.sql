-- In the first database: what GET /metrics counts beside requests. A number never becomes less. Isolates add to it what they have counted.
CREATE TABLE counted (
  -- The key of a gateway's row; 0 for what is no gateway's.
  gateway INTEGER NOT NULL,
  name TEXT NOT NULL,
  -- The values of the labels, with a space between two.
  label TEXT NOT NULL,
  number INTEGER NOT NULL,
  -- Of a circuit: until when the isolate that spoke last leaves the provider alone; null for all else.
  until INTEGER,
  PRIMARY KEY (gateway, name, label)
) WITHOUT ROWID;
