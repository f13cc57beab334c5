#include <oncemark/dead_letter/resend.hpp>

#include <optional>

#include <oncemark/dead_letter/envelope.hpp>
#include <oncemark/ledger/state.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/message.hpp>

#include "dead_letter/passage.hpp"

namespace oncemark::dead_letter {
namespace {

/// What failed_message keeps of a record and its failures.
struct Kept {
  Message message;
  Envelope envelope;
  Time due{};
};

std::optional<Kept> read_overdue(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key,
                                 std::int64_t overdue) {
  const auto row = tx.query_row(
      "SELECT message_id, origin_group, origin_topic, origin_partition, origin_offset, origin_timestamp, record_key, "
      "payload, headers, event_time, due_at, last_error_class, last_error, first_failed_at FROM failed_message "
      "WHERE consumer = ? AND message_key = ? AND due_at < UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND",
      consumer, message_key, overdue);
  if (!row) return std::nullopt;
  Kept kept;
  Message& message = kept.message;
  message.id = row->get<std::string>("message_id");
  message.business_key = message_key;
  message.topic = row->get<std::string>("origin_topic");
  message.origin = {.topic = message.topic,
                    .partition = row->get<std::int32_t>("origin_partition"),
                    .offset = row->get<std::int64_t>("origin_offset")};
  message.origin_timestamp = row->get<Time>("origin_timestamp");
  message.key = row->get<Bytes>("record_key");
  message.payload = row->get<Bytes>("payload");
  message.headers = decode_headers(row->get<std::string>("headers"));
  message.event_time = row->get<Time>("event_time");
  kept.envelope = {.group = row->get<std::string>("origin_group"),
                   .first_failed_at = row->get<Time>("first_failed_at"),
                   .error_class = row->get<std::string>("last_error_class"),
                   .error_text = row->get<std::string>("last_error"),
                   .stage = "handler"};
  kept.due = row->get<Time>("due_at");
  return kept;
}

}  // namespace

Resend send_again(mysql::Transaction& tx, const ResendOptions& options, std::string_view consumer,
                  std::string_view message_key, std::chrono::seconds overdue) {
  const std::int64_t age = std::chrono::microseconds(overdue).count();
  const auto standing = tx.query_row(
      "SELECT state, life, attempt FROM consumed_message WHERE consumer = ? AND message_key = ? FOR UPDATE SKIP LOCKED",
      consumer, message_key);
  if (!standing || ledger::parse_state(standing->get<std::string>(0)) != ledger::State::retrying) {
    return Resend::nothing;
  }
  auto kept = read_overdue(tx, consumer, message_key, age);
  if (!kept) return Resend::nothing;
  kept->envelope.life = standing->get<std::uint32_t>(1);
  kept->envelope.attempt = standing->get<std::uint32_t>(2);
  const Message& message = kept->message;
  const std::string purpose = retry_purpose(consumer, message, kept->envelope.life, kept->envelope.attempt);

  const auto sent = tx.query_row(
      "SELECT id, status = 'sent' AND sent_at < UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND FROM outbox_message "
      "WHERE message_id = ? AND purpose = ? FOR UPDATE",
      age, message.id, purpose);
  if (sent) {
    if (!sent->get<std::optional<bool>>(1).value_or(false)) return Resend::nothing;
    tx.execute(
        "UPDATE outbox_message SET status = 'pending', available_at = UTC_TIMESTAMP(6), attempts = 0, sent_at = NULL "
        "WHERE id = ?",
        sent->get<std::uint64_t>(0));
    return Resend::again;
  }
  send_on(tx, message,
          {.consumer = consumer,
           .relay = options.relay,
           .purpose = purpose,
           .topic = options.topics.retry_topic(kept->envelope.group, message.topic),
           .headers = retry_headers(message, kept->envelope, kept->due)});
  return Resend::anew;
}

}  // namespace oncemark::dead_letter
