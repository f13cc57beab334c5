-- lowest library: 100
-- Records that were being handled when a process died, or that a process has just begun with after an assignment.

CREATE TABLE IF NOT EXISTS suspect_message (
  consumer       VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  read_topic     VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- where it was read: source or retry topic
  read_partition INT NOT NULL,
  read_offset    BIGINT NOT NULL,
  tries          INT UNSIGNED NOT NULL,       -- times it was taken and nothing came of it, the last one included
  token          BIGINT UNSIGNED NOT NULL,    -- of the statement that counted the last one
  taken_at       DATETIME(6) NOT NULL,        -- tries that lie back for longer than a day are void
  PRIMARY KEY (consumer, read_topic, read_partition, read_offset)
) ENGINE=InnoDB;
