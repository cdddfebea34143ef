-- What GET /metrics shows: figures of all requests of a gateway, by provider and model, since the first that was counted here. Unlike rows
-- of `rollup` they never end and never become less.
CREATE TABLE totals (
  gateway INTEGER NOT NULL,
  provider TEXT NOT NULL,
  -- Empty where requests named none.
  model TEXT NOT NULL,
  -- A JSON array in the order of src/logs/rollup/figures.rs, and behind it the numbers of requests by the first digit of their status.
  figures TEXT NOT NULL,
  PRIMARY KEY (gateway, provider, model)
) WITHOUT ROWID;
