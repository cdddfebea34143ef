-- What an answer used besides plain tokens, and under which conditions it was made, as far as that has to do with its price: a
-- JSON object. NULL where there is nothing of the kind, which is so for most logs.
ALTER TABLE logs ADD COLUMN usage_details TEXT;
-- The log that the usage of this one belongs to: an answer that is asked for again says once more what it cost.
ALTER TABLE logs ADD COLUMN usage_of TEXT;
