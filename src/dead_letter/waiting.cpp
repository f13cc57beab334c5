#include <oncemark/dead_letter/waiting.hpp>

#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/dead_letter/envelope.hpp>
#include <oncemark/dead_letter/store.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/parked.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/mysql/epoch.hpp>
#include <oncemark/outbox/writer.hpp>

#include "dead_letter/passage.hpp"

namespace oncemark::dead_letter {
namespace {

void audit(mysql::Transaction& tx, const std::string& consumer, const std::string& key, std::uint32_t life,
           std::string_view action, const std::string& outcome, const Hand& hand, std::uint64_t letter_id = 0) {
  tx.execute(
      "INSERT INTO replay_audit (job_id, letter_id, consumer, identity, life, action, outcome, operator, reason, at) "
      "VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6))",
      letter_id, consumer, key, life, action, outcome, hand.operator_name, hand.reason);
}

std::string skipped(const std::optional<ledger::Standing>& found) {
  return "skipped:" + (found ? std::string(ledger::to_string(found->state)) : std::string("no state row"));
}

/// The standing if it is still the one that the operator saw.
bool is_as_seen(const std::optional<ledger::Standing>& found, const Waiting& message) {
  return found && found->state == ledger::State::retrying && found->life == message.life &&
         found->attempt == message.attempt;
}

std::string purpose_of(const Waiting& message) {
  Message named;
  named.id = message.message_id;
  named.business_key = message.business_key;
  return retry_purpose(message.consumer, named, message.life, message.attempt);
}

void set_state(mysql::Transaction& tx, const std::string& consumer, const std::string& key, ledger::State state) {
  tx.execute(
      "UPDATE consumed_message SET state = ?, consumed_at = UTC_TIMESTAMP(6) WHERE consumer = ? AND message_key = ?",
      to_string(state), consumer, key);
}

/// An unsent attempt need not be sent any more; one that the relay has just read is dropped by whoever reads it.
void remove_unsent(mysql::Transaction& tx, const Waiting& message) {
  tx.execute(
      "DELETE FROM outbox_message WHERE message_id = ? AND purpose = ? AND status IN ('waiting', 'pending', "
      "'failing')",
      message.message_id, purpose_of(message));
}

/// The message that waits, with its record.
struct Kept {
  Message message;
  std::string group;
};
std::optional<Kept> read_kept(mysql::Transaction& tx, const Waiting& waiting) {
  const auto row = tx.query_row(
      "SELECT record_key, payload, headers, event_time, origin_timestamp, origin_group FROM failed_message "
      "WHERE consumer = ? AND message_key = ?",
      waiting.consumer, waiting.business_key);
  if (!row) return std::nullopt;
  Message message;
  message.id = waiting.message_id;
  message.business_key = waiting.business_key;
  message.topic = waiting.origin.topic;
  message.origin = waiting.origin;
  message.read_at = waiting.origin;
  message.life = waiting.life;
  message.attempt = waiting.attempt;
  message.key = row->get<Bytes>(0);
  message.payload = row->get<Bytes>(1);
  message.headers = decode_headers(row->get<std::string>(2));
  message.event_time = row->get<Time>(3);
  message.origin_timestamp = row->get<Time>(4);
  return Kept{.message = std::move(message), .group = row->get<std::string>(5)};
}

/// The letter and its way to the dead-letter topic; the letter's id.
std::uint64_t bury(mysql::Transaction& tx, const Waiting& waiting, const Kept& kept,
                   const std::optional<ledger::FirstFailure>& first, const retry::TopicNames& topics,
                   const std::string& relay) {
  const Envelope envelope{.group = kept.group,
                          .life = waiting.life,
                          .attempt = waiting.attempt,
                          .first_failed_at = waiting.first_failed_at,
                          .error_class = waiting.error_class,
                          .error_text = waiting.error_text,
                          .stage = "handler"};
  const Letter letter = keep_letter(tx, kept.message,
                                    {.consumer = waiting.consumer,
                                     .state = LetterState::dead,
                                     .envelope = envelope,
                                     .first = first,
                                     .topics = topics,
                                     .died_at = ledger::database_now(tx)});
  send_on(tx, kept.message,
          {.consumer = waiting.consumer,
           .relay = relay,
           .purpose = dead_letter_purpose(waiting.consumer, kept.message, waiting.life),
           .topic = letter.dlq_topic,
           .headers = dead_letter_headers(kept.message, envelope)});
  return tx
      .query_row("SELECT id FROM dead_letter WHERE consumer = ? AND identity = ? AND life = ?", waiting.consumer,
                 waiting.business_key, waiting.life)
      ->get<std::uint64_t>(0);
}

/// The previous life's letter is `replaying` while its message retries: it shares the message's fate.
void discard_letters(mysql::Transaction& tx, const std::string& consumer, const std::string& key) {
  tx.execute(
      "UPDATE dead_letter SET state = 'discarded' WHERE consumer = ? AND identity = ? AND state IN ('dead', "
      "'replaying')",
      consumer, key);
}

}  // namespace

std::vector<Waiting> find_waiting(mysql::Transaction& tx, const WaitingSelection& selection, std::size_t limit) {
  outbox::check_name("WaitingSelection::consumer", selection.consumer);
  std::string sql =
      "SELECT f.message_key, f.message_id, f.origin_topic, f.origin_partition, f.origin_offset, c.life, c.attempt, "
      "f.due_at, f.last_error_class, f.last_error, f.first_failed_at, f.failed_at "
      "FROM failed_message f JOIN consumed_message c ON c.consumer = f.consumer AND c.message_key = f.message_key "
      "WHERE f.consumer = ? AND c.state = 'retrying'";
  std::vector<mysql::Param> params{mysql::Param(selection.consumer)};
  const auto require = [&](const char* condition, const std::optional<std::string>& value) {
    if (!value) return;
    sql += condition;
    params.emplace_back(*value);
  };
  require(" AND f.message_key = ?", selection.key);
  require(" AND f.last_error_class = ?", selection.error_class);
  require(" AND f.origin_topic = ?", selection.topic);
  sql += " ORDER BY f.due_at, f.message_key LIMIT ?";
  params.emplace_back(limit);

  std::vector<Waiting> found;
  for (const mysql::Row& row : tx.query_with(sql, params)) {
    found.push_back({.consumer = selection.consumer,
                     .business_key = row.get<std::string>(0),
                     .message_id = row.get<std::string>(1),
                     .origin = {.topic = row.get<std::string>(2),
                                .partition = row.get<std::int32_t>(3),
                                .offset = row.get<std::int64_t>(4)},
                     .life = row.get<std::uint32_t>(5),
                     .attempt = row.get<std::uint32_t>(6),
                     .due_at = row.get<Time>(7),
                     .error_class = row.get<std::string>(8),
                     .error_text = row.get<std::string>(9),
                     .first_failed_at = row.get<Time>(10),
                     .failed_at = row.get<Time>(11)});
  }
  for (Waiting& message : found) {
    const auto row = tx.query_row("SELECT status FROM outbox_message WHERE message_id = ? AND purpose = ?",
                                  message.message_id, purpose_of(message));
    message.outbox_status = row ? row->get<std::string>(0) : "none";
  }
  return found;
}

Handled hasten(mysql::Transaction& tx, const Waiting& message, std::chrono::milliseconds delay, const Hand& hand) {
  const auto found = ledger::lock_standing(tx, message.consumer, message.business_key);
  if (!is_as_seen(found, message)) return {.outcome = skipped(found)};
  const Time due = ledger::database_now(tx) + delay;
  const auto row = tx.query_row(
      "SELECT id, headers FROM outbox_message WHERE message_id = ? AND purpose = ? AND status = 'waiting' AND "
      "available_at > ? FOR UPDATE",
      message.message_id, purpose_of(message), due);
  if (!row) return {.outcome = "skipped:due by then"};
  Headers headers = decode_headers(row->get<std::string>(1));
  headers.set(names::kDue, format_rfc3339(due));
  tx.execute("UPDATE outbox_message SET available_at = ?, headers = ? WHERE id = ?", due, encode_headers(headers),
             row->get<std::uint64_t>(0));
  tx.execute("UPDATE failed_message SET due_at = ? WHERE consumer = ? AND message_key = ?", due, message.consumer,
             message.business_key);
  audit(tx, message.consumer, message.business_key, message.life, "expedite", "hastened", hand);
  ONCEMARK_FAIL_POINT("waiting.before_commit");
  return {.is_done = true, .outcome = "hastened"};
}

Handled cancel(mysql::Transaction& tx, const Waiting& message, CancelAs as, const retry::TopicNames& topics,
               const std::string& relay, const Hand& hand) {
  const auto found = ledger::lock_standing(tx, message.consumer, message.business_key);
  if (!is_as_seen(found, message)) return {.outcome = skipped(found)};
  const std::optional<Kept> kept = as == CancelAs::dead ? read_kept(tx, message) : std::nullopt;
  if (as == CancelAs::dead && !kept) return {.outcome = "skipped:no record"};
  set_state(tx, message.consumer, message.business_key,
            as == CancelAs::dead ? ledger::State::dead : ledger::State::discarded);
  const auto first = ledger::drop_failed_message(tx, message.consumer, message.business_key);
  remove_unsent(tx, message);
  std::uint64_t letter_id = 0;
  if (as == CancelAs::dead) {
    letter_id = bury(tx, message, *kept, first, topics, relay);
  } else {
    discard_letters(tx, message.consumer, message.business_key);
  }
  const std::string outcome = as == CancelAs::dead ? "dead" : "discarded";
  audit(tx, message.consumer, message.business_key, message.life, "cancel", outcome, hand, letter_id);
  ONCEMARK_FAIL_POINT("waiting.before_commit");
  return {.is_done = true, .outcome = outcome};
}

Handled skip(mysql::Transaction& tx, const std::string& consumer, const std::string& key, const Hand& hand) {
  outbox::check_name("consumer", consumer);
  if (key.empty() || key.size() > kMaxBusinessKey) {
    throw PermanentError("a business key has 1 to " + std::to_string(kMaxBusinessKey) + " bytes, this one has " +
                         std::to_string(key.size()));
  }
  // Before it arrives: the row stands in its way. When there is one already, the INSERT locks it.
  const bool is_new = tx.execute(
                          "INSERT INTO consumed_message (consumer, message_key, state, life, attempt, token, "
                          "payload_hash, message_id, origin_topic, origin_partition, origin_offset, event_time, "
                          "consumed_at) VALUES (?, ?, 'discarded', 1, 0, ?, 0, ?, '', -1, -1, UTC_TIMESTAMP(6), "
                          "UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE message_key = message_key",
                          consumer, key, random_token(), std::string_view(key).substr(0, kMaxMessageId)) > 0;
  const auto found = ledger::lock_standing(tx, consumer, key);
  std::uint32_t life = 1;
  if (!is_new) {
    const bool is_waiting = found && (found->state == ledger::State::retrying || found->state == ledger::State::dead ||
                                      found->state == ledger::State::parked);
    if (!is_waiting) {
      return {.outcome = skipped(found)};
    }
    life = found->life;
    const auto waiting = find_waiting(tx, {.consumer = consumer, .key = key}, 1);
    if (!waiting.empty()) remove_unsent(tx, waiting.front());
    set_state(tx, consumer, key, ledger::State::discarded);
    ledger::drop_failed_message(tx, consumer, key);
    discard_letters(tx, consumer, key);
  }
  audit(tx, consumer, key, life, "skip", "discarded", hand);
  (void)ledger::leave_sequence(tx, consumer, key);
  ONCEMARK_FAIL_POINT("waiting.before_commit");
  return {.is_done = true, .outcome = "discarded"};
}

Handled forget(mysql::Transaction& tx, const std::string& consumer, const std::string& key, const Hand& hand) {
  outbox::check_name("consumer", consumer);
  const auto found = ledger::lock_standing(tx, consumer, key);
  if (!found || (found->state != ledger::State::done && found->state != ledger::State::discarded)) {
    return {.outcome = skipped(found)};
  }
  ledger::give_back(tx, consumer, key);
  // With it, or a hint would still call it done if we died here.
  mysql::draw_epoch(tx);
  audit(tx, consumer, key, found->life, "dedup-reset", "forgotten", hand);
  ONCEMARK_FAIL_POINT("waiting.before_commit");
  return {.is_done = true, .outcome = "forgotten"};
}

}  // namespace oncemark::dead_letter
