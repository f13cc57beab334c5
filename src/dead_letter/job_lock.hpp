#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <oncemark/mysql/pool.hpp>

namespace oncemark::dead_letter {

/// The name of the server's lock that a consumer's running replay holds: server-wide, so it tells databases apart.
[[nodiscard]] std::string job_lock_name(const mysql::Pool& pool, const std::string& consumer);

/// Keeps two processes from running jobs of one consumer at a time. Only for order among people: what a job does to a
/// letter is safe without it.
///
/// Threads: one.
/// Errors:  MysqlError.
/// Crash:   the server frees the lock with the connection.
class JobLock final {
 public:
  JobLock(mysql::Pool& pool, const std::string& consumer);

  /// Waits at most `wait` for the lock; false when somebody else has it.
  [[nodiscard]] bool take(std::chrono::seconds wait);
  /// A round trip now and then, so that the server keeps the connection; takes the lock again when it was lost.
  /// False when somebody else has it by now.
  [[nodiscard]] bool keep();
  void release() noexcept { connection_.reset(); }

 private:
  mysql::Pool& pool_;
  std::string name_;
  std::unique_ptr<mysql::Connection> connection_;  // holds the lock while it lives
  std::chrono::steady_clock::time_point heard_at_{};
};

}  // namespace oncemark::dead_letter
