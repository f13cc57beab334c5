#include <oncemark/mysql/row_values.hpp>

#include <algorithm>
#include <bit>
#include <numeric>
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

/// One row for each key, sorted by it; `merge(into, other)` says what the values of several become.
template <typename Merge>
RowValues RowValues::merged(std::size_t keys, Merge&& merge) const {
  if (keys == 0 || (columns_ > 0 && keys > columns_)) {
    throw MisuseError("RowValues: " + std::to_string(keys) + " key values of " + std::to_string(columns_));
  }
  std::vector<std::size_t> order(size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto key_of = [&](std::size_t i) { return row(i).first(keys); };
  std::ranges::stable_sort(
      order, [&](std::size_t a, std::size_t b) { return std::ranges::lexicographical_compare(key_of(a), key_of(b)); });
  RowValues result;
  result.columns_ = columns_;
  result.values_.reserve(values_.size());
  for (std::size_t n = 0; n < order.size(); ++n) {
    const auto values = row(order[n]);
    if (n > 0 && std::ranges::equal(key_of(order[n]), key_of(order[n - 1]))) {
      const auto into = std::span(result.values_).last(columns_ - keys);
      for (std::size_t i = 0; i < into.size(); ++i) merge(into[i], values[keys + i]);
    } else {
      result.values_.insert(result.values_.end(), values.begin(), values.end());
    }
  }
  return result;
}

RowValues RowValues::summed(std::size_t keys) const {
  return merged(keys, [](Value& into, const Value& other) { into = sum(into, other); });
}

RowValues RowValues::last(std::size_t keys) const {
  return merged(keys, [](Value& into, const Value& other) { into = other; });
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
  rows = std::max<std::size_t>(rows, 1);
  const std::size_t step = std::max<std::size_t>(std::bit_floor(rows) / 4, 1);
  return rows / step * step;
}

}  // namespace oncemark::mysql
