#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <oncemark/housekeeping/sweeper.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::housekeeping {

enum class Mode { remove, count };

/// One round, table by table, over one connection.
///
/// Threads: one.
/// Errors:  as Sweeper.
class SweepRound final {
 public:
  SweepRound(mysql::Connection& connection, const SweepOptions& options, Mode mode, std::stop_token stop)
      : connection_(connection), options_(options), mode_(mode), stop_(std::move(stop)) {}

  SweepCounts run();

 private:
  /// A step of a walk: what it found, and how far it came.
  struct Step {
    std::uint64_t seen = 0;
    std::uint64_t removed = 0;
    std::string last = {};  // key of the last row seen
    bool is_last = false;   // there are no more
  };

  /// Keys of marks that need not be looked at, or whose plain marks are left alone: from the first, below the second.
  struct KeyRange {
    std::string from = {};
    std::string to = {};
  };

  void plan_marks();
  void sweep_marks(const std::string& consumer);
  [[nodiscard]] Step step_marks(mysql::Transaction& tx, const std::string& consumer, const std::string& after);
  [[nodiscard]] std::uint64_t remove_marks(mysql::Transaction& tx, const std::string& consumer,
                                           const std::vector<std::string>& keys);
  [[nodiscard]] std::string progress_of(const std::string& consumer);
  void save_progress(mysql::Transaction& tx, const std::string& consumer, std::string_view position);

  void sweep_outbox(const std::string& relay);
  void sweep_letters(const std::string& consumer, std::string_view state);
  void sweep_suspects();
  /// The different values of a column that leads an index.
  [[nodiscard]] std::vector<std::string> names(const std::string& table, const std::string& column);

  /// A transaction that `work` fills; committed if it says so.
  template <typename Work>
  auto in_transaction(Work&& work);
  /// False when stopped.
  [[nodiscard]] bool pause() const;

  mysql::Connection& connection_;
  const SweepOptions& options_;
  const Mode mode_;
  const std::stop_token stop_;
  SweepCounts counts_;
  KeyRange young_;         // if these are time-ordered ids, they were made too lately to be old
  KeyRange left_to_drop_;  // partitions that are going to be dropped
};

}  // namespace oncemark::housekeeping
