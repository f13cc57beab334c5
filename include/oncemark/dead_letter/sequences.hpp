#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <oncemark/core/clock.hpp>
#include <oncemark/dead_letter/waiting.hpp>
#include <oncemark/message/position.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::dead_letter {

/// A key whose messages wait in order behind a failed one (RetryOptions::order by_key).
struct Sequence {
  std::string consumer = {};
  std::string order_key = {};       // the record key
  std::uint32_t depth = 0;          // messages, the head included
  std::optional<Time> due_at = {};  // when the head is tried; nothing: it is dead, and the key is stopped
  bool is_taken = false;            // a driver has it in hand
  std::uint32_t tries = 0;          // how often it was taken and nothing came of it
  std::string head_key = {};        // business key of the head
};

/// A message of a sequence, as it waits.
struct Parked {
  std::uint64_t seq = 0;
  std::string business_key = {};
  std::string message_id = {};
  Position origin = {};
  std::string state = {};  // parked; dead: the head that stopped the key
  std::uint32_t life = 1;
  std::uint32_t attempt = 0;     // failed deliveries in this life
  std::string error_class = {};  // of its last failure; empty: it has not been tried
  std::string error_text = {};
  std::uint64_t letter_id = 0;  // of a dead one
  Time parked_at{};
};

struct SequenceSelection {
  std::string consumer = {};            // required
  std::optional<std::string> key = {};  // the record key
  bool only_stopped = false;
};

/// By key; at most `limit`.
///
/// Errors:  MisuseError for a selection without a consumer; MysqlError.
[[nodiscard]] std::vector<Sequence> find_sequences(mysql::Transaction& tx, const SequenceSelection& selection,
                                                   std::size_t limit);
/// What waits under one key, in order; at most `limit`.
[[nodiscard]] std::vector<Parked> find_parked(mysql::Transaction& tx, const std::string& consumer,
                                              const std::string& order_key, std::size_t limit);

/// Lets a stopped key go on without its dead head, which stays a letter; to replay that later is out of order.
///
/// Shape:   under the head's state row, which must be dead: its place in the sequence is removed, and the next message is
///          due at once; the audit.
/// Threads: the thread that owns `tx`. Locks the state row, then parked_key.
/// Errors:  MysqlError.
/// Crash:   all or nothing with `tx`.
[[nodiscard]] Handled release(mysql::Transaction& tx, const Sequence& sequence, const Hand& hand);

}  // namespace oncemark::dead_letter
