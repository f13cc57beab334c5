-- lowest library: 100
-- What housekeeping remembers: how far marks have been purged, and where it was.

-- The highest event time of the marks that were purged: a message that is not younger cannot be told from a copy.
CREATE TABLE IF NOT EXISTS consumed_horizon (
  consumer         VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  origin_topic     VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  origin_partition INT NOT NULL,
  event_time       DATETIME(6) NOT NULL,                  -- only ever raised
  purged_at        DATETIME(6) NOT NULL,                  -- when it was raised last
  PRIMARY KEY (consumer, origin_topic, origin_partition)
) ENGINE=InnoDB;

-- Where the walk through a table stands: a sweeper that is started again goes on from there.
CREATE TABLE IF NOT EXISTS sweep_progress (
  task       VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,   -- marks
  scope      VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- the consumer
  position   VARBINARY(512) NOT NULL,                     -- last key that was looked at; empty: at the beginning
  retention  BIGINT UNSIGNED NOT NULL,                    -- seconds that rows are kept for
  updated_at DATETIME(6) NOT NULL,
  PRIMARY KEY (task, scope)
) ENGINE=InnoDB;
