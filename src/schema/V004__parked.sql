-- lowest library: 100
-- Ordered retry: messages that wait, in log order, behind a failed one of their key.

-- A key that has such a sequence. Locked after the state rows of its messages, last and briefly.
CREATE TABLE IF NOT EXISTS parked_key (
  consumer  VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  order_key VARBINARY(512) NOT NULL,          -- the record key; of a longer one its beginning and a hash
  head_key  VARBINARY(512) NOT NULL,          -- message_key of the first of the sequence
  depth     INT UNSIGNED NOT NULL,            -- its length
  next_seq  BIGINT UNSIGNED NOT NULL,         -- number of the next one to be appended
  due_at    DATETIME(6) NULL,                 -- when the head is tried; NULL: it is dead, and the key stopped
  token     BIGINT UNSIGNED NULL,             -- of the driver that has taken the head
  tries     INT UNSIGNED NOT NULL DEFAULT 0,  -- how often the head was taken and nothing came of it
  PRIMARY KEY (consumer, order_key),
  KEY due (consumer, due_at)
) ENGINE=InnoDB;

-- The sequences: every message in state 'parked', and a dead one that stopped its key.
CREATE TABLE IF NOT EXISTS parked_message (
  consumer          VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  order_key         VARBINARY(512) NOT NULL,
  seq               BIGINT UNSIGNED NOT NULL,
  message_key       VARBINARY(512) NOT NULL,
  message_id        VARBINARY(320) NOT NULL,
  origin_group      VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  origin_topic      VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  origin_partition  INT NOT NULL,
  origin_offset     BIGINT NOT NULL,
  origin_timestamp  DATETIME(6) NOT NULL,
  record_key        MEDIUMBLOB NULL,
  payload           LONGBLOB NULL,
  headers           MEDIUMBLOB NOT NULL,
  event_time        DATETIME(6) NOT NULL,
  parked_at         DATETIME(6) NOT NULL,
  first_error_class VARBINARY(255) NULL,      -- NULL: not tried yet
  first_error       VARBINARY(1024) NULL,
  last_error_class  VARBINARY(255) NULL,
  last_error        VARBINARY(1024) NULL,
  first_failed_at   DATETIME(6) NULL,
  PRIMARY KEY (consumer, order_key, seq),
  UNIQUE KEY once (consumer, message_key)
) ENGINE=InnoDB;
