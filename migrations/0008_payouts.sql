-- Payouts: money that leaves the ledger by a processor outside. Each moves twice, by rows in `transfers`: out of the
-- account into the currency's holding account (`system:EUR:held`) when the key is claimed, and on to what was paid out
-- (`system:EUR:paid-out`), or back, in the transaction in which the key becomes final (or free). The two system accounts
-- have an overdraft limit of zero like any other: what is not held can be neither paid nor released.
--
-- Rows written by one payout: claim 1 journal + 1 transfer + 2 entries + 2 accounts + 1 payout, and as many to settle
-- it; twice two more for the first of a currency.
CREATE TABLE payouts (
  tenant        TEXT    NOT NULL,
  -- `out_…`, by time. The transfers are `<id>_held`, and `<id>_paid` or `<id>_released`: each can be posted once.
  id            TEXT    NOT NULL,
  account       TEXT    NOT NULL,
  -- Minor units.
  amount        INTEGER NOT NULL,
  currency      TEXT    NOT NULL,
  -- Where the processor sends it, in its own terms.
  destination   TEXT    NOT NULL,
  description   TEXT,
  -- held: on its way, or uncertain. paid, released: for good.
  state         TEXT    NOT NULL,
  -- What the processor calls it, once it has said so.
  reference     TEXT,
  -- The idempotency key that made it. A key that was set free (nothing was sent) may make another.
  key           TEXT    NOT NULL,
  created_at_ms INTEGER NOT NULL,
  ended_at_ms   INTEGER,
  PRIMARY KEY (tenant, id),
  CONSTRAINT payout_amount CHECK (amount > 0),
  CONSTRAINT payout_state CHECK (state IN ('held', 'paid', 'released')),
  CONSTRAINT payout_ended CHECK ((state = 'held') = (ended_at_ms IS NULL)),
  CONSTRAINT payout_account FOREIGN KEY (tenant, account, currency) REFERENCES accounts (tenant, id, currency)
) STRICT, WITHOUT ROWID;

-- The second line behind the journal's compare-and-set: a payout ends once, whoever says so.
CREATE TRIGGER payout_ends_once BEFORE UPDATE ON payouts WHEN OLD.state <> 'held'
BEGIN
  SELECT RAISE(ABORT, 'payout_is_final');
END;
CREATE TRIGGER payout_stays BEFORE DELETE ON payouts
BEGIN
  SELECT RAISE(ABORT, 'payout_is_final');
END;
