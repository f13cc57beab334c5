#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <oncemark/binlog/errors.hpp>

namespace oncemark::binlog {

[[noreturn]] inline void refuse_bytes(const std::string& why) { throw BinlogError(Trouble::malformed, why); }

/// Reads bytes from front to back and never beyond their end.
///
/// Shape:   integers as binlogs hold them, little or big endian, 1 to 8 bytes; packed ones as in the protocol.
/// Threads: a value. The bytes must outlive it and the views it returns.
/// Errors:  BinlogError{malformed} where too few bytes are left.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) noexcept : bytes_(bytes) {}

  [[nodiscard]] std::size_t left() const noexcept { return bytes_.size(); }
  [[nodiscard]] bool is_at_end() const noexcept { return bytes_.empty(); }
  [[nodiscard]] std::string_view rest() const noexcept { return bytes_; }

  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size()) {
      refuse_bytes("the event ends where " + std::to_string(count) + " bytes should follow, of which " +
                   std::to_string(bytes_.size()) + " are there");
    }
    const std::string_view taken = bytes_.substr(0, static_cast<std::size_t>(count));
    bytes_.remove_prefix(static_cast<std::size_t>(count));
    return taken;
  }
  std::uint64_t little(unsigned count) {
    const std::string_view taken = take(count);
    std::uint64_t value = 0;
    for (unsigned i = 0; i < count; ++i) value |= std::uint64_t{static_cast<unsigned char>(taken[i])} << (8 * i);
    return value;
  }
  std::uint64_t big(unsigned count) {
    std::uint64_t value = 0;
    for (const char byte : take(count)) value = value << 8 | static_cast<unsigned char>(byte);
    return value;
  }
  std::uint8_t byte() { return static_cast<std::uint8_t>(little(1)); }
  std::uint64_t packed() {
    const std::uint8_t first = byte();
    if (first < 0xfb) return first;
    if (first == 0xfc) return little(2);
    if (first == 0xfd) return little(3);
    if (first == 0xfe) return little(8);
    refuse_bytes("a packed integer begins with " + std::to_string(first));
  }

 private:
  std::string_view bytes_;
};

}  // namespace oncemark::binlog
