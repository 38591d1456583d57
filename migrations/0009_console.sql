-- What the console needs. Keys whose outcome is open are few, and shown by their age: only they are in this index, so a
-- payment, which is final when its row is written, pays nothing for it.
CREATE INDEX journal_open ON journal (state, created_at_ms) WHERE state IN ('in-flight', 'uncertain');

-- An operator's actions by the key that each form carries: to send a form twice is one action. Kept for a day, longer
-- than a form can be sent: it ends with its session.
CREATE TABLE operator_actions (
  -- `act_` and a time-ordered id, minted with the form.
  id      TEXT    NOT NULL PRIMARY KEY,
  -- Of the send that claimed the id: no other one acts.
  nonce   TEXT    NOT NULL,
  actor   TEXT    NOT NULL,
  action  TEXT    NOT NULL,
  at_ms   INTEGER NOT NULL,
  -- How many things it changed.
  changed INTEGER NOT NULL,
  -- 1 once the action's statements have run: a batch that is delivered twice acts once.
  done    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
