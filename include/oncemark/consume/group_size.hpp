#pragma once

#include <chrono>
#include <cstddef>

namespace oncemark::consume {

/// How many messages a worker puts into one transaction: as many as keep it short.
///
/// Shape:   starts at `min`; a full group that took less than `target` grows the limit by a quarter (at least one); one
///          of several that took longer, and any failure, halves it. So it follows the handler's speed and the contention on
///          the rows it touches, which no fixed number does.
///          It stays within `min` and `max`: with both the same it is fixed.
/// Threads: one at a time; each worker has its own.
/// Errors:  none.
/// Source:  design, decision 3.
class GroupSize {
 public:
  static constexpr std::chrono::milliseconds kTarget{20};

  explicit GroupSize(std::size_t max, std::chrono::nanoseconds target = kTarget, std::size_t min = 1) noexcept
      : min_(min), max_(max), target_(target) {}

  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
  /// A group of `messages` was committed in `time`.
  void succeeded(std::size_t messages, std::chrono::nanoseconds time) noexcept;
  /// A group lost a lock, or a message in it failed.
  void failed() noexcept;

 private:
  std::size_t min_;
  std::size_t max_;
  std::chrono::nanoseconds target_;
  std::size_t limit_ = min_;
};

}  // namespace oncemark::consume
