-- Part of every key in the cache: after a change of the number nothing that was kept is found any more.
ALTER TABLE gateways ADD COLUMN cache_generation INTEGER NOT NULL DEFAULT 0;
-- When single keys of callers were purged: a JSON object of their digests and times.
ALTER TABLE gateways ADD COLUMN cache_purged TEXT NOT NULL DEFAULT '{}';
