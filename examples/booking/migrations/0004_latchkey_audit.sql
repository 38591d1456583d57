-- The audit log: what happened, who asked, and when, in the order of commits. One row for each effect, refusal, erasure
-- and action of an operator, written in the very transaction that makes it; and grouped rows of what changed nothing
-- (replays, conflicts), which an object writes when it can. It holds no request body, no answer and no key: a key is in
-- it as a hash, so erasing an answer changes nothing here.
--
-- Append-only, and for good: there is no retention. A row is about 300 bytes, less than the ledger keeps of a payment.
CREATE TABLE audit (
  -- Without a gap, in the order of commits: D1 has one writer. No AUTOINCREMENT: that would be a second row written.
  seq        INTEGER PRIMARY KEY,
  -- When the request started, by the clock of whoever wrote the row. Only `seq` tells the order.
  at_ms      INTEGER NOT NULL,
  -- Empty for what an operator does across tenants.
  tenant     TEXT    NOT NULL,
  kind       TEXT    NOT NULL,
  -- The operation's name, or that of the operator's action.
  operation  TEXT    NOT NULL,
  -- A tenant's caller: a hash of issuer and subject. An operator: issuer and subject. The service itself: `service`.
  actor      TEXT    NOT NULL,
  -- The `X-Request-Id` of the answer; empty for what no request made.
  request_id TEXT    NOT NULL,
  key_hash   TEXT,
  status     INTEGER,
  -- Of a refusal.
  code       TEXT,
  -- Path of what was made.
  link       TEXT,
  -- JSON, by kind: counts, a state, a reason.
  detail     TEXT,
  -- started: the effect is outside this database, and its outcome is a row of its own.
  CONSTRAINT audit_kind CHECK (kind IN ('effect', 'refusal', 'started', 'outcome', 'resolution', 'erasure', 'action', 'read', 'tally'))
) STRICT;

CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'audit_is_final');
END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit
BEGIN
  SELECT RAISE(ABORT, 'audit_is_final');
END;
-- REPLACE deletes without asking the trigger above.
CREATE TRIGGER audit_not_replaced BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)
BEGIN
  SELECT RAISE(ABORT, 'audit_is_final');
END;
CREATE TRIGGER audit_without_gap AFTER INSERT ON audit WHEN NEW.seq <> 1 AND NOT EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq - 1)
BEGIN
  SELECT RAISE(ABORT, 'audit_without_gap');
END;

-- The hash chain over the audit log. Each seal covers the rows behind the one before it; see src/audit/seal.ts.
CREATE TABLE audit_seals (
  -- The first row covered. Two that seal at once begin at the same one: the second inserts nothing.
  seq_from     INTEGER PRIMARY KEY,
  seq_to       INTEGER NOT NULL,
  -- SHA-256 over the hash before it and the hashes of all rows, hex.
  hash         TEXT    NOT NULL,
  -- The first 16 hex digits of each row's hash: with them the row is named that no longer fits.
  digests      TEXT    NOT NULL,
  sealed_at_ms INTEGER NOT NULL,
  CONSTRAINT audit_seal_range CHECK (seq_to >= seq_from)
) STRICT;

CREATE TRIGGER audit_seal_unchanged BEFORE UPDATE ON audit_seals
BEGIN
  SELECT RAISE(ABORT, 'audit_is_final');
END;
CREATE TRIGGER audit_seal_stays BEFORE DELETE ON audit_seals
BEGIN
  SELECT RAISE(ABORT, 'audit_is_final');
END;
CREATE TRIGGER audit_seal_not_replaced BEFORE INSERT ON audit_seals WHEN EXISTS (SELECT 1 FROM audit_seals WHERE seq_from = NEW.seq_from)
BEGIN
  SELECT RAISE(IGNORE);
END;

-- What a person should look at: one row for each thing that is wrong, however often it is found.
CREATE TABLE issues (
  -- A hash of kind, tenant and subject: to find it again is to find this row.
  id             TEXT    NOT NULL PRIMARY KEY,
  kind           TEXT    NOT NULL,
  -- Empty for what concerns no tenant.
  tenant         TEXT    NOT NULL,
  -- What it is about: an account, a transfer, the hash of a key.
  subject        TEXT    NOT NULL,
  -- A sentence with the figures of the last time.
  what           TEXT    NOT NULL,
  first_seen_ms  INTEGER NOT NULL,
  last_seen_ms   INTEGER NOT NULL,
  times          INTEGER NOT NULL DEFAULT 1,
  state          TEXT    NOT NULL DEFAULT 'open',
  -- Who has acknowledged or resolved it, when and why.
  changed_by     TEXT,
  changed_at_ms  INTEGER,
  reason         TEXT,
  CONSTRAINT issue_state CHECK (state IN ('open', 'acknowledged', 'resolved')),
  CONSTRAINT issue_changed CHECK ((state = 'open') OR (changed_by IS NOT NULL AND changed_at_ms IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- Counters of all isolates, summed: what /metrics tells. A series is a name with its labels.
CREATE TABLE metrics (
  series TEXT    NOT NULL PRIMARY KEY,
  value  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What scheduled work remembers from run to run, one JSON document each: where reconciliation stands and what it last
-- found, what the boundary monitor has learned. `version` is how often it was written: whoever read an older one
-- writes nothing.
CREATE TABLE scheduled_state (
  task    TEXT    NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  state   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
