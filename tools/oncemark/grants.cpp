#include "grants.hpp"

#include <algorithm>
#include <map>
#include <regex>

#include <oncemark/mysql/migration.hpp>
#include <oncemark/observe/log.hpp>

#include "program.hpp"

namespace oncemark::tools {
namespace {

std::vector<std::string> our_tables() {
  std::vector<std::string> tables;
  static const std::regex kCreate("CREATE TABLE IF NOT EXISTS (\\w+)");
  for (const mysql::Migration& migration : mysql::migrations()) {
    for (std::sregex_iterator at(migration.sql.begin(), migration.sql.end(), kCreate), end; at != end; ++at) {
      tables.push_back((*at)[1]);
    }
  }
  return tables;
}

/// S, I, U and D, by role and table. oncemark_schema is written to by nobody: that nothing changes is what proves, at
/// each start, that the server counts changed rows.
const std::map<std::string_view, std::map<std::string_view, std::string_view>>& letters() {
  static const std::map<std::string_view, std::map<std::string_view, std::string_view>> rights{
      {"producer",
       {{"oncemark_schema", "SU"}, {"outbox_message", "SI"}, {"local_transaction", "SIUD"}, {"parked_half", "SIUD"}}},
      {"relay",
       {{"oncemark_schema", "SU"}, {"outbox_message", "SUD"}, {"relay_shard", "SIU"}, {"relay_checkpoint", "SIUD"}}},
      {"capture", {{"oncemark_schema", "SU"}, {"relay_shard", "SIU"}, {"relay_checkpoint", "SIU"}}},
      {"consumer",
       {{"oncemark_schema", "SU"},
        {"outbox_message", "SI"},
        {"consumed_message", "SIUD"},
        {"failed_message", "SIUD"},
        {"dead_letter", "SIU"},
        {"parked_key", "SIUD"},
        {"parked_message", "SIUD"},
        {"suspect_message", "SIUD"},
        {"consumed_horizon", "S"},
        {"sweep_progress", "S"},
        {"replay_audit", "SI"}}}};
  return rights;
}

std::vector<std::string> spelled(std::string_view letters) {
  std::vector<std::string> privileges;
  for (const char letter : letters) {
    privileges.emplace_back(letter == 'S' ? "SELECT" : letter == 'I' ? "INSERT" : letter == 'U' ? "UPDATE" : "DELETE");
  }
  return privileges;
}

std::string quoted(const std::string& name, char quote) {
  std::string text(1, quote);
  for (const char c : name) {
    if (c == quote) text += c;
    text += c;
  }
  return text + quote;
}

}  // namespace

std::vector<Right> rights_of(std::string_view role) {
  if (std::ranges::find(kRoles, role) == std::end(kRoles)) {
    std::string known;
    for (const std::string_view one : kRoles) known += (known.empty() ? "" : ", ") + std::string(one);
    throw UsageError("there is no role \"" + printable(role, 40) + "\"; there are " + known);
  }
  std::vector<Right> rights;
  if (role == "migrate") return rights;
  const auto known = letters().find(role == "binlog-relay" ? "relay" : role);
  for (const std::string& table : our_tables()) {
    std::string_view privileges = role == "report" ? (table == "oncemark_schema" ? "SU" : "S") : "SIUD";
    if (table == "replay_audit" && role == "operator") privileges = "SI";  // append only, also for them
    if (known != letters().end()) {
      const auto of_table = known->second.find(table);
      if (of_table == known->second.end()) continue;
      privileges = of_table->second;
    }
    rights.push_back({.table = table, .privileges = spelled(privileges)});
  }
  return rights;
}

std::vector<std::string> global_rights_of(std::string_view role) {
  if (role != "binlog-relay" && role != "capture") return {};
  return {"REPLICATION SLAVE", "REPLICATION CLIENT"};
}

std::string migration_privileges() {
  return "SELECT, INSERT, UPDATE, CREATE, ALTER, INDEX, DROP, REFERENCES, LOCK TABLES";
}

std::string grant_statement(const std::vector<std::string>& privileges, const std::string& schema,
                            const std::string& table, const std::string& user) {
  std::string text;
  for (const std::string& privilege : privileges) text += (text.empty() ? "" : ", ") + privilege;
  return "GRANT " + text + " ON " + (schema == "*" ? schema : quoted(schema, '`')) + "." +
         (table == "*" ? table : quoted(table, '`')) + " TO " + quoted(user, '\'') + "@'%';";
}

}  // namespace oncemark::tools
