-- The judgement of a log: thumbs (-1, 0, 1) and a score (0 to 100).
ALTER TABLE logs ADD COLUMN feedback INTEGER;
ALTER TABLE logs ADD COLUMN score REAL;
-- The evaluation that made this call to judge another log; evaluations leave such logs out.
ALTER TABLE logs ADD COLUMN evaluation_id TEXT;

-- Each ends with the time and the id, so that a page of the newest matches is read in order from the index.
CREATE INDEX logs_by_provider ON logs (gateway, provider, created_at, id);
CREATE INDEX logs_by_model ON logs (gateway, model, created_at, id);
-- Failures, cache hits and judged logs are few among many, which makes these small.
CREATE INDEX logs_failed ON logs (gateway, created_at, id) WHERE success = 0;
CREATE INDEX logs_cached ON logs (gateway, created_at, id) WHERE cached = 1;
CREATE INDEX logs_by_feedback ON logs (gateway, feedback, created_at, id) WHERE feedback IS NOT NULL;
CREATE INDEX logs_by_score ON logs (gateway, score, created_at, id) WHERE score IS NOT NULL;
-- Most logs have no event id of their own and repeat theirs.
CREATE INDEX logs_by_event ON logs (event_id) WHERE event_id <> id;

-- Searching compares what people can write in a query: true and "true" are the same value there, and so are 5 and "5".
-- The type as sent stays in logs.metadata.
UPDATE log_metadata SET value = CASE value WHEN 1 THEN 'true' ELSE 'false' END WHERE kind = 'b';
UPDATE log_metadata SET value = CAST(value AS INTEGER) WHERE kind = 's' AND CAST(CAST(value AS INTEGER) AS TEXT) = value;
UPDATE log_metadata SET value = CAST(value AS REAL) WHERE kind = 's' AND CAST(CAST(value AS REAL) AS TEXT) = value;
ALTER TABLE log_metadata DROP COLUMN kind;

-- What users said about an answer, merged: the newest value of each key. `json` is the value as it came, `value` the
-- same for searching, null where it is no short scalar.
CREATE TABLE log_feedback (
  log_id TEXT NOT NULL,
  key TEXT NOT NULL,
  json TEXT NOT NULL,
  value,
  gateway INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  given_at INTEGER NOT NULL,
  given_by TEXT NOT NULL,
  PRIMARY KEY (log_id, key)
) WITHOUT ROWID;

CREATE INDEX log_feedback_by_value ON log_feedback (gateway, key, value, created_at, log_id);

-- Every judgement that changed something, in the order given: a JSON object of what was said.
CREATE TABLE feedback_history (
  log_id TEXT NOT NULL,
  id TEXT NOT NULL,
  given_at INTEGER NOT NULL,
  given_by TEXT NOT NULL,
  -- 'patch' for PATCH of a log, 'merge' and 'delete' for the feedback route.
  kind TEXT NOT NULL,
  data TEXT NOT NULL,
  PRIMARY KEY (log_id, id)
) WITHOUT ROWID;

-- Judgements of logs whose rows are not written yet. `account` and `gateways` (a JSON array, or null for all) are what
-- the one who judged may reach; it is checked when the row is there.
CREATE TABLE pending_feedback (
  id TEXT PRIMARY KEY,
  log_id TEXT NOT NULL,
  account TEXT,
  gateways TEXT,
  given_at INTEGER NOT NULL,
  given_by TEXT NOT NULL,
  kind TEXT NOT NULL,
  data TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX pending_feedback_by_log ON pending_feedback (log_id);

CREATE TABLE datasets (
  id TEXT PRIMARY KEY,
  gateway INTEGER NOT NULL,
  name TEXT NOT NULL,
  enable INTEGER NOT NULL,
  -- The filters as they were sent, a JSON array.
  filters TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  modified_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX datasets_by_name ON datasets (gateway, name);

CREATE TABLE evaluations (
  id TEXT PRIMARY KEY,
  gateway INTEGER NOT NULL,
  name TEXT NOT NULL,
  processed INTEGER NOT NULL,
  total_logs INTEGER NOT NULL,
  -- The datasets as they were when the evaluation was made: a later change of a dataset does not change what was measured.
  datasets TEXT NOT NULL,
  -- What is evaluated and how, as sent: evaluators with their settings, and what to group by.
  plan TEXT NOT NULL,
  -- How far the run is; null when it is done.
  progress TEXT,
  -- Who runs it and until when, so that two isolates do not run the same slice.
  runner TEXT,
  lease_until INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  modified_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX evaluations_by_name ON evaluations (gateway, name);
CREATE INDEX evaluations_unprocessed ON evaluations (lease_until) WHERE processed = 0;

CREATE TABLE evaluation_results (
  id TEXT PRIMARY KEY,
  evaluation_id TEXT NOT NULL,
  position INTEGER NOT NULL,
  evaluation_type_id TEXT NOT NULL,
  -- 0 pending, 1 running, 2 completed, 3 error.
  status INTEGER NOT NULL,
  status_description TEXT NOT NULL,
  result TEXT NOT NULL,
  total_logs INTEGER NOT NULL,
  -- Unit, confidence interval and groups: a JSON object.
  detail TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  modified_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX evaluation_results_in_order ON evaluation_results (evaluation_id, position);

-- What a judge or a test of the answer said about one log.
CREATE TABLE verdicts (
  evaluation_id TEXT NOT NULL,
  evaluation_type_id TEXT NOT NULL,
  log_id TEXT NOT NULL,
  -- Null when there is no verdict; the reason then says why.
  value REAL,
  reason TEXT,
  -- US dollars the judge cost, and the log of its call.
  cost REAL,
  judge_log_id TEXT,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (evaluation_id, evaluation_type_id, log_id)
) WITHOUT ROWID;

CREATE INDEX verdicts_by_log ON verdicts (log_id);

CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  name TEXT NOT NULL,
  -- SHA-256 of the token, hexadecimal. The token itself is shown once and not kept.
  digest TEXT NOT NULL UNIQUE,
  -- A JSON array of gateway ids, or null for all of the account.
  gateways TEXT,
  -- A JSON array of 'read', 'edit' and 'run'.
  permissions TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  modified_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_used_at INTEGER
) WITHOUT ROWID;

CREATE INDEX tokens_by_account ON tokens (account_id, id);

-- Who changed what in the control plane.
CREATE TABLE audit (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  -- 'admin' or the id of a token.
  actor TEXT NOT NULL,
  -- Such as 'gateway.update'.
  action TEXT NOT NULL,
  gateway_id TEXT,
  -- The id of what was changed.
  target TEXT NOT NULL,
  -- The names of the fields that the change named: values may be secret.
  fields TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX audit_by_time ON audit (account_id, at, id);
