-- Exchanges: calls to an upstream, whose effect is outside this database. Their rows are in the journal like all others:
-- claimed in-flight, then final, uncertain, or gone (nothing was executed: the key is free). The answer's bytes are in
-- the object that the row names; the row has headers '{}' and a body that is empty, or says what was not stored.

-- Uncertain keys are listed for a person, across tenants. They are rare: only they are in the index, so no other row
-- costs anything for it, and the list never walks the journal.
CREATE INDEX journal_uncertain ON journal (tenant, key) WHERE state = 'uncertain';

-- What a person decided about an uncertain key: who, when, why, and what. It outlives the key, and is never changed.
CREATE TABLE resolutions (
  tenant  TEXT    NOT NULL,
  key     TEXT    NOT NULL,
  -- Of the claim that it settled: a key that was set free may be used, and be uncertain, again.
  nonce   TEXT    NOT NULL,
  outcome TEXT    NOT NULL,
  -- Of the answer that later retries get; NULL if nothing was executed.
  status  INTEGER,
  -- SHA-256 of the outcome: the same resolution sent again is the same.
  digest  TEXT    NOT NULL,
  reason  TEXT    NOT NULL,
  -- The token: its issuer and its jti.
  decided_by TEXT NOT NULL,
  decided_at_ms INTEGER NOT NULL,
  PRIMARY KEY (tenant, key, nonce),
  CONSTRAINT resolutions_outcome CHECK (outcome IN ('executed', 'not-executed'))
) STRICT, WITHOUT ROWID;
