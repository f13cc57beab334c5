#include "consume/assignments.hpp"

#include <algorithm>

#include "core/mutants.hpp"

namespace oncemark::consume {

void Assignments::assign(const std::vector<TopicPartition>& partitions) {
  const std::lock_guard lock(mutex_);
  for (const auto& partition : partitions) partitions_[partition] = std::make_shared<AssignedPartition>();
}

std::shared_ptr<AssignedPartition> Assignments::start(const Position& record, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto found = partitions_.find(record.topic_partition());
  if (found == partitions_.end()) return nullptr;
  found->second->tracker.start(record.offset);
  ++found->second->in_flight;
  in_flight_.fetch_add(1, std::memory_order_relaxed);
  in_flight_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  return found->second;
}

void Assignments::close_windows(bool is_full) {
  const std::lock_guard lock(mutex_);
  for (auto& [key, partition] : partitions_) {
    if (partition->watch_until >= 0 || !partition->tracker.committable()) continue;
    if (is_full || partition->has_begun) partition->watch_until = partition->tracker.last_started();
    partition->has_begun = true;
  }
}

bool Assignments::is_window_settled(const AssignedPartition& partition) {
  return partition.watch_until >= 0 && partition.tracker.committable() > partition.watch_until;
}

void Assignments::end_windows() {
  has_settled_window_ = false;
  const std::lock_guard lock(mutex_);
  for (auto& [key, partition] : partitions_) {
    if (partition->watch_until >= 0 && partition->committed > partition->watch_until) partition->is_watched = false;
  }
}

void Assignments::finish(LaneItems& items) { leave(items, /*are_settled=*/true); }

void Assignments::abandon(LaneItems& items) { leave(items, /*are_settled=*/false); }

void Assignments::leave(LaneItems& items, bool are_settled) {
  if (items.empty()) return;
  LaneItems left;  // freed after the lock is
  const std::lock_guard lock(mutex_);
  left.swap(items);
  std::size_t bytes = 0;
  for (const LaneItem& item : left) {
    AssignedPartition& partition = *item.partition;
    bytes += item.bytes;
    --partition.in_flight;
    if (partition.is_gone) continue;
    if (are_settled) {
      partition.tracker.finish(item.message.read_at.offset);
      if (partition.is_watched && is_window_settled(partition)) has_settled_window_ = true;
    }
    if (partition.in_flight == 0 && partition.is_leaving) idle_.notify_all();
  }
  in_flight_.fetch_sub(left.size(), std::memory_order_relaxed);
  in_flight_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

void Assignments::start_draining(const std::vector<TopicPartition>& partitions) {
  const std::lock_guard lock(mutex_);
  for (const auto& partition : partitions) {
    if (const auto found = partitions_.find(partition); found != partitions_.end()) found->second->is_leaving = true;
  }
}

bool Assignments::wait_until_idle(const std::vector<TopicPartition>& partitions, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, timeout, [&] {
    for (const auto& partition : partitions) {
      const auto found = partitions_.find(partition);
      if (found != partitions_.end() && found->second->in_flight > 0) return false;
    }
    return true;
  });
}

void Assignments::remove(const std::vector<TopicPartition>& partitions) {
  const std::lock_guard lock(mutex_);
  for (const auto& partition : partitions) {
    const auto found = partitions_.find(partition);
    if (found == partitions_.end()) continue;
    found->second->is_gone = true;
    partitions_.erase(found);
  }
}

std::size_t Assignments::widest() const {
  const std::lock_guard lock(mutex_);
  std::int64_t widest = 0;
  for (const auto& [key, partition] : partitions_) {
    const auto next = partition->tracker.committable();
    if (next) widest = std::max(widest, partition->tracker.last_started() + 1 - *next);
  }
  return static_cast<std::size_t>(widest);
}

void Assignments::take(const TopicPartition& key, AssignedPartition& partition, std::vector<Position>& out) {
  auto next = partition.tracker.committable();
  if (has_mutant("offset_before_settle") || (has_mutant("no_drain_on_revoke") && partition.is_leaving)) {
    next = next ? std::optional(partition.tracker.last_started() + 1) : next;
  }
  if (!next || *next == partition.committed) return;
  partition.committed = *next;
  out.push_back({key.topic, key.partition, *next});
}

std::vector<Position> Assignments::take_committable() {
  const std::lock_guard lock(mutex_);
  std::vector<Position> positions;
  for (auto& [key, partition] : partitions_) take(key, *partition, positions);
  return positions;
}

std::vector<Position> Assignments::take_committable(const std::vector<TopicPartition>& partitions) {
  const std::lock_guard lock(mutex_);
  std::vector<Position> positions;
  for (const auto& key : partitions) {
    if (const auto found = partitions_.find(key); found != partitions_.end()) take(key, *found->second, positions);
  }
  return positions;
}

}  // namespace oncemark::consume
