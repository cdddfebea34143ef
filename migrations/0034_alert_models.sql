-- Models in use that the catalogue knows, of accounts that have webhooks: one that it does not know any more is told of.
CREATE TABLE alert_models (
  account_id TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  PRIMARY KEY (account_id, provider, model)
) WITHOUT ROWID;
