#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include <oncemark/core/clock.hpp>

namespace oncemark::consume {

/// Which keys had a handler that took long, so that their next messages do not make a whole group wait.
///
/// Shape:   a key is slow from the first message that took `limit` or more until one that took less than half of it,
///          or until it was not seen for a minute. At most kMax keys are remembered; past that no more are added.
/// Threads: any.
/// Errors:  none.
class SlowLanes {
 public:
  static constexpr std::size_t kMax = 10'000;

  explicit SlowLanes(std::chrono::nanoseconds limit = std::chrono::milliseconds(50)) : limit_(limit) {}

  void note(std::uint64_t lane, std::chrono::nanoseconds took, SteadyTime now);
  [[nodiscard]] bool contains(std::uint64_t lane) const;
  [[nodiscard]] bool is_empty() const noexcept { return size_.load(std::memory_order_relaxed) == 0; }
  [[nodiscard]] std::chrono::nanoseconds limit() const noexcept { return limit_; }

 private:
  void forget_old(SteadyTime now);

  std::chrono::nanoseconds limit_;
  std::atomic<std::size_t> size_{0};  // the usual answer is "none", without the mutex
  mutable std::mutex mutex_;
  std::unordered_map<std::uint64_t, SteadyTime> seen_;  // guarded by mutex_
};

}  // namespace oncemark::consume
