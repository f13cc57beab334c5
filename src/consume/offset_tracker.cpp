#include <oncemark/consume/offset_tracker.hpp>

#include <string>

#include <oncemark/core/error.hpp>

namespace oncemark::consume {

void OffsetTracker::start(std::int64_t offset) {
  if (offset < next_) {
    throw MisuseError("offset " + std::to_string(offset) + " was started after " + std::to_string(next_ - 1) +
                      ": offsets of a partition only rise");
  }
  records_.emplace_hint(records_.end(), offset, false);
  next_ = offset + 1;
  ++in_flight_;
}

void OffsetTracker::finish(std::int64_t offset) {
  const auto found = records_.find(offset);
  if (found == records_.end() || found->second) {
    throw MisuseError("offset " + std::to_string(offset) + " was finished without being in flight");
  }
  found->second = true;
  --in_flight_;
  while (!records_.empty() && records_.begin()->second) records_.erase(records_.begin());
}

std::optional<std::int64_t> OffsetTracker::committable() const noexcept {
  if (next_ < 0) return std::nullopt;
  return records_.empty() ? next_ : records_.begin()->first;
}

}  // namespace oncemark::consume
