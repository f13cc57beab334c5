#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <oncemark/core/bytes.hpp>
#include <oncemark/core/clock.hpp>

namespace oncemark::mysql {

/// One parameter of a statement, bound by value: never spliced into SQL text.
///
/// Shape:   signed and unsigned 64-bit integers, double, bytes, DATETIME(6) in UTC, NULL. bool is 0 or 1. Strings
///          are bytes: nothing is converted or cut.
/// Threads: a view: strings it was made from must outlive the call it is passed to.
class Param {
 public:
  using Value = std::variant<std::nullptr_t, std::int64_t, std::uint64_t, double, std::string_view, Time>;

  Param(std::nullptr_t) {}
  Param(std::nullopt_t) {}
  template <std::signed_integral T>
  Param(T value) : value_(static_cast<std::int64_t>(value)) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) Param(T value) : value_(static_cast<std::uint64_t>(value)) {}
  Param(bool value) : value_(static_cast<std::int64_t>(value ? 1 : 0)) {}
  Param(double value) : value_(value) {}
  Param(std::string_view value) : value_(value) {}
  Param(const std::string& value) : value_(std::string_view(value)) {}
  Param(const char* value) : value_(std::string_view(value)) {}
  Param(const Bytes& value) {
    if (!value.is_null()) value_ = value.view();
  }
  Param(Time value) : value_(value) {}
  template <typename T>
  Param(const std::optional<T>& value) {
    if (value) value_ = Param(*value).value_;
  }

  [[nodiscard]] const Value& value() const noexcept { return value_; }

 private:
  Value value_ = nullptr;
};

/// One row of a result, with typed columns.
///
/// Shape:   get<T>(column) for integers (range-checked), double, std::string, Bytes, Time, bool, and std::optional of
///          these; a column is named by its index from 0 or by its name, in any case. NULL needs optional or Bytes.
///          A DECIMAL arrives as text and reads as an integer when it is one.
/// Errors:  MisuseError for a column that does not exist, NULL where T cannot hold it, or a value T cannot hold.
class Row {
 public:
  using Value = std::variant<std::nullptr_t, std::int64_t, std::uint64_t, double, std::string>;
  using Names = std::vector<std::string>;

  Row(std::shared_ptr<const Names> names, std::vector<Value> values)
      : names_(std::move(names)), values_(std::move(values)) {}

  template <typename T>
  [[nodiscard]] T get(std::size_t column) const;
  template <typename T>
  [[nodiscard]] T get(std::string_view column) const {
    return get<T>(index_of(column));
  }
  [[nodiscard]] bool is_null(std::size_t column) const { return at(column).index() == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }
  [[nodiscard]] const Names& names() const noexcept { return *names_; }

 private:
  [[nodiscard]] const Value& at(std::size_t column) const;
  [[nodiscard]] std::size_t index_of(std::string_view column) const;
  [[nodiscard]] std::int64_t as_signed(std::size_t column) const;
  [[nodiscard]] std::uint64_t as_unsigned(std::size_t column) const;
  [[nodiscard]] double as_double(std::size_t column) const;
  [[nodiscard]] std::string as_string(std::size_t column) const;
  [[nodiscard]] Time as_time(std::size_t column) const;
  [[noreturn]] void out_of_range(std::size_t column) const;

  std::shared_ptr<const Names> names_;
  std::vector<Value> values_;
};

using Rows = std::vector<Row>;

namespace detail {
template <typename T>
struct is_optional : std::false_type {};
template <typename T>
struct is_optional<std::optional<T>> : std::true_type {};
}  // namespace detail

template <typename T>
T Row::get(std::size_t column) const {
  if constexpr (detail::is_optional<T>::value) {
    if (is_null(column)) return std::nullopt;
    return get<typename T::value_type>(column);
  } else if constexpr (std::same_as<T, bool>) {
    return as_signed(column) != 0;
  } else if constexpr (std::signed_integral<T>) {
    const std::int64_t value = as_signed(column);
    if (!std::in_range<T>(value)) out_of_range(column);
    return static_cast<T>(value);
  } else if constexpr (std::unsigned_integral<T>) {
    const std::uint64_t value = as_unsigned(column);
    if (!std::in_range<T>(value)) out_of_range(column);
    return static_cast<T>(value);
  } else if constexpr (std::same_as<T, double>) {
    return as_double(column);
  } else if constexpr (std::same_as<T, Bytes>) {
    if (is_null(column)) return Bytes();
    return Bytes(as_string(column));
  } else if constexpr (std::same_as<T, Time>) {
    return as_time(column);
  } else {
    static_assert(std::same_as<T, std::string>, "unsupported column type");
    return as_string(column);
  }
}

}  // namespace oncemark::mysql
