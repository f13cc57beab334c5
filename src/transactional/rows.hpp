#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/transactional/half.hpp>

#include "transactional/half_record.hpp"

namespace oncemark::transactional {

enum class RowState { committed, rolled_back, sent, discarded };

/// What the row of a half message says, or its absence.
enum class Finding {
  committed,    ///< to be sent
  settled,      ///< nothing to be done any more
  rolled_back,  ///< just now, by us
  running,      ///< the row is locked
};

/// The time of the database's clock, without a round trip each time.
///
/// Shape:   asked for twice a minute; in between the monotonic clock goes on.
/// Threads: one at a time.
/// Errors:  MysqlError.
class DatabaseClock final {
 public:
  explicit DatabaseClock(mysql::Pool& pool) : pool_(pool) {}
  [[nodiscard]] Time now();
  /// The same without any round trip: of what was asked last, or the epoch.
  [[nodiscard]] Time estimate() const noexcept;

 private:
  mysql::Pool& pool_;
  Time asked_{};
  SteadyTime asked_at_{};
  bool is_asked_ = false;
};

/// The statements on `local_transaction` and `parked_half`, for the half messages of one sender.
///
/// Threads: any.
/// Errors:  MysqlError.
class TransactionRows final {
 public:
  TransactionRows(mysql::Pool& pool, std::string sender) : pool_(pool), sender_(std::move(sender)) {}

  /// First in a local transaction. Errors: Error{transient} when it comes too late: the check-back has given the message
  /// up, or `begin_before` has passed. PermanentError when the message was sent before.
  void begin(mysql::Transaction& tx, const std::string& id, Time begin_before) const;

  /// Of those that have a row, as committed. What is not settled may change meanwhile; what is, stays.
  [[nodiscard]] std::unordered_map<std::string, RowState> states(const std::vector<std::string>& ids) const;
  /// Inserts the row as rolled back, unless there is one.
  [[nodiscard]] Finding find_out(const std::string& id) const;
  /// By a Check, or the producer: nobody asks any more. A row that is there stays as it is.
  void roll_back(const std::string& id) const;
  void mark_sent(const std::vector<std::string>& ids) const;

  void park(const Half& half) const;
  /// Those that a person has said are to be sent.
  [[nodiscard]] std::vector<Half> to_send(std::size_t limit) const;
  /// Such a one was sent.
  void unpark(const std::string& id) const;
  /// Such a one was refused again.
  void park_again(const std::string& id, const std::string& reason) const;

  /// Deletes settled rows that are older, in one bounded step; how many.
  std::uint64_t purge(std::chrono::hours older_than, std::size_t limit) const;

 private:
  mysql::Pool& pool_;
  const std::string sender_;
};

}  // namespace oncemark::transactional
