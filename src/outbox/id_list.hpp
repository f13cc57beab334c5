#pragma once

#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include <oncemark/mysql/row.hpp>

namespace oncemark::outbox {

/// "(?, ?, …)" over a power of two of placeholders, so that there are few texts to prepare; the last id is repeated.
/// `ids` must not be empty, and must outlive `params`.
inline std::string id_list(const std::vector<std::string>& ids, std::vector<mysql::Param>& params) {
  const std::size_t count = std::bit_ceil(ids.size());
  std::string text = "(?";
  for (std::size_t i = 1; i < count; ++i) text += ", ?";
  for (std::size_t i = 0; i < count; ++i) params.emplace_back(ids[std::min(i, ids.size() - 1)]);
  return text + ")";
}

}  // namespace oncemark::outbox
