-- The business tables of the demo.
CREATE TABLE IF NOT EXISTS orders (
  order_id  VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  customer  VARCHAR(40) NOT NULL,
  address   VARCHAR(80) NOT NULL,   -- empty: the order cannot be shipped as it is
  warehouse VARCHAR(20) NOT NULL,   -- north: does not answer before the third call
  placed_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (order_id)
);

-- No unique key on order_id: nothing but the library keeps an order from being shipped twice.
CREATE TABLE IF NOT EXISTS shipment (
  id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  order_id   VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  address    VARCHAR(80) NOT NULL,
  shipped_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (id),
  KEY by_order (order_id)
);
