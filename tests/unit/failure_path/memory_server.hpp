#pragma once

#include <memory>

#include <oncemark/mysql/pool.hpp>

namespace oncemark::testing {

/// A database in memory, which every mysql::Pool of this program connects to: SQLite, under the statements and the
/// tables of the library, so that its own code runs from the first line to the last without a server.
///
/// Shape:   one at a time. Transactions come one after the other, as row locks would have those of one message. The
///          clock stands still within a transaction and goes on by 10 ms with each.
/// Threads: one.
/// Errors:  std::runtime_error for a statement that SQLite does not take.
class MemoryServer {
 public:
  MemoryServer();
  ~MemoryServer();
  MemoryServer(const MemoryServer&) = delete;
  MemoryServer& operator=(const MemoryServer&) = delete;

  /// For pools; names no server.
  [[nodiscard]] static mysql::PoolOptions options();
  /// Empties all tables.
  void clear();

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::testing
