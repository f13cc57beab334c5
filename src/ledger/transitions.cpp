#include <oncemark/ledger/transitions.hpp>

#include <oncemark/core/id.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>

#include "ledger/rows.hpp"

namespace oncemark::ledger {

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
  tx.execute(
      "INSERT INTO failed_message (consumer, message_key, message_id, origin_group, origin_topic, origin_partition, "
      "origin_offset, origin_timestamp, record_key, payload, headers, event_time, due_at, first_error_class, "
      "first_error, last_error_class, last_error, first_failed_at, failed_at) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
      "ON DUPLICATE KEY UPDATE due_at = VALUES(due_at), last_error_class = VALUES(last_error_class), "
      "last_error = VALUES(last_error), failed_at = VALUES(failed_at)",
      consumer, message.business_key, message.id, detail.group, message.origin.topic, message.origin.partition,
      message.origin.offset, message.origin_timestamp, message.key, message.payload, encode_headers(message.headers),
      message.event_time, detail.due, detail.error.error_class, detail.error.text, detail.error.error_class,
      detail.error.text, first, detail.now);
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

Revival revive(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key, std::uint32_t life) {
  const auto found = lock_standing(tx, consumer, message_key);
  if (!found || found->state != State::dead || found->life != life) return {.is_revived = false, .found = found};
  tx.execute(
      "UPDATE consumed_message SET state = 'retrying', life = life + 1, attempt = 0, consumed_at = UTC_TIMESTAMP(6) "
      "WHERE consumer = ? AND message_key = ?",
      consumer, message_key);
  return {.is_revived = true, .found = found};
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
