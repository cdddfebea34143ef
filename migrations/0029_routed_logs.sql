-- The way that a request took through a dynamic route, as far as this attempt: a JSON object. NULL for a request that names its model.
ALTER TABLE logs ADD COLUMN route TEXT;
-- The same route's id, by which its figures are found.
ALTER TABLE logs ADD COLUMN route_id TEXT;

-- Only logs of a route pay for it with a row.
CREATE INDEX logs_by_route ON logs (gateway, route_id, created_at) WHERE route_id IS NOT NULL;
