-- What cannot be used again although its signature is good: sessions of the dashboard that were ended, and sign-in links that were
-- used. `until` is when it would have ended anyway, in milliseconds; the row goes then.
CREATE TABLE spent_credentials (
  id TEXT PRIMARY KEY,
  until INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX spent_credentials_by_end ON spent_credentials (until);
