#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <oncemark/mysql/session.hpp>
#include <oncemark/mysql/transaction.hpp>

namespace oncemark::mysql {

/// How to reach a MySQL or MariaDB server, and how its sessions behave.
struct PoolOptions {
  std::string url = "tcp://127.0.0.1:3306";  // tcp://host:port, or unix:///path of a socket
  std::string user = {};                     // account; see `oncemark schema grants` for what it needs
  std::string password = {};                 // in memory only; prefer password_file
  std::string password_file = {};            // file with the password, one line · overrides password
  std::string schema = {};                   // database that holds our tables and the business tables
  std::string tls_ca = {};  // PEM file: TLS with chain and name verified, refused otherwise · empty is clear text
  std::size_t size = 8;     // connections at most · one a lane plus two · 1 to 1,000
  std::chrono::seconds connect_timeout{10};   // for connecting and the greeting · 1 to 300
  std::chrono::seconds read_timeout{30};      // for each answer · must exceed lock_wait_timeout · 1 to 3,600
  std::chrono::seconds wait_timeout{60};      // server drops a session idle for longer, and with it its locks · above
                                              // the longest gap between two statements of a handler · 1 to 86,400
  std::chrono::seconds lock_wait_timeout{5};  // wait for a row or a table lock before 1205 · 1 to 600
  std::chrono::milliseconds acquire_timeout{30'000};  // wait for a free connection before `unavailable` · > 0
  int transact_tries = 5;  // how often transact() runs its function on 1205, 1213 · 1 to 100

  /// Throws ConfigError naming the field.
  void validate() const;
};

/// A connection with its session settings in place: autocommit off, READ COMMITTED, strict mode, UTC, time-outs.
///
/// Threads: one at a time.
/// Errors:  MysqlError; after one that breaks_connection() it is of no more use.
class Connection : public Session {
 public:
  /// Whether nothing has broken it so far; no round trip.
  [[nodiscard]] virtual bool is_usable() const noexcept = 0;
  /// A round trip; false when the connection is gone. Never throws.
  [[nodiscard]] virtual bool ping() noexcept = 0;
  /// Whether a statement was sent since the last COMMIT or ROLLBACK: with autocommit off even a SELECT opens a
  /// transaction. No round trip.
  [[nodiscard]] virtual bool has_open_transaction() const noexcept = 0;
};

/// A bounded set of connections.
///
/// Shape:   connections are made when first needed, checked before reuse when they lay idle, and dropped (never
///          repaired) after an error that breaks them.
/// Threads: all members from any thread; a borrowed connection belongs to one thread.
/// Errors:  the constructor only validates; the first use connects and throws MysqlError{unavailable | misuse}, or
///          ConfigError for a password_file or tls_ca that cannot be read (both are read for each new connection).
///          acquire() throws Error{unavailable} when no connection gets free in time.
class Pool final {
 public:
  explicit Pool(PoolOptions options);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// A borrowed connection: rolled back if need be and returned (or dropped, when broken) at the end of its life,
  /// which must lie before that of the pool.
  class Lease {
   public:
    Lease(Lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)), connection_(std::move(other.connection_)) {}
    Lease& operator=(Lease&& other) noexcept;
    ~Lease() { end(); }
    [[nodiscard]] Connection& operator*() const noexcept { return *connection_; }
    [[nodiscard]] Connection* operator->() const noexcept { return connection_.get(); }
    /// Drops the connection instead of returning it.
    void drop() noexcept;

   private:
    friend class Pool;
    Lease(Pool& pool, std::unique_ptr<Connection> connection) : pool_(&pool), connection_(std::move(connection)) {}
    void end() noexcept;

    Pool* pool_;
    std::unique_ptr<Connection> connection_;
  };

  [[nodiscard]] Lease acquire();

  /// Runs `work(Transaction&)` in a transaction and commits it; returns what `work` returned.
  ///
  /// Errors:  runs the *whole* function again on 1205, 1213 and 1020, at most options().transact_tries times, so it
  ///          must have no effect outside the transaction. Anything else it throws rolls back and goes on to the
  ///          caller; InDoubtError is never repeated here.
  /// Crash:   before COMMIT: nothing. After: everything. In between: in doubt, one or the other.
  template <typename Work>
  std::invoke_result_t<Work, Transaction&> transact(Work&& work) {
    using Result = std::invoke_result_t<Work, Transaction&>;
    if constexpr (std::is_void_v<Result>) {
      run([&](Transaction& tx) { work(tx); });
    } else {
      std::optional<Result> result;
      run([&](Transaction& tx) { result.emplace(work(tx)); });
      return std::move(*result);
    }
  }

  /// A connection outside the pool, with its own idle limit: for locks that are held for long (a relay's lease).
  [[nodiscard]] std::unique_ptr<Connection> connect(std::chrono::seconds wait_timeout) const;

  /// Whether a fresh connection can be made and may write: tells a server that is down, full or read-only from one bad
  /// statement.
  [[nodiscard]] bool is_reachable() const noexcept;

  [[nodiscard]] const PoolOptions& options() const noexcept;

 private:
  struct State;
  void run(const std::function<void(Transaction&)>& work);
  void run_once(const std::function<void(Transaction&)>& work);
  void drop_idle();
  void give_back(std::unique_ptr<Connection> connection) noexcept;

  std::unique_ptr<State> state_;
};

}  // namespace oncemark::mysql
