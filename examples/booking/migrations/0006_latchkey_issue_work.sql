-- What it takes to take stuck work up again from an issue: the key it is about, and the object that holds the work. Both
-- go when the issue is resolved; the subject stays the key's hash.
ALTER TABLE issues ADD COLUMN key TEXT;
ALTER TABLE issues ADD COLUMN object TEXT;
