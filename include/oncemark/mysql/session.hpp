#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <oncemark/mysql/row.hpp>

namespace oncemark::mysql {

/// The few calls that a Transaction makes on a connection. A seam, so that an effect can be tested without a server.
///
/// Threads: one thread at a time.
/// Errors:  MysqlError; MisuseError for a statement that was not sent: values that do not match its placeholders, rows
///          asked of an INSERT, or no rows of a SELECT.
class Session {
 public:
  virtual ~Session() = default;
  /// Runs a statement that returns no rows; the number of affected rows (changed ones, not found ones).
  virtual std::uint64_t execute(std::string_view sql, std::span<const Param> params) = 0;
  virtual Rows query(std::string_view sql, std::span<const Param> params) = 0;
  /// START TRANSACTION, COMMIT, ROLLBACK, SAVEPOINT …: as text, because the connector's own calls hide failures.
  virtual void control(std::string_view sql) = 0;
  /// The largest statement, values included, that the server takes.
  [[nodiscard]] virtual std::size_t max_statement_bytes() const noexcept { return std::size_t{16} << 20; }
};

}  // namespace oncemark::mysql
