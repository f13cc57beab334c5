#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include <oncemark/core/clock.hpp>

namespace oncemark {

/// A message id of our own making: 128 bits, time-ordered (UUID version 7), so that ids made later sort later and
/// marks can be purged by range.
///
/// Shape:   36 characters, lower case: 0193572c-6a00-7abc-8def-0123456789ab. Ids made by others may have any form.
///          Within one millisecond the last id is raised by a random step; when the clock goes back, ids keep the
///          latest time seen until the clock has caught up.
/// Threads: generate() is safe from any thread; ids of one process never repeat and never go back.
/// Errors:  none.
/// Source:  RFC 9562, section 5.7.
class MessageId {
 public:
  [[nodiscard]] static MessageId generate(Time now);

  [[nodiscard]] std::string str() const;
  [[nodiscard]] Time time() const;  // the millisecond that is part of the id

  auto operator<=>(const MessageId&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

/// 64 unpredictable bits; never 0. Used as the token that tells a transaction's own claims from others'.
[[nodiscard]] std::uint64_t random_token();

}  // namespace oncemark
