#pragma once

#include <algorithm>
#include <chrono>

#include <oncemark/core/clock.hpp>

namespace oncemark::dead_letter {

/// Lets `rate` letters a second pass: evenly, and after a pause at most a tenth of a second's worth at once, so that an
/// outage is not followed by a burst.
class TokenBucket {
 public:
  TokenBucket(double rate, SteadyTime now) : rate_(rate), capacity_(std::max(1.0, rate / 10)), filled_at_(now) {}

  /// Takes a token and returns zero, or returns how long to wait before asking again. A rate of 0 is no limit.
  [[nodiscard]] std::chrono::nanoseconds take(SteadyTime now) {
    if (rate_ <= 0) return std::chrono::nanoseconds::zero();
    const std::chrono::duration<double> passed = now - filled_at_;
    tokens_ = std::min(capacity_, tokens_ + passed.count() * rate_);
    filled_at_ = now;
    if (tokens_ >= 1) {
      tokens_ -= 1;
      return std::chrono::nanoseconds::zero();
    }
    // A day at most: longer waits would overflow, and the caller asks again anyway.
    const std::chrono::duration<double> wait(std::min((1 - tokens_) / rate_, 86'400.0));
    return std::max(std::chrono::ceil<std::chrono::nanoseconds>(wait), std::chrono::nanoseconds(1));
  }

 private:
  double rate_;
  double capacity_;
  double tokens_ = 1;
  SteadyTime filled_at_;
};

}  // namespace oncemark::dead_letter
