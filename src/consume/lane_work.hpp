#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include <oncemark/consume/group_size.hpp>
#include <oncemark/consume/runner.hpp>

#include "consume/assignments.hpp"

namespace oncemark::consume {

/// What a lane does with the messages it is given: handle, try again in place while the servers are to blame, route
/// what failed, and settle.
///
/// Threads: run() on every lane at once.
/// Errors:  run() never throws. Misuse is handed to `on_fatal` and leaves its message unsettled.
class LaneWork {
 public:
  LaneWork(Handler& handler, FailureSink& failures, std::string group, const RunnerOptions& options,
           Assignments& assignments, Metrics& metrics, std::function<void(std::exception_ptr)> on_fatal);

  void run(std::size_t lane, std::vector<LaneItem> items, std::stop_token stop);
  /// How many messages the lane should take next.
  [[nodiscard]] std::size_t limit(std::size_t lane) const { return sizes_[lane].limit(); }
  [[nodiscard]] RunnerCounts counts() const;

 private:
  enum class Next { settled, again, give_up };

  [[nodiscard]] Next handle_one(LaneItem& item, const Settled& settled, int& tries, const std::stop_token& stop);
  [[nodiscard]] bool route(const LaneItem& item, Stage stage, const ErrorSummary& error, const std::stop_token& stop);
  [[nodiscard]] bool pause(const LaneItem& item, const ErrorSummary& error, int tries, const std::stop_token& stop);
  [[nodiscard]] std::vector<Settled> handle(GroupSize& size, std::span<const Message> group);
  [[nodiscard]] bool must_give_up(const LaneItem& item, const std::stop_token& stop) const;
  void settle(const LaneItem& item, std::atomic<std::uint64_t>& counter, const char* outcome);

  Handler& handler_;
  FailureSink& failures_;
  std::string group_;
  const RunnerOptions& options_;
  Assignments& assignments_;
  Metrics& metrics_;
  std::function<void(std::exception_ptr)> on_fatal_;
  std::vector<GroupSize> sizes_;  // one a lane, touched by that lane only

  struct Counters {
    std::atomic<std::uint64_t> done{0}, duplicates{0}, retrying{0}, dead{0}, settled_elsewhere{0}, in_place_retries{0};
  } counters_;
};

}  // namespace oncemark::consume
