#include <oncemark/consume/group_size.hpp>

#include <algorithm>

namespace oncemark::consume {

void GroupSize::succeeded(std::size_t messages, std::chrono::nanoseconds handlers,
                          std::chrono::nanoseconds once) noexcept {
  once_ = once_.count() == 0 ? once : (once_ * 7 + once) / 8;
  const auto enough = std::clamp<std::chrono::nanoseconds>(once_ * 8, target_, target_ * 10);
  if (handlers >= enough) {
    // A message that is slow by itself says nothing about groups.
    if (messages > 1 && handlers >= enough + enough / 2) failed();
    return;
  }
  if (messages < limit_) return;  // a group that was not full says nothing about larger ones
  if (++successes_ < patience_) return;
  successes_ = 0;
  patience_ = std::max<std::size_t>(1, patience_ / 2);
  limit_ = std::min(max_, limit_ + std::max<std::size_t>(1, limit_ / 4));
}

void GroupSize::failed() noexcept {
  successes_ = 0;
  limit_ = std::max(min_, limit_ / 2);
}

void GroupSize::lost_race() noexcept {
  failed();
  patience_ = std::min(kMostPatience, patience_ * 4);
}

}  // namespace oncemark::consume
