#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace oncemark::tools {

/// What an account may need on one of our tables.
struct Right {
  std::string table;
  std::vector<std::string> privileges;  // SELECT, INSERT, UPDATE, DELETE
};

/// Who may need rights, from the least to the most.
inline constexpr std::string_view kRoles[] = {"producer", "relay",  "binlog-relay", "capture",
                                              "consumer", "report", "operator",     "migrate"};

/// The rights of a role on our tables, as this program's migrations make them; none for "migrate", which needs them on
/// the whole database. Throws UsageError for another name.
[[nodiscard]] std::vector<Right> rights_of(std::string_view role);
/// What a role needs on the whole server, as no privilege is smaller: to read the binlog. None for most.
[[nodiscard]] std::vector<std::string> global_rights_of(std::string_view role);
/// What "migrate" needs on the whole database.
[[nodiscard]] std::string migration_privileges();
/// `schema` and `table` may be "*".
/// "GRANT SELECT, UPDATE ON `shop`.`oncemark_schema` TO 'oncemark'@'%';"
[[nodiscard]] std::string grant_statement(const std::vector<std::string>& privileges, const std::string& schema,
                                          const std::string& table, const std::string& user);

}  // namespace oncemark::tools
