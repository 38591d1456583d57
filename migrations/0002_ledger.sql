-- The double-entry ledger. Money moves in one way only: a row in `transfers`. Its trigger moves both
-- balances and writes both entries, so a transfer that is not balanced cannot be expressed, and the sum of
-- all balances of a tenant and currency is zero at every moment.
CREATE TABLE accounts (
  tenant          TEXT    NOT NULL,
  -- Chosen by the client, or `acc_…`; `system:EUR` is the one account of a currency that money comes from.
  id              TEXT    NOT NULL,
  currency        TEXT    NOT NULL,
  -- Minor units.
  balance         INTEGER NOT NULL DEFAULT 0,
  -- How far below zero the balance may go, minor units. NULL: without limit (system accounts only).
  overdraft_limit INTEGER,
  -- Entries so far: the `seq` of the newest.
  entry_count     INTEGER NOT NULL DEFAULT 0,
  created_at_ms   INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  -- Lets a transfer's foreign keys carry the currency. Written when an account is made, never by a transfer.
  CONSTRAINT account_currency UNIQUE (tenant, id, currency),
  CONSTRAINT account_overdraft CHECK (balance >= -overdraft_limit),
  CONSTRAINT account_system CHECK ((overdraft_limit IS NULL) = (id = 'system:' || currency)),
  -- Beyond 2^53 - 1 a JSON number loses cents.
  CONSTRAINT account_balance_range CHECK (balance BETWEEN -9007199254740991 AND 9007199254740991)
) STRICT, WITHOUT ROWID;

-- Payments (`pay_…`) and refunds (`ref_…`). The primary key follows the lists: payments sort by time
-- within their prefix; a refund's id starts with its payment's (`ref_<payment>_…`), so a payment's refunds
-- lie together.
CREATE TABLE transfers (
  tenant          TEXT    NOT NULL,
  id              TEXT    NOT NULL,
  source          TEXT    NOT NULL,
  destination     TEXT    NOT NULL,
  currency        TEXT    NOT NULL,
  amount          INTEGER NOT NULL,
  -- Of a payment: how much of it has been given back.
  refunded        INTEGER NOT NULL DEFAULT 0,
  -- Of a refund: the payment.
  refund_of       TEXT,
  description     TEXT,
  -- The idempotency key that made it.
  key             TEXT    NOT NULL,
  created_at_ms   INTEGER NOT NULL,
  PRIMARY KEY (tenant, id),
  CONSTRAINT transfer_amount CHECK (amount > 0),
  CONSTRAINT transfer_two_accounts CHECK (source <> destination),
  CONSTRAINT transfer_refunded CHECK (refunded BETWEEN 0 AND amount),
  CONSTRAINT transfer_source FOREIGN KEY (tenant, source, currency) REFERENCES accounts (tenant, id, currency),
  CONSTRAINT transfer_destination FOREIGN KEY (tenant, destination, currency) REFERENCES accounts (tenant, id, currency),
  CONSTRAINT transfer_refund_of FOREIGN KEY (tenant, refund_of) REFERENCES transfers (tenant, id)
) STRICT, WITHOUT ROWID;

-- Two for each transfer. `seq` counts within the account, in the order of commits: a page of an account of
-- 100,000 entries is a range of the primary key, and each `balance` is the one before plus `amount`.
CREATE TABLE entries (
  tenant          TEXT    NOT NULL,
  account         TEXT    NOT NULL,
  seq             INTEGER NOT NULL,
  transfer        TEXT    NOT NULL,
  -- Signed: negative leaves the account.
  amount          INTEGER NOT NULL,
  -- Of the account, after this entry.
  balance         INTEGER NOT NULL,
  created_at_ms   INTEGER NOT NULL,
  PRIMARY KEY (tenant, account, seq),
  CONSTRAINT entry_amount CHECK (amount <> 0)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER transfer_posts AFTER INSERT ON transfers
BEGIN
  UPDATE accounts SET balance = balance - NEW.amount, entry_count = entry_count + 1
    WHERE tenant = NEW.tenant AND id = NEW.source;
  UPDATE accounts SET balance = balance + NEW.amount, entry_count = entry_count + 1
    WHERE tenant = NEW.tenant AND id = NEW.destination;
  INSERT INTO entries (tenant, account, seq, transfer, amount, balance, created_at_ms)
    SELECT tenant, id, entry_count, NEW.id, CASE id WHEN NEW.source THEN -NEW.amount ELSE NEW.amount END,
      balance, NEW.created_at_ms
    FROM accounts WHERE tenant = NEW.tenant AND id IN (NEW.source, NEW.destination);
END;

-- A refund goes back the way the payment came, and counts against it.
CREATE TRIGGER refund_counts AFTER INSERT ON transfers WHEN NEW.refund_of IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'refund_reverses_payment') WHERE NOT EXISTS (
    SELECT 1 FROM transfers WHERE tenant = NEW.tenant AND id = NEW.refund_of AND refund_of IS NULL
      AND source = NEW.destination AND destination = NEW.source);
  UPDATE transfers SET refunded = refunded + NEW.amount WHERE tenant = NEW.tenant AND id = NEW.refund_of;
END;

-- Books are not edited.
CREATE TRIGGER transfer_moves_once BEFORE UPDATE OF tenant, id, source, destination, currency, amount, refund_of ON transfers
BEGIN
  SELECT RAISE(ABORT, 'transfer_is_final');
END;
CREATE TRIGGER transfer_stays BEFORE DELETE ON transfers
BEGIN
  SELECT RAISE(ABORT, 'transfer_is_final');
END;
CREATE TRIGGER entry_unchanged BEFORE UPDATE ON entries
BEGIN
  SELECT RAISE(ABORT, 'entry_is_final');
END;
CREATE TRIGGER entry_stays BEFORE DELETE ON entries
BEGIN
  SELECT RAISE(ABORT, 'entry_is_final');
END;
