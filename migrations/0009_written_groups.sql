-- The groups of logs that were written within the last day. What is counted of a group is counted when its id is not here
-- yet: a write that is repeated, or a message that is delivered twice, then changes nothing.
CREATE TABLE written_groups (
  id TEXT PRIMARY KEY
) WITHOUT ROWID;
