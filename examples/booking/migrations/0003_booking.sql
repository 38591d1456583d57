-- The team's own tables. A table that an operation names has a column `tenant`, and its key begins with it.

-- Who may call. Of an API key only the SHA-256 is kept: it is random, so there is nothing to guess.
CREATE TABLE api_keys (
  hash   TEXT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL,
  scopes TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE seats (
  tenant  TEXT NOT NULL,
  seat    TEXT NOT NULL,
  -- NULL while the seat is free.
  booking TEXT,
  PRIMARY KEY (tenant, seat)
) STRICT, WITHOUT ROWID;

CREATE TABLE bookings (
  tenant    TEXT NOT NULL,
  id        TEXT NOT NULL,
  seat      TEXT NOT NULL,
  passenger TEXT NOT NULL,
  state     TEXT NOT NULL,
  PRIMARY KEY (tenant, id),
  CONSTRAINT bookings_state CHECK (state IN ('booked', 'cancelled'))
) STRICT, WITHOUT ROWID;
