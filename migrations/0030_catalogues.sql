-- What an account's operator put into the catalogue of models, before the built-in one. One row, because it is read as a whole, once for
-- each version in an isolate. `lines` are sorted lines as src/catalogue/line.rs writes them; `version` grows with each change.
CREATE TABLE catalogues (
  account_id TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  as_of TEXT NOT NULL,
  lines TEXT NOT NULL,
  modified_at INTEGER NOT NULL
);
