#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <oncemark/core/backoff.hpp>
#include <oncemark/message/ports.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/metrics.hpp>
#include <oncemark/outbox/table.hpp>

namespace oncemark::outbox {

/// What becomes of a row once the broker has acked it.
enum class SentRows {
  kept,     ///< marked `sent`: found by `Where is my message`, purged by housekeeping
  removed,  ///< deleted at once
};

struct RelayOptions {
  std::string name = std::string(kMainRelay);   // whose rows: "main", or a consumer's name for its retries and letters
  std::size_t batch = 2'000;                    // rows read and marked at once, of which four times as many are in
                                                // flight · throughput against memory · 1 to 10,000
  SentRows sent_rows = SentRows::kept;          // kept until swept · removed: half the work, and nothing to look up
  std::chrono::milliseconds poll_interval{50};  // wait after an empty round, doubling up to max_poll_interval
  std::chrono::milliseconds max_poll_interval{500};  // longest wait · lateness of a due row · ≥ poll_interval
  std::chrono::milliseconds report_timeout{10'000};  // rows without a delivery report are given up after it · > 0
  int max_attempts = 10;  // refusals of one row by the broker before it is dead · 1 to 1,000
  Backoff backoff{.initial = std::chrono::milliseconds(1'000),
                  .factor = 2.0,
                  .cap = std::chrono::milliseconds(60'000),
                  .jitter = 0.2};  // between refusals of one row

  void validate() const;
};

struct RelayCounts {
  std::uint64_t sent = 0;     // acked and marked
  std::uint64_t refused = 0;  // refusals that counted an attempt
  std::uint64_t dead = 0;     // rows given up
  int shards = 0;             // held now
};

/// Carries committed outbox rows to the broker: polls, sends, marks. At least once, in order per key.
///
/// Shape:   a background thread, from construction to destruction. Several relays of one name share the 64 shards.
///          Rows are marked `sent` only after the broker's ack. A row that the broker refuses by itself counts an
///          attempt, backs off, and past max_attempts is `dead`; its key waits meanwhile, other keys do not. Outages
///          and time-outs count nothing. The next rows are read, and those before them marked, while others are in
///          flight.
/// Threads: nudge(), counts() from any thread. The Sink belongs to the relay alone. Uses four connections of its own,
///          beside those of the pool: for the lease, its polls, reading ahead, and marking.
/// Errors:  the constructor throws MisuseError for options. Failures while running are logged, counted and retried.
/// Crash:   between send and mark: the row is sent again (same message id). The order of first occurrences per key
///          stays, because every sender starts at the key's earliest unsent row.
/// Source:  design, decision 11.
class Relay final {
 public:
  Relay(mysql::Pool& pool, Sink& sink, RelayOptions options = {}, Metrics& metrics = Metrics::none());
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// There may be new rows: look now. A hint; rows are found without it.
  void nudge();
  /// Finishes what is in flight, gives up the lease and ends the thread. The destructor does the same.
  void stop();
  [[nodiscard]] RelayCounts counts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::outbox
