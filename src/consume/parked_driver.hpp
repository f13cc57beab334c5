#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include <oncemark/consume/failure.hpp>
#include <oncemark/consume/runner.hpp>
#include <oncemark/consume/sequences.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/observe/metrics.hpp>

#include "consume/lane_work.hpp"

namespace oncemark::consume {

/// Runs the heads of parked sequences when they are due, and what waits behind them.
///
/// Shape:   every instance has some, whatever partitions it owns. It takes a head, runs it alone, and goes on along the
///          sequence in groups that grow, until the sequence is over, a message fails, or other heads have waited long
///          enough. Heads whose handlers are quick are taken several at a time, and those that fail are routed
///          together, so that they share commits. It stands still while the lanes are held, and runs the handler beside them.
///          Where no order is kept it only works off what an earlier configuration has left, and costs one look at each
///          assignment.
/// Threads: one of its own; the members from the runner's.
/// Errors:  none; misuse goes to `on_fatal`.
/// Crash:   what was run is done or not, with its effect. A head that was taken is due again after its lease.
/// Source:  design, decision 10.
class ParkedDriver final {
 public:
  /// What it asks its runner for, and tells it.
  struct Ties {
    std::function<bool()> is_held = {};
    std::function<void(std::exception_ptr)> on_fatal = {};
    std::size_t place = 0;  // among the drivers of the instance; the first tells how much is parked
    std::size_t drivers = 1;
  };

  ParkedDriver(Sequences& sequences, const std::string& consumer, FailureSink& failures, std::string group,
               const RunnerOptions& options, LaneWork& work, Metrics& metrics, Ties ties);

  /// Partitions were assigned: what is to be done from now on. One of several drivers asks, all of them begin.
  [[nodiscard]] Sequences::Mode wanted_mode();
  /// From now on lanes look for sequences, and heads are run.
  void begin(Sequences::Mode mode);
  /// A head was parked here: it may be due before the next look.
  void nudge();
  /// Waits for the handler that is running. Gives back what was taken.
  void stop();

 private:
  /// Failures of a head for which the servers may be to blame, and tries in place.
  struct Trouble {
    int tries = 0;
    SteadyTime first_try = {};
    int tried_here = 0;
  };

  /// A head that failed, and is not routed yet.
  struct Failed {
    Sequences::Taken taken = {};
    Message head = {};
    ErrorSummary error = {};
  };

  /// A head that could not be given back yet.
  struct Unreturned {
    Sequences::Taken taken = {};
    SteadyTime due = {};
  };

  [[nodiscard]] std::chrono::milliseconds round(const std::stop_token& stop);
  [[nodiscard]] std::chrono::milliseconds work_off(const std::stop_token& stop);
  /// False: everything is worked off, and no order is kept any more.
  [[nodiscard]] bool count();
  [[nodiscard]] bool drive(std::span<const Sequences::Due> heads, const std::stop_token& stop);
  void run(Sequences::Taken& taken, const std::stop_token& stop);
  void give_back(const Sequences::Taken& taken, std::chrono::milliseconds delay);
  void give_back_again();
  void note_done(const Sequences::Drained& drained);
  void head_failed(const Sequences::Taken& taken, const Message& head, const Settled& cause);
  void route_failed();
  void bury_crash_loop(const Sequences::Taken& taken);

  Sequences& sequences_;
  const std::string consumer_;
  FailureSink& failures_;
  const std::string group_;
  const RunnerOptions& options_;
  LaneWork& work_;
  Metrics& metrics_;
  const Ties ties_;
  const KeyOrder order_;

  // Of the driver's thread.
  std::unordered_map<std::string, Trouble> troubles_;  // by message key
  std::vector<Failed> failed_;
  std::vector<Unreturned> unreturned_;
  std::size_t at_once_ = 1;  // heads taken in one transaction
  bool is_quick_ = false;    // so the last transaction was
  SteadyTime counted_at_{};
  std::uint64_t stopped_ = 0;  // keys, when they were counted last
  int failures_in_a_row_ = 0;

  std::mutex mutex_;
  Sequences::Mode mode_ = Sequences::Mode::off;  // guarded by mutex_
  std::unique_ptr<Loop> loop_;                   // last: it uses what is above. Made when there is something to do
};

}  // namespace oncemark::consume
