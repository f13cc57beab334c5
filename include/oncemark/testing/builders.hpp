#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <oncemark/message/message.hpp>
#include <oncemark/message/names.hpp>

/// Messages and records for tests, complete in what the library reads.
namespace oncemark::testing {

/// A message as the runner hands it over: id, business key, one source topic.
[[nodiscard]] inline Message message_with_id(std::string id, Bytes payload = "payload") {
  Message message;
  message.business_key = id;
  message.id = std::move(id);
  message.topic = "orders";
  message.key = message.id;
  message.payload = std::move(payload);
  message.origin = {"orders", 0, 0};
  message.read_at = message.origin;
  message.event_time = message.origin_timestamp = Time(std::chrono::seconds(1'764'000'000));
  message.headers.append(std::string(names::kMessageId), message.id);
  return message;
}

/// The same message as the group's retry topic brings it: `attempt` is the number of this delivery in its life.
[[nodiscard]] inline Message retried_message(std::string id, std::uint32_t life, std::uint32_t attempt) {
  Message message = message_with_id(std::move(id));
  message.from_retry_topic = true;
  message.life = life;
  message.attempt = attempt;
  return message;
}

/// Messages as handlers are given them. The messages must outlive the result.
[[nodiscard]] inline std::vector<const Message*> pointers_to(std::span<const Message> messages) {
  std::vector<const Message*> pointers;
  for (const Message& message : messages) pointers.push_back(&message);
  return pointers;
}

/// The record that a producer's message lies in.
[[nodiscard]] inline Record record_with_id(std::string id, Position position, Bytes key = nullptr) {
  Record record;
  record.position = std::move(position);
  record.timestamp = Time(std::chrono::seconds(1'764'000'000));
  record.key = std::move(key);
  record.payload = "payload of " + id;
  record.headers.append(std::string(names::kMessageId), std::move(id));
  return record;
}

}  // namespace oncemark::testing
