#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <oncemark/core/bytes.hpp>

namespace oncemark {

/// A place in a JSON document.
///
/// Shape:   "/order/id", "/lines/0/sku", "" for the whole document; in a name "~1" stands for '/' and "~0" for '~'.
///          Of an object that has a name twice the last one counts, as for most readers of JSON.
/// Threads: a value.
/// Errors:  ConfigError for a text that is no pointer.
/// Source:  RFC 6901.
class JsonPointer {
 public:
  explicit JsonPointer(std::string text);

  [[nodiscard]] const std::string& str() const noexcept { return text_; }
  /// The names and indexes on the way, decoded.
  [[nodiscard]] const std::vector<std::string>& steps() const noexcept { return steps_; }

 private:
  std::string text_;
  std::vector<std::string> steps_;
};

/// The string or whole number at `place` of a JSON payload, as the bytes of a key.
///
/// Shape:   a string becomes its decoded text, which may hold any character, NUL included; a whole number its decimal
///          digits, however many, with '-' before them when negative. So 1 and "1" are the same key, while "01" and
///          "1.0" are others. The payload is read to its end.
/// Threads: pure.
/// Errors:  PermanentError that says which: the payload is null or no JSON, nothing is there, or what is there makes
///          no key: null, an empty string, a boolean, an object, an array, a number with a fraction or an exponent
///          (which has more than one spelling).
[[nodiscard]] std::string json_key(const Bytes& payload, const JsonPointer& place);

/// A hash of what lies at `places` of a JSON payload; nothing when the payload is no JSON or has none of them.
///
/// Shape:   values count, spelling does not: white space, the order of an object's members, 1 or 1.0 make no
///          difference; 1 and "1", null and nothing do. Never 0.
/// Threads: pure.
/// Errors:  none.
[[nodiscard]] std::optional<std::uint64_t> json_hash(const Bytes& payload, std::span<const JsonPointer> places);

}  // namespace oncemark
