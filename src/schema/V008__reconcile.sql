-- lowest library: 100
-- Reconciliation: what a business row's payload was, so that both sides can be compared by contents as well as by key,
-- and the differences that a person has accepted.

-- NULL: a library that did not know the column wrote the row; its contents are then not compared.
SET @oncemark_lacks = (
  SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'outbox_message' AND column_name = 'payload_hash');
SET @oncemark_change = IF(@oncemark_lacks,
  'ALTER TABLE outbox_message
     ADD COLUMN payload_hash BIGINT UNSIGNED NULL',
  'DO 0');
PREPARE oncemark_change FROM @oncemark_change;
EXECUTE oncemark_change;
DEALLOCATE PREPARE oncemark_change;

-- Differences that are not reported any more.
CREATE TABLE IF NOT EXISTS reconcile_waiver (
  kind        VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,   -- unsent, unsettled, unexpected, …
  scope       VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- the consumer; of unsent: the relay
  message_key VARBINARY(512) NOT NULL,        -- the business key
  message_id  VARBINARY(320) NOT NULL,
  life        INT UNSIGNED NOT NULL,          -- of a letter; 0: no letter
  operator    VARBINARY(255) NOT NULL,
  reason      VARBINARY(1024) NOT NULL,
  waived_at   DATETIME(6) NOT NULL,
  PRIMARY KEY (kind, scope, message_key, message_id, life)
) ENGINE=InnoDB;
