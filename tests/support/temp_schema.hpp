#pragma once

#include <cstdint>
#include <memory>
#include <string>

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
    try {
      server()->control("DROP DATABASE " + name_);
    } catch (const std::exception&) {  // the test has stopped the server, or still holds a lock
    }
  }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] mysql::PoolOptions options() const {
    mysql::PoolOptions options = Stack::mysql();
    options.schema = name_;
    return options;
  }

 private:
  static std::unique_ptr<mysql::Connection> server() {
    mysql::PoolOptions options = Stack::mysql();
    options.schema = "information_schema";
    return mysql::Pool(options).connect(options.wait_timeout);
  }

  std::string name_;
};

}  // namespace oncemark::testing
