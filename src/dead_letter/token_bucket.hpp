#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

#include <oncemark/core/clock.hpp>

namespace oncemark::dead_letter {

/// Lets `rate` letters a second pass: evenly, and after a pause at most `burst` at once (0: a tenth of a second's worth),
/// so that an outage is not followed by a flood.
class TokenBucket {
 public:
  TokenBucket(double rate, SteadyTime now, double burst = 0) : burst_(burst), filled_at_(now) { set_rate(rate); }

  /// Takes as many tokens as there are, at most `most`. A rate of 0 is no limit.
  [[nodiscard]] std::size_t take_up_to(std::size_t most, SteadyTime now) {
    if (rate_ <= 0) return most;
    fill(now);
    const std::size_t taken = std::min(most, static_cast<std::size_t>(tokens_));
    tokens_ -= static_cast<double>(taken);
    return taken;
  }
  /// Takes a token and returns zero, or returns how long to wait before asking again.
  [[nodiscard]] std::chrono::nanoseconds take(SteadyTime now) {
    if (take_up_to(1, now) == 1) return std::chrono::nanoseconds::zero();
    return wait();
  }
  /// After a vain attempt to take one: how long until there is one.
  [[nodiscard]] std::chrono::nanoseconds wait() const {
    // A day at most: longer waits would overflow, and the caller asks again anyway.
    const std::chrono::duration<double> wait(std::min((1 - tokens_) / rate_, 86'400.0));
    return std::max(std::chrono::ceil<std::chrono::nanoseconds>(wait), std::chrono::nanoseconds(1));
  }
  /// Tokens that were taken and not used.
  void give_back(std::size_t tokens) { tokens_ = std::min(capacity_, tokens_ + static_cast<double>(tokens)); }
  /// What is in the bucket stays, as far as it has room.
  void set_rate(double rate) {
    rate_ = rate;
    capacity_ = std::max(1.0, burst_ > 0 ? burst_ : rate / 10);
    tokens_ = std::min(tokens_, capacity_);
  }

 private:
  void fill(SteadyTime now) {
    const std::chrono::duration<double> passed = now - filled_at_;
    tokens_ = std::min(capacity_, tokens_ + passed.count() * rate_);
    filled_at_ = now;
  }

  double burst_;
  double rate_ = 0;
  double capacity_ = 1;
  double tokens_ = 1;
  SteadyTime filled_at_;
};

}  // namespace oncemark::dead_letter
