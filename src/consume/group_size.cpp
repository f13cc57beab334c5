#include <oncemark/consume/group_size.hpp>

#include <algorithm>

namespace oncemark::consume {

void GroupSize::succeeded(std::size_t messages, std::chrono::nanoseconds time) noexcept {
  if (time >= target_) {
    if (messages > 1) failed();  // a message that is slow by itself says nothing about groups
  } else if (messages >= limit_) {  // a group that was not full says nothing about larger ones
    limit_ = std::min(max_, limit_ + std::max<std::size_t>(1, limit_ / 4));
  }
}

void GroupSize::failed() noexcept { limit_ = std::max(min_, limit_ / 2); }

}  // namespace oncemark::consume
