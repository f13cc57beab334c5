#pragma once

#include <cstdlib>
#include <string>

#include <oncemark/core/error.hpp>
#include <oncemark/mysql/pool.hpp>

/// Where the examples find their servers: in the variables that tools/stack exports. A service would use its own
/// configuration here.
namespace example {

inline std::string variable(const char* name) {
  const char* value = std::getenv(name);
  if (value != nullptr && *value != '\0') return value;
  throw oncemark::ConfigError(
      name, std::string(name) + " is not set; start private servers and set it: eval \"$(tools/stack up)\"");
}

inline std::string brokers() { return variable("ONCEMARK_KAFKA__BROKERS"); }

inline oncemark::mysql::PoolOptions database() {
  oncemark::mysql::PoolOptions options;
  options.url = variable("ONCEMARK_MYSQL__URL");
  options.user = variable("ONCEMARK_MYSQL__USER");
  options.password_file = variable("ONCEMARK_MYSQL__PASSWORD_FILE");
  options.schema = variable("ONCEMARK_MYSQL__SCHEMA");
  return options;
}

}  // namespace example
