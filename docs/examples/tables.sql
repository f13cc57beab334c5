-- The business tables of shipping.cpp and place_order.cpp.
CREATE TABLE IF NOT EXISTS orders (
  order_id VARBINARY(512) NOT NULL,
  body     BLOB NOT NULL,
  PRIMARY KEY (order_id)
);

-- No unique key on order_id: nothing but the library keeps an order from being shipped twice.
CREATE TABLE IF NOT EXISTS shipment (
  id       BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  order_id VARBINARY(512) NOT NULL,
  body     BLOB NOT NULL,
  PRIMARY KEY (id),
  KEY by_order (order_id)
);
