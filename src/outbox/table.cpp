#include <oncemark/outbox/table.hpp>

#include <oncemark/message/codec.hpp>

namespace oncemark::outbox {

std::string_view to_string(Status status) noexcept {
  switch (status) {
    case Status::waiting:
      return "waiting";
    case Status::pending:
      return "pending";
    case Status::sent:
      return "sent";
    case Status::failing:
      return "failing";
    case Status::dead:
      return "dead";
  }
  return "unknown";
}

std::uint8_t shard_of(const Bytes& message_key, std::string_view message_id) noexcept {
  const std::uint64_t hash = payload_hash(message_key.is_null() ? Bytes(message_id) : message_key);
  return static_cast<std::uint8_t>(hash % kShards);
}

}  // namespace oncemark::outbox
