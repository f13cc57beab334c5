#pragma once

#include <bit>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <oncemark/mysql/row.hpp>

namespace oncemark::mysql {

/// How many values a statement for `count` of them has: every number would be a statement of its own to prepare, so only
/// four in each octave are used, and the last value is repeated, which changes nothing.
[[nodiscard]] constexpr std::size_t statement_size(std::size_t count) noexcept {
  if (count <= 4) return count;
  const std::size_t step = std::bit_floor(count - 1) / 4;
  return (count + step - 1) / step * step;
}

/// "(?, ?, …)" for so many values, at least one, and what it is bound to, appended to `params`.
template <typename T>
[[nodiscard]] std::string in_list(std::span<const T> values, std::vector<Param>& params) {
  const std::size_t size = statement_size(values.size());
  std::string text = "(?";
  for (std::size_t i = 1; i < size; ++i) text += ", ?";
  for (std::size_t i = 0; i < size; ++i) params.emplace_back(values[i < values.size() ? i : values.size() - 1]);
  return text + ")";
}

}  // namespace oncemark::mysql
