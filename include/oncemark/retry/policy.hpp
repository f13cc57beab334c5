#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/error.hpp>

namespace oncemark::retry {

/// When a failed message is tried again, and when it is given up.
struct RetryOptions {
  int max_attempts =
      4;  // deliveries in one life before the message is dead · with `delays`: their number + 1 · 1 to 1,000
  Backoff backoff{.initial = std::chrono::milliseconds(1'000),
                  .factor = 5.0,
                  .cap = std::chrono::milliseconds(900'000),
                  .jitter = 0.2};                      // between deliveries, when `delays` is empty
  std::vector<std::chrono::milliseconds> delays = {};  // fixed steps instead of backoff and max_attempts · each ≥ 0

  void validate() const;
  /// max_attempts, or what `delays` makes of it.
  [[nodiscard]] int attempts() const noexcept;
};

/// What to do with a failure.
struct Decision {
  bool retry = false;                  // false: dead-letter it
  std::chrono::milliseconds delay{0};  // when retry
};

/// Decides about the `failed`-th failed delivery of a life (from 1).
///
/// Shape:   permanent errors are given up at once; everything else until attempts() deliveries have failed.
/// Threads: pure; `random` is 64 random bits, so that tests choose them.
/// Errors:  none.
[[nodiscard]] Decision decide(const RetryOptions& options, ErrorKind kind, int failed, std::uint64_t random);

}  // namespace oncemark::retry
