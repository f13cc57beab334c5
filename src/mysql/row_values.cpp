#include <oncemark/mysql/row_values.hpp>

#include <algorithm>
#include <bit>
#include <map>
#include <type_traits>
#include <utility>

#include <oncemark/core/error.hpp>

namespace oncemark::mysql {
namespace {

// Of a value on the wire besides its bytes, at most.
constexpr std::size_t kValueOverhead = 12;

template <typename Value>
Value sum(const Value& a, const Value& b) {
  return std::visit(
      [](const auto& x, const auto& y) -> Value {
        using X = std::decay_t<decltype(x)>;
        using Y = std::decay_t<decltype(y)>;
        if constexpr (std::is_same_v<X, Y> && std::is_same_v<X, std::int64_t>) {
          std::int64_t total = 0;
          if (!__builtin_add_overflow(x, y, &total)) return total;
          throw MisuseError("RowValues::summed: the sum of two values does not fit 64 bits");
        } else if constexpr (std::is_same_v<X, Y> && std::is_same_v<X, std::uint64_t>) {
          std::uint64_t total = 0;
          if (!__builtin_add_overflow(x, y, &total)) return total;
          throw MisuseError("RowValues::summed: the sum of two values does not fit 64 bits");
        } else if constexpr (std::is_same_v<X, Y> && std::is_same_v<X, double>) {
          return x + y;
        } else {
          throw MisuseError("RowValues::summed: only numbers of one type can be added up");
        }
      },
      a, b);
}

}  // namespace

void RowValues::add_row(std::span<const Param> params) {
  if (params.empty()) throw MisuseError("RowValues: a row has no values");
  if (columns_ == 0) columns_ = params.size();
  if (params.size() != columns_) {
    throw MisuseError("RowValues: a row has " + std::to_string(params.size()) + " values, those before it have " +
                      std::to_string(columns_));
  }
  for (const Param& param : params) {
    std::visit(
        [this](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<T, std::string_view>) {
            values_.emplace_back(std::string(value));
          } else if constexpr (std::is_same_v<T, std::nullptr_t>) {
            values_.emplace_back();
          } else {
            values_.emplace_back(value);
          }
        },
        param.value());
  }
}

RowValues RowValues::summed(std::size_t keys) const {
  if (keys == 0 || (columns_ > 0 && keys > columns_)) {
    throw MisuseError("RowValues::summed: " + std::to_string(keys) + " key values of " + std::to_string(columns_));
  }
  std::map<std::vector<Value>, std::vector<Value>> sums;
  for (std::size_t i = 0; i < size(); ++i) {
    const auto values = row(i);
    std::vector<Value> key(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(keys));
    std::vector<Value> rest(values.begin() + static_cast<std::ptrdiff_t>(keys), values.end());
    const auto [found, is_new] = sums.try_emplace(std::move(key), rest);
    if (is_new) continue;
    for (std::size_t n = 0; n < rest.size(); ++n) found->second[n] = sum(found->second[n], rest[n]);
  }
  RowValues result;
  result.columns_ = columns_;
  for (auto& [key, rest] : sums) {
    result.values_.insert(result.values_.end(), key.begin(), key.end());
    result.values_.insert(result.values_.end(), rest.begin(), rest.end());
  }
  return result;
}

std::vector<Param> RowValues::params(std::size_t first, std::size_t count) const {
  std::vector<Param> params;
  params.reserve(count * columns_);
  for (std::size_t i = first * columns_; i < (first + count) * columns_; ++i) {
    std::visit(
        [&](const auto& value) {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::monostate>) {
            params.emplace_back(nullptr);
          } else {
            params.emplace_back(value);
          }
        },
        values_[i]);
  }
  return params;
}

std::size_t RowValues::chunk(std::size_t first, std::size_t max_rows, std::size_t max_bytes) const {
  const std::size_t limit = std::min(max_rows, size() - first);
  std::size_t bytes = 0;
  std::size_t rows = 0;
  for (; rows < limit; ++rows) {
    for (const Value& value : row(first + rows)) {
      const auto* text = std::get_if<std::string>(&value);
      bytes += kValueOverhead + (text != nullptr ? text->size() : 0);
    }
    if (bytes > max_bytes) break;
  }
  return std::bit_floor(std::max<std::size_t>(rows, 1));
}

}  // namespace oncemark::mysql
