-- Several databases: which of them has a gateway's logs and all that is made of them. 0 is the binding DB, n the binding
-- DB_n. It is chosen when the gateway is made and never changes, for logs do not move.
-- In a database other than the first, `gateways` has copies of the rows whose logs are there, under the same keys.
ALTER TABLE gateways ADD COLUMN shard INTEGER NOT NULL DEFAULT 0;
CREATE INDEX gateways_by_shard ON gateways (shard, key, modified_at);

-- In the first database: which database has still to be told of the deletion. 0 where the logs are in this one.
ALTER TABLE deleted_gateways ADD COLUMN shard INTEGER NOT NULL DEFAULT 0;
