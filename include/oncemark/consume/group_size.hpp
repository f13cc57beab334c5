#pragma once

#include <chrono>
#include <cstddef>

namespace oncemark::consume {

/// How many messages a worker puts into one transaction: as many as keep it short.
///
/// Shape:   starts at `min`. A full group whose handlers took less than `target` together grows the limit by a quarter
///          (at least one); one of several that took longer, and any failure, halves it. So it follows the handlers'
///          speed and the contention on the rows they touch, which no fixed number does. The claim and the commit do
///          not count: a smaller group would not make them faster, so that a slow disk would only cost throughput.
///          After a lost race for a lock it also grows more slowly, up to once in 64 groups: where rows are fought
///          for, trying a larger group again and again costs more than it can win.
///          It stays within `min` and `max`: with both the same it is fixed.
/// Threads: one at a time; each worker has its own.
/// Errors:  none.
/// Source:  design, decision 3.
class GroupSize {
 public:
  static constexpr std::chrono::milliseconds kTarget{20};
  static constexpr std::size_t kMostPatience = 64;

  explicit GroupSize(std::size_t max, std::chrono::nanoseconds target = kTarget, std::size_t min = 1) noexcept
      : min_(min), max_(max), target_(target) {}

  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
  /// A group of `messages` was committed; its handlers took `time`.
  void succeeded(std::size_t messages, std::chrono::nanoseconds time) noexcept;
  /// A message of a group failed, or the group did for no known reason.
  void failed() noexcept;
  /// A group lost a race for a lock.
  void lost_race() noexcept;

 private:
  std::size_t min_;
  std::size_t max_;
  std::chrono::nanoseconds target_;
  std::size_t limit_ = min_;
  std::size_t patience_ = 1;   // full groups that must succeed before the limit grows
  std::size_t successes_ = 0;  // of these, so far
};

}  // namespace oncemark::consume
