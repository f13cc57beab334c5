-- lowest library: 100
-- The outbox, where every message stands, and the dead letters. MySQL 8+ and MariaDB 10.6+, InnoDB, all times UTC.
-- Names (consumers, relays, topics) are ASCII by rule; keys and ids are bytes, compared byte by byte.

CREATE TABLE IF NOT EXISTS oncemark_schema (
  version        INT UNSIGNED NOT NULL,
  name           VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  checksum       CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  lowest_library INT UNSIGNED NOT NULL,       -- lowest library version number that may run from here on
  epoch          BIGINT UNSIGNED NOT NULL,    -- random; redrawn after a restore, so that caches of older marks are void
  applied_at     DATETIME(6) NOT NULL,
  PRIMARY KEY (version)
) ENGINE=InnoDB;

-- Messages on their way out, written in the business transaction.
CREATE TABLE IF NOT EXISTS outbox_message (
  id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,   -- order of insertion, not of commit
  message_id   VARBINARY(320) NOT NULL,
  purpose      VARCHAR(400) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',  -- '' business; retry:…, dlq:…
  relay        VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- who sends it
  shard        TINYINT UNSIGNED NOT NULL,                 -- xxh3(message_key, or message_id if NULL) mod 64
  topic        VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  message_key  MEDIUMBLOB NULL,                           -- the record's key; NULL: no key and no order
  business_key VARBINARY(512) NULL,                       -- NULL: the message id
  event_time   DATETIME(6) NOT NULL,
  payload      LONGBLOB NULL,                             -- NULL: a tombstone
  headers      MEDIUMBLOB NOT NULL,                       -- JSON array of [name, value] pairs
  status       ENUM('waiting','pending','sent','failing','dead') CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  available_at DATETIME(6) NOT NULL,                      -- not sent before this time
  attempts     INT UNSIGNED NOT NULL DEFAULT 0,           -- refusals of this very row by the broker
  last_error   VARBINARY(1024) NULL,
  created_at   DATETIME(6) NOT NULL,
  sent_at      DATETIME(6) NULL,
  PRIMARY KEY (id),
  UNIQUE KEY once (message_id, purpose),
  KEY to_send (relay, status, id, shard),
  KEY to_wait (relay, status, available_at)
) ENGINE=InnoDB;

-- The lease of a relay on a shard is the lock on its row; the row itself never changes.
CREATE TABLE IF NOT EXISTS relay_shard (
  relay VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  shard TINYINT UNSIGNED NOT NULL,
  PRIMARY KEY (relay, shard)
) ENGINE=InnoDB;

-- Where each message stands: one row per (consumer, message key). It is the lock of every transition.
CREATE TABLE IF NOT EXISTS consumed_message (
  consumer         VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  message_key      VARBINARY(512) NOT NULL,               -- business key, or coordinates where there is none
  state            ENUM('done','retrying','parked','dead','discarded') CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  life             INT UNSIGNED NOT NULL,                 -- from 1; a replay starts the next one
  attempt          INT UNSIGNED NOT NULL,                 -- failed deliveries in this life
  token            BIGINT UNSIGNED NOT NULL,              -- of the transaction that made the row
  payload_hash     BIGINT UNSIGNED NOT NULL,              -- xxh3; 0 for a null payload
  message_id       VARBINARY(320) NOT NULL,
  origin_topic     VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  origin_partition INT NOT NULL,
  origin_offset    BIGINT NOT NULL,
  event_time       DATETIME(6) NOT NULL,
  consumed_at      DATETIME(6) NOT NULL,                  -- of the last transition
  PRIMARY KEY (consumer, message_key)
) ENGINE=InnoDB;

-- Exactly while the state is 'retrying': the whole record and what went wrong.
CREATE TABLE IF NOT EXISTS failed_message (
  consumer          VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
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
  due_at            DATETIME(6) NOT NULL,
  first_error_class VARBINARY(255) NOT NULL,
  first_error       VARBINARY(1024) NOT NULL,
  last_error_class  VARBINARY(255) NOT NULL,
  last_error        VARBINARY(1024) NOT NULL,
  first_failed_at   DATETIME(6) NOT NULL,
  failed_at         DATETIME(6) NOT NULL,
  PRIMARY KEY (consumer, message_key),
  KEY due (consumer, due_at)
) ENGINE=InnoDB;

-- What was given up, with the whole record: one letter per life of a message.
CREATE TABLE IF NOT EXISTS dead_letter (
  consumer         VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  identity         VARBINARY(512) NOT NULL,               -- business key or coordinates: consumed_message.message_key
  life             INT UNSIGNED NOT NULL,
  id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,  -- the handle that operators use
  state            ENUM('dead','replaying','replayed','resolved','archived','discarded')
                     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  message_id       VARBINARY(320) NOT NULL,
  origin_group     VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  origin_topic     VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  origin_partition INT NOT NULL,
  origin_offset    BIGINT NOT NULL,
  origin_timestamp DATETIME(6) NOT NULL,
  dlq_topic        VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  record_key       MEDIUMBLOB NULL,
  payload          LONGBLOB NULL,
  headers          MEDIUMBLOB NOT NULL,                   -- as the handler had them, without failure headers
  event_time       DATETIME(6) NOT NULL,
  attempts         INT UNSIGNED NOT NULL,                 -- failed deliveries in this life
  error_class      VARBINARY(255) NOT NULL,
  error_text       VARBINARY(1024) NOT NULL,
  error_stage      VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- decode, key, handler
  fingerprint      CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,     -- groups letters that failed alike
  first_failed_at  DATETIME(6) NOT NULL,
  died_at          DATETIME(6) NOT NULL,
  PRIMARY KEY (consumer, identity, life),
  UNIQUE KEY handle (id),
  KEY alike (consumer, state, fingerprint),
  KEY by_age (consumer, state, died_at)
) ENGINE=InnoDB;

-- A replay: its frozen selection, how far it has come, and who asked for it.
CREATE TABLE IF NOT EXISTS replay_job (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  consumer    VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  selection   MEDIUMBLOB NOT NULL,                        -- the filters, as JSON
  last_id     BIGINT UNSIGNED NOT NULL,                   -- letters above this id died after the selection was frozen
  checkpoint  BIGINT UNSIGNED NOT NULL DEFAULT 0,         -- letters up to this id are settled
  selected    BIGINT UNSIGNED NOT NULL,
  replayed    BIGINT UNSIGNED NOT NULL DEFAULT 0,
  skipped     BIGINT UNSIGNED NOT NULL DEFAULT 0,
  state       ENUM('running','stopped','done','cancelled') CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  rate        DOUBLE NOT NULL DEFAULT 0,                  -- letters a second; 0: no limit
  operator    VARBINARY(255) NOT NULL,
  reason      VARBINARY(1024) NOT NULL,
  created_at  DATETIME(6) NOT NULL,
  updated_at  DATETIME(6) NOT NULL,
  PRIMARY KEY (id),
  KEY by_consumer (consumer, state)
) ENGINE=InnoDB;

-- Append only: every letter that a person's command touched.
CREATE TABLE IF NOT EXISTS replay_audit (
  id        BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  job_id    BIGINT UNSIGNED NULL,
  letter_id BIGINT UNSIGNED NOT NULL,
  consumer  VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  identity  VARBINARY(512) NOT NULL,
  life      INT UNSIGNED NOT NULL,                        -- of the letter
  action    VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  outcome   VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  operator  VARBINARY(255) NOT NULL,
  reason    VARBINARY(1024) NOT NULL,
  at        DATETIME(6) NOT NULL,
  PRIMARY KEY (id),
  KEY by_letter (letter_id),
  KEY by_job (job_id)
) ENGINE=InnoDB;
