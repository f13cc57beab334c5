#include "transactional/waiting_room.hpp"

#include <utility>

namespace oncemark::transactional {

void WaitingRoom::add(Guest guest) {
  Partition& partition = partitions_[guest.read_at.topic_partition()];
  if (guest.read_at.offset <= partition.tracker.last_started()) return;
  partition.tracker.start(guest.read_at.offset);
  bytes_ += guest.bytes;
  const Time due = guest.half.due;
  by_due_.emplace(due, std::move(guest));
}

std::vector<Guest> WaitingRoom::take(std::size_t max, std::optional<Time> until) {
  std::vector<Guest> taken;
  while (!by_due_.empty() && taken.size() < max && (!until || by_due_.begin()->first <= *until)) {
    bytes_ -= by_due_.begin()->second.bytes;
    taken.push_back(std::move(by_due_.extract(by_due_.begin()).mapped()));
  }
  return taken;
}

std::vector<Guest> WaitingRoom::take_due(Time now, std::size_t max) { return take(max, now); }

std::vector<Guest> WaitingRoom::take_first(std::size_t max) { return take(max, std::nullopt); }

void WaitingRoom::put_back(Guest guest, Time due) {
  if (!partitions_.contains(guest.read_at.topic_partition())) return;
  bytes_ += guest.bytes;
  by_due_.emplace(due, std::move(guest));
}

void WaitingRoom::finish(const Guest& guest) {
  const auto found = partitions_.find(guest.read_at.topic_partition());
  if (found != partitions_.end()) found->second.tracker.finish(guest.read_at.offset);
}

std::vector<Position> WaitingRoom::take_committable() {
  std::vector<Position> moved;
  for (auto& [partition, state] : partitions_) {
    const auto next = state.tracker.committable();
    if (!next || *next <= state.committed) continue;
    state.committed = *next;
    moved.push_back({partition.topic, partition.partition, *next});
  }
  return moved;
}

void WaitingRoom::drop(const TopicPartition& partition) {
  partitions_.erase(partition);
  std::erase_if(by_due_, [&](const auto& entry) {
    if (entry.second.read_at.topic_partition() != partition) return false;
    bytes_ -= entry.second.bytes;
    return true;
  });
}

std::optional<Time> WaitingRoom::next_due() const {
  if (by_due_.empty()) return std::nullopt;
  return by_due_.begin()->first;
}

}  // namespace oncemark::transactional
