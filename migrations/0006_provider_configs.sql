-- Keys of providers that a gateway keeps for its callers. A row holds either a ciphertext or a reference; neither, once its
-- provider's address has changed and the key was therefore thrown away.
CREATE TABLE provider_configs (
  id TEXT PRIMARY KEY,
  gateway INTEGER NOT NULL,
  provider TEXT NOT NULL,
  alias TEXT NOT NULL,
  default_config INTEGER NOT NULL,
  -- AES-256-GCM: nonce and ciphertext, base64url. It can be opened only together with its account, gateway, provider, alias
  -- and upstream, so that it is of no use in another row.
  secret TEXT,
  -- Which encryption key it was sealed with.
  key_id TEXT,
  -- 'env:NAME' or 'store:BINDING': where the Worker finds the key at every request.
  reference TEXT,
  -- A few last characters, to recognise it by.
  preview TEXT NOT NULL,
  -- Scheme and host the key was stored for, where these are not Tollgate's own for the provider. It is sent nowhere else.
  upstream TEXT,
  rate_limit INTEGER,
  rate_limit_period INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  modified_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX provider_configs_by_alias ON provider_configs (gateway, provider, alias);
CREATE UNIQUE INDEX provider_configs_default ON provider_configs (gateway, provider) WHERE default_config = 1;
-- What is still to be sealed anew after a change of the encryption key.
CREATE INDEX provider_configs_by_key ON provider_configs (key_id) WHERE key_id IS NOT NULL;
