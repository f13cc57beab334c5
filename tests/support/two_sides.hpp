#pragma once

#include <chrono>
#include <string>

#include <oncemark/message/codec.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/outbox/writer.hpp>

namespace oncemark::testing {

/// A message that was sent an hour ago, as a relay leaves its row.
struct SentMessage {
  std::string id = {};
  std::string business_key = {};
  std::string payload = "payload";
  std::string topic = "orders";
  int minutes_ago = 60;
  std::string status = "sent";
};

inline void insert_sent(mysql::Pool& pool, const SentMessage& message) {
  pool.transact([&](mysql::Transaction& tx) {
    outbox::append(
        tx,
        {.topic = message.topic, .payload = message.payload, .id = message.id, .business_key = message.business_key});
    tx.execute(
        "UPDATE outbox_message SET status = ?, event_time = UTC_TIMESTAMP(6) - INTERVAL ? MINUTE, created_at = "
        "event_time, available_at = event_time, sent_at = event_time WHERE message_id = ? AND purpose = ''",
        message.status, message.minutes_ago, message.id);
  });
}

/// The state row that a consumer makes of it; its event time is the outbox row's where there is one.
inline void insert_settled(mysql::Pool& pool, const SentMessage& message, const std::string& consumer = "shipping",
                           const std::string& state = "done") {
  pool.transact([&](mysql::Transaction& tx) {
    tx.execute(
        "INSERT INTO consumed_message (consumer, message_key, state, life, attempt, token, payload_hash, message_id, "
        "origin_topic, origin_partition, origin_offset, event_time, consumed_at) SELECT ?, ?, ?, 1, 0, 1, ?, ?, ?, 0, "
        "7, "
        "COALESCE((SELECT event_time FROM outbox_message WHERE message_id = ? AND purpose = ''), UTC_TIMESTAMP(6) - "
        "INTERVAL ? MINUTE), UTC_TIMESTAMP(6) - INTERVAL ? MINUTE",
        consumer, message.business_key.empty() ? message.id : message.business_key, state,
        payload_hash(Bytes(message.payload)), message.id, message.topic, message.id, message.minutes_ago,
        message.minutes_ago);
  });
}

/// Sent and settled.
inline void insert_both(mysql::Pool& pool, const SentMessage& message, const std::string& consumer = "shipping") {
  insert_sent(pool, message);
  insert_settled(pool, message, consumer);
}

}  // namespace oncemark::testing
