#include "dead_letter/next_life.hpp"

#include <unordered_set>

#include <oncemark/dead_letter/envelope.hpp>
#include <oncemark/ledger/parked.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/writer.hpp>

#include "mysql/in_list.hpp"

namespace oncemark::dead_letter {
namespace {

std::string now_is(const std::optional<ledger::Standing>& found, std::uint32_t life) {
  if (!found) return "skipped:no state row";
  if (found->life != life) return "skipped:life " + std::to_string(found->life);
  return "skipped:" + std::string(ledger::to_string(found->state));
}

bool is_dead_in(const std::optional<ledger::Standing>& found, std::uint32_t life) {
  return found && found->state == ledger::State::dead && found->life == life;
}

/// Why a letter is left alone whatever its state row says; nothing: it is not.
std::optional<Settled> left_alone(const NextLife& how, const Letter& letter) {
  if (letter.state != LetterState::dead) {
    return Settled{.fate = Fate::skipped, .outcome = "skipped:" + std::string(to_string(letter.state))};
  }
  if (letter.message.life > how.max_replays) {
    return Settled{.fate = Fate::guarded, .outcome = "guarded:life " + std::to_string(letter.message.life)};
  }
  return std::nullopt;
}

/// The keys of the messages that have a place in a sequence; their rows are locked, so the answer stays true.
std::unordered_set<std::string> in_sequence(mysql::Transaction& tx, const std::string& consumer,
                                            std::span<const std::string_view> keys) {
  std::unordered_set<std::string> found;
  if (keys.empty()) return found;
  std::vector<mysql::Param> params{consumer};
  const std::string list = mysql::in_list(keys, params);
  for (const mysql::Row& row :
       tx.query_with("SELECT message_key FROM parked_message WHERE consumer = ? AND message_key IN " + list, params)) {
    found.insert(row.get<std::string>(0));
  }
  return found;
}

/// dead → replaying, for all of them or by an exception: somebody has changed one between our reading and our lock.
void mark_all_replaying(mysql::Transaction& tx, std::span<const std::uint64_t> ids) {
  if (ids.empty()) return;
  std::vector<mysql::Param> params;
  const std::string list = mysql::in_list(ids, params);
  const std::uint64_t marked =
      tx.execute_with("UPDATE dead_letter SET state = 'replaying' WHERE id IN " + list + " AND state = 'dead'", params);
  if (marked == ids.size()) return;
  throw Error(ErrorKind::transient, "one of the letters from " + std::to_string(ids.front()) + " to " +
                                        std::to_string(ids.back()) + " was changed by somebody else");
}

/// The record of the next life on its way out. Throws PermanentError when it can never be stored.
outbox::FailureRow outgoing(const NextLife& how, const Letter& letter, Time now) {
  const Message& message = letter.message;
  if (message.payload.is_null() && message.headers.contains(names::kRecordLeftOut)) {
    // Replaying it would hand a tombstone to the handler.
    throw PermanentError("letter " + std::to_string(letter.id) + " is a pointer to record " + message.origin.str() +
                         ", which was too large to be stored; send that record again");
  }
  const Envelope envelope{.group = letter.group,
                          .life = message.life + 1,
                          .attempt = 0,
                          .first_failed_at = letter.first_failed_at,
                          .error_class = letter.error_class,
                          .error_text = letter.error_text,
                          .stage = letter.stage};
  Headers headers = retry_headers(message, envelope, now);
  if (how.job_id != 0) headers.set(names::kReplayId, std::to_string(how.job_id));
  const std::string topic = how.topics.retry_topic(letter.group, message.topic);
  outbox::check_topic(topic);
  return {.message_id = message.id,
          .purpose = retry_purpose(letter.consumer, message, envelope.life, envelope.attempt),
          .relay = how.relay.empty() ? letter.consumer : how.relay,
          .topic = topic,
          .key = message.key,
          .business_key = message.business_key,
          .payload = message.payload,
          .headers = std::move(headers),
          .event_time = message.event_time};
}

class Group {
 public:
  Group(mysql::Transaction& tx, const NextLife& how, std::span<const Letter> letters)
      : tx_(tx), how_(how), letters_(letters), settled_(letters.size()), now_(ledger::database_now(tx)) {}

  std::vector<Settled> settle() {
    sort_out();
    begin();
    go_on_in_place();
    audit_letters(tx_, how_, letters_, settled_);
    return std::move(settled_);
  }

 private:
  /// Locks the state rows, and decides about each letter.
  void sort_out() {
    std::vector<std::size_t> open;
    std::vector<std::string_view> keys;
    for (std::size_t i = 0; i < letters_.size(); ++i) {
      if (auto alone = left_alone(how_, letters_[i])) {
        settled_[i] = std::move(*alone);
        continue;
      }
      open.push_back(i);
      keys.emplace_back(letters_[i].message.business_key);
    }
    const auto standings = ledger::lock_standings(tx_, how_.consumer, keys);
    const auto parked = in_sequence(tx_, how_.consumer, keys);
    for (std::size_t n = 0; n < open.size(); ++n) {
      const std::size_t i = open[n];
      const Letter& letter = letters_[i];
      if (!is_dead_in(standings[n], letter.message.life)) {
        settled_[i] = {.fate = Fate::skipped, .outcome = now_is(standings[n], letter.message.life)};
      } else if (parked.contains(letter.message.business_key)) {
        in_place_.push_back(i);
      } else {
        take(i);
      }
    }
  }

  void take(std::size_t i) {
    const Letter& letter = letters_[i];
    try {
      rows_.push_back(outgoing(how_, letter, now_));
    } catch (const PermanentError& error) {
      log(LogLevel::error, "a letter cannot be replayed",
          {{"job", how_.job_id}, {"letter", letter.id}, {"error", error.error_class()}, {"text", error.what()}});
      settled_[i] = {.fate = Fate::refused, .outcome = "refused"};
      return;
    }
    sent_.push_back(i);
    settled_[i] = {.fate = Fate::replayed, .outcome = "replayed"};
  }

  void begin() {
    std::vector<std::string_view> keys;
    std::vector<std::uint64_t> ids;
    std::vector<ledger::Revived> revived;
    for (const std::size_t i : sent_) {
      const Letter& letter = letters_[i];
      keys.emplace_back(letter.message.business_key);
      ids.push_back(letter.id);
      revived.push_back({.message = &letter.message,
                         .detail = {.group = letter.group,
                                    .error = {.error_class = letter.error_class, .text = letter.error_text},
                                    .now = now_,
                                    .due = now_,
                                    .first_failed_at = letter.first_failed_at}});
    }
    ledger::revive(tx_, how_.consumer, keys);
    mark_all_replaying(tx_, ids);
    ledger::keep_revived_messages(tx_, how_.consumer, revived);
    outbox::append_failure_rows(tx_, rows_, now_);
  }

  /// What stopped its key goes on there, before what waits behind it; nothing is sent. Last: it locks the sequence.
  void go_on_in_place() {
    for (const std::size_t i : in_place_) {
      const Letter& letter = letters_[i];
      const std::array<std::uint64_t, 1> id{letter.id};
      mark_all_replaying(tx_, id);
      (void)ledger::revive_in_place(tx_, how_.consumer, letter.message.business_key, letter.message.life);
      settled_[i] = {.fate = Fate::replayed, .outcome = "replayed"};
    }
  }

  mysql::Transaction& tx_;
  const NextLife& how_;
  std::span<const Letter> letters_;
  std::vector<Settled> settled_;
  std::vector<std::size_t> sent_;
  std::vector<std::size_t> in_place_;
  std::vector<outbox::FailureRow> rows_;  // of sent_
  Time now_;
};

}  // namespace

std::vector<Settled> begin_next_lives(mysql::Transaction& tx, const NextLife& how, std::span<const Letter> letters) {
  if (letters.empty()) return {};
  return Group(tx, how, letters).settle();
}

void audit_letters(mysql::Transaction& tx, const NextLife& how, std::span<const Letter> letters,
                   std::span<const Settled> settled) {
  const Time now = ledger::database_now(tx);
  const mysql::Param job = how.job_id == 0 ? mysql::Param(nullptr) : mysql::Param(how.job_id);
  mysql::RowValues rows;
  for (std::size_t i = 0; i < letters.size(); ++i) {
    rows.add(job, letters[i].id, letters[i].consumer, letters[i].message.business_key, letters[i].message.life,
             how.action, settled[i].outcome, how.operator_name, how.reason, now,
             settled[i].fate == Fate::replayed ? how.new_message_id : Bytes());
  }
  tx.insert_rows(
      "INSERT INTO replay_audit (job_id, letter_id, consumer, identity, life, action, outcome, operator, reason, at, "
      "new_message_id)",
      rows);
}

}  // namespace oncemark::dead_letter
