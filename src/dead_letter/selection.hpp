#pragma once

#include <string>
#include <vector>

#include <oncemark/dead_letter/store.hpp>
#include <oncemark/mysql/row.hpp>

namespace oncemark::dead_letter {

/// A selection as SQL: " WHERE …", and what its question marks are bound to (views into the selection).
struct Condition {
  std::string sql;
  std::vector<mysql::Param> params;
};
[[nodiscard]] Condition condition_of(const Selection& selection);

}  // namespace oncemark::dead_letter
