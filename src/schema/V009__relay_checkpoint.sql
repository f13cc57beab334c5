-- lowest library: 100
-- How far a relay that reads the binlog has come: all rows before this place are marked as sent, or still in
-- outbox_message. GTIDs count where there are some; file and position are true on one server only.

CREATE TABLE IF NOT EXISTS relay_checkpoint (
  relay    VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  file     VARBINARY(512) NOT NULL,
  position BIGINT UNSIGNED NOT NULL,
  gtids    MEDIUMBLOB NOT NULL,                           -- as the server prints them; empty: the server has none
  moved_at DATETIME(6) NOT NULL,
  PRIMARY KEY (relay)
) ENGINE=InnoDB;
