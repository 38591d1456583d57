-- Where long passes over a table have come to, so that each run goes on where the last one stopped.
CREATE TABLE housekeeping (
  pass   TEXT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL,
  key    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
