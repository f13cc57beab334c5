#include "consume/slow_lanes.hpp"

namespace oncemark::consume {
namespace {

constexpr std::chrono::minutes kForgotten{1};

}  // namespace

void SlowLanes::note(std::uint64_t lane, std::chrono::nanoseconds took, SteadyTime now) {
  const bool is_slow = took >= limit_;
  if (!is_slow && is_empty()) return;
  const std::lock_guard lock(mutex_);
  if (is_slow) {
    if (seen_.size() >= kMax) forget_old(now);
    if (seen_.size() < kMax || seen_.contains(lane)) seen_[lane] = now;
  } else if (const auto found = seen_.find(lane); found != seen_.end()) {
    if (took < limit_ / 2) {
      seen_.erase(found);
    } else {
      found->second = now;
    }
  }
  size_.store(seen_.size(), std::memory_order_relaxed);
}

bool SlowLanes::contains(std::uint64_t lane) const {
  if (is_empty()) return false;
  const std::lock_guard lock(mutex_);
  return seen_.contains(lane);
}

void SlowLanes::forget_old(SteadyTime now) {
  std::erase_if(seen_, [&](const auto& entry) { return now - entry.second > kForgotten; });
}

}  // namespace oncemark::consume
