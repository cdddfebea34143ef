-- Most logs are of chats. The others can be asked for and sorted by their kind, and only they pay for it with a row.
CREATE INDEX logs_by_type ON logs (gateway, model_type, created_at, id) WHERE model_type IS NOT 'chat';
