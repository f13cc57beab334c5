#include "inbox/hint_breaker.hpp"

namespace oncemark::inbox {
namespace {

constexpr int kWell = 10;

}  // namespace

std::optional<std::chrono::milliseconds> HintBreaker::failed(SteadyTime now, std::uint64_t random) {
  const std::lock_guard lock(mutex_);
  answered_in_a_row_ = 0;
  if (!is_closed() || ++failed_in_a_row_ < failures_) return std::nullopt;
  return open(now, random);
}

void HintBreaker::succeeded() {
  const std::lock_guard lock(mutex_);
  failed_in_a_row_ = 0;
  if (answered_in_a_row_ < kWell && ++answered_in_a_row_ == kWell) openings_ = 0;
}

std::optional<SteadyTime> HintBreaker::probe_at() const {
  const std::lock_guard lock(mutex_);
  if (is_closed()) return std::nullopt;
  return until_;
}

void HintBreaker::probed(bool has_answered, SteadyTime now, std::uint64_t random) {
  const std::lock_guard lock(mutex_);
  if (has_answered) {
    failed_in_a_row_ = 0;
    answered_in_a_row_ = 0;
    is_closed_.store(true, std::memory_order_relaxed);
  } else {
    open(now, random);
  }
}

std::chrono::milliseconds HintBreaker::open(SteadyTime now, std::uint64_t random) {
  const auto time = delay_after(away_, ++openings_, random);
  until_ = now + time;
  is_closed_.store(false, std::memory_order_relaxed);
  return time;
}

}  // namespace oncemark::inbox
