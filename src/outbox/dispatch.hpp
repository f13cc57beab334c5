#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include <oncemark/core/clock.hpp>
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

/// Whether rows of the round are unanswered for so long that others must not wait for them.
enum class Flow { usual, held_up };

/// What a dispatch asks its relay for.
struct Surroundings {
  std::function<void()> keep_alive;  // before each record that is handed over and between waits
  /// Ids of further rows to be sent in this round, perhaps none for now; nothing when the round must end.
  std::function<std::optional<std::vector<std::uint64_t>>(const Flight&, Flow)> more;
};

/// Carries one round of rows to the sink and writes down what the broker says.
///
/// Shape:   rows are read ahead by one statement, handed over in id order and marked by another statement, all at the
///          same time. While every row is acked the round goes on with what `more` finds, for a few seconds at most.
///          What is acked is marked sent, or removed. What was refused is sent again alone, because a broker refuses a
///          whole batch for one bad record: only a refusal alone is held against a row.
/// Threads: the relay's; a statement that reads ahead or marks runs on a thread and a connection of its own.
/// Errors:  MysqlError, whatever the sink throws, and what `keep_alive` throws when the lease is lost; discard() must
///          follow. Acks that came in before are kept, and marked by the next settle().
/// Crash:   rows that were acked and not marked are sent again.
class Dispatch final {
 public:
  Dispatch(mysql::Pool& pool, RelayRows& rows, Sink& sink, const RelayOptions& options, Metrics& metrics,
           LiveCounts& counts, Surroundings around);

  [[nodiscard]] Round run(std::vector<std::uint64_t> ids, const std::stop_token& stop);
  /// Marks what was acked: an ack is true whoever writes it down, with or without the lease.
  void settle();
  /// Makes rows wait that nobody answered for while others were answered for. Counts no attempt.
  void back_off(const std::vector<RowKey>& rows, const std::string& error);
  /// Gives up what is in flight.
  void discard();

 private:
  struct Part {
    std::vector<OutboxRow> rows;
    std::chrono::nanoseconds took{};
  };

  void send_all(const std::stop_token& stop);
  bool find_more();
  bool hand_over_part(const std::stop_token& stop);
  std::vector<OutboxRow> next_part();
  std::vector<std::uint64_t> take_ids();
  bool send(const OutboxRow& row, const std::stop_token& stop);
  void adapt_reads(const Part& part);
  void stop_reading();
  void await_reading();
  void wait_a_little();
  void collect(std::chrono::milliseconds patience, const std::stop_token& stop);
  std::size_t take_reports(std::chrono::milliseconds wait);
  void mark_some();
  void start_marking();
  void finish_marking();
  void resolve(Round& round, const std::stop_token& stop);
  void try_alone(FlightRow& row, const std::stop_token& stop);
  [[nodiscard]] bool send_alone(FlightRow& row, const OutboxRow& fresh, const std::stop_token& stop);
  void try_smaller(FlightRow& row, OutboxRow& fresh, const std::stop_token& stop);
  void hold_against(const OutboxRow& row, const FlightRow& answer);
  void wait_for_topic(const OutboxRow& row, const std::string& error);
  [[nodiscard]] std::chrono::milliseconds age() const;
  [[nodiscard]] std::chrono::milliseconds longest() const;

  RelayRows& rows_;
  Sink& sink_;
  const RelayOptions& options_;
  Metrics& metrics_;
  LiveCounts& counts_;
  const Surroundings around_;

  Flight flight_;
  SteadyTime began_{};               // the round
  SteadyTime reported_{};            // when reports came last
  std::vector<std::uint64_t> todo_;  // of this round, not read yet, last one first
  std::vector<std::uint64_t> owed_;  // acked, not yet marked
  SteadyTime owed_since_{};
  std::vector<std::uint64_t> marked_;  // by the statement that runs
  std::size_t handed_over_ = 0;        // in company, in this round
  std::size_t acked_ = 0;              // in this round
  std::size_t rows_per_read_;
  std::unordered_map<std::uint64_t, int> silences_;  // by row id: how often in a row nobody answered for it

  RelayRows reader_;  // used by reading_ alone
  RelayRows marker_;  // used by marking_ alone
  std::future<Part> reading_;
  std::future<void> marking_;
};

}  // namespace oncemark::outbox
