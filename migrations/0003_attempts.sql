-- A request may take several attempts, each with a row of its own and all with one event id. `answered` tells the one
-- whose answer the client got, so that a request is counted once.
ALTER TABLE logs ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE logs ADD COLUMN answered INTEGER NOT NULL DEFAULT 1;
-- What an answer from the cache would have cost, in US dollars.
ALTER TABLE logs ADD COLUMN saved_cost REAL;
-- Whose key the provider was sent: 'request' for the caller's, 'stored' with the alias, 'operator', or 'none'.
ALTER TABLE logs ADD COLUMN credential TEXT;
ALTER TABLE logs ADD COLUMN credential_alias TEXT;
-- What priced the request: a rule's id, or where else the price came from.
ALTER TABLE logs ADD COLUMN price_rule TEXT;
