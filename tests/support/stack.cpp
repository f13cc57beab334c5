#include "support/stack.hpp"

#include <cstdlib>
#include <stdexcept>

namespace oncemark::testing {
namespace {

std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value != nullptr && *value != '\0') return value;
  throw std::runtime_error(name +
                           " is not set: this test needs real servers. Run ./tools/test, or this program under " +
                           "`tools/stack run --`.");
}

}  // namespace

mysql::PoolOptions Stack::mysql() {
  return {.url = variable("ONCEMARK_MYSQL__URL"),
          .user = variable("ONCEMARK_MYSQL__USER"),
          .password_file = variable("ONCEMARK_MYSQL__PASSWORD_FILE")};
}

std::string Stack::brokers() { return variable("ONCEMARK_KAFKA__BROKERS"); }
std::string Stack::secure_brokers() { return variable("ONCEMARK_KAFKA_SASL_BROKERS"); }
std::map<std::string, std::string> Stack::secure_properties() {
  return {{"security.protocol", "SASL_SSL"},
          {"ssl.ca.location", authority()},
          {"sasl.mechanisms", "PLAIN"},
          {"sasl.username", "oncemark"}};
}
std::string Stack::kafka_password_file() { return variable("ONCEMARK_KAFKA_PASSWORD_FILE"); }
std::filesystem::path Stack::authority() { return variable("ONCEMARK_TLS_CA"); }
std::filesystem::path Stack::stranger() { return authority().replace_filename("stranger.pem"); }
redis::ClientOptions Stack::redis() {
  return {.url = variable("ONCEMARK_REDIS__URL"),
          .user = variable("ONCEMARK_REDIS__USER"),
          .password_file = variable("ONCEMARK_REDIS__PASSWORD_FILE"),
          .connect_timeout = std::chrono::seconds(5),  // a busy machine is no outage
          .command_timeout = std::chrono::seconds(5)};
}
std::string Stack::redis_socket() { return variable("ONCEMARK_REDIS_SOCKET"); }
int Stack::mysql_pid() { return std::stoi(variable("ONCEMARK_MYSQL_PID")); }
std::filesystem::path Stack::directory() { return variable("ONCEMARK_STACK_DIR"); }

}  // namespace oncemark::testing
