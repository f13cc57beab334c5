#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>

#include <oncemark/consume/breaker.hpp>
#include <oncemark/consume/failure.hpp>
#include <oncemark/consume/handler.hpp>
#include <oncemark/core/backoff.hpp>
#include <oncemark/message/ports.hpp>
#include <oncemark/observe/metrics.hpp>

namespace oncemark::consume {

struct RunnerOptions {
  std::size_t workers = 4;                      // lanes; each holds one database connection while it works · 1 to 256
  std::size_t max_group = 128;                  // messages in one transaction at most; how many follows time and
                                                // contention (GroupSize), and where most are duplicates up to four
                                                // times as many are taken · 1 is a transaction each · 1 to 1,000
  std::size_t min_group = 1;                    // the limit never falls below it; as large as max_group, it is fixed
                                                // · lost races repeat as large · 1 to max_group
  std::size_t max_in_flight = 10'000;           // records read and not settled; past it partitions pause · ≥ workers
  std::size_t max_in_flight_bytes = 64u << 20;  // the same in bytes of payload, key and headers · ≥ 1 MiB
  std::chrono::milliseconds commit_interval{1'000};  // how often positions are committed · redelivery after a crash
  std::chrono::milliseconds drain_timeout{20'000};   // wait for running handlers on stop and on revoke · below the
                                                     // consumer's max_poll_interval
  std::chrono::milliseconds start_timeout{30'000};   // run() throws when the database has not answered for so long;
                                                     // later it is waited for without an end · 0 tries once
  Backoff in_place{.initial = std::chrono::milliseconds(50),
                   .factor = 2.0,
                   .cap = std::chrono::milliseconds(5'000),
                   .jitter = 0.5};  // between tries in place, while the servers are to blame or a
                                    // retry rule says retry_here
  int in_place_tries = 5;       // infrastructure failures of one message, while the store answers a probe, that cost an
                                // attempt · 1 to 1,000
  std::size_t drivers = 4;      // threads that run parked messages, where the order of keys is kept; each holds one
                                // database connection while it works · 1 to 64
  BreakerOptions breaker = {};  // when many keys fail alike, stop and try one message at a time

  void validate() const;
};

struct RunnerCounts {
  std::uint64_t done = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t retrying = 0;           // routed to the retry topic
  std::uint64_t parked = 0;             // put into the sequence of their key, at its head or behind it
  std::uint64_t unparked = 0;           // of the done: run from a sequence
  std::uint64_t dead = 0;               // routed to the dead letters
  std::uint64_t discarded = 0;          // given up without a letter, because a retry rule says so
  std::uint64_t settled_elsewhere = 0;  // failed here, settled by another instance
  std::uint64_t foreign = 0;            // retry records of another group, skipped
  std::uint64_t in_place_retries = 0;
  std::uint64_t noted = 0;           // written to suspect_message before they were handled
  std::uint64_t crash_loops = 0;     // of the dead: not handled any more, because processes died of them
  std::uint64_t breaker_opened = 0;  // times the flow was stopped because many failed alike
  std::uint64_t probes = 0;          // messages let through meanwhile
};

/// Reads records, hands them to lanes, routes failures, and commits positions only past settled records.
///
/// Shape:   run() returns when `stop` is requested: lanes finish what they are running (bounded by drain_timeout),
///          positions are committed, the group is left. The retry topics that `failures` names are read too.
/// Threads: run() on one thread, once. counts() from any.
/// Errors:  run() throws the first misuse (wrong settings, a message without an id and no key_from …) or fatal error,
///          after draining; nothing is settled for the record that caused it. At its start it throws when the database
///          does not answer for start_timeout.
/// Crash:   records whose position was not committed are delivered again; their claims find them done, or not.
class Runner final {
 public:
  Runner(Source& source, Handler& handler, FailureSink& failures, RunnerOptions options = {},
         Metrics& metrics = Metrics::none());
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  void run(std::stop_token stop);
  [[nodiscard]] RunnerCounts counts() const;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace oncemark::consume
