-- Responses that clients may ask for later: those of translated requests, for no other API keeps them. A caller finds its own alone: `owner`
-- is the id of its token, or a hash of the key that it brought. `input` has the items of the request, `response` the answer as its caller
-- got it; where both are long, an object in the bucket has them instead. `bytes` is the length of the two.
CREATE TABLE stored_responses (
  key INTEGER PRIMARY KEY,
  gateway INTEGER NOT NULL,
  owner TEXT NOT NULL,
  id TEXT NOT NULL,
  previous_id TEXT,
  created_at INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  input TEXT NOT NULL,
  response TEXT NOT NULL,
  object TEXT,
  UNIQUE (gateway, owner, id)
);

CREATE INDEX stored_responses_by_time ON stored_responses (gateway, created_at);
