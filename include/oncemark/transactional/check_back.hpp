#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>

#include <oncemark/message/ports.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/observe/metrics.hpp>
#include <oncemark/transactional/half.hpp>

namespace oncemark::transactional {

struct CheckBackOptions {
  std::string sender = {};                     // SenderOptions::name
  std::chrono::milliseconds interval{30'000};  // from one check of a message to the next · 1 ms to 1 day
  int max_checks =
      15;  // checks that end in `unknown`, or refusals of the message, before a person decides · 1 to 1,000
  std::size_t max_waiting = 50'000;  // half messages held in memory until they are due · more are read later · 1,000 up
  std::size_t max_waiting_bytes = 64u << 20;  // the same, by size · 1 MiB up
  std::chrono::hours keep_rows{24 *
                               14};  // settled rows of local_transaction · above the half topic's retention · 24 up
  std::chrono::milliseconds report_timeout{10'000};  // wait for the broker's acks in a round · > 0

  void validate() const;
};

struct CheckBackCounts {
  std::uint64_t settled = 0;      // their outcome was there
  std::uint64_t sent = 0;         // committed, and sent from here
  std::uint64_t rolled_back = 0;  // given up: the transaction had not begun, and now cannot
  std::uint64_t running = 0;      // checks that found the transaction running
  std::uint64_t unknown = 0;      // checks that counted
  std::uint64_t parked = 0;       // left to a person
};

/// Finds the outcome of half messages that were left without one, and sends or drops them.
///
/// Shape:   reads half.{sender} in a consumer group of its own. A half message waits until it is due. Then its row in
///          `local_transaction` decides: committed → it is sent, and the row marked; sent, rolled back → dropped. No row:
///          it is inserted as rolled back. When that succeeds, a transaction that is late must fail, and the message is
///          dropped; while the row is locked, the transaction runs, and the half message is appended again with a later
///          due time, which counts nothing. Without a row, a message of Sender::prepare() is asked about by the Check.
///          After `max_checks` that told nothing it is kept in `parked_half` until a person settles it (`oncemark half`).
///          Nothing is ever discarded. State in memory is rebuilt by reading again.
/// Threads: run() on one thread, which uses Source and Sink; counts() from any. Any number of processes.
/// Errors:  the constructor throws MisuseError for options, and when the half topic and keep_rows do not fit each other.
///          run() waits for a database or broker that is away, and throws what cannot be mended by waiting.
/// Crash:   at any point: the half messages are read again. Copies are possible.
/// Source:  design, decision 13.
class CheckBack final {
 public:
  /// `half_topic_settings`: those of the half topic, as kafka::Admin::config() tells them.
  CheckBack(mysql::Pool& pool, Source& source, Sink& sink,
            const std::map<std::string, std::string>& half_topic_settings, CheckBackOptions options, Check check = {},
            Metrics& metrics = Metrics::none());
  ~CheckBack();
  CheckBack(const CheckBack&) = delete;
  CheckBack& operator=(const CheckBack&) = delete;

  /// Returns after a stop was asked for, with positions committed.
  void run(std::stop_token stop);
  [[nodiscard]] CheckBackCounts counts() const;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace oncemark::transactional
