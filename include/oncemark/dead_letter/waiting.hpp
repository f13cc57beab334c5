#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/core/clock.hpp>
#include <oncemark/message/position.hpp>
#include <oncemark/mysql/transaction.hpp>
#include <oncemark/retry/topics.hpp>

namespace oncemark::dead_letter {

/// A message in state `retrying`: where its next attempt stands.
struct Waiting {
  std::string consumer = {};
  std::string business_key = {};
  std::string message_id = {};
  Position origin = {};
  std::uint32_t life = 1;
  std::uint32_t attempt = 0;  // failed deliveries in this life
  Time due_at{};
  std::string error_class = {};  // of the last failure
  std::string error_text = {};
  Time first_failed_at{};
  Time failed_at{};
  std::string outbox_status = {};  // waiting: for its time; pending, failing: for Kafka; sent: it is on the retry topic
};

/// Which of them; every field that is set must match.
struct WaitingSelection {
  std::string consumer = {};                    // required
  std::optional<std::string> key = {};          // business key
  std::optional<std::string> error_class = {};  // of the last failure
  std::optional<std::string> topic = {};        // origin topic
};

/// Who does it and why: written to the audit.
struct Hand {
  std::string operator_name = {};  // at most 255 bytes
  std::string reason = {};         // at most 1,024 bytes
};

/// Soonest due first; at most `limit`.
///
/// Errors:  MisuseError for a selection without a consumer; MysqlError.
[[nodiscard]] std::vector<Waiting> find_waiting(mysql::Transaction& tx, const WaitingSelection& selection,
                                                std::size_t limit);

/// What became of a message that a person laid a hand on.
struct Handled {
  bool is_done = false;
  std::string outcome = {};  // for the audit: "hastened", "discarded", "dead", "forgotten", or "skipped:" and what it
                             // is by now
};

/// Makes the next attempt due in `delay` from now, if that is sooner than it is.
///
/// Shape:   under the state row, which must still be as in `message`: the row in the outbox (with its om-due), and
///          failed_message. What is on its way already stays as it is.
/// Threads: the thread that owns `tx`. Locks the state row first.
/// Errors:  MysqlError.
/// Crash:   all or nothing with `tx`.
[[nodiscard]] Handled hasten(mysql::Transaction& tx, const Waiting& message, std::chrono::milliseconds delay,
                             const Hand& hand);

/// What a cancelled message becomes.
enum class CancelAs { discarded, dead };

/// Gives up the attempts that are left: no record of the message is handled any more, also one that is on its way.
///
/// Shape:   under the state row, which must still be as in `message`: the state, failed_message (removed), the unsent
///          row in the outbox (removed), the audit; and as `dead` the letter and its row in the outbox, by `relay`.
/// Threads: the thread that owns `tx`. Locks the state row first.
/// Errors:  MysqlError.
/// Crash:   all or nothing with `tx`.
[[nodiscard]] Handled cancel(mysql::Transaction& tx, const Waiting& message, CancelAs as,
                             const retry::TopicNames& topics, const std::string& relay, const Hand& hand);

/// Says that a message is not to be handled, before it arrives or after it failed.
///
/// Shape:   no row, retrying or parked → discarded; dead → discarded, and its letter too. Done and discarded stay. One
///          that has a place in a parked sequence leaves it; where it was the head, the next one is due at once.
/// Threads: the thread that owns `tx`. Locks the state row first.
/// Errors:  PermanentError for a key that is empty or too long; MysqlError.
/// Crash:   all or nothing with `tx`.
[[nodiscard]] Handled skip(mysql::Transaction& tx, const std::string& consumer, const std::string& key,
                           const Hand& hand);

/// Forgets that a message is done or discarded: the next record of it takes effect as if it were the first.
///
/// Shape:   the state row is removed, with an audit row ("dedup-reset"). What is retrying, parked or dead stays: there
///          are replays for it. A new epoch is drawn, so that hints do not call it done for longer than their
///          epoch_interval.
/// Threads: the thread that owns `tx`. Locks the state row first.
/// Errors:  MisuseError for a consumer that can be none; MysqlError.
/// Crash:   all or nothing with `tx`.
[[nodiscard]] Handled forget(mysql::Transaction& tx, const std::string& consumer, const std::string& key,
                             const Hand& hand);

}  // namespace oncemark::dead_letter
