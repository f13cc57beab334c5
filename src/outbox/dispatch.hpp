#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include <oncemark/message/ports.hpp>
#include <oncemark/observe/metrics.hpp>
#include <oncemark/outbox/relay.hpp>

#include "outbox/flight.hpp"
#include "outbox/relay_rows.hpp"

namespace oncemark::outbox {

/// RelayCounts while they change. Read from any thread.
struct LiveCounts {
  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> dead{0};
  std::atomic<int> shards{0};
};

/// What a round came to.
struct Round {
  std::size_t acked = 0;
  std::vector<RowKey> silent;  // of each key the first row that nobody answered for, and each such row without key
  std::string error;           // of the first of them
};

/// Carries one round of rows to the sink and writes down what the broker says.
///
/// Shape:   everything is handed over in id order, and reports are awaited for a bounded time. What is acked is marked
///          sent. What was refused is sent again alone, because a broker refuses a whole batch for one bad record:
///          only a refusal alone is held against a row.
/// Threads: the relay's.
/// Errors:  MysqlError, whatever the sink throws, and what `keep_alive` throws when the lease is lost; discard() must
///          follow. Acks that came in before are kept, and marked by the next settle().
/// Crash:   rows that were acked and not marked are sent again.
class Dispatch final {
 public:
  /// `keep_alive` is called before each record that is handed over and between waits.
  Dispatch(RelayRows& rows, Sink& sink, const RelayOptions& options, Metrics& metrics, LiveCounts& counts,
           std::function<void()> keep_alive);

  [[nodiscard]] Round run(const std::vector<std::uint64_t>& ids, const std::stop_token& stop);
  /// Marks what was acked: an ack is true whoever writes it down, with or without the lease.
  void settle();
  /// Makes rows wait that nobody answered for while others were answered for. Counts no attempt.
  void back_off(const std::vector<RowKey>& rows, const std::string& error);
  /// Gives up what is in flight.
  void discard();

 private:
  void hand_over(const std::vector<std::uint64_t>& ids, const std::stop_token& stop);
  bool send(const OutboxRow& row, const std::stop_token& stop);
  void adapt_reads(const std::vector<OutboxRow>& rows, std::chrono::nanoseconds took);
  void collect(const std::stop_token& stop);
  std::size_t take_reports(std::chrono::milliseconds wait);
  void resolve(Round& round, const std::stop_token& stop);
  void try_alone(FlightRow& row, const std::stop_token& stop);
  [[nodiscard]] bool send_alone(FlightRow& row, const OutboxRow& fresh, const std::stop_token& stop);
  void try_smaller(FlightRow& row, OutboxRow& fresh, const std::stop_token& stop);
  void hold_against(const OutboxRow& row, const FlightRow& answer);
  void wait_for_topic(const OutboxRow& row, const std::string& error);

  RelayRows& rows_;
  Sink& sink_;
  const RelayOptions& options_;
  Metrics& metrics_;
  LiveCounts& counts_;
  const std::function<void()> keep_alive_;

  Flight flight_;
  std::vector<std::uint64_t> owed_;  // acked, not yet marked
  std::size_t handed_over_ = 0;      // in company, in this round
  std::size_t acked_ = 0;            // in this round
  std::size_t rows_per_read_;
  std::unordered_map<std::uint64_t, int> silences_;  // by row id: how often in a row nobody answered for it
};

}  // namespace oncemark::outbox
