#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include <oncemark/consume/key_lanes.hpp>
#include <oncemark/consume/offset_tracker.hpp>
#include <oncemark/message/position.hpp>

namespace oncemark::consume {

/// The partitions that are assigned now, what of them is in flight, and how far each is settled.
///
/// Shape:   every assignment has a number of its own; what finishes under an older number is no longer ours to count.
/// Threads: any; lanes finish, the runner's thread does the rest.
class Assignments {
 public:
  void assign(const std::vector<TopicPartition>& partitions);
  /// A record was read; nothing when its partition is not assigned (any more): the record must be dropped.
  [[nodiscard]] std::optional<std::uint64_t> start(const Position& record, std::size_t bytes);
  /// A record is settled.
  void finish(const LaneItem& item);
  /// A record was given up unsettled: its offset holds the partition's position back.
  void abandon(const LaneItem& item);

  /// From here on lanes give up waiting for these partitions.
  void start_draining(const std::vector<TopicPartition>& partitions);
  [[nodiscard]] bool is_draining(const LaneItem& item) const;
  /// Waits until nothing of these partitions is running; false when `timeout` came first.
  [[nodiscard]] bool wait_until_idle(const std::vector<TopicPartition>& partitions, std::chrono::milliseconds timeout);
  void remove(const std::vector<TopicPartition>& partitions);

  /// Positions that have moved since they were last taken.
  [[nodiscard]] std::vector<Position> take_committable();
  [[nodiscard]] std::vector<Position> take_committable(const std::vector<TopicPartition>& partitions);

  [[nodiscard]] std::vector<TopicPartition> partitions() const;
  [[nodiscard]] std::size_t in_flight() const;
  [[nodiscard]] std::size_t in_flight_bytes() const;

 private:
  struct Partition {
    std::uint64_t assignment = 0;
    OffsetTracker tracker = {};
    std::size_t running = 0;  // handed to a lane and neither finished nor abandoned
    bool is_draining = false;
    std::int64_t committed = -1;
  };
  void leave(const LaneItem& item, bool is_settled);
  void take(const TopicPartition& key, Partition& partition, std::vector<Position>& out);

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::map<TopicPartition, Partition> partitions_;  // guarded by mutex_
  std::uint64_t last_assignment_ = 0;               // guarded by mutex_
  std::size_t in_flight_ = 0;                       // guarded by mutex_
  std::size_t in_flight_bytes_ = 0;                 // guarded by mutex_
};

}  // namespace oncemark::consume
