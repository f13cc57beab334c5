#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <oncemark/core/bytes.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/mysql/transaction.hpp>
#include <oncemark/outbox/table.hpp>

namespace oncemark::outbox {

/// A row that the broker refused: failing, or dead.
struct StuckRow {
  std::uint64_t id = 0;
  std::string message_id = {};
  std::string purpose = {};  // empty: business
  std::string relay = {};
  std::string topic = {};
  Bytes key = {};
  Status status = Status::dead;
  std::uint32_t attempts = 0;
  std::string error = {};  // of the last refusal
  Time created_at{};
  Time available_at{};  // of a failing row: when it is tried again
};

/// Which of them; every field that is set must match.
struct StuckSelection {
  std::string relay = std::string(kMainRelay);
  std::optional<std::uint64_t> id = {};
  std::optional<std::string> message_id = {};
  std::optional<std::string> topic = {};
  std::optional<std::chrono::seconds> older_than = {};  // appended at least so long ago
  bool dead_only = false;
};

/// Ascending ids; at most `limit`. Locks nothing.
///
/// Threads: the thread that owns `tx`.
/// Errors:  MisuseError for a relay that cannot be one; MysqlError.
[[nodiscard]] std::vector<StuckRow> find_stuck(mysql::Transaction& tx, const StuckSelection& selection,
                                               std::size_t limit);

/// Who lays a hand on a row, and why: written to `replay_audit`, under the relay's name and the message id.
struct ByHand {
  std::string operator_name = {};  // at most 255 bytes
  std::string reason = {};         // at most 1,024 bytes
};

/// Makes the row pending again, with all its attempts ahead of it. False when it is not stuck any more.
///
/// Shape:   a dead row was passed by later rows of its key, which may have been sent: it then comes out of order.
/// Threads: the thread that owns `tx`. Locks the row.
/// Errors:  MysqlError.
/// Crash:   all or nothing with `tx`.
[[nodiscard]] bool retry_row(mysql::Transaction& tx, std::uint64_t id, const ByHand& hand);

/// Removes the row: its message is never sent. False when it is not stuck any more, or is a consumer's retry, which
/// `oncemark retry cancel` gives up.
///
/// Shape:   a failing row that is just being tried may still get through.
/// Threads: the thread that owns `tx`. Locks the row.
/// Errors:  MysqlError.
/// Crash:   all or nothing with `tx`.
[[nodiscard]] bool skip_row(mysql::Transaction& tx, std::uint64_t id, const ByHand& hand);

}  // namespace oncemark::outbox
