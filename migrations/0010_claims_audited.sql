-- The audit row of a claim is written by the claim itself: no send can forget it, and it costs no statement of its own.
-- A second delivery of a send updates the row that it finds, and so writes none; what aborts a batch undoes both.
--
-- Who asked, under which request, and the key as the audit log names it: for the trigger, and for whoever reads the row.
ALTER TABLE journal ADD COLUMN actor TEXT;
ALTER TABLE journal ADD COLUMN request_id TEXT;
ALTER TABLE journal ADD COLUMN key_hash TEXT;

-- `ms` is from the request's start by the Worker's clock to the claim by the database's: to see how it goes, not to
-- decide anything by. No other kind of row is written here.
CREATE TRIGGER journal_claim_audited AFTER INSERT ON journal WHEN NEW.key_hash IS NOT NULL
BEGIN
  INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, status, code, link, detail)
  VALUES (NEW.created_at_ms, NEW.tenant,
    CASE WHEN NEW.state = 'in-flight' THEN 'started' WHEN NEW.refusal IS NULL THEN 'effect' ELSE 'refusal' END,
    NEW.operation, NEW.actor, NEW.request_id, NEW.key_hash, NEW.status, NEW.refusal, NEW.link,
    json_object('attempt', NEW.attempt, 'ms', MAX(0, CAST(unixepoch('subsec') * 1000 AS INTEGER) - NEW.created_at_ms)));
END;
