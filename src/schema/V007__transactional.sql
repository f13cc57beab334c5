-- lowest library: 100
-- Transactional messages: what became of their transactions, and half messages that a person has to settle.

-- One row per message. Written first in its transaction, whose lock on it says "still running"; or by the check-back,
-- as rolled back: then that transaction can never commit.
CREATE TABLE IF NOT EXISTS local_transaction (
  message_id VARBINARY(320) NOT NULL,
  sender     VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- whose half messages they are
  state      ENUM('committed','rolled_back','sent','discarded') CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  settled_at DATETIME(6) NOT NULL,                        -- when it got this state; of a committed one, when it began
  PRIMARY KEY (message_id),
  KEY by_age (sender, state, settled_at)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS parked_half (
  message_id  VARBINARY(320) NOT NULL,
  sender      VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state       ENUM('parked','committed') CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- committed: about to be sent
  topic       VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- where to; empty: the record could not be read
  message_key MEDIUMBLOB NULL,
  payload     LONGBLOB NULL,
  headers     MEDIUMBLOB NOT NULL,                        -- JSON array of [name, value] pairs
  event_time  DATETIME(6) NOT NULL,
  since       DATETIME(6) NOT NULL,                       -- when the half message was handed over
  checks      INT UNSIGNED NOT NULL,                      -- checks that told nothing, and refusals of the message
  reason      VARBINARY(1024) NOT NULL,
  parked_at   DATETIME(6) NOT NULL,
  PRIMARY KEY (message_id),
  KEY to_send (sender, state, parked_at)
) ENGINE=InnoDB;
