#include "consume/assignments.hpp"

namespace oncemark::consume {

void Assignments::assign(const std::vector<TopicPartition>& partitions) {
  const std::lock_guard lock(mutex_);
  for (const auto& partition : partitions) partitions_[partition] = Partition{.assignment = ++last_assignment_};
}

std::optional<std::uint64_t> Assignments::start(const Position& record, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto found = partitions_.find(record.topic_partition());
  if (found == partitions_.end()) return std::nullopt;
  found->second.tracker.start(record.offset);
  ++found->second.running;
  ++in_flight_;
  in_flight_bytes_ += bytes;
  return found->second.assignment;
}

void Assignments::finish(const LaneItem& item) { leave(item, /*is_settled=*/true); }

void Assignments::abandon(const LaneItem& item) { leave(item, /*is_settled=*/false); }

void Assignments::leave(const LaneItem& item, bool is_settled) {
  const std::lock_guard lock(mutex_);
  --in_flight_;
  in_flight_bytes_ -= item.bytes;
  const auto found = partitions_.find(item.message.read_at.topic_partition());
  if (found == partitions_.end() || found->second.assignment != item.assignment) return;
  if (is_settled) found->second.tracker.finish(item.message.read_at.offset);
  --found->second.running;
  if (found->second.running == 0) idle_.notify_all();
}

void Assignments::start_draining(const std::vector<TopicPartition>& partitions) {
  const std::lock_guard lock(mutex_);
  for (const auto& partition : partitions) {
    if (const auto found = partitions_.find(partition); found != partitions_.end()) found->second.is_draining = true;
  }
}

bool Assignments::is_draining(const LaneItem& item) const {
  const std::lock_guard lock(mutex_);
  const auto found = partitions_.find(item.message.read_at.topic_partition());
  return found == partitions_.end() || found->second.assignment != item.assignment || found->second.is_draining;
}

bool Assignments::wait_until_idle(const std::vector<TopicPartition>& partitions, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, timeout, [&] {
    for (const auto& partition : partitions) {
      const auto found = partitions_.find(partition);
      if (found != partitions_.end() && found->second.running > 0) return false;
    }
    return true;
  });
}

void Assignments::remove(const std::vector<TopicPartition>& partitions) {
  const std::lock_guard lock(mutex_);
  for (const auto& partition : partitions) partitions_.erase(partition);
}

void Assignments::take(const TopicPartition& key, Partition& partition, std::vector<Position>& out) {
  const auto next = partition.tracker.committable();
  if (!next || *next == partition.committed) return;
  partition.committed = *next;
  out.push_back({key.topic, key.partition, *next});
}

std::vector<Position> Assignments::take_committable() {
  const std::lock_guard lock(mutex_);
  std::vector<Position> positions;
  for (auto& [key, partition] : partitions_) take(key, partition, positions);
  return positions;
}

std::vector<Position> Assignments::take_committable(const std::vector<TopicPartition>& partitions) {
  const std::lock_guard lock(mutex_);
  std::vector<Position> positions;
  for (const auto& key : partitions) {
    if (const auto found = partitions_.find(key); found != partitions_.end()) take(key, found->second, positions);
  }
  return positions;
}

std::vector<TopicPartition> Assignments::partitions() const {
  const std::lock_guard lock(mutex_);
  std::vector<TopicPartition> keys;
  keys.reserve(partitions_.size());
  for (const auto& [key, partition] : partitions_) keys.push_back(key);
  return keys;
}

std::size_t Assignments::in_flight() const {
  const std::lock_guard lock(mutex_);
  return in_flight_;
}

std::size_t Assignments::in_flight_bytes() const {
  const std::lock_guard lock(mutex_);
  return in_flight_bytes_;
}

}  // namespace oncemark::consume
