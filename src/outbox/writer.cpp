#include <oncemark/outbox/writer.hpp>

#include <algorithm>

#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::outbox {
namespace {

constexpr std::size_t kMaxName = 100;
constexpr std::chrono::milliseconds kMaxDelay = std::chrono::hours(24 * 365);

// Letters, digits, '.', '_' and '-' only: what Kafka allows in topics, and what is safe in names of locks and files.
bool is_plain(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}

void check_size(std::string_view field, std::size_t bytes, std::size_t limit) {
  if (bytes <= limit) return;
  throw PermanentError("outbox draft: " + std::string(field) + " has " + std::to_string(bytes) +
                       " bytes; allowed: " + std::to_string(limit));
}

void check_headers(const Headers& headers) {
  if (headers.size() > OutboxLimits::header_count) {
    throw PermanentError("outbox draft: headers are " + std::to_string(headers.size()) +
                         "; allowed: " + std::to_string(OutboxLimits::header_count));
  }
  std::size_t bytes = 0;
  for (const Header& header : headers) {
    if (header.name.starts_with(names::kPrefix)) {
      throw PermanentError("outbox draft: headers contain " + printable(header.name, 100) +
                           "; names that start with om- are ours, choose another");
    }
    bytes += header.name.size() + header.value.size();
  }
  check_size("headers", bytes, OutboxLimits::headers);
}

// A row without a business key is deduplicated by its message id.
Bytes business_key_or_null(const std::string& key) { return key.empty() ? Bytes() : Bytes(key); }

}  // namespace

void check_draft(const Draft& draft) {
  check_topic(draft.topic);
  check_size("key", draft.key.size(), OutboxLimits::key);
  check_size("payload", draft.payload.size(), OutboxLimits::payload);
  check_headers(draft.headers);
  check_size("id", draft.id.size(), kMaxMessageId);
  check_size("business_key", draft.business_key.size(), kMaxBusinessKey);
  if (draft.delay < draft.delay.zero() || draft.delay > kMaxDelay) {
    throw PermanentError("outbox draft: delay is " + std::to_string(draft.delay.count()) +
                         " ms; allowed: 0 to 365 days");
  }
  check_name("Draft::relay", draft.relay);
}

// sent_at has a value from the start, so that marking the row does not change its size (ADR 12).
std::string append(mysql::Transaction& tx, const Draft& draft) {
  check_draft(draft);
  const std::string id = draft.id.empty() ? MessageId::generate(SystemClock().now()).str() : draft.id;
  const Status status = draft.delay.count() > 0 ? Status::waiting : Status::pending;
  tx.execute(
      "INSERT INTO outbox_message (message_id, purpose, relay, shard, topic, message_key, business_key, event_time, "
      "payload, headers, status, available_at, created_at, sent_at, payload_hash) VALUES (?, '', ?, ?, ?, ?, ?, "
      "COALESCE(CAST(? AS DATETIME(6)), UTC_TIMESTAMP(6)), ?, ?, ?, UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND, "
      "UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?)",
      id, draft.relay, shard_of(draft.key, id), draft.topic, draft.key, business_key_or_null(draft.business_key),
      draft.event_time, draft.payload, encode_headers(draft.headers), to_string(status),
      std::chrono::microseconds(draft.delay).count(), payload_hash(draft.payload));
  return id;
}

void append_failure_row(mysql::Transaction& tx, const FailureRow& row) {
  check_topic(row.topic);
  tx.execute(
      "INSERT INTO outbox_message (message_id, purpose, relay, shard, topic, message_key, business_key, event_time, "
      "payload, headers, status, available_at, created_at, sent_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
      "IF(CAST(? AS DATETIME(6)) > UTC_TIMESTAMP(6), 'waiting', 'pending'), "
      "COALESCE(CAST(? AS DATETIME(6)), UTC_TIMESTAMP(6)), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
      row.message_id, row.purpose, row.relay, shard_of(row.key, row.message_id), row.topic, row.key,
      business_key_or_null(row.business_key), row.event_time, row.payload, encode_headers(row.headers), row.due,
      row.due);
}

void append_failure_rows(mysql::Transaction& tx, std::span<const FailureRow> rows, Time now) {
  mysql::RowValues values;
  for (const FailureRow& row : rows) {
    check_topic(row.topic);
    const bool is_due = !row.due || *row.due <= now;
    values.add(row.message_id, row.purpose, row.relay, shard_of(row.key, row.message_id), row.topic, row.key,
               business_key_or_null(row.business_key), row.event_time, row.payload, encode_headers(row.headers),
               to_string(is_due ? Status::pending : Status::waiting), row.due.value_or(now), now, now);
  }
  tx.insert_rows(
      "INSERT INTO outbox_message (message_id, purpose, relay, shard, topic, message_key, business_key, event_time, "
      "payload, headers, status, available_at, created_at, sent_at)",
      values);
}

void check_topic(const std::string& name) {
  if (!name.empty() && name.size() <= OutboxLimits::topic && is_plain(name) && name != "." && name != "..") return;
  throw PermanentError("topic \"" + printable(name, 300) +
                       "\" cannot be a Kafka topic: 1 to 249 characters of [A-Za-z0-9._-], and neither . nor ..");
}

void check_name(std::string_view what, const std::string& name) {
  if (!name.empty() && name.size() <= kMaxName && is_plain(name)) return;
  throw MisuseError(std::string(what) + " is \"" + printable(name, 300) +
                    "\"; allowed: 1 to 100 characters of [A-Za-z0-9._-]");
}

}  // namespace oncemark::outbox
