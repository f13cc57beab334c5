#pragma once

#include <map>
#include <string>

#include "support/stack.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::testing {

/// The settings of a program that works on `schema`, as environment variables.
inline std::map<std::string, std::string> environment_of(const TempSchema& schema) {
  const mysql::PoolOptions options = schema.options();
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
