-- lowest library: 100
-- The audit of an edited letter names the message that it has become.
SET @oncemark_lacks = (
  SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'replay_audit' AND column_name = 'new_message_id');
SET @oncemark_change = IF(@oncemark_lacks,
  'ALTER TABLE replay_audit ADD COLUMN new_message_id VARBINARY(320) NULL',
  'DO 0');
PREPARE oncemark_change FROM @oncemark_change;
EXECUTE oncemark_change;
DEALLOCATE PREPARE oncemark_change;
