-- An action's key may come from an API client, too: then `id` is a hash of it and of who sent it. Such a key may be
-- sent for another thing; `subjects` is a hash of what the first was about, so that this is refused. What such an action
-- does outside this database is done behind its rows; `answer`, JSON, is what came of it, and what a repetition gets. As long
-- as there is none, a repetition acts again, which is safe.
ALTER TABLE operator_actions ADD COLUMN subjects TEXT NOT NULL DEFAULT '';
ALTER TABLE operator_actions ADD COLUMN answer TEXT;
