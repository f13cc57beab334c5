#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>

#include <oncemark/dead_letter/resend.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/metrics.hpp>

namespace oncemark::housekeeping {

struct WatchdogOptions {
  std::string consumer = {};                             // whose messages · empty: everybody's
  std::chrono::seconds overdue = std::chrono::hours(1);  // after the due time, and after the last sending · a consumer
                                                         // that is away for longer gets a copy each · ≥ 1 s
  std::size_t batch = 1'000;                             // sent again in one round at most, for each consumer ·
                                                         // keeps a long outage from flooding its topics · 1 to
                                                         // 100,000
  std::chrono::seconds interval = std::chrono::minutes(1);  // between two rounds of run() · 1 s to 7 days
  dead_letter::ResendOptions resend = {};

  /// Throws ConfigError naming the field.
  void validate() const;
};

struct WatchdogCounts {
  std::uint64_t overdue = 0;  // looked at: retrying, and long past their due time
  std::uint64_t resent = 0;   // of these, sent once more

  bool operator==(const WatchdogCounts&) const = default;
};

/// Sends messages again that wait in `retrying` and whose retry should have been handled long ago.
///
/// Shape:   the retry topic lost the record (retention, a topic made anew, an unclean election), or it was passed
///          unseen. The outbox row of the attempt becomes pending again; if it was purged, it is made from
///          failed_message. One transaction a message. A copy that is still on the topic finds the message settled, or
///          settles it first: the claim is conditional on life and attempt.
/// Threads: one thread at a time; several watchdogs may run, the second one finds nothing left to do.
/// Errors:  the constructor throws ConfigError. look() and count() throw MysqlError. run() logs failures and goes on.
/// Crash:   before the commit: nothing. After: the relay sends the row.
/// Source:  design, section 3; docs/guarantees.md, housekeeping.
class Watchdog final {
 public:
  explicit Watchdog(mysql::Pool& pool, WatchdogOptions options = {}, Metrics& metrics = Metrics::none());

  /// One round.
  WatchdogCounts look(std::stop_token stop = {});
  /// How many are overdue; sends nothing.
  [[nodiscard]] WatchdogCounts count();
  /// Rounds until stopped.
  void run(std::stop_token stop);

 private:
  mysql::Pool& pool_;
  WatchdogOptions options_;
  Metrics& metrics_;
};

}  // namespace oncemark::housekeeping
