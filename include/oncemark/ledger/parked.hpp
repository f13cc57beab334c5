#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/core/error.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/state.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::ledger {

/// The statements of ordered retry: a failed message heads the sequence of its key, later ones are appended, and all of
/// them stay in MySQL until the driver of some instance has run them, in order.
///
/// Shape:   always true between commits: a state row says `parked` exactly if there is one parked_message, besides that
///          of a dead head which stopped its key; parked_key has a row exactly while its sequence is not empty; head_key
///          is its lowest seq, depth its length.
///          Lock order: state rows (by message key) → the handler's rows → dead_letter, outbox_message → parked_key →
///          parked_message → COMMIT. Whoever holds a parked_key waits for nothing of ours but the parked_key of a
///          greater order key. head_key, due_at and token
///          change only under the head's state row and parked_key together; an append changes depth and next_seq.
/// Threads: the thread that owns `tx`.
/// Errors:  MysqlError.
/// Crash:   all or nothing with `tx`.
/// Source:  design, decision 10.

/// A head that was taken so often and of which nothing came is not run any more: its processes died of it.
inline constexpr std::uint32_t kParkedTriesCrashLoop = 4;

/// The sequence that a message belongs to: its record key; nothing when it has none, which has no order. A key longer
/// than 512 bytes is its first 480 and a hash: two that meet share a sequence, which keeps more order than asked for.
[[nodiscard]] std::optional<std::string> order_key_of(const Message& message);

/// Which of the keys have a sequence. Locks nothing.
[[nodiscard]] std::vector<std::string> find_parked_keys(mysql::Transaction& tx, std::string_view consumer,
                                                        std::span<const std::string> order_keys);

/// Claims messages of source topics as `parked`, attempt 0; the result is in their order. What has a row already is a
/// copy, found by a plain read first, so that it waits for nobody. The claims must go with `tx` unless they are appended.
[[nodiscard]] std::vector<Claim> claim_as_parked(mysql::Transaction& tx, std::string_view consumer,
                                                 std::span<const Message* const> messages);

/// How an append ended.
struct Appended {
  bool is_gone = false;      // the key has no sequence any more: nothing was appended
  std::size_t messages = 0;  // from the first on; fewer than all: the limit is reached
};
/// Appends messages of the key, in order, to its sequence, which grows to at most `limit`. Locks parked_key.
[[nodiscard]] Appended append_parked(mysql::Transaction& tx, std::string_view consumer, std::string_view group,
                                     std::string_view order_key, std::span<const Message* const> messages,
                                     std::uint32_t limit);

/// How a message failed, for its row in parked_message.
struct ParkedFailure {
  std::string group = {};
  ErrorSummary error = {};
  Time now{};  // by the database's clock
};
/// Makes the message, whose state row `tx` has just claimed, the head of its key; `due` is when it is tried again, none:
/// it is dead and stops the key. If the key has a sequence already the message is appended to it instead, whatever its
/// length. True: it is the head.
[[nodiscard]] bool begin_sequence(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key,
                                  const Message& message, const ParkedFailure& failure, std::optional<Time> due);

/// A head, and when it is due.
struct DueHead {
  std::string order_key = {};
  std::string head_key = {};
  std::chrono::microseconds wait{0};  // until then; 0 or less: it is due
  std::uint32_t tries = 0;            // how often it was taken and nothing came of it
  std::uint32_t depth = 1;            // messages in the sequence
};
/// The next heads that are due, now or later, the earliest first. Locks nothing.
[[nodiscard]] std::vector<DueHead> next_due_heads(mysql::Transaction& tx, std::string_view consumer, std::size_t most);

/// Takes heads that are due: nobody else will for `lease`, and each was tried once more. For each whether it was taken;
/// not when it is locked, not parked, not due any more, or was tried meanwhile. Waits for nobody's handler.
[[nodiscard]] std::vector<bool> take_heads(mysql::Transaction& tx, std::string_view consumer,
                                           std::span<const DueHead> heads, std::uint64_t token,
                                           std::chrono::milliseconds lease);

/// A message of a sequence, locked by its state row.
struct ParkedMessage {
  std::uint64_t seq = 0;
  Message message = {};  // attempt counts the delivery that is to come
};
/// Locks the first messages of a sequence whose head was taken with `token`, at most `most`; cut at the first that is
/// locked elsewhere or not parked. None: leave it.
[[nodiscard]] std::vector<ParkedMessage> lock_parked(mysql::Transaction& tx, std::string_view consumer,
                                                     std::string_view order_key, std::string_view head_key,
                                                     std::uint64_t token, std::size_t most);
/// They took effect in `tx`: done, and out of the sequence. The next one is the head, taken with `token` for `lease`; its
/// message key, or nothing: there is none, and the key is free. Locks parked_key.
[[nodiscard]] std::optional<std::string> finish_parked(mysql::Transaction& tx, std::string_view consumer,
                                                       std::string_view order_key,
                                                       std::span<const ParkedMessage> messages, std::uint64_t token,
                                                       std::chrono::milliseconds lease);

/// A head failed: `next` is its state from now on (parked, dead or discarded), with one attempt more. Nothing when its
/// row does not fit the delivery any more. Locks the state row only: what is left to do is one of the three below.
[[nodiscard]] std::optional<Standing> fail_head(mysql::Transaction& tx, std::string_view consumer,
                                                const Message& message, State next);
/// It is tried again at `due`. Locks parked_key.
void schedule_head(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key,
                   const Message& message, const ParkedFailure& failure, Time due);
/// It is dead, and its key waits for a person. Locks parked_key.
void stop_key(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key, const Message& message,
              const ParkedFailure& failure);
/// Takes a message out of its sequence, if it is in one, under its state row; where it was the head, the next one is due
/// now. False: it is in none. Locks parked_key.
bool leave_sequence(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key);

/// Gives a head back that was taken with `token`: due in `delay`, and what it was taken for does not count. False: its row
/// is locked elsewhere just now, as by a lane that claims a copy of it; nothing was changed.
[[nodiscard]] bool put_back_head(mysql::Transaction& tx, std::string_view consumer, std::string_view order_key,
                                 std::string_view head_key, std::uint64_t token, std::chrono::milliseconds delay);
/// The message key of the head that is taken with `token`; nothing: that one is no longer ours. Locks nothing.
[[nodiscard]] std::optional<std::string> head_taken_with(mysql::Transaction& tx, std::string_view consumer,
                                                         std::string_view order_key, std::uint64_t token);

/// A dead head that stopped its key is parked again, in its place, in its next life. False: it is no such head.
/// Locks the state row, then parked_key.
[[nodiscard]] bool revive_in_place(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key,
                                   std::uint32_t life);
/// Whether the message has a place in a sequence. Locks nothing; under its state row the answer stays true.
[[nodiscard]] bool is_in_sequence(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key);
/// How a message of a sequence first failed; nothing: it has not been tried. Locks nothing.
[[nodiscard]] std::optional<FirstFailure> parked_first_failure(mysql::Transaction& tx, std::string_view consumer,
                                                               std::string_view message_key);

/// How much is parked for a consumer.
struct ParkedCounts {
  std::uint64_t keys = 0;
  std::uint64_t stopped = 0;  // of the keys
  std::uint64_t messages = 0;
};
[[nodiscard]] ParkedCounts count_parked(mysql::Transaction& tx, std::string_view consumer);

}  // namespace oncemark::ledger
