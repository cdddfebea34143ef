-- Why the tokens of an answer are not known although it may have named them, in words: it was packed in a way that is not
-- known, or too long in a way that cannot be read in pieces. NULL where everything was read.
ALTER TABLE logs ADD COLUMN usage_unread TEXT;
