-- Long bodies are apart from `log_bodies`, whose rows have the key first and so have to stay short: SQLite reads a long row of a table
-- without rowid as a whole wherever a search passes it. This one is an ordinary table, and content comes last.
-- What repeats is stored once. The messages of a request form a chain: a piece is named by its content and by all that stands
-- before it, and `before` leads there. A log refers to its last piece.
CREATE TABLE body_pieces (
  -- 63 bits of a hash that only this installation can make; the gateway is part of it, so that gateways share nothing.
  key INTEGER PRIMARY KEY,
  -- 64 further bits; empty for a piece that belongs to one log alone.
  digest TEXT NOT NULL,
  -- The piece that it follows; null for the first.
  before INTEGER,
  content TEXT NOT NULL
);

-- How many logs and pieces refer to a piece, beside the first. No row: one alone does.
CREATE TABLE piece_refs (
  key INTEGER PRIMARY KEY,
  refs INTEGER NOT NULL
);

-- The pieces that nothing refers to, within the transaction that removes them.
CREATE INDEX piece_refs_unused ON piece_refs (key) WHERE refs < 0;

-- References that are gone and not yet taken out of the count: one row for each.
CREATE TABLE released_pieces (
  id INTEGER PRIMARY KEY,
  key INTEGER NOT NULL
);

-- The last pieces of the chains that a log refers to; null: none. `own` has what no other log has.
ALTER TABLE log_bodies ADD COLUMN own INTEGER;
ALTER TABLE log_bodies ADD COLUMN messages INTEGER;
ALTER TABLE log_bodies ADD COLUMN members INTEGER;
-- How the bodies are put together: [bytes of the request, bytes of the response, slices of the request, slices of the response],
-- a slice being [chain, from, to] in bytes, with 0 for own, 1 for messages, 2 for members. Null: `request` and `response` have all of it.
ALTER TABLE log_bodies ADD COLUMN layout TEXT;

-- Whatever removes a row, an older Worker included, releases what it refers to.
CREATE TRIGGER log_bodies_release AFTER DELETE ON log_bodies WHEN OLD.layout IS NOT NULL BEGIN
  INSERT INTO released_pieces (key) SELECT OLD.own WHERE OLD.own IS NOT NULL;
  INSERT INTO released_pieces (key) SELECT OLD.messages WHERE OLD.messages IS NOT NULL;
  INSERT INTO released_pieces (key) SELECT OLD.members WHERE OLD.members IS NOT NULL;
END;

-- How far the long rows of `log_bodies` of before have been moved: a single row. Null: to the end.
CREATE TABLE body_moves (
  id INTEGER PRIMARY KEY,
  up_to TEXT
);

INSERT INTO body_moves (id, up_to) VALUES (1, '');
