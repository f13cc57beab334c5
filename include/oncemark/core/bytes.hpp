#pragma once

#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace oncemark {

/// A byte string that may be null: a Kafka key, payload or header value, a MySQL VARBINARY or BLOB.
///
/// Shape:   any bytes, zeros included. Null and empty are different values (a null payload is a tombstone, a null
///          key means "no order"), and both survive every path through this library. `empty()` is true for both.
/// Threads: a value; as safe as std::string.
/// Errors:  none of its own.
class Bytes {
 public:
  Bytes() = default;  // null
  Bytes(std::nullptr_t) {}
  Bytes(std::nullopt_t) {}
  Bytes(std::string value) : value_(std::move(value)) {}
  Bytes(std::string_view value) : value_(std::string(value)) {}
  Bytes(const char* value) : value_(std::string(value)) {}

  [[nodiscard]] bool is_null() const noexcept { return !value_.has_value(); }
  [[nodiscard]] bool empty() const noexcept { return !value_ || value_->empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return value_ ? value_->size() : 0; }
  [[nodiscard]] const char* data() const noexcept { return value_ ? value_->data() : nullptr; }

  /// The bytes; an empty view when null.
  [[nodiscard]] std::string_view view() const noexcept {
    return value_ ? std::string_view(*value_) : std::string_view();
  }
  operator std::string_view() const noexcept { return view(); }
  /// A copy of the bytes; an empty string when null.
  [[nodiscard]] std::string str() const { return value_.value_or(std::string()); }

  bool operator==(const Bytes&) const = default;
  std::strong_ordering operator<=>(const Bytes&) const = default;  // null sorts first

 private:
  std::optional<std::string> value_;
};

}  // namespace oncemark
