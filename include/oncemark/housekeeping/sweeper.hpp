#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/metrics.hpp>

namespace oncemark::housekeeping {

struct SweepOptions {
  std::chrono::seconds marks = std::chrono::hours(24 * 7);   // how long done and discarded messages are remembered ·
                                                             // size of the hottest table against how late a copy may
                                                             // come · above longest_retry
  std::chrono::seconds outbox = std::chrono::hours(24 * 7);  // how long rows that were sent are kept · what `Where is
                                                             // my message` and reconciliation can see · ≥ 1 s
  std::chrono::seconds letters{
      0};  // how long replayed, resolved, archived and discarded letters are kept · 0: for ever
  std::chrono::seconds longest_retry = std::chrono::hours(24);  // after which no copy of a message is still on its way:
                                                                // the sum of all retry delays, and outages · ≥ 0
  std::size_t batch = 1'000;                                    // rows a statement, at most · longer locks against
                                                                // more round trips · 1 to 10,000
  std::chrono::milliseconds pause{20};                          // between two steps · 0 to 60,000
  std::chrono::seconds interval = std::chrono::hours(1);        // between two rounds of run() · 1 s to 7 days

  /// Throws ConfigError naming the field.
  void validate() const;
};

/// What a round removed, or what it would have removed.
struct SweepCounts {
  std::uint64_t marks = 0;
  std::uint64_t outbox_rows = 0;
  std::uint64_t letters = 0;
  std::uint64_t suspects = 0;    // notes of what a process had in hand that died more than a week ago
  std::uint64_t marks_seen = 0;  // that the walk came by

  bool operator==(const SweepCounts&) const = default;
};

/// Keeps the tables small: removes marks, sent outbox rows and settled letters that are older than their retention, and
/// notes of suspects that nobody came back to within a week.
///
/// Shape:   small steps, each one transaction of at most `batch` rows found by a read that locks nothing, then locked
///          by primary key (rows that somebody else holds are skipped) and deleted. Marks: only done and discarded
///          ones, older than the retention by consumed_at *and* by event_time; with the same commit the horizon of
///          their (consumer, topic, partition) rises. A mark whose letter or whose outgoing rows are still there is
///          kept until those are gone. Ages are taken by the database's clock.
///          Whatever is retrying, parked or dead, and every row that was not sent, stays.
/// Threads: one thread at a time. Uses one connection of its own while a round runs. One sweeper per database works at
///          a time (a lock of the server's, gone with its connection); two would only do the work twice.
/// Errors:  the constructor throws ConfigError. sweep() and count() throw MysqlError, InDoubtError; what was committed
///          until then stays removed. run() logs failures and goes on.
/// Crash:   before a step's commit: nothing of it. After: gone, and the horizon covers what is gone. A later round goes
///          on where this one was.
/// Source:  design, decision 16; docs/retention.md, ADR 0010.
class Sweeper final {
 public:
  explicit Sweeper(mysql::Pool& pool, SweepOptions options = {}, Metrics& metrics = Metrics::none());
  ~Sweeper();
  Sweeper(const Sweeper&) = delete;
  Sweeper& operator=(const Sweeper&) = delete;

  /// One round over all tables; nothing when another sweeper is at work. Ends early when stopped.
  std::optional<SweepCounts> sweep(std::stop_token stop = {});
  /// What sweep() would remove now, in as small steps; removes nothing.
  [[nodiscard]] SweepCounts count(std::stop_token stop = {});
  /// Rounds until stopped.
  void run(std::stop_token stop);

 private:
  mysql::Pool& pool_;
  SweepOptions options_;
  Metrics& metrics_;
};

}  // namespace oncemark::housekeeping
