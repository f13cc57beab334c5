#pragma once

#include <array>
#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include <oncemark/consume/group_size.hpp>
#include <oncemark/consume/runner.hpp>

#include "consume/assignments.hpp"
#include "consume/flood_guard.hpp"
#include "consume/quiet.hpp"
#include "consume/slow_lanes.hpp"

namespace oncemark::consume {

/// What a worker does with the messages it has taken: handle, route what failed, settle; what the servers are to blame
/// for is given back, to be tried again.
///
/// Threads: run() by every worker at once, each with its own number.
/// Errors:  run() never throws. Misuse is handed to `on_fatal` and leaves its message unsettled.
class LaneWork {
 public:
  LaneWork(Handler& handler, FailureSink& failures, std::string group, const RunnerOptions& options,
           Assignments& assignments, Metrics& metrics, std::function<void(std::exception_ptr)> on_fatal,
           std::function<void()> on_outage, std::function<void(bool)> hold, std::function<void()> let_one_through);

  /// Settles those that are known to be done, and takes them out of the list. Returns how many.
  std::size_t settle_known(LaneItems& items);
  /// Returns what goes back to its lane.
  [[nodiscard]] LaneItems run(std::size_t worker, LaneItems items, const std::stop_token& stop);
  /// How many messages the worker should take next.
  [[nodiscard]] std::size_t limit(std::size_t worker) const;
  [[nodiscard]] bool is_slow(std::uint64_t lane) const { return slow_.contains(lane); }
  /// Leaves them unsettled, and takes back what was noted about them. The list is emptied.
  void abandon(LaneItems& items);
  /// Whether something waits for room in a sequence: then reading must not run away from it.
  [[nodiscard]] bool is_holding() const noexcept { return held_.load(std::memory_order_relaxed) > 0; }

  // What the driver of parked sequences shares with the lanes.
  [[nodiscard]] Quiet& quiet() noexcept { return quiet_; }
  [[nodiscard]] FloodGuard& flood() noexcept { return flood_; }
  /// Whether a failure that the servers seem to be to blame for has come so often that it is the message's own.
  /// `tries` and `first_try` belong to the message. `may_open`: what a lane takes up again may be the breaker's probe.
  [[nodiscard]] bool costs_an_attempt(int& tries, SteadyTime& first_try, const ErrorSummary& error,
                                      bool may_open = true);
  void count_unparked(std::size_t messages) noexcept { unparked_.fetch_add(messages, std::memory_order_relaxed); }
  void count_head(Routed end) noexcept;
  /// Called when a lane has made a message the head of its key. To be set before the lanes run.
  void when_parked(std::function<void()> call) { when_parked_ = std::move(call); }

  /// Lets nothing more through. The lanes may go.
  void stop() { flood_.stop(); }
  [[nodiscard]] RunnerCounts counts() const;

 private:
  struct Worker {
    GroupSize size;
    double fresh_share = 1;                                       // of the messages taken lately; smoothed
    int lost_races = 0;                                           // groups in a row that lost a lock
    FloodGuard::Probe shown = FloodGuard::Probe::proved_nothing;  // by what it handled last
  };
  enum Ending : std::size_t { kDone, kDuplicate, kRetrying, kParked, kDead, kDiscarded, kSettledElsewhere, kEndings };

  [[nodiscard]] LaneItems handle(Worker& worker, LaneItems items, std::size_t known);
  static void note_share(Worker& worker, const Handled& handled, std::size_t known);
  [[nodiscard]] LaneItems note(LaneItems& items);
  void note_alone(LaneItem& suspect);
  void count_for_flood(const LaneItems& done, const LaneItems& failed, std::span<const Settled> failures);
  [[nodiscard]] LaneItems group_failed(Worker& worker, LaneItems items, const std::exception_ptr& failure);
  [[nodiscard]] LaneItems message_failed(LaneItems item, const Settled& settled, LaneItems& faulty);
  [[nodiscard]] LaneItems route_all(LaneItems items);
  [[nodiscard]] LaneItems routed(LaneItems item, const Route& route);
  [[nodiscard]] LaneItems again(LaneItems item);
  [[nodiscard]] LaneItems try_again(LaneItems item, const std::exception_ptr& failure);
  [[nodiscard]] LaneItems rest(LaneItems item, const ErrorSummary& error);
  [[nodiscard]] LaneItems hold(LaneItems item, const ErrorSummary& error);
  [[nodiscard]] static Ending ending_of(Routed routed) noexcept;
  void let_go(const LaneItems& items) noexcept;
  void note_time(const LaneItem& item, std::chrono::nanoseconds took);
  void note_retry(const LaneItem& item, const ErrorSummary& error);
  void settle(LaneItems& items, Ending ending);
  void give_up(LaneItems& items, const std::stop_token& stop);
  [[nodiscard]] bool is_store_reachable();

  Handler& handler_;
  Sequences* const sequences_;  // null: the handler keeps no order
  FailureSink& failures_;
  const bool is_order_kept_;
  std::string group_;
  const RunnerOptions& options_;
  Assignments& assignments_;
  Metrics& metrics_;
  std::function<void(std::exception_ptr)> on_fatal_;
  std::function<void()> on_outage_;
  std::function<void()> when_parked_;
  std::vector<Worker> workers_;  // each touched by its own thread only
  SlowLanes slow_;
  Quiet quiet_;
  FloodGuard flood_;

  std::mutex probe_mutex_;
  SteadyTime reachable_at_{};  // guarded by probe_mutex_

  std::array<std::atomic<std::uint64_t>, kEndings> settled_{};
  std::atomic<std::uint64_t> in_place_retries_{0};
  std::atomic<std::uint64_t> noted_{0};
  std::atomic<std::uint64_t> crash_loops_{0};
  std::atomic<std::uint64_t> unparked_{0};
  std::atomic<std::int64_t> held_{0};
};

}  // namespace oncemark::consume
