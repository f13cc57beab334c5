#pragma once

#include <string>
#include <vector>

#include <oncemark/mysql/pool.hpp>

namespace oncemark::tools {

/// A difference between a table as it is and as the migrations make it.
struct Deviation {
  std::string where;  // table, or table.column
  std::string text;   // "is missing", "is varchar(50), not varchar(100)"
};

/// Compares tables, engine, columns, their types, NULL and collations, and primary and unique keys with the migrations.
/// Reads information_schema only; columns and keys that somebody added are no deviation.
[[nodiscard]] std::vector<Deviation> schema_deviations(mysql::Pool& pool);

}  // namespace oncemark::tools
