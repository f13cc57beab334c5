#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/clock.hpp>

namespace oncemark::inbox {

/// Takes a hint's server out of the way when it fails, for a time that grows while it goes on failing.
///
/// Shape:   closed → open after `failures` errors in a row → half open when the time is over: whoever looks after it
///          tries once → closed, or open for longer. The time starts anew once the server has answered ten times in a
///          row. Errors that were under way when it opened change nothing.
/// Threads: is_closed(), failed() and succeeded() from any; probe_at() and probed() from one.
/// Errors:  none.
class HintBreaker {
 public:
  HintBreaker(int failures, const Backoff& away) : failures_(failures), away_(away) {}

  [[nodiscard]] bool is_closed() const noexcept { return is_closed_.load(std::memory_order_relaxed); }
  /// How long it will be open, if this was the error that opened it.
  std::optional<std::chrono::milliseconds> failed(SteadyTime now, std::uint64_t random);
  void succeeded();
  /// When to try the server again; nothing while it is closed.
  [[nodiscard]] std::optional<SteadyTime> probe_at() const;
  void probed(bool has_answered, SteadyTime now, std::uint64_t random);

 private:
  std::chrono::milliseconds open(SteadyTime now, std::uint64_t random);

  const int failures_;
  const Backoff away_;
  std::atomic<bool> is_closed_{true};
  mutable std::mutex mutex_;
  int failed_in_a_row_ = 0;    // guarded by mutex_
  int answered_in_a_row_ = 0;  // guarded by mutex_; since it was closed
  int openings_ = 0;           // guarded by mutex_; since the server was last well
  SteadyTime until_{};         // guarded by mutex_
};

}  // namespace oncemark::inbox
