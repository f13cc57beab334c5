#include "core/id_sequence.hpp"

#include <algorithm>
#include <cstddef>

namespace oncemark {
namespace {

constexpr std::int64_t kLastMs = (std::int64_t{1} << 48) - 1;
constexpr std::uint64_t kHighMask = (std::uint64_t{1} << 12) - 1;
constexpr std::uint64_t kLowMask = (std::uint64_t{1} << 62) - 1;
constexpr std::uint64_t kStepMask = (std::uint64_t{1} << 32) - 1;
constexpr std::uint64_t kVersion7 = std::uint64_t{7} << 12;
constexpr std::uint64_t kVariant = std::uint64_t{2} << 62;

}  // namespace

std::array<std::uint8_t, 16> IdSequence::next(std::int64_t unix_ms, std::uint64_t high_random,
                                              std::uint64_t low_random) noexcept {
  const std::int64_t now = std::clamp<std::int64_t>(unix_ms, 0, kLastMs);
  if (now > unix_ms_) {
    unix_ms_ = now;
    high_ = high_random & kHighMask;
    low_ = low_random & kLowMask;
  } else {
    low_ += 1 + (low_random & kStepMask);
    high_ += low_ >> 62;
    low_ &= kLowMask;
    if (high_ > kHighMask) {
      ++unix_ms_;
      high_ = high_random & kHighMask;
    }
  }

  const std::uint64_t first = static_cast<std::uint64_t>(unix_ms_) << 16 | kVersion7 | high_;
  const std::uint64_t second = kVariant | low_;
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(first >> (56 - 8 * i));
    bytes[8 + i] = static_cast<std::uint8_t>(second >> (56 - 8 * i));
  }
  return bytes;
}

}  // namespace oncemark
