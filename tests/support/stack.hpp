#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/redis/client.hpp>

namespace oncemark::testing {

/// The servers that tools/stack started, from the environment that it exports.
///
/// Errors:  std::runtime_error naming the variable and ./tools/test when it is not set.
struct Stack {
  /// Account and address of the database server; the schema is left to the test, see TempSchema.
  [[nodiscard]] static mysql::PoolOptions mysql();
  /// bootstrap.servers
  [[nodiscard]] static std::string brokers();
  /// The same broker by TLS, for account "oncemark" and the password in the file: properties that librdkafka needs for it.
  [[nodiscard]] static std::string secure_brokers();
  [[nodiscard]] static std::map<std::string, std::string> secure_properties();
  [[nodiscard]] static std::string kafka_password_file();
  /// PEM files: the authority that vouches for the broker and the database, and one that vouches for nobody.
  [[nodiscard]] static std::filesystem::path authority();
  [[nodiscard]] static std::filesystem::path stranger();
  /// Account and address of the Redis server. Tests that stop, fill or flush one start their own: PrivateRedis.
  [[nodiscard]] static redis::ClientOptions redis();
  [[nodiscard]] static std::string redis_socket();
  [[nodiscard]] static int mysql_pid();
  [[nodiscard]] static std::filesystem::path directory();
};

}  // namespace oncemark::testing
