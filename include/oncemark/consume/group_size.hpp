#pragma once

#include <chrono>
#include <cstddef>

namespace oncemark::consume {

/// How many messages a worker puts into one transaction: enough to make little of what each transaction costs, and few
/// enough to keep it short.
///
/// Shape:   starts at `min`. A group is long enough when its handlers together take `target`, or eight times what the
///          group pays once (its claim and its commit), whichever is more, but never over ten times `target`. Below that
///          a full group makes the limit grow by a quarter (at least one); half as much again halves it, and so does any
///          failure that is not a message's own, or that more than half of the group met. So it follows the handlers'
///          speed, the disk's, and the contention on the rows they touch, which no fixed number does.
///          After a lost race for a lock it also grows more slowly, up to once in 64 groups: where rows are fought
///          for, trying a larger group again and again costs more than it can win.
///          It stays within `min` and `max`: with both the same it is fixed.
/// Threads: one at a time; each worker has its own.
/// Errors:  none.
/// Source:  design, decision 3; ADR 11.
class GroupSize {
 public:
  static constexpr std::chrono::milliseconds kTarget{20};
  static constexpr std::size_t kMostPatience = 64;

  explicit GroupSize(std::size_t max, std::chrono::nanoseconds target = kTarget, std::size_t min = 1) noexcept
      : min_(min), max_(max), target_(target) {}

  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
  /// A group of `messages` was committed: its handlers took `handlers`, everything else `once`.
  void succeeded(std::size_t messages, std::chrono::nanoseconds handlers, std::chrono::nanoseconds once) noexcept;
  /// A group failed for no known reason, or by what the servers are to blame for.
  void failed() noexcept;
  /// A group lost a race for a lock.
  void lost_race() noexcept;

 private:
  std::size_t min_;
  std::size_t max_;
  std::chrono::nanoseconds target_;
  std::size_t limit_ = min_;
  std::chrono::nanoseconds once_{0};  // smoothed
  std::size_t patience_ = 1;          // full groups that must succeed before the limit grows
  std::size_t successes_ = 0;         // of these, so far
};

}  // namespace oncemark::consume
