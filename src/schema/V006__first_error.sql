-- lowest library: 100
-- A letter keeps how its message failed first, beside how it failed last: failed_message, which has known it until
-- then, is gone by then. NULL: a library that did not know these columns wrote the letter.

-- MySQL has no ADD COLUMN IF NOT EXISTS, and a migration that was cut off is run again. Both servers add columns at the
-- end of a table without rewriting it.
SET @oncemark_lacks = (
  SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'dead_letter' AND column_name = 'first_error');
SET @oncemark_change = IF(@oncemark_lacks,
  'ALTER TABLE dead_letter
     ADD COLUMN first_error_class VARBINARY(255) NULL,
     ADD COLUMN first_error VARBINARY(1024) NULL',
  'DO 0');
PREPARE oncemark_change FROM @oncemark_change;
EXECUTE oncemark_change;
DEALLOCATE PREPARE oncemark_change;
