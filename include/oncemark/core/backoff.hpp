#pragma once

#include <chrono>
#include <cstdint>

namespace oncemark {

/// How delays grow with the number of failures.
struct Backoff {
  std::chrono::milliseconds initial{1'000};  // delay after the first failure · more is gentler, less is faster · > 0
  double factor = 2.0;                       // growth per further failure · 1 is a fixed delay · 1 to 100
  std::chrono::milliseconds cap{60'000};     // no delay is longer than this · ≥ initial
  double jitter = 0.5;  // share of the delay that is drawn at random, against herds · 0 is none, 1 is all · 0 to 1

  /// Throws MisuseError naming the field.
  void validate() const;
};

/// The delay after the `failures`-th failure in a row (counted from 1).
///
/// Shape:   d = min(cap, initial · factor^(failures−1)), and of that a share `jitter` is drawn evenly from [0, 1):
///          the result lies in [d·(1−jitter), d]. `random` is 64 random bits, so that tests choose them.
/// Threads: pure.
/// Errors:  none; failures < 1 counts as 1.
[[nodiscard]] std::chrono::milliseconds delay_after(const Backoff& backoff, int failures, std::uint64_t random);

}  // namespace oncemark
