#include <oncemark/ledger/transitions.hpp>

#include <algorithm>
#include <unordered_map>

#include <oncemark/core/id.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>

#include "ledger/rows.hpp"
#include "mysql/in_list.hpp"

namespace oncemark::ledger {
namespace {

constexpr std::string_view kInsertFailed =
    "INSERT INTO failed_message (consumer, message_key, message_id, origin_group, origin_topic, origin_partition, "
    "origin_offset, origin_timestamp, record_key, payload, headers, event_time, due_at, first_error_class, "
    "first_error, last_error_class, last_error, first_failed_at, failed_at)";
constexpr std::string_view kKeepFirst =
    "ON DUPLICATE KEY UPDATE due_at = VALUES(due_at), last_error_class = VALUES(last_error_class), "
    "last_error = VALUES(last_error), failed_at = VALUES(failed_at)";

}  // namespace

Time database_now(mysql::Transaction& tx) { return tx.query_row("SELECT UTC_TIMESTAMP(6)")->get<Time>(0); }

std::optional<Standing> fail(mysql::Transaction& tx, std::string_view consumer, const Message& message, State next) {
  if (message.from_retry_topic) {
    if (const auto found = lock_standing(tx, consumer, message.business_key)) {
      return fail_once_more(tx, consumer, message, *found, State::retrying, next);
    }
    // No row means fresh, whatever the record says: the database may have been restored.
  }
  const std::uint64_t hash = content_hash(message);
  std::vector<mysql::Param> params;
  bind_row(params, consumer, message, next, 1, random_token(), hash);
  if (tx.execute_with(insert_rows_sql(1), params) == 0) return std::nullopt;
  return Standing{.state = next, .life = 1, .attempt = 1, .payload_hash = hash};
}

Time keep_failed_message(mysql::Transaction& tx, std::string_view consumer, const Message& message,
                         const FailureDetail& detail) {
  // A record of a source topic fails for the first time: nothing is known of it.
  const auto known =
      message.from_retry_topic
          ? tx.query_row("SELECT first_failed_at FROM failed_message WHERE consumer = ? AND message_key = ?", consumer,
                         message.business_key)
          : std::nullopt;
  const Time first = known ? known->get<Time>(0) : detail.first_failed_at.value_or(detail.now);
  static const std::string kKeep = std::string(kInsertFailed) +
                                   " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) " +
                                   std::string(kKeepFirst);
  tx.execute(kKeep, consumer, message.business_key, message.id, detail.group, message.origin.topic,
             message.origin.partition, message.origin.offset, message.origin_timestamp, message.key, message.payload,
             encode_headers(message.headers), message.event_time, detail.due, detail.error.error_class,
             detail.error.text, detail.error.error_class, detail.error.text, first, detail.now);
  return first;
}

std::optional<FirstFailure> drop_failed_message(mysql::Transaction& tx, std::string_view consumer,
                                                std::string_view message_key) {
  const auto known = tx.query_row(
      "SELECT first_failed_at, first_error_class, first_error FROM failed_message "
      "WHERE consumer = ? AND message_key = ?",
      consumer, message_key);
  if (!known) return std::nullopt;
  tx.execute("DELETE FROM failed_message WHERE consumer = ? AND message_key = ?", consumer, message_key);
  return FirstFailure{
      .at = known->get<Time>(0), .error_class = known->get<std::string>(1), .text = known->get<std::string>(2)};
}

bool is_pointer(const Message& message) noexcept {
  return message.from_retry_topic && message.payload.is_null() && message.headers.contains(names::kRecordLeftOut);
}

std::optional<Message> whole_of(mysql::Transaction& tx, std::string_view consumer, const Message& pointer) {
  const auto row =
      tx.query_row("SELECT record_key, payload, headers FROM failed_message WHERE consumer = ? AND message_key = ?",
                   consumer, pointer.business_key);
  if (!row) return std::nullopt;
  Message whole = pointer;
  whole.key = row->get<Bytes>(0);
  whole.payload = row->get<Bytes>(1);
  whole.headers = decode_headers(row->get<std::string>(2));
  return whole;
}

// The UPDATE changes nothing but locks just what it names: under READ COMMITTED it passes over a locked row that does
// not match, where a locking SELECT that scans would wait for it. What is locked by us is then read as it stands.
std::vector<std::optional<Standing>> lock_standings(mysql::Transaction& tx, std::string_view consumer,
                                                    std::span<const std::string_view> message_keys) {
  std::vector<std::optional<Standing>> standings(message_keys.size());
  if (message_keys.empty()) return standings;
  std::vector<std::string_view> keys(message_keys.begin(), message_keys.end());
  std::ranges::sort(keys);  // lock order
  std::vector<mysql::Param> params{consumer};
  const std::string which = " WHERE consumer = ? AND message_key IN " + mysql::in_list<std::string_view>(keys, params);
  tx.execute_with("UPDATE consumed_message SET attempt = attempt" + which, params);
  std::unordered_map<std::string, Standing> found;
  for (const mysql::Row& row :
       tx.query_with("SELECT message_key, state, life, attempt, payload_hash FROM consumed_message" + which, params)) {
    found.emplace(row.get<std::string>(0), read_standing(row, 1));
  }
  for (std::size_t i = 0; i < message_keys.size(); ++i) {
    const auto place = found.find(std::string(message_keys[i]));
    if (place != found.end()) standings[i] = place->second;
  }
  return standings;
}

void revive(mysql::Transaction& tx, std::string_view consumer, std::span<const std::string_view> message_keys) {
  if (message_keys.empty()) return;
  std::vector<mysql::Param> params{consumer};
  const std::string list = mysql::in_list(message_keys, params);
  tx.execute_with(
      "UPDATE consumed_message SET state = 'retrying', life = life + 1, attempt = 0, consumed_at = UTC_TIMESTAMP(6) "
      "WHERE consumer = ? AND message_key IN " +
          list,
      params);
}

void keep_revived_messages(mysql::Transaction& tx, std::string_view consumer, std::span<const Revived> revived) {
  mysql::RowValues rows;
  for (const auto& [message, detail] : revived) {
    rows.add(consumer, message->business_key, message->id, detail.group, message->origin.topic,
             message->origin.partition, message->origin.offset, message->origin_timestamp, message->key,
             message->payload, encode_headers(message->headers), message->event_time, detail.due,
             detail.error.error_class, detail.error.text, detail.error.error_class, detail.error.text,
             detail.first_failed_at.value_or(detail.now), detail.now);
  }
  tx.insert_rows(kInsertFailed, rows, kKeepFirst);
}

void settle_previous_letter(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key,
                            std::uint32_t life) {
  if (life <= 1) return;
  tx.execute(
      "UPDATE dead_letter SET state = 'replayed' "
      "WHERE consumer = ? AND identity = ? AND life = ? AND state = 'replaying'",
      consumer, message_key, life - 1);
}

}  // namespace oncemark::ledger
