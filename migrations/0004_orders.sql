-- Orders: stock and payment move in the transaction that writes the order. Ids are time-ordered, so lists follow the
-- primary key.
CREATE TABLE orders (
  tenant          TEXT    NOT NULL,
  id              TEXT    NOT NULL,
  state           TEXT    NOT NULL DEFAULT 'placed',
  buyer           TEXT    NOT NULL,
  merchant        TEXT    NOT NULL,
  currency        TEXT    NOT NULL,
  -- Minor units, of the lines' prices at the time.
  total           INTEGER NOT NULL,
  -- The transfer that paid it; NULL for an order that costs nothing.
  payment         TEXT,
  -- The transfer that gave back what was left of the payment, once cancelled.
  refund          TEXT,
  -- The idempotency key that made it.
  key             TEXT    NOT NULL,
  created_at_ms   INTEGER NOT NULL,
  cancelled_at_ms INTEGER,
  PRIMARY KEY (tenant, id),
  CONSTRAINT order_state CHECK (state IN ('placed', 'cancelled')),
  CONSTRAINT order_total CHECK (total >= 0),
  CONSTRAINT order_paid CHECK ((payment IS NULL) = (total = 0)),
  CONSTRAINT order_cancelled CHECK ((state = 'cancelled') = (cancelled_at_ms IS NOT NULL)),
  CONSTRAINT order_payment FOREIGN KEY (tenant, payment) REFERENCES transfers (tenant, id),
  CONSTRAINT order_refund FOREIGN KEY (tenant, refund) REFERENCES transfers (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE order_lines (
  tenant          TEXT    NOT NULL,
  order_id        TEXT    NOT NULL,
  -- From 0, in the order of the request.
  line            INTEGER NOT NULL,
  sku             TEXT    NOT NULL,
  quantity        INTEGER NOT NULL,
  -- Minor units, what it was sold at.
  price           INTEGER NOT NULL,
  PRIMARY KEY (tenant, order_id, line),
  CONSTRAINT order_line_quantity CHECK (quantity > 0),
  CONSTRAINT order_line_price CHECK (price >= 0),
  CONSTRAINT order_line_order FOREIGN KEY (tenant, order_id) REFERENCES orders (tenant, id),
  CONSTRAINT order_line_product FOREIGN KEY (tenant, sku) REFERENCES products (tenant, sku)
) STRICT, WITHOUT ROWID;

-- An order is cancelled once, and nothing else of it ever changes.
CREATE TRIGGER order_changes_once BEFORE UPDATE ON orders
WHEN OLD.state <> 'placed' OR NEW.state <> 'cancelled'
BEGIN
  SELECT RAISE(ABORT, 'order_cancelled_once');
END;
CREATE TRIGGER order_terms_fixed BEFORE UPDATE OF tenant, id, buyer, merchant, currency, total, payment, key, created_at_ms ON orders
BEGIN
  SELECT RAISE(ABORT, 'order_is_final');
END;
CREATE TRIGGER order_line_unchanged BEFORE UPDATE ON order_lines
BEGIN
  SELECT RAISE(ABORT, 'order_line_is_final');
END;
