-- lowest library: 100
-- Replays whose letters are frozen one by one, that can be planned, paused and watched; and indexes with which a million
-- letters are listed and grouped without reading them.

-- The letters of a replay in the order in which they are replayed, some thousands a row; gone with the end of the job.
CREATE TABLE IF NOT EXISTS replay_selection (
  job_id  BIGINT UNSIGNED NOT NULL,
  first   BIGINT UNSIGNED NOT NULL,           -- place of the row's first letter in the selection, from 0
  letters MEDIUMBLOB NOT NULL,                -- dead_letter.id, 8 bytes each, big-endian
  PRIMARY KEY (job_id, first)
) ENGINE=InnoDB;

SET @oncemark_lacks = (
  SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'replay_job' AND column_name = 'state'
    AND column_type LIKE '%planned%');
SET @oncemark_change = IF(@oncemark_lacks,
  'ALTER TABLE replay_job
     MODIFY COLUMN state ENUM(''running'',''stopped'',''done'',''cancelled'',''planned'',''paused'')
       CHARACTER SET ascii COLLATE ascii_bin NOT NULL',
  'DO 0');
PREPARE oncemark_change FROM @oncemark_change;
EXECUTE oncemark_change;
DEALLOCATE PREPARE oncemark_change;

SET @oncemark_lacks = (
  SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'replay_job' AND column_name = 'note');
SET @oncemark_change = IF(@oncemark_lacks,
  'ALTER TABLE replay_job
     ADD COLUMN guarded BIGINT UNSIGNED NOT NULL DEFAULT 0,
     ADD COLUMN refused BIGINT UNSIGNED NOT NULL DEFAULT 0,
     ADD COLUMN note VARBINARY(1024) NULL',
  'DO 0');
PREPARE oncemark_change FROM @oncemark_change;
EXECUTE oncemark_change;
DEALLOCATE PREPARE oncemark_change;

SET @oncemark_lacks = (
  SELECT COUNT(*) = 0 FROM information_schema.statistics
  WHERE table_schema = DATABASE() AND table_name = 'dead_letter' AND index_name = 'listed');
SET @oncemark_change = IF(@oncemark_lacks,
  'ALTER TABLE dead_letter
     ADD KEY listed (consumer, state, id),
     ADD KEY grouped (consumer, state, fingerprint, died_at, id),
     DROP KEY alike',
  'DO 0');
PREPARE oncemark_change FROM @oncemark_change;
EXECUTE oncemark_change;
DEALLOCATE PREPARE oncemark_change;
