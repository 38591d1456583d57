-- Products and their stock. Stock moves in one way only: a row in `stock_moves`, whose trigger changes the
-- quantity. A quantity is never negative.
CREATE TABLE products (
  tenant          TEXT    NOT NULL,
  sku             TEXT    NOT NULL,
  name            TEXT    NOT NULL,
  currency        TEXT    NOT NULL,
  -- Minor units.
  price           INTEGER NOT NULL,
  quantity        INTEGER NOT NULL DEFAULT 0,
  move_count      INTEGER NOT NULL DEFAULT 0,
  created_at_ms   INTEGER NOT NULL,
  PRIMARY KEY (tenant, sku),
  CONSTRAINT product_price CHECK (price >= 0),
  CONSTRAINT product_quantity CHECK (quantity >= 0),
  CONSTRAINT product_quantity_range CHECK (quantity <= 1000000000000)
) STRICT, WITHOUT ROWID;

CREATE TABLE stock_moves (
  tenant          TEXT    NOT NULL,
  sku             TEXT    NOT NULL,
  id              TEXT    NOT NULL,
  -- Signed: negative takes from stock.
  delta           INTEGER NOT NULL,
  reason          TEXT,
  -- The idempotency key that made it.
  key             TEXT    NOT NULL,
  created_at_ms   INTEGER NOT NULL,
  PRIMARY KEY (tenant, sku, id),
  CONSTRAINT stock_move_delta CHECK (delta <> 0),
  CONSTRAINT stock_move_product FOREIGN KEY (tenant, sku) REFERENCES products (tenant, sku)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER stock_move_counts AFTER INSERT ON stock_moves
BEGIN
  UPDATE products SET quantity = quantity + NEW.delta, move_count = move_count + 1
    WHERE tenant = NEW.tenant AND sku = NEW.sku;
END;
CREATE TRIGGER stock_move_unchanged BEFORE UPDATE ON stock_moves
BEGIN
  SELECT RAISE(ABORT, 'stock_move_is_final');
END;
CREATE TRIGGER stock_move_stays BEFORE DELETE ON stock_moves
BEGIN
  SELECT RAISE(ABORT, 'stock_move_is_final');
END;
