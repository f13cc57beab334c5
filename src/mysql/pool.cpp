#include <oncemark/mysql/pool.hpp>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/observe/log.hpp>

#include "mysql/driver.hpp"

namespace oncemark::mysql {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

// A connection that lay idle for longer is asked whether it still lives before it is lent again.
constexpr auto kPingAfter = 1s;
// Between two tries of transact(): short, since the winner of the lock is usually gone by then; random, so that the
// losers do not meet again.
constexpr Backoff kContention{.initial = 4ms, .factor = 2.0, .cap = 100ms, .jitter = 1.0};

[[noreturn]] void reject(const std::string& field, const std::string& value, std::string_view rule) {
  throw ConfigError(field, field + " is " + (value.empty() ? "empty" : value) + "; it must be " + std::string(rule));
}

template <typename Number>
void require_range(const char* field, Number value, Number low, Number high) {
  if (value >= low && value <= high) return;
  reject(field, std::to_string(value), "from " + std::to_string(low) + " to " + std::to_string(high));
}

void require_range(const char* field, std::chrono::seconds value, int low, int high) {
  require_range<std::chrono::seconds::rep>(field, value.count(), low, high);
}

bool is_address(std::string_view url) {
  if (url.starts_with("unix:///")) return url.size() > 8;
  if (!url.starts_with("tcp://")) return false;
  url.remove_prefix(6);
  return !url.empty() && url.find_first_of("/@? ") == std::string_view::npos;
}

}  // namespace

void PoolOptions::validate() const {
  if (!is_address(url)) reject("url", url, "tcp://host:port or unix:///path, without user and schema");
  if (user.empty()) reject("user", user, "the name of an account");
  if (schema.empty() || schema.size() > 64) reject("schema", schema, "the name of a database, 1 to 64 bytes");
  require_range<std::size_t>("size", size, 1, 1'000);
  require_range("connect_timeout", connect_timeout, 1, 300);
  require_range("read_timeout", read_timeout, 1, 3'600);
  require_range("wait_timeout", wait_timeout, 1, 86'400);
  require_range("lock_wait_timeout", lock_wait_timeout, 1, 600);
  require_range("transact_tries", transact_tries, 1, 100);
  if (acquire_timeout <= 0ms) reject("acquire_timeout", std::to_string(acquire_timeout.count()) + " ms", "above 0");
  if (read_timeout <= lock_wait_timeout) {
    reject("read_timeout", std::to_string(read_timeout.count()) + " s",
           "above lock_wait_timeout, " + std::to_string(lock_wait_timeout.count()) +
               " s: a statement that waits for a lock would look like a lost connection");
  }
}

struct Pool::State {
  struct Idle {
    std::unique_ptr<Connection> connection;
    steady_clock::time_point since;
  };

  PoolOptions options;
  std::mutex mutex;
  std::condition_variable freed;
  std::vector<Idle> idle;  // guarded by mutex; the one used last at the end
  std::size_t open = 0;    // guarded by mutex; idle, lent and being made

  explicit State(PoolOptions chosen) : options(std::move(chosen)) { idle.reserve(options.size); }

  void forget_one() noexcept {
    const std::lock_guard lock(mutex);
    --open;
    freed.notify_one();
  }

  // Takes out those that the server is about to drop: pinging one of them could lose that race. Call with the lock.
  std::vector<Idle> take_old(steady_clock::time_point now) {
    std::vector<Idle> old;
    while (!idle.empty() && now - idle.front().since > options.wait_timeout / 2) {
      old.push_back(std::move(idle.front()));
      idle.erase(idle.begin());
      --open;
    }
    return old;
  }
};

Pool::Pool(PoolOptions options) {
  options.validate();
  state_ = std::make_unique<State>(std::move(options));
}

Pool::~Pool() = default;

const PoolOptions& Pool::options() const noexcept { return state_->options; }

Pool::Lease Pool::acquire() {
  State& state = *state_;
  const auto deadline = steady_clock::now() + state.options.acquire_timeout;
  std::vector<State::Idle> old;  // closed after the lock is released
  std::unique_lock lock(state.mutex);
  for (;;) {
    old = state.take_old(steady_clock::now());
    if (!state.idle.empty()) {
      State::Idle taken = std::move(state.idle.back());
      state.idle.pop_back();
      lock.unlock();
      if (steady_clock::now() - taken.since < kPingAfter || taken.connection->ping()) {
        return Lease(*this, std::move(taken.connection));
      }
      taken.connection.reset();
      state.forget_one();
      lock.lock();
      continue;
    }
    if (state.open < state.options.size) {
      ++state.open;
      lock.unlock();
      try {
        return Lease(*this, connect(state.options.wait_timeout));
      } catch (...) {
        state.forget_one();
        throw;
      }
    }
    if (state.freed.wait_until(lock, deadline) == std::cv_status::timeout && state.idle.empty() &&
        state.open >= state.options.size) {
      throw Error(ErrorKind::unavailable,
                  "no free connection to " + state.options.url + " within " +
                      std::to_string(state.options.acquire_timeout.count()) + " ms: all " +
                      std::to_string(state.options.size) +
                      " are in use; raise size (one a lane plus two), or look for transactions that hang");
    }
  }
}

void Pool::give_back(std::unique_ptr<Connection> connection) noexcept {
  if (connection && connection->is_usable() && connection->has_open_transaction()) {
    try {
      connection->control("ROLLBACK");  // even an idle SELECT would hold up an ALTER
    } catch (...) {
      connection.reset();
    }
  }
  if (connection && !connection->is_usable()) connection.reset();
  if (!connection) return state_->forget_one();

  const std::lock_guard lock(state_->mutex);
  state_->idle.push_back({std::move(connection), steady_clock::now()});
  state_->freed.notify_one();
}

void Pool::drop_idle() {
  std::vector<State::Idle> dropped;
  dropped.reserve(state_->options.size);  // becomes the pool's vector: giving back never allocates
  const std::lock_guard lock(state_->mutex);
  dropped.swap(state_->idle);
  state_->open -= dropped.size();
  state_->freed.notify_all();
}

Pool::Lease& Pool::Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    end();
    pool_ = std::exchange(other.pool_, nullptr);
    connection_ = std::move(other.connection_);
  }
  return *this;
}

void Pool::Lease::drop() noexcept {
  connection_.reset();
  end();
}

void Pool::Lease::end() noexcept {
  if (Pool* pool = std::exchange(pool_, nullptr)) pool->give_back(std::move(connection_));
}

void Pool::run(const std::function<void(Transaction&)>& work) {
  for (int tries = 1;; ++tries) {
    try {
      return run_once(work);
    } catch (const MysqlError& error) {
      if (!error.is_contention() || tries >= state_->options.transact_tries) throw;
      log(LogLevel::debug, "a transaction lost a lock and is run again", {{"error", error.error_class()}});
    }
    std::this_thread::sleep_for(delay_after(kContention, tries, random_token()));
  }
}

void Pool::run_once(const std::function<void(Transaction&)>& work) {
  Lease lease = acquire();
  std::optional<UnitOfWork> unit;
  try {
    unit.emplace(*lease);
  } catch (const MysqlError& error) {
    if (!error.breaks_connection()) throw;
    // Nothing was run. The server was restarted since this connection was last used: so were the others.
    lease.drop();
    drop_idle();
    lease = acquire();
    unit.emplace(*lease);
  }
  work(unit->tx());
  unit->commit();
}

std::unique_ptr<Connection> Pool::connect(std::chrono::seconds wait_timeout) const {
  return connect_to_server(state_->options, wait_timeout);
}

bool Pool::is_reachable() const noexcept {
  try {
    // A server that was demoted still answers a ping.
    const auto connection = connect(state_->options.wait_timeout);
    connection->control("START TRANSACTION READ WRITE");
    connection->control("ROLLBACK");
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace oncemark::mysql
