-- How large a part of the requests a key gets beside the provider's other keys with a weight; 0 for none.
ALTER TABLE provider_configs ADD COLUMN weight INTEGER NOT NULL DEFAULT 0;
