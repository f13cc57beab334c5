#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <oncemark/mysql/pool.hpp>

namespace oncemark::binlog {

/// Tells, soon after the commit, that the outbox has got rows: for a polling relay of another process than the
/// producer's, whose after_commit nudges do not reach it.
///
/// Shape:   calls `ring(relay)` for each relay name that a transaction has left pending rows for, whoever wrote them. A
///          hint, and nothing but one: it keeps no place, starts at the present end of the binlog, and starts there again
///          after any trouble. The relay finds its rows without it, a poll later.
/// Threads: a thread of its own, on which `ring` is called: it must return soon and not throw. One connection, that of a
///          replica, and one of the pool's when it starts.
/// Errors:  none to the caller: trouble is logged, and tried again with a backoff.
class Bell final {
 public:
  Bell(mysql::Pool& pool, std::function<void(const std::string& relay)> ring, std::uint32_t server_id = 0);
  ~Bell();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  /// Whether it listens; false while it is being connected.
  [[nodiscard]] bool is_listening() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::binlog
