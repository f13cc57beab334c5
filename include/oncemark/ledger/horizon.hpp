#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/core/error.hpp>
#include <oncemark/message/message.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::ledger {

/// What to do with a message that has no mark, and whose mark may have been purged.
enum class OlderThanHorizon {
  dead_letter,  ///< a letter of class older_than_horizon; a person looks, and replays it if it was never handled
  process,      ///< handle it: right only when the handler's effect may be repeated
};

struct HorizonOptions {
  std::chrono::seconds retention = std::chrono::hours(24 * 7);  // how long marks are kept · messages older than half
                                                                // of it are looked up · at most the sweeper's, ≥ 2 s
  OlderThanHorizon older_than_horizon = OlderThanHorizon::dead_letter;

  void validate() const;
};

/// A mark that is about to be purged.
struct Purged {
  std::string topic = {};  // of the origin
  std::int32_t partition = 0;
  Time event_time{};
};

/// Raises the horizon of `consumer` over the marks that the same transaction is going to delete. It never falls.
///
/// Threads: the thread that owns `tx`. Locks the horizon's rows; nothing but housekeeping locks them.
/// Errors:  MysqlError.
/// Crash:   all or nothing with `tx`. Raised without the deletion would be harmless: only messages that are not fresh
///          by their age are asked.
/// Source:  design, decision 16; docs/retention.md.
void raise_horizon(mysql::Transaction& tx, std::string_view consumer, std::span<const Purged> marks);

/// Whether the message is old enough for the horizon to matter: without a round trip, by the process's clock.
[[nodiscard]] bool is_near_horizon(const HorizonOptions& options, const Message& message, Time now);

/// Which of the messages, all just claimed in `tx`, are not younger than their horizon; places in rising order.
///
/// Shape:   one SELECT, which sees the horizon that a purge committed before it let the claim pass. A horizon that was
///          read before the claim, or remembered, would let copies through.
/// Threads: the thread that owns `tx`. Locks nothing.
/// Errors:  MysqlError.
[[nodiscard]] std::vector<std::size_t> find_older_than_horizon(mysql::Transaction& tx, std::string_view consumer,
                                                               std::span<const Message* const> messages);

/// Throws MisuseError when the database's sweeper keeps marks for a shorter time than `options` say: copies of an age
/// between the two would not be noticed.
void require_retention(mysql::Pool& pool, const HorizonOptions& options);

/// The failure of a message that is not processed because its mark may have been purged.
class OlderThanHorizonError final : public PermanentError {
 public:
  OlderThanHorizonError(std::string_view consumer, const Message& message);
  [[nodiscard]] std::string error_class() const override { return "older_than_horizon"; }
};

}  // namespace oncemark::ledger
