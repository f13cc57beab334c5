#pragma once

#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/process.hpp"
#include "support/stack.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::testing {

/// What `oncemark schema grants` prints for these roles and this account.
inline std::vector<std::string> grants_of(const std::vector<std::string>& roles, const std::string& schema,
                                          const std::string& user) {
  std::vector<std::string> words{program(), "schema", "grants"};
  for (const std::string& role : roles) words.insert(words.end(), {"--role", role});
  const Ended printed = run(words, {{"ONCEMARK_MYSQL__SCHEMA", schema}, {"ONCEMARK_MYSQL__USER", user}});
  if (printed.code != 0) throw std::runtime_error(printed.err);
  std::vector<std::string> statements;
  std::istringstream lines(printed.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("GRANT")) statements.push_back(line.substr(0, line.rfind(';')));
  }
  return statements;
}

/// The settings of a program that works on `schema`, as environment variables. Its account has the rights of these roles
/// and no others, so that each test of a program tests its grants as well; without a role it is the stack's, which may
/// do everything.
inline std::map<std::string, std::string> environment_of(const TempSchema& schema,
                                                         const std::vector<std::string>& roles = {"operator"}) {
  std::string purpose;
  for (const std::string& role : roles) purpose += role + ' ';
  const mysql::PoolOptions options =
      roles.empty()
          ? schema.options()
          : schema.options_of(purpose, [&](const std::string& user) { return grants_of(roles, schema.name(), user); });
  return {{"ONCEMARK_MYSQL__URL", options.url},
          {"ONCEMARK_MYSQL__USER", options.user},
          {"ONCEMARK_MYSQL__PASSWORD_FILE", options.password_file},
          {"ONCEMARK_MYSQL__SCHEMA", options.schema},
          {"ONCEMARK_KAFKA__BROKERS", Stack::brokers()}};
}

/// The same with some of them changed.
inline std::map<std::string, std::string> with(std::map<std::string, std::string> environment,
                                               const std::map<std::string, std::string>& changes) {
  for (const auto& [name, value] : changes) environment[name] = value;
  return environment;
}

}  // namespace oncemark::testing
