-- lowest library: 100
-- Marking a row as sent changes one index instead of two: the times of rows that wait get a column and an index of
-- their own, which rows that never wait enter as NULL and leave only when they are deleted.

SET @oncemark_change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE TABLE_SCHEMA = DATABASE() AND
  TABLE_NAME = 'outbox_message' AND COLUMN_NAME = 'due_at') = 0,
  'ALTER TABLE outbox_message ADD COLUMN due_at DATETIME(6) GENERATED ALWAYS AS (CASE WHEN status IN (''waiting'',''failing'') THEN available_at END) STORED, ADD KEY due (relay, due_at), DROP KEY to_wait',
  'DO 0');
PREPARE oncemark_change FROM @oncemark_change;
EXECUTE oncemark_change;
DEALLOCATE PREPARE oncemark_change;
