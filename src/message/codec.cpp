#include <oncemark/message/codec.hpp>

#include <array>
#include <charconv>
#include <cstdio>
#include <limits>

#include <xxhash.h>
#include <oncemark/core/error.hpp>
#include <oncemark/message/names.hpp>

#include "core/utf8.hpp"

namespace oncemark {
namespace {

constexpr std::string_view kOriginPrefix = "om-origin-";
constexpr std::string_view kErrorPrefix = "om-error-";

// A topic may be longer than an id's column leaves room for.
std::string topic_in_identity(const std::string& topic) {
  constexpr std::size_t kWhole = 180;
  constexpr std::size_t kKept = 160;
  if (topic.size() <= kWhole) return topic;
  std::array<char, 20> hash{};
  std::snprintf(hash.data(), hash.size(), "~%016llx",
                static_cast<unsigned long long>(XXH3_64bits(topic.data(), topic.size())));
  return topic.substr(0, kKept) + hash.data();
}

std::string of(std::string_view name, const Record& record) {
  return "header " + std::string(name) + " of " + record.position.str();
}

std::string_view required(const Record& record, std::string_view name) {
  const auto text = record.headers.text(name);
  if (!text) throw PermanentError(of(name, record) + " is missing");
  return *text;
}

std::int64_t number_in(const Record& record, std::string_view name, std::string_view text, std::int64_t lowest,
                       std::int64_t highest) {
  const std::int64_t number = parse_number(text, of(name, record));
  if (number < lowest || number > highest) {
    throw PermanentError(of(name, record) + " is " + std::to_string(number) + "; allowed: " + std::to_string(lowest) +
                         " to " + std::to_string(highest));
  }
  return number;
}

Time time_in(const Record& record, std::string_view name, std::string_view text) {
  try {
    return parse_rfc3339(text);
  } catch (const PermanentError& error) {
    throw PermanentError(of(name, record) + " is " + error.what());
  }
}

// An id or key. A null value is as wrong as an empty one, since whoever wrote it meant to give one.
std::optional<std::string> key_in(const Record& record, std::string_view name, std::size_t limit) {
  const Bytes* value = record.headers.find(name);
  if (value == nullptr) return std::nullopt;
  if (value->empty()) throw PermanentError(of(name, record) + " is empty");
  if (value->size() > limit) {
    throw PermanentError(of(name, record) + " has " + std::to_string(value->size()) + " bytes; allowed: 1 to " +
                         std::to_string(limit));
  }
  return value->str();
}

Time event_time_in(const Record& record, Time otherwise) {
  const Bytes* value = record.headers.find(names::kEventTime);
  return value == nullptr ? otherwise : time_in(record, names::kEventTime, value->view());
}

// What both kinds of record have in common; `origin` and its timestamp are set already.
void take_content(Message& message, const Record& record) {
  message.topic = message.origin.topic;
  message.key = record.key;
  message.payload = record.payload;
  message.read_at = record.position;
  message.event_time = event_time_in(record, message.origin_timestamp);

  std::string identity = coordinates_identity(message.origin, message.origin_timestamp);
  auto id = key_in(record, names::kMessageId, kMaxMessageId);
  message.has_id = id.has_value() && *id != identity;
  message.id = message.has_id ? std::move(*id) : std::move(identity);
  message.business_key = message.id;
}

}  // namespace

std::string coordinates_identity(const Position& origin, Time timestamp) {
  const auto unix_ms = std::chrono::floor<std::chrono::milliseconds>(timestamp).time_since_epoch().count();
  return "@" + topic_in_identity(origin.topic) + "/" + std::to_string(origin.partition) + "/" +
         std::to_string(origin.offset) + "/" + std::to_string(unix_ms);
}

Message decode_source_record(const Record& record) {
  Message message;
  message.origin = record.position;
  message.origin_timestamp = record.timestamp;
  take_content(message, record);
  message.headers = record.headers;
  return message;
}

Message decode_retry_record(const Record& record) {
  constexpr std::int64_t kMaxCount = std::numeric_limits<std::uint32_t>::max();
  const auto number = [&](std::string_view name, std::int64_t lowest, std::int64_t highest) {
    return number_in(record, name, required(record, name), lowest, highest);
  };
  Message message;
  message.from_retry_topic = true;
  message.attempt = static_cast<std::uint32_t>(number(names::kAttempt, 0, kMaxCount - 1) + 1);
  if (record.headers.contains(names::kLife)) {
    message.life = static_cast<std::uint32_t>(number(names::kLife, 1, kMaxCount));
  }
  message.origin.topic = required(record, names::kOriginTopic);
  if (message.origin.topic.empty()) {
    throw PermanentError(of(names::kOriginTopic, record) + " is empty");
  }
  message.origin.partition =
      static_cast<std::int32_t>(number(names::kOriginPartition, 0, std::numeric_limits<std::int32_t>::max()));
  message.origin.offset = number(names::kOriginOffset, 0, std::numeric_limits<std::int64_t>::max());
  message.origin_timestamp = time_in(record, names::kOriginTimestamp, required(record, names::kOriginTimestamp));
  take_content(message, record);
  if (auto key = key_in(record, names::kBusinessKey, kMaxBusinessKey)) {
    message.business_key = std::move(*key);
  }
  message.headers = without_failure_headers(record.headers);
  if (!message.has_id) message.headers.remove(names::kMessageId);
  return message;
}

std::string_view origin_group(const Record& record) noexcept {
  return record.headers.text(names::kOriginGroup).value_or(std::string_view());
}

Headers without_failure_headers(const Headers& headers) {
  Headers kept = headers;
  for (const std::string_view name :
       {names::kAttempt, names::kLife, names::kDue, names::kReplayId, names::kBusinessKey, names::kFirstFailedAt}) {
    kept.remove(name);
  }
  for (const std::string_view prefix : {kOriginPrefix, kErrorPrefix}) {
    kept.remove_prefixed(prefix);
  }
  return kept;
}

std::uint64_t payload_hash(const Bytes& payload) noexcept {
  if (payload.is_null()) return 0;
  const std::uint64_t hash = XXH3_64bits(payload.data(), payload.size());
  return hash == 0 ? 1 : hash;
}

std::uint64_t content_hash(const Message& message) noexcept {
  return message.content_hash ? *message.content_hash : payload_hash(message.payload);
}

std::int64_t parse_number(std::string_view text, std::string_view what) {
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stopped_at, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stopped_at != end) {
    throw PermanentError(std::string(what) + " is " + utf8::in_quotes(text) + "; expected a decimal number");
  }
  return number;
}

}  // namespace oncemark
