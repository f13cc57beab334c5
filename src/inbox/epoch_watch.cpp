#include "inbox/epoch_watch.hpp"

#include <exception>

#include <oncemark/core/error.hpp>
#include <oncemark/mysql/epoch.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::inbox {
namespace {

using std::chrono::steady_clock;

constexpr int kReadings = 3;  // an epoch that was not confirmed for so many intervals is not believed

}  // namespace

std::uint64_t EpochWatch::epoch() const noexcept {
  const std::lock_guard lock(mutex_);
  return steady_clock::now() - confirmed_ > kReadings * interval_ ? 0 : epoch_;
}

SteadyTime EpochWatch::read_if_due() {
  if (steady_clock::now() >= next_) read();
  return next_;
}

void EpochWatch::read() {
  const auto asked = steady_clock::now();  // the answer may be as old as the question
  std::uint64_t found = 0;
  try {
    found = mysql::read_epoch(pool_);
  } catch (const std::exception&) {
    const ErrorSummary error = summarize_current_exception();
    log(LogLevel::warn, "the epoch cannot be read; the hint is not asked until it can",
        {{"error", error.error_class}, {"text", error.text}});
  }
  {
    const std::lock_guard lock(mutex_);
    epoch_ = found;
    confirmed_ = asked;
  }
  if (found != 0 && last_ != 0 && found != last_) {
    log(LogLevel::info, "new epoch: all hints so far are void", {{"was", last_}, {"is", found}});
  }
  if (found != 0) last_ = found;
  next_ = steady_clock::now() + interval_;
}

}  // namespace oncemark::inbox
