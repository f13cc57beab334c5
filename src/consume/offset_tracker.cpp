#include <oncemark/consume/offset_tracker.hpp>

#include <algorithm>
#include <string>

#include <oncemark/core/error.hpp>

namespace oncemark::consume {

void OffsetTracker::start(std::int64_t offset) {
  if (offset < next_) {
    throw MisuseError("offset " + std::to_string(offset) + " was started after " + std::to_string(next_ - 1) +
                      ": offsets of a partition only rise");
  }
  records_.push_back({.offset = offset});
  next_ = offset + 1;
  ++in_flight_;
}

void OffsetTracker::finish(std::int64_t offset) {
  const auto found = std::ranges::lower_bound(records_, offset, {}, &Entry::offset);
  if (found == records_.end() || found->offset != offset || found->is_finished) {
    throw MisuseError("offset " + std::to_string(offset) + " was finished without being in flight");
  }
  found->is_finished = true;
  --in_flight_;
  while (!records_.empty() && records_.front().is_finished) records_.pop_front();
}

std::optional<std::int64_t> OffsetTracker::committable() const noexcept {
  if (next_ < 0) return std::nullopt;
  return records_.empty() ? next_ : records_.front().offset;
}

}  // namespace oncemark::consume
