-- What a token may be used for beside its permissions, as a JSON object: models, providers, limits, metadata, its owner. Null for
-- a token without any of it, such as one made before.
ALTER TABLE tokens ADD COLUMN terms TEXT;
