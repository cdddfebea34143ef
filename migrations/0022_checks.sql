-- What was found in a request or its answer that must not leave: the strongest action, and what was found where. Null where nothing was.
ALTER TABLE logs ADD COLUMN dlp_action TEXT;
ALTER TABLE logs ADD COLUMN dlp TEXT;

-- What the checks of a model said of a request and its answer; null where none was made.
ALTER TABLE logs ADD COLUMN guardrails TEXT;

CREATE INDEX logs_by_dlp ON logs (gateway, dlp_action, created_at, id) WHERE dlp_action IS NOT NULL;
