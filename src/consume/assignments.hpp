#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <oncemark/consume/key_lanes.hpp>
#include <oncemark/consume/offset_tracker.hpp>
#include <oncemark/message/position.hpp>

namespace oncemark::consume {

/// A partition under one assignment; another assignment of the same partition is another object.
struct AssignedPartition {
  std::atomic<bool> is_leaving{false};  // nothing more of it shall be started
  OffsetTracker tracker = {};           // guarded by Assignments, like all below
  std::size_t in_flight = 0;            // read, and neither settled nor abandoned
  bool is_gone = false;                 // what finishes now is no longer ours to count
  std::int64_t committed = -1;

  // The watch against crash loops: until all that was in flight at first is settled, and the position behind it is
  // committed, what is taken in hand is noted. Only then is each life of a crash loop sure to come further than the
  // one before.
  std::atomic<bool> is_watched{true};
  bool has_begun = false;         // it had records when the window was looked at
  std::int64_t watch_until = -1;  // last offset of the window; -1: it is still growing
};

/// The partitions that are assigned now, what of them is in flight, and how far each is settled.
///
/// Threads: any; workers finish, the runner's thread does the rest.
class Assignments {
 public:
  void assign(const std::vector<TopicPartition>& partitions);
  /// The first windows end with what has been read by now: because no more may be read, or because they had their time.
  void close_windows(bool is_full);
  /// Something of a closed window was settled last: its position should be committed soon.
  [[nodiscard]] bool has_settled_window() const noexcept { return has_settled_window_; }
  /// Positions were committed: windows below them are over.
  void end_windows();
  /// A record was read; null when its partition is not assigned (any more): the record must be dropped.
  [[nodiscard]] std::shared_ptr<AssignedPartition> start(const Position& record, std::size_t bytes);
  /// These are settled. The list is emptied.
  void finish(LaneItems& items);
  /// These were given up unsettled: their offsets hold their partitions' positions back. The list is emptied.
  void abandon(LaneItems& items);

  /// From here on workers give up what they have of these partitions, as soon as they can.
  void start_draining(const std::vector<TopicPartition>& partitions);
  /// Waits until nothing of these partitions is in flight; false when `timeout` came first.
  [[nodiscard]] bool wait_until_idle(const std::vector<TopicPartition>& partitions, std::chrono::milliseconds timeout);
  void remove(const std::vector<TopicPartition>& partitions);

  /// Positions that have moved since they were last taken.
  [[nodiscard]] std::vector<Position> take_committable();
  [[nodiscard]] std::vector<Position> take_committable(const std::vector<TopicPartition>& partitions);

  /// How far a partition has been read past the first record that is not settled, at most.
  [[nodiscard]] std::size_t widest() const;
  [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t in_flight_bytes() const noexcept {
    return in_flight_bytes_.load(std::memory_order_relaxed);
  }

 private:
  void leave(LaneItems& items, bool are_settled);
  [[nodiscard]] static bool is_window_settled(const AssignedPartition& partition);
  static void take(const TopicPartition& key, AssignedPartition& partition, std::vector<Position>& out);

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::map<TopicPartition, std::shared_ptr<AssignedPartition>> partitions_;  // guarded by mutex_
  std::atomic<std::size_t> in_flight_{0};
  std::atomic<std::size_t> in_flight_bytes_{0};
  std::atomic<bool> has_settled_window_{false};
};

}  // namespace oncemark::consume
