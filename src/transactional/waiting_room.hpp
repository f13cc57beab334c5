#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <oncemark/consume/offset_tracker.hpp>
#include <oncemark/message/position.hpp>

#include "transactional/half_record.hpp"

namespace oncemark::transactional {

/// A half message that was read, and where.
struct Guest {
  Half half = {};
  Position read_at = {};
  std::size_t bytes = 0;
};

/// Half messages in memory until they are due, and how far each partition is settled.
///
/// Shape:   a guest that is taken out must be put back or finished. Those of a partition that was dropped meanwhile are
///          ignored.
/// Threads: one.
/// Errors:  none.
class WaitingRoom final {
 public:
  /// A copy of what is here or was settled already, as after a rebalance, is ignored.
  void add(Guest guest);
  /// At most `max` that are due, the earliest first.
  [[nodiscard]] std::vector<Guest> take_due(Time now, std::size_t max);
  /// At most `max` of those that will be due first.
  [[nodiscard]] std::vector<Guest> take_first(std::size_t max);
  void put_back(Guest guest, Time due);
  void finish(const Guest& guest);

  /// Positions that moved since the last call.
  [[nodiscard]] std::vector<Position> take_committable();
  void drop(const TopicPartition& partition);

  [[nodiscard]] std::optional<Time> next_due() const;
  [[nodiscard]] std::size_t size() const noexcept { return by_due_.size(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct Partition {
    consume::OffsetTracker tracker;
    std::int64_t committed = -1;
  };

  [[nodiscard]] std::vector<Guest> take(std::size_t max, std::optional<Time> until);

  std::multimap<Time, Guest> by_due_;
  std::map<TopicPartition, Partition> partitions_;
  std::size_t bytes_ = 0;
};

}  // namespace oncemark::transactional
