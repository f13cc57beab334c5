#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <oncemark/mysql/transaction.hpp>
#include <oncemark/transactional/half.hpp>

namespace oncemark::transactional {

/// A half message that waits for a person.
struct ParkedHalf {
  HalfMessage message = {};
  std::string sender = {};
  std::string reason = {};  // why nobody could tell, or why the broker refuses it
  Time parked_at{};
  bool is_committed = false;  // a person, or the transaction's row, said so: the check-back is about to send it
};

/// By the time they were parked; at most `limit`. Locks nothing.
///
/// Shape:   of one sender, or one message, or all.
/// Threads: the thread that owns `tx`.
/// Errors:  MysqlError.
[[nodiscard]] std::vector<ParkedHalf> find_parked(mysql::Transaction& tx, const std::optional<std::string>& sender,
                                                  const std::optional<std::string>& message_id, std::size_t limit);

/// Who settles a message, and why: written to `replay_audit`, under the sender's name and the message id.
struct SettledBy {
  std::string operator_name = {};  // at most 255 bytes
  std::string reason = {};         // at most 1,024 bytes
};

/// The message is to be sent: the check-back of its sender does so within seconds. False when it is not parked any more,
/// or is no message that could be sent.
///
/// Threads: the thread that owns `tx`. Locks the row.
/// Errors:  MysqlError.
/// Crash:   all or nothing with `tx`.
[[nodiscard]] bool commit_parked(mysql::Transaction& tx, const std::string& message_id, const SettledBy& hand);

/// The message is dropped, and a transaction of its id can never commit from now on. False when it is not parked any
/// more.
///
/// Threads, Errors, Crash: as commit_parked().
[[nodiscard]] bool drop_parked(mysql::Transaction& tx, const std::string& message_id, const SettledBy& hand);

}  // namespace oncemark::transactional
