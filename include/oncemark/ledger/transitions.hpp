#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/core/error.hpp>
#include <oncemark/ledger/state.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::ledger {

/// The whole record of a message that failed, and how: what failed_message and dead_letter keep.
struct FailureDetail {
  std::string group = {};  // Kafka group that the record was read by
  ErrorSummary error = {};
  Time now{};                                // by the database's clock
  Time due{};                                // when it comes again, by the same clock
  std::optional<Time> first_failed_at = {};  // of a revived message; otherwise the table knows, or it is `now`
};

/// The database's clock, UTC. Every due time starts from it.
[[nodiscard]] Time database_now(mysql::Transaction& tx);

/// Moves a message whose handler failed to `retrying` or `dead`, under its row's lock.
///
/// Shape:   new → next with attempt 1; retrying n → next with attempt n + 1. Returns the new standing, or nothing
///          when the row does not fit the record (another instance settled it): then nothing was written, and the
///          caller settles the record without effect.
/// Threads: the thread that owns `tx`. Locks the state row before anything else of ours.
/// Errors:  MysqlError.
/// Crash:   all or nothing with `tx`.
[[nodiscard]] std::optional<Standing> fail(mysql::Transaction& tx, std::string_view consumer, const Message& message,
                                           State next);

/// Writes or refreshes the failed_message of a message in state `retrying`; the first error is kept.
/// Returns when it first failed. A record of a source topic (not message.from_retry_topic) fails for the first time.
Time keep_failed_message(mysql::Transaction& tx, std::string_view consumer, const Message& message,
                         const FailureDetail& detail);
/// How a message failed for the first time; in a replayed life, the error that ended the life before.
struct FirstFailure {
  Time at{};
  std::string error_class = {};
  std::string text = {};
};
/// Removes it; returns what it said of the first failure, if there was one.
std::optional<FirstFailure> drop_failed_message(mysql::Transaction& tx, std::string_view consumer,
                                                std::string_view message_key);

/// Whether the record came by the group's retry topic as a pointer: without its payload, which was too large for it.
[[nodiscard]] bool is_pointer(const Message& message) noexcept;
/// The message with key, payload and headers from its failed_message, where a state of `retrying` always has them;
/// nothing when there is none.
///
/// Threads: the thread that owns `tx`, which holds the lock on the message's state row.
/// Errors:  MysqlError.
[[nodiscard]] std::optional<Message> whole_of(mysql::Transaction& tx, std::string_view consumer,
                                              const Message& pointer);

/// Locks the state rows of these messages and no other's. The result is in their order; nothing for one without a row.
[[nodiscard]] std::vector<std::optional<Standing>> lock_standings(mysql::Transaction& tx, std::string_view consumer,
                                                                  std::span<const std::string_view> message_keys);
/// dead → retrying with life + 1 and attempt 0, for messages whose rows `tx` has locked and found dead.
void revive(mysql::Transaction& tx, std::string_view consumer, std::span<const std::string_view> message_keys);

/// A message in state `retrying` that has no failed_message yet.
struct Revived {
  const Message* message = nullptr;
  FailureDetail detail = {};
};
/// Writes the failed_message of each.
void keep_revived_messages(mysql::Transaction& tx, std::string_view consumer, std::span<const Revived> revived);

/// The letter of life − 1, if `life` > 1: replaying → replayed. Part of each transition that ends a replayed life.
void settle_previous_letter(mysql::Transaction& tx, std::string_view consumer, std::string_view message_key,
                            std::uint32_t life);

}  // namespace oncemark::ledger
