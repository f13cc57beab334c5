#pragma once

#include <cstddef>

namespace oncemark::inbox {

/// Whether duplicates are frequent: their share among recent messages, with hysteresis.
///
/// Shape:   the last thousand messages or so count; older ones fade out. Frequent from a share above `above` on, until
///          it falls below half of that. Of fewer than 100 messages nothing is concluded, unless `above` is 0: always.
/// Threads: one at a time.
/// Errors:  none.
class DuplicateShare {
 public:
  explicit DuplicateShare(double above) noexcept : above_(above), is_frequent_(above <= 0) {}

  void add(std::size_t messages, std::size_t duplicates) noexcept;
  [[nodiscard]] bool is_frequent() const noexcept { return is_frequent_; }

 private:
  double above_;
  bool is_frequent_;
  double messages_ = 0;
  double duplicates_ = 0;
};

}  // namespace oncemark::inbox
