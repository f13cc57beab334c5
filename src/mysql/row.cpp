#include <oncemark/mysql/row.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include <oncemark/core/error.hpp>

namespace oncemark::mysql {
namespace {

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

// A DECIMAL arrives as text; SUM() of integers is one. "12", "12.00" and "-3" are integers, "12.5" is not.
template <typename Integer>
bool parse_integer(std::string_view text, Integer& value) noexcept {
  const auto point = text.find('.');
  if (point != std::string_view::npos) {
    if (text.find_first_not_of('0', point + 1) != std::string_view::npos) return false;
    text = text.substr(0, point);
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// Bounds of the doubles that convert: 2^63 and 2^64 themselves do not.
template <typename Integer>
bool convert_integral(double number, Integer& value) noexcept {
  constexpr double kLow = std::is_signed_v<Integer> ? -9223372036854775808.0 : 0.0;
  constexpr double kHigh = std::is_signed_v<Integer> ? 9223372036854775808.0 : 18446744073709551616.0;
  if (!(number >= kLow && number < kHigh) || std::trunc(number) != number) return false;
  value = static_cast<Integer>(number);
  return true;
}

}  // namespace

const Row::Value& Row::at(std::size_t column) const {
  if (column < values_.size()) return values_[column];
  throw MisuseError("column " + std::to_string(column) + " of a result with " + std::to_string(values_.size()) +
                    " columns");
}

std::size_t Row::index_of(std::string_view column) const {
  const auto found = std::find_if(names_->begin(), names_->end(),
                                  [&](const std::string& name) { return equals_ignoring_case(name, column); });
  if (found != names_->end()) return static_cast<std::size_t>(found - names_->begin());
  throw MisuseError("the result has no column \"" + std::string(column) + "\"");
}

void Row::out_of_range(std::size_t column) const {
  const std::string name = column < names_->size() ? (*names_)[column] : std::to_string(column);
  const std::string_view why = is_null(column) ? "is NULL: ask for an optional" : "does not fit the type asked for";
  throw MisuseError("column \"" + name + "\" " + std::string(why));
}

std::int64_t Row::as_signed(std::size_t column) const {
  const Value& value = at(column);
  std::int64_t result = 0;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return *number;
  if (const auto* number = std::get_if<std::uint64_t>(&value)) {
    if (std::in_range<std::int64_t>(*number)) return static_cast<std::int64_t>(*number);
  } else if (const auto* real = std::get_if<double>(&value)) {
    if (convert_integral(*real, result)) return result;
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    if (parse_integer(*text, result)) return result;
  }
  out_of_range(column);
}

std::uint64_t Row::as_unsigned(std::size_t column) const {
  const Value& value = at(column);
  std::uint64_t result = 0;
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&value)) {
    if (*number >= 0) return static_cast<std::uint64_t>(*number);
  } else if (const auto* real = std::get_if<double>(&value)) {
    if (convert_integral(*real, result)) return result;
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    if (parse_integer(*text, result)) return result;
  }
  out_of_range(column);
}

double Row::as_double(std::size_t column) const {
  const Value& value = at(column);
  if (const auto* real = std::get_if<double>(&value)) return *real;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return static_cast<double>(*number);
  if (const auto* text = std::get_if<std::string>(&value)) {
    double result = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), result);
    if (error == std::errc() && end == text->data() + text->size()) return result;
  }
  out_of_range(column);
}

std::string Row::as_string(std::size_t column) const {
  const Value& value = at(column);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return std::to_string(*number);
  if (const auto* real = std::get_if<double>(&value)) {
    std::array<char, 32> buffer;  // shortest form that reads back as the same number
    const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), *real);
    if (error == std::errc()) return std::string(buffer.data(), end);
  }
  out_of_range(column);
}

Time Row::as_time(std::size_t column) const {
  try {
    return parse_datetime(as_string(column));
  } catch (const PermanentError&) {
    out_of_range(column);
  }
}

}  // namespace oncemark::mysql
