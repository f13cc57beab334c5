#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <oncemark/dead_letter/router.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::testing {

/// A message of topic "orders" as its handler would have it.
inline Message order_message(const std::string& id, std::int64_t offset = 7) {
  Message message;
  message.id = message.business_key = id;
  message.topic = "orders";
  message.key = id;
  message.payload = "payload of " + id;
  message.headers = {{"om-message-id", id}, {"trace", "t-" + id}};
  message.event_time = Time(std::chrono::seconds(1'764'000'000));
  message.origin = {.topic = "orders", .partition = 3, .offset = offset};
  message.origin_timestamp = message.event_time;
  message.read_at = message.origin;
  return message;
}

/// Makes a dead letter of the message, as the consumer's failure path does. Returns the letter's id.
inline std::uint64_t bury(mysql::Pool& pool, const Message& message, const std::string& consumer = "shipping",
                          const std::string& error = "warehouse 17 refuses") {
  dead_letter::Router router(pool);
  (void)router.route({.message = message,
                      .consumer = consumer,
                      .group = consumer,
                      .error = {.error_class = "permanent", .text = error, .kind = ErrorKind::permanent}});
  return pool.transact(
      [&](mysql::Transaction& tx) { return tx.query("SELECT MAX(id) FROM dead_letter").at(0).get<std::uint64_t>(0); });
}

/// Makes `count` letters o-1, o-2, …; their ids.
inline std::vector<std::uint64_t> bury_orders(mysql::Pool& pool, int count, const std::string& consumer = "shipping") {
  std::vector<std::uint64_t> ids;
  for (int i = 1; i <= count; ++i) ids.push_back(bury(pool, order_message("o-" + std::to_string(i), i), consumer));
  return ids;
}

}  // namespace oncemark::testing
