-- The journal: one row for each (tenant, idempotency key). Its primary key is the fence: whatever crashes,
-- however often a request or a batch arrives, at most one claim of a key ever exists, and the effects of a
-- request are applied in the same transaction, under the condition that this claim is theirs.
--
-- No secondary index: lists and sweeps follow the primary key, and every index would cost a row written
-- for each payment. Rows written by one payment (D1's own count; `npm run bench` prints it):
--   1 journal + 1 transfer + 2 entries + 2 accounts + 1 audit = 7.
-- Later, and not counted there: 1 when the answer expires, 1 when the tombstone is forgotten.
CREATE TABLE journal (
  tenant              TEXT    NOT NULL,
  key                 TEXT    NOT NULL,
  -- What the key belongs to. A request with another fingerprint gets 422.
  operation           TEXT    NOT NULL,
  fingerprint_version INTEGER NOT NULL,
  fingerprint         TEXT    NOT NULL,
  -- JSON {member: keyed hash}: lets a 422 name the member that differs. Never a value. Erased at expiry.
  members             TEXT,
  -- The Durable Object that made the claim and holds a copy of the outcome.
  object              TEXT    NOT NULL,
  -- Minted anew for every send of a batch. The effects ask for their own send's nonce, so a batch that
  -- arrives after its re-send finds a foreign row and changes nothing.
  nonce               TEXT    NOT NULL,
  -- How often the send of that nonce arrived. The effects ask for 1, so a batch delivered twice applies once.
  deliveries          INTEGER NOT NULL DEFAULT 1,
  -- Which send of the request this was: above 1, an earlier one got no answer.
  attempt             INTEGER NOT NULL DEFAULT 1,
  -- final: replayed. erased: its answer was erased on request. expired: a tombstone. in-flight, uncertain: effects
  -- outside this database.
  state               TEXT    NOT NULL,
  -- NULL if every guard held and the effects were applied; else the code of the refusal.
  refusal             TEXT,
  -- The outcome, replayed byte for byte. Body and headers are erased when the key expires.
  status              INTEGER NOT NULL,
  headers             TEXT,
  body                TEXT,
  -- Path of what the key made. Stays in the tombstone.
  link                TEXT,
  created_at_ms       INTEGER NOT NULL,
  -- Whole seconds since the epoch: from the first on the key answers 410, from the second on it is forgotten.
  expires_at_s        INTEGER NOT NULL,
  forget_at_s         INTEGER NOT NULL,
  PRIMARY KEY (tenant, key),
  CONSTRAINT journal_state CHECK (state IN ('in-flight', 'final', 'uncertain', 'erased', 'expired')),
  CONSTRAINT journal_outcome_kept CHECK (state <> 'final' OR (body IS NOT NULL AND headers IS NOT NULL)),
  CONSTRAINT journal_lifetime CHECK (forget_at_s >= expires_at_s)
) STRICT, WITHOUT ROWID;
