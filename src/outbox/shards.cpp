#include <oncemark/outbox/shards.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <type_traits>
#include <utility>

#include <oncemark/core/clock.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/table.hpp>

#include "outbox/seats.hpp"

namespace oncemark::outbox {
namespace {

using std::chrono::milliseconds;

// A transaction that holds row locks keeps MariaDB from freeing undo history, so that none is left open for long.
constexpr milliseconds kRenewAfter{3'000};
constexpr milliseconds kFirstRetry{1'000};
constexpr int kCreateTries = 5;

std::size_t share_of(int live) noexcept {
  const int relays = std::max(live, 1);
  return static_cast<std::size_t>((kShards + relays - 1) / relays);
}

milliseconds since(SteadyTime time) noexcept {
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - time);
}

bool all_shards_exist(mysql::Session& session, const std::string& relay) {
  const std::array<mysql::Param, 1> params{relay};
  const auto rows = session.query("SELECT COUNT(*) FROM relay_shard WHERE relay = ?", params);
  return rows.front().get<int>(0) >= kShards;
}

// Only when rows are missing: the statement waits for rows that another relay holds.
void insert_shards(mysql::Session& session, const std::string& relay) {
  std::string sql = "INSERT INTO relay_shard (relay, shard) VALUES ";
  std::vector<mysql::Param> params;
  for (int shard = 0; shard < kShards; ++shard) {
    sql += shard == 0 ? "(?, ?)" : ", (?, ?)";
    params.emplace_back(relay);
    params.emplace_back(shard);
  }
  sql += " ON DUPLICATE KEY UPDATE relay = relay";
  session.execute(sql, params);
  session.control("COMMIT");
}

// Another relay that starts for the first time may be doing the same.
void create_shards(mysql::Session& session, const std::string& relay) {
  for (int tries = 1; !all_shards_exist(session, relay); ++tries) {
    try {
      insert_shards(session, relay);
    } catch (const mysql::MysqlError& error) {
      if (!error.is_contention() || tries == kCreateTries) throw;
      session.control("ROLLBACK");
    }
  }
}

}  // namespace

struct ShardLease::State {
  State(mysql::Pool& lease_pool, std::string relay_name, std::chrono::seconds limit, Share kind)
      : pool(lease_pool), relay(std::move(relay_name)), idle_limit(limit), share_kind(kind) {}

  [[nodiscard]] std::size_t fitting_share() const noexcept {
    return share_kind == Share::all ? static_cast<std::size_t>(kShards) : share_of(live);
  }

  // Runs `work` on the connection. After any error the connection is dropped, and with it the lease.
  template <typename Work>
  auto heard_by_server(Work&& work) {
    const SteadyTime asked = std::chrono::steady_clock::now();
    try {
      if constexpr (std::is_void_v<decltype(work())>) {
        work();
        heard = asked;
      } else {
        auto answer = work();
        heard = asked;
        return answer;
      }
    } catch (...) {
      drop();
      throw;
    }
  }

  void connect() {
    connection = pool.connect(idle_limit);
    heard = std::chrono::steady_clock::now();
    heard_by_server([&] {
      seats.emplace(current_database(*connection), relay);
      seat = seats->take(*connection);
      create_shards(*connection, relay);
    });
    share = 0;
    is_counted = false;
  }

  // One's own relay counts, also when it found no seat.
  void count() {
    live = heard_by_server([&] { return seats->taken(*connection); }) + (seat < 0 ? 1 : 0);
    is_counted = true;
  }

  void drop() noexcept {
    connection.reset();
    held.clear();
  }

  mysql::Pool& pool;
  const std::string relay;
  const std::chrono::seconds idle_limit;
  const Share share_kind;
  std::unique_ptr<mysql::Connection> connection;
  std::optional<Seats> seats;
  int seat = -1;
  int live = 1;
  bool is_counted = false;  // `live` is of this take() or of a keep() since the last one
  std::vector<int> held;
  std::size_t share = 0;  // when held was taken; 0 before
  SteadyTime heard{};     // when the last answered request was sent
  SteadyTime taken{};
  milliseconds retry_after = kFirstRetry;  // while less than the share is held
};

ShardLease::ShardLease(mysql::Pool& pool, std::string relay, std::chrono::seconds idle_limit, Share share)
    : state_(std::make_unique<State>(pool, std::move(relay), idle_limit, share)) {}

ShardLease::~ShardLease() { release(); }

const std::vector<int>& ShardLease::take() {
  State& state = *state_;
  state.held.clear();
  if (!state.connection) state.connect();
  state.heard_by_server([&] { state.connection->control("START TRANSACTION"); });  // ends the one before
  if (!state.is_counted) state.count();
  state.is_counted = false;

  const std::size_t former_share = std::exchange(state.share, state.fitting_share());
  const std::array<mysql::Param, 2> params{state.relay, state.share};
  const mysql::Rows rows = state.heard_by_server([&] {
    return state.connection->query(
        "SELECT shard FROM relay_shard WHERE relay = ? ORDER BY shard LIMIT ? FOR UPDATE SKIP LOCKED", params);
  });
  for (const mysql::Row& row : rows) state.held.push_back(row.get<int>(0));
  state.taken = std::chrono::steady_clock::now();
  const bool starts_anew = state.held.size() == state.share || state.share != former_share;
  state.retry_after = starts_anew ? kFirstRetry : std::min(2 * state.retry_after, kRenewAfter);
  return state.held;
}

const std::vector<int>& ShardLease::held() const noexcept { return state_->held; }

bool ShardLease::keep() {
  State& state = *state_;
  if (!state.connection) return true;
  state.count();
  const milliseconds age = since(state.taken);
  return state.fitting_share() != state.share || age >= kRenewAfter ||
         (state.held.size() < state.share && age >= state.retry_after);
}

milliseconds ShardLease::silent_for() const noexcept { return since(state_->heard); }

void ShardLease::release() noexcept {
  State& state = *state_;
  if (state.connection) {
    try {
      state.connection->control("ROLLBACK");
      state.seats->leave(*state.connection, state.seat);
    } catch (const std::exception& error) {
      log(LogLevel::debug, "the lease's connection is closed with its locks",
          {{"relay", state.relay}, {"error", error.what()}});
    }
  }
  state.drop();
}

int live_relays(mysql::Pool& pool, const std::string& relay) {
  const mysql::Pool::Lease connection = pool.acquire();
  return Seats(current_database(*connection), relay).taken(*connection);
}

}  // namespace oncemark::outbox
