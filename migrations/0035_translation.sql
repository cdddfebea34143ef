-- The format in which a request came that was translated for its provider; null where it was not.
ALTER TABLE logs ADD COLUMN translated_from TEXT;

-- The formats that a provider of the account's own speaks, with commas between them; nothing for chat completions.
ALTER TABLE custom_providers ADD COLUMN formats TEXT NOT NULL DEFAULT '';
