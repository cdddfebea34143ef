-- The id that a log was handed in with which was measured elsewhere; NULL for what came through Tollgate. `id` begins with its time
-- as for any other log, and is the database's own: another gateway may have a log of the same name.
ALTER TABLE logs ADD COLUMN ingested_id TEXT;

CREATE UNIQUE INDEX logs_by_ingested_id ON logs (ingested_id, gateway) WHERE ingested_id IS NOT NULL;
