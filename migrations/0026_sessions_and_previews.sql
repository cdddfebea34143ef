-- What lists show of a log without its bodies: the beginnings of the last text of the user and of the answer, 120 characters each.
-- NULL where there is no such text, where bodies are not kept, and in rows from before.
ALTER TABLE logs ADD COLUMN input_preview TEXT;
ALTER TABLE logs ADD COLUMN output_preview TEXT;
-- Which requests belong together, as their client says it; NULL where it says nothing.
ALTER TABLE logs ADD COLUMN session_id TEXT;
-- The response that a request goes on with: the session of that one is its own.
ALTER TABLE logs ADD COLUMN previous_response_id TEXT;
-- Who called: the id of a token, 'admin', or empty for nobody who was let in by one. Sessions of different callers are different.
-- NULL in rows from before.
ALTER TABLE logs ADD COLUMN caller TEXT;

-- Only logs that belong to a session pay for it with a row.
CREATE INDEX logs_by_session ON logs (gateway, session_id, created_at, id) WHERE session_id IS NOT NULL;
