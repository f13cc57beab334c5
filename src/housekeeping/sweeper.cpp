#include <oncemark/housekeeping/sweeper.hpp>

#include <string>
#include <utility>

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

#include "housekeeping/sweep_round.hpp"

namespace oncemark::housekeeping {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Backoff kTrouble{.initial = seconds(1), .factor = 2.0, .cap = seconds(60), .jitter = 0.2};

void require_range(const char* field, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return;
  throw ConfigError(field, "SweepOptions::" + std::string(field) + " is " + std::to_string(value) +
                               "; allowed: " + std::to_string(least) + " to " + std::to_string(most));
}

/// The sweeper's connection. A wait for a row lock is short: what others hold can wait for the next round.
std::unique_ptr<mysql::Connection> connect(const mysql::Pool& pool) {
  auto connection = pool.connect(pool.options().wait_timeout);
  connection->control("SET SESSION innodb_lock_wait_timeout = 1");
  return connection;
}

/// The lock lives as long as the connection that does the work: whoever loses it can do no more. Hashed, because a
/// name may have 64 characters, and a database's name as many.
bool take_lock(mysql::Connection& connection) {
  const auto answer =
      connection.query("SELECT GET_LOCK(CONCAT('oncemark.sweep.', LEFT(SHA2(DATABASE(), 256), 32)), 0)", {});
  connection.control("ROLLBACK");
  return answer.at(0).get<std::optional<int>>(0) == 1;
}

}  // namespace

void SweepOptions::validate() const {
  constexpr std::int64_t kLongest = std::chrono::seconds(std::chrono::hours(24 * 3'650)).count();
  require_range("marks", marks.count(), 1, kLongest);
  require_range("outbox", outbox.count(), 1, kLongest);
  require_range("letters", letters.count(), 0, kLongest);
  require_range("longest_retry", longest_retry.count(), 0, kLongest);
  require_range("batch", static_cast<std::int64_t>(batch), 1, 10'000);
  require_range("pause", pause.count(), 0, 60'000);
  require_range("interval", interval.count(), 1, 7 * 86'400);
  if (marks > longest_retry) return;
  throw ConfigError("marks", "SweepOptions::marks is " + std::to_string(marks.count()) + " s and longest_retry is " +
                                 std::to_string(longest_retry.count()) +
                                 " s; marks must be kept for longer than the last copy of a message may be on its way");
}

Sweeper::Sweeper(mysql::Pool& pool, SweepOptions options, Metrics& metrics)
    : pool_(pool), options_(options), metrics_(metrics) {
  options_.validate();
}

Sweeper::~Sweeper() = default;

std::optional<SweepCounts> Sweeper::sweep(std::stop_token stop) {
  const auto connection = connect(pool_);
  if (!take_lock(*connection)) return std::nullopt;
  const SweepCounts counts = SweepRound(*connection, options_, Mode::remove, std::move(stop)).run();
  const auto add = [&](const char* table, std::uint64_t rows) {
    if (rows > 0) metrics_.count(metric::kSwept, {{"table", table}}, static_cast<double>(rows));
  };
  add("consumed_message", counts.marks);
  add("outbox_message", counts.outbox_rows);
  add("dead_letter", counts.letters);
  add("suspect_message", counts.suspects);
  return counts;
}

SweepCounts Sweeper::count(std::stop_token stop) {
  return SweepRound(*connect(pool_), options_, Mode::count, std::move(stop)).run();
}

void Sweeper::run(std::stop_token stop) {
  int failures = 0;
  milliseconds wait{0};
  while (wait_for(stop, wait)) {
    wait = options_.interval;
    try {
      if (const auto counts = sweep(stop)) {
        log(LogLevel::info, "swept",
            {{"marks", counts->marks},
             {"of", counts->marks_seen},
             {"outbox_rows", counts->outbox_rows},
             {"letters", counts->letters},
             {"suspects", counts->suspects}});
      }
      failures = 0;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::misuse) throw;
      log(LogLevel::warn, "sweeping failed; it goes on where it was",
          {{"failures", ++failures}, {"error", error.error_class()}, {"text", error.what()}});
      wait = delay_after(kTrouble, failures, random_token());
    }
  }
}

}  // namespace oncemark::housekeeping
