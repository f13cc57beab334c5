#pragma once

#include <memory>
#include <string>
#include <vector>

#include <cppconn/connection.h>
#include <cppconn/driver.h>
#include <cppconn/resultset.h>
#include <cppconn/resultset_metadata.h>
#include <cppconn/statement.h>

#include "contract.hpp"

namespace bench {

/// A connection without the library under test: for what prepares a run, for its judge and for the raw limit.
///
/// Threads: the first one is made before there are others (the connector's driver instance); then one thread each.
/// Errors:  sql::SQLException.
class Server {
 public:
  Server(const Contract& contract, const std::string& database) {
    sql::ConnectOptionsMap options;
    options["hostName"] = sql::SQLString(contract.database_url);
    options["userName"] = sql::SQLString(contract.user);
    options["password"] = sql::SQLString(contract.password);
    options["schema"] = sql::SQLString(database);
    native_.reset(get_driver_instance()->connect(options));
  }

  void run(const std::string& sql) {
    const std::unique_ptr<sql::Statement> statement(native_->createStatement());
    statement->execute(sql);
  }

  [[nodiscard]] std::vector<std::vector<std::string>> rows(const std::string& sql) {
    const std::unique_ptr<sql::Statement> statement(native_->createStatement());
    const std::unique_ptr<sql::ResultSet> result(statement->executeQuery(sql));
    std::vector<std::vector<std::string>> rows;
    const unsigned columns = result->getMetaData()->getColumnCount();
    while (result->next()) {
      std::vector<std::string>& row = rows.emplace_back();
      for (unsigned i = 1; i <= columns; ++i) row.push_back(result->getString(i).asStdString());
    }
    return rows;
  }
  [[nodiscard]] std::string value(const std::string& sql) { return rows(sql).at(0).at(0); }

  [[nodiscard]] sql::Connection& native() noexcept { return *native_; }

 private:
  std::unique_ptr<sql::Connection> native_;
};

}  // namespace bench
