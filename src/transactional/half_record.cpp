#include "transactional/half_record.hpp"

#include <limits>
#include <string_view>

#include <oncemark/core/error.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/writer.hpp>

namespace oncemark::transactional {
namespace {

constexpr std::string_view kRow = "row";
constexpr std::string_view kCheck = "check";
constexpr std::size_t kReasonBytes = 512;

std::string_view needed(const Record& record, std::string_view name) {
  const auto value = record.headers.text(name);
  if (!value)
    throw PermanentError("half message at " + record.position.str() + " lacks the header " + std::string(name));
  return *value;
}

}  // namespace

std::string half_topic(const std::string& sender) {
  outbox::check_name("SenderOptions::name", sender);
  return "half." + sender;
}

OutgoingRecord to_half_record(const Half& half, const std::string& sender) {
  const HalfMessage& message = half.message;
  OutgoingRecord record{
      .topic = half_topic(sender), .key = Bytes(message.id), .payload = message.payload, .headers = message.headers};
  Headers& headers = record.headers;
  headers.set(names::kMessageId, message.id);
  headers.set(names::kEventTime, format_rfc3339(message.event_time));
  headers.set(names::kHalfTopic, message.topic);
  headers.set(names::kHalfKey, message.key);
  headers.set(names::kHalfOutcome, std::string(half.knows == Knows::row ? kRow : kCheck));
  headers.set(names::kHalfSince, format_rfc3339(message.since));
  headers.set(names::kHalfDue, format_rfc3339(half.due));
  headers.set(names::kHalfChecks, std::to_string(message.checks));
  if (!half.reason.empty()) headers.set(names::kHalfReason, printable(half.reason, kReasonBytes));
  return record;
}

Half read_half(const Record& record) {
  Half half;
  HalfMessage& message = half.message;
  message.id = needed(record, names::kMessageId);
  if (message.id.empty() || message.id.size() > kMaxMessageId) {
    throw PermanentError("half message at " + record.position.str() + " has a message id of " +
                         std::to_string(message.id.size()) + " bytes; allowed: 1 to " + std::to_string(kMaxMessageId));
  }
  message.topic = needed(record, names::kHalfTopic);
  outbox::check_topic(message.topic);
  const Bytes* const key = record.headers.find(names::kHalfKey);
  if (key != nullptr) message.key = *key;
  message.payload = record.payload;
  message.event_time = parse_rfc3339(needed(record, names::kEventTime));
  message.since = parse_rfc3339(needed(record, names::kHalfSince));
  const std::int64_t checks = parse_number(needed(record, names::kHalfChecks), names::kHalfChecks);
  if (checks < 0 || checks > std::numeric_limits<std::int32_t>::max()) {
    throw PermanentError("half message at " + record.position.str() + " counts " + std::to_string(checks) + " checks");
  }
  message.checks = static_cast<std::uint32_t>(checks);
  half.due = parse_rfc3339(needed(record, names::kHalfDue));
  half.knows = needed(record, names::kHalfOutcome) == kCheck ? Knows::check : Knows::row;
  half.reason = record.headers.text(names::kHalfReason).value_or("");
  message.headers = record.headers;
  message.headers.remove_prefixed(names::kPrefix);
  return half;
}

OutgoingRecord to_message_record(const HalfMessage& message) {
  OutgoingRecord record{
      .topic = message.topic, .key = message.key, .payload = message.payload, .headers = message.headers};
  record.headers.set(names::kMessageId, message.id);
  record.headers.set(names::kEventTime, format_rfc3339(message.event_time));
  return record;
}

}  // namespace oncemark::transactional
