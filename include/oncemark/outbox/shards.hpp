#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <oncemark/mysql/pool.hpp>

namespace oncemark::outbox {

/// How many of the shards a process asks for.
enum class Share {
  fair,  ///< ⌈64 / live relays⌉
  all,   ///< all of them: for a relay that cannot share its work
};

/// The shards of a relay that this process holds: row locks on `relay_shard`, held by a connection that does nothing
/// else. No clocks: the server drops a session that was silent for `idle_limit`, and its locks with it.
///
/// Shape:   take() locks at most this process's share. Live relays are counted by named
///          locks: a hint for fairness only; the row lock alone is the lease.
/// Threads: one owner thread.
/// Errors:  MysqlError; after one the lease is gone and the next take() starts on a new connection.
/// Crash:   the connection ends and the locks with it; a hung process (SIGSTOP) loses them after `idle_limit`.
class ShardLease final {
 public:
  ShardLease(mysql::Pool& pool, std::string relay, std::chrono::seconds idle_limit = std::chrono::seconds(2),
             Share share = Share::fair);
  ~ShardLease();
  ShardLease(const ShardLease&) = delete;
  ShardLease& operator=(const ShardLease&) = delete;

  /// Gives up what is held and locks the fair share anew. Call only with nothing in flight.
  const std::vector<int>& take();
  /// The shards that are held; empty after a failure.
  [[nodiscard]] const std::vector<int>& held() const noexcept;
  /// A round trip that keeps the lease; true when take() should be called after draining: the share has changed, or is
  /// not held in full and it is time to try again, or the lock is 3 s old (an open transaction keeps undo history).
  [[nodiscard]] bool keep();
  /// Time since the server last heard from the lease: near idle_limit nothing more may be sent.
  [[nodiscard]] std::chrono::milliseconds silent_for() const noexcept;
  void release() noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// How many relays of that name are alive on any machine, by their named locks: a hint.
[[nodiscard]] int live_relays(mysql::Pool& pool, const std::string& relay);

}  // namespace oncemark::outbox
