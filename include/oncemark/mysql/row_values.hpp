#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <oncemark/mysql/row.hpp>

namespace oncemark::mysql {

/// Values for many rows of one shape, for Transaction::insert_rows() and update_rows().
///
/// Shape:   every row has as many values as the first. Strings are copied, so that what they were made from may go.
/// Threads: a value.
/// Errors:  MisuseError for a row with another number of values, or a sum of what is no number.
class RowValues {
 public:
  template <typename... Args>
  void add(const Args&... args) {
    const std::array<Param, sizeof...(Args)> params{Param(args)...};
    add_row(params);
  }
  void add_row(std::span<const Param> params);

  /// One row for each different start of `keys` values, sorted by it (which is lock order), with all other values
  /// added up. An UPDATE changes a table row once, however many of these rows match it: so add up first.
  [[nodiscard]] RowValues summed(std::size_t keys) const;
  /// The same, with the values of the last such row.
  [[nodiscard]] RowValues last(std::size_t keys) const;

  [[nodiscard]] std::size_t size() const noexcept { return columns_ == 0 ? 0 : values_.size() / columns_; }
  [[nodiscard]] bool empty() const noexcept { return values_.empty(); }
  [[nodiscard]] std::size_t columns() const noexcept { return columns_; }

  /// What a statement over rows [first, first + count) is bound to; views into this object.
  [[nodiscard]] std::vector<Param> params(std::size_t first, std::size_t count) const;
  /// How many rows from `first` on go into one statement: at most `max_rows`, at most `max_bytes` of values (but one
  /// row in any case), and a number with at most three leading bits set, so that few different statements have to be
  /// prepared.
  [[nodiscard]] std::size_t chunk(std::size_t first, std::size_t max_rows, std::size_t max_bytes) const;

 private:
  using Value = std::variant<std::monostate, std::int64_t, std::uint64_t, double, std::string, Time>;
  template <typename Merge>
  [[nodiscard]] RowValues merged(std::size_t keys, Merge&& merge) const;
  [[nodiscard]] std::span<const Value> row(std::size_t index) const { return {&values_[index * columns_], columns_}; }

  std::size_t columns_ = 0;
  std::vector<Value> values_;
};

}  // namespace oncemark::mysql
