#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include <oncemark/core/clock.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/message/ports.hpp>

namespace oncemark::outbox {

/// Hands records of many threads to a Sink, which belongs to the one thread of this object, and tells each caller what
/// became of his.
///
/// Shape:   records are sent in the order in which they came. When one has had no report for `report_timeout`, all that
///          is in flight counts as failed, and the sink starts afresh. At most `max_open` are taken at a time.
/// Threads: submit() from any thread. `done` is called on the courier's thread, or in its destructor; it must be quick
///          and may not throw.
/// Errors:  what the sink throws is logged, and what is in flight then has failed.
class Courier final {
 public:
  using Done = std::function<void(const Delivery&)>;

  Courier(Sink& sink, std::string name, std::chrono::milliseconds report_timeout, std::size_t max_open);
  ~Courier();
  Courier(const Courier&) = delete;
  Courier& operator=(const Courier&) = delete;

  /// False when too many are open already: then nothing was taken, and `done` is not called.
  [[nodiscard]] bool submit(OutgoingRecord record, Done done);
  /// Takes nothing more, waits a moment for reports, and gives up the rest as failed.
  void stop();

 private:
  struct Waiting {
    OutgoingRecord record;
    Done done;
  };
  struct Open {
    Done done;
    SteadyTime since;
  };

  std::chrono::milliseconds work() noexcept;
  void hand_over();
  void take_reports();
  void give_up(const std::string& why) noexcept;

  Sink& sink_;
  const std::string name_;
  const std::chrono::milliseconds report_timeout_;
  const std::size_t max_open_;
  std::mutex mutex_;
  std::deque<Waiting> waiting_;  // guarded by mutex_
  std::size_t open_count_ = 0;   // guarded by mutex_; waiting and in flight
  bool is_stopped_ = false;      // guarded by mutex_
  std::deque<Waiting> taken_;    // the rest belongs to the thread
  std::unordered_map<std::uint64_t, Open> in_flight_;
  std::deque<std::uint64_t> order_;  // tokens in flight, the eldest first; those with a report are gone from in_flight_
  std::uint64_t next_token_ = 1;
  std::optional<Loop> loop_;  // last: its thread uses all of the above
};

}  // namespace oncemark::outbox
