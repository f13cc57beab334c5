#pragma once

#include <string>

#include <oncemark/mysql/pool.hpp>

namespace oncemark::testing {

/// A mark with chosen ages, as a consumer would have left it so long ago.
struct OldMark {
  std::string key = {};
  std::string consumer = "shipping";
  std::string state = "done";
  int days = 10;        // since it was consumed
  int event_days = 10;  // since its event
  std::string topic = "orders";
  int partition = 0;
  int life = 1;
  int attempt = 0;
};

inline void insert_mark(mysql::Pool& pool, const OldMark& mark) {
  pool.transact([&](mysql::Transaction& tx) {
    tx.execute(
        "INSERT INTO consumed_message (consumer, message_key, state, life, attempt, token, payload_hash, message_id, "
        "origin_topic, origin_partition, origin_offset, event_time, consumed_at) VALUES (?, ?, ?, ?, ?, 1, 1, ?, ?, ?, "
        "7, UTC_TIMESTAMP(6) - INTERVAL ? DAY, UTC_TIMESTAMP(6) - INTERVAL ? DAY)",
        mark.consumer, mark.key, mark.state, mark.life, mark.attempt, mark.key, mark.topic, mark.partition,
        mark.event_days, mark.days);
  });
}

/// `count` marks of "shipping" with keys old-1, old-2, …, all older than ten days; in three partitions of "orders".
inline void insert_old_marks(mysql::Pool& pool, int count) {
  pool.transact([&](mysql::Transaction& tx) {
    for (int i = 1; i <= count; ++i) {
      tx.execute(
          "INSERT INTO consumed_message SELECT 'shipping', ?, 'done', 1, 0, 1, 1, ?, 'orders', ?, ?, "
          "UTC_TIMESTAMP(6) - INTERVAL 10 DAY - INTERVAL ? SECOND, UTC_TIMESTAMP(6) - INTERVAL 10 DAY",
          "old-" + std::to_string(i), "old-" + std::to_string(i), i % 3, i, i);
    }
  });
}

}  // namespace oncemark::testing
