#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

#include <oncemark/core/clock.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::inbox {

/// The epoch of a database, read now and then.
///
/// Shape:   believed for three intervals after it was read last, so that a hint is not used while nobody can tell
///          whether it is still true.
/// Threads: epoch() from any; read_if_due() from one.
/// Errors:  none; an epoch that cannot be read is logged, and 0.
/// Source:  design, decision 5.
class EpochWatch final {
 public:
  /// A connection of its own is made for each reading.
  EpochWatch(mysql::Pool& pool, std::chrono::milliseconds interval) : pool_(pool), interval_(interval) {}

  /// 0: not known.
  [[nodiscard]] std::uint64_t epoch() const noexcept;
  /// When it is due next.
  SteadyTime read_if_due();

 private:
  void read();

  mysql::Pool& pool_;
  const std::chrono::milliseconds interval_;

  mutable std::mutex mutex_;
  std::uint64_t epoch_ = 0;  // guarded by mutex_, like confirmed_
  SteadyTime confirmed_{};

  // Of the thread that reads.
  SteadyTime next_{};
  std::uint64_t last_ = 0;
};

}  // namespace oncemark::inbox
