#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <oncemark/mysql/migration.hpp>

namespace oncemark::mysql {

/// One migration from a file of src/schema: version and name from "V001__name.sql", the lowest library from the first
/// line, "-- lowest library: 100". Throws MisuseError for a file that does not follow this.
[[nodiscard]] Migration parse_migration(const std::string& file_name, const std::string& text);

/// The statements of a migration: each ends with ';' at the end of a line. Comments from "-- " are left out.
[[nodiscard]] std::vector<std::string> split_statements(std::string_view sql);

/// The INSERT that records a migration as applied.
[[nodiscard]] std::string record_statement(const Migration& migration);

}  // namespace oncemark::mysql
