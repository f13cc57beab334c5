#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>

#include <oncemark/core/bytes.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/message/headers.hpp>
#include <oncemark/mysql/transaction.hpp>
#include <oncemark/outbox/table.hpp>

namespace oncemark::outbox {

/// A message to be sent once the transaction commits.
struct Draft {
  std::string topic = {};               // where to
  Bytes key = nullptr;                  // the record's key, and its order · null: no order · 1 to 512 bytes, or empty
  Bytes payload = nullptr;              // null is a tombstone
  Headers headers = {};                 // passed on unchanged; names that start with om- are refused
  std::string id = {};                  // message id · empty: a new time-ordered one · at most 255 bytes
  std::string business_key = {};        // what consumers dedup by, for reconciliation · empty: the message id
  std::optional<Time> event_time = {};  // when it happened · default: now, by the database's clock
  std::chrono::milliseconds delay{0};   // not sent earlier than this after the append · 0 to 365 days
  std::string relay = std::string(kMainRelay);  // who sends it · [A-Za-z0-9._-], 1 to 100
};

/// Adds a message to the outbox; it is sent only if `tx` commits. Returns its message id.
///
/// Shape:   one row, status pending (or waiting, with a delay). Limits: OutboxLimits.
/// Threads: the thread that owns `tx`. One INSERT, no network to Kafka.
/// Errors:  PermanentError when a limit is exceeded, naming the field (before any SQL); MysqlError otherwise, code
///          1062 when the id was appended before. Nothing is added on throw.
/// Crash:   before the commit: no row, no message. After: the relay sends it at least once.
/// Source:  docs/guarantees.md, outbox; order per key holds when the transaction locks its aggregate first.
std::string append(mysql::Transaction& tx, const Draft& draft);

/// A row written by the consumer side for a record that failed: to the retry topic or to the dead letters.
/// Foreign bytes keep their size: only the topic is checked.
struct FailureRow {
  std::string message_id = {};
  std::string purpose = {};  // retry:{consumer}:{life}:{attempt} or dlq:{consumer}:{life}
  std::string relay = {};
  std::string topic = {};
  Bytes key = {};
  std::string business_key = {};
  Bytes payload = {};
  Headers headers = {};  // complete, except om-message-id (and om-event-time, kept up to date if there is one)
  Time event_time{};
  std::optional<Time> due = {};  // by the database's clock; none: at once
};

/// Adds a failure row. Same guarantees as append(). A row with the same message id and purpose must not exist: the
/// state row's lock sees to that.
void append_failure_row(mysql::Transaction& tx, const FailureRow& row);
/// The same for many, by few statements; `now` is the database's time.
void append_failure_rows(mysql::Transaction& tx, std::span<const FailureRow> rows, Time now);

/// Throws PermanentError naming the field that exceeds OutboxLimits, before anything is sent anywhere.
void check_draft(const Draft& draft);
/// Throws PermanentError unless `name` can be a Kafka topic.
void check_topic(const std::string& name);
/// Throws MisuseError unless `name` can be a relay or consumer name: [A-Za-z0-9._-], 1 to 100 characters.
void check_name(std::string_view what, const std::string& name);

}  // namespace oncemark::outbox
