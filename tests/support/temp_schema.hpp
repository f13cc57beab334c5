#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <oncemark/core/id.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/mysql/pool.hpp>

#include "support/stack.hpp"

namespace oncemark::testing {

enum class Tables { none, ours };

/// A database of its own for one test, dropped at the end of its life. Pools that use it must be gone by then, or idle.
class TempSchema {
 public:
  explicit TempSchema(Tables tables = Tables::none) : name_("om_test_" + std::to_string(random_token())) {
    server()->control("CREATE DATABASE " + name_ + " CHARACTER SET utf8mb4");
    if (tables == Tables::none) return;
    mysql::Pool pool(options());
    (void)mysql::apply_migrations(pool);
  }
  TempSchema(const TempSchema&) = delete;
  TempSchema& operator=(const TempSchema&) = delete;
  ~TempSchema() {
    for (const auto& [purpose, account] : accounts_) std::filesystem::remove(account.password_file);
    try {
      const auto session = server();
      for (const auto& [purpose, account] : accounts_) session->control("DROP USER '" + account.user + "'@'%'");
      session->control("DROP DATABASE " + name_);
    } catch (const std::exception&) {  // the test has stopped the server, or still holds a lock
    }
  }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] mysql::PoolOptions options() const {
    mysql::PoolOptions options = Stack::mysql();
    options.schema = name_;
    return options;
  }
  /// The same for an account of its own, which may do what it is granted and nothing else: `grants` yields the statements
  /// for the name of the account. Made at the first call for a purpose, gone with the schema.
  [[nodiscard]] mysql::PoolOptions options_of(
      const std::string& purpose,
      const std::function<std::vector<std::string>(const std::string& user)>& grants) const {
    const auto known = accounts_.find(purpose);
    if (known != accounts_.end()) return known->second;
    mysql::PoolOptions account = options();
    account.user = "om_" + std::to_string(random_token());
    const std::string password = "p" + std::to_string(random_token());
    const std::filesystem::path file = std::filesystem::temp_directory_path() / account.user;
    std::ofstream(file) << password << '\n';
    std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    account.password_file = file;
    const auto session = server();
    session->control("CREATE USER '" + account.user + "'@'%' IDENTIFIED BY '" + password + "'");
    accounts_.emplace(purpose, account);
    for (const std::string& statement : grants(account.user)) session->control(statement);
    return account;
  }

 private:
  static std::unique_ptr<mysql::Connection> server() {
    mysql::PoolOptions options = Stack::mysql();
    options.schema = "information_schema";
    return mysql::Pool(options).connect(options.wait_timeout);
  }

  std::string name_;
  mutable std::map<std::string, mysql::PoolOptions> accounts_;  // by purpose
};

}  // namespace oncemark::testing
