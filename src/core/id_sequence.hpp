#pragma once

#include <array>
#include <cstdint>

namespace oncemark {

/// The order of the ids of one process, apart from where time and random bits come from.
///
/// Shape:   each id is greater than the one before. In a new millisecond the 74 bits beside the time
///          are drawn afresh; in the same one, or when the clock went back, the last id is raised by a
///          random step of 1 to 2^32, and should the 74 bits overflow, its time by one millisecond. So
///          after the clock went back ids keep the latest time seen until the clock has caught up.
/// Threads: one at a time.
/// Errors:  none.
/// Source:  RFC 9562, section 6.2, methods 1 and 2.
class IdSequence {
 public:
  /// The 16 bytes of the next id; the two words are random bits.
  [[nodiscard]] std::array<std::uint8_t, 16> next(std::int64_t unix_ms, std::uint64_t high_random,
                                                  std::uint64_t low_random) noexcept;

 private:
  std::int64_t unix_ms_ = -1;  // 48 bits
  std::uint64_t high_ = 0;     // 12 bits, rand_a
  std::uint64_t low_ = 0;      // 62 bits, rand_b
};

}  // namespace oncemark
