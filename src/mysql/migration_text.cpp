#include "mysql/migration_text.hpp"

#include <charconv>
#include <cstdio>

#include <xxhash.h>

#include <oncemark/core/error.hpp>

namespace oncemark::mysql {
namespace {

constexpr std::string_view kLowestLibrary = "-- lowest library: ";

// 64 bits that differ after every restore and on every server; the same expression for us and for a DBA's client.
constexpr std::string_view kRandomEpoch = "CAST(CONV(LEFT(SHA2(CONCAT(UUID(), RAND()), 256), 16), 16, 10) AS UNSIGNED)";

std::string checksum_of(std::string_view text) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx",
                static_cast<unsigned long long>(XXH3_64bits(text.data(), text.size())));
  return digits;
}

bool parse_number(std::string_view text, int& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number > 0;
}

std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

std::string_view without_comment(std::string_view line) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\'') quoted = !quoted;
    if (!quoted && line.substr(i).starts_with("--")) {
      line = line.substr(0, i);
      break;
    }
  }
  const auto last = line.find_last_not_of(" \t\r");
  return line.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

}  // namespace

Migration parse_migration(const std::string& file_name, const std::string& text) {
  Migration migration{.name = file_name, .sql = text, .checksum = checksum_of(text)};
  const auto separator = file_name.find("__");
  if (!file_name.starts_with('V') || separator == std::string::npos ||
      !parse_number(std::string_view(file_name).substr(1, separator - 1), migration.version)) {
    throw MisuseError("schema file " + file_name + " is not named V<version>__<name>.sql");
  }
  std::string_view rest = text;
  const std::string_view first = take_line(rest);
  if (!first.starts_with(kLowestLibrary) ||
      !parse_number(first.substr(kLowestLibrary.size()), migration.lowest_library)) {
    throw MisuseError("schema file " + file_name + " does not start with \"" + std::string(kLowestLibrary) +
                      "<number>\"");
  }
  return migration;
}

std::vector<std::string> split_statements(std::string_view sql) {
  std::vector<std::string> statements;
  std::string statement;
  while (!sql.empty()) {
    std::string_view line = without_comment(take_line(sql));
    const bool is_last = line.ends_with(';');
    if (is_last) line.remove_suffix(1);
    if (!line.empty()) statement.append(statement.empty() ? "" : "\n").append(line);
    if (is_last && !statement.empty()) statements.push_back(std::exchange(statement, {}));
  }
  if (!statement.empty()) statements.push_back(std::move(statement));
  return statements;
}

std::string record_statement(const Migration& migration) {
  // The epoch belongs to the database, not to the version: a later migration keeps the one that is there.
  const std::string epoch = "COALESCE((SELECT s.epoch FROM oncemark_schema s ORDER BY s.version DESC LIMIT 1), " +
                            std::string(kRandomEpoch) + ")";
  return "INSERT INTO oncemark_schema (version, name, checksum, lowest_library, epoch, applied_at) SELECT " +
         std::to_string(migration.version) + ", '" + migration.name + "', '" + migration.checksum + "', " +
         std::to_string(migration.lowest_library) + ", " + epoch + ", UTC_TIMESTAMP(6)";
}

}  // namespace oncemark::mysql
