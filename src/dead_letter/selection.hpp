#pragma once

#include <list>
#include <string>
#include <vector>

#include <oncemark/dead_letter/store.hpp>
#include <oncemark/mysql/row.hpp>

namespace oncemark::dead_letter {

/// A selection as SQL: " WHERE …", and what its question marks are bound to (views into the selection, and `texts`).
struct Condition {
  std::string sql;
  std::vector<mysql::Param> params;
  std::list<std::string> texts;  // stay where they are when the condition is moved
};
[[nodiscard]] Condition condition_of(const Selection& selection);

}  // namespace oncemark::dead_letter
