#include <oncemark/consume/key_lanes.hpp>

#include <functional>
#include <string_view>
#include <utility>

namespace oncemark::consume {

KeyLanes::KeyLanes(std::size_t lanes, Limit limit, Work work) : limit_(std::move(limit)), work_(std::move(work)) {
  for (std::size_t i = 0; i < lanes; ++i) lanes_.push_back(std::make_unique<Lane>());
  for (std::size_t i = 0; i < lanes; ++i) {
    lanes_[i]->thread = std::jthread([this, i](std::stop_token stop) { run(i, std::move(stop)); });
  }
}

KeyLanes::~KeyLanes() { stop(); }

void KeyLanes::push(LaneItem item) {
  Lane& lane = *lanes_[lane_hash(item.message) % lanes_.size()];
  {
    const std::lock_guard lock(lane.mutex);
    lane.waiting.push_back(std::move(item));
  }
  lane.wake.notify_one();
}

std::size_t KeyLanes::drop_if(const std::function<bool(const LaneItem&)>& condition) {
  std::size_t dropped = 0;
  for (const auto& lane : lanes_) {
    const std::lock_guard lock(lane->mutex);
    dropped += std::erase_if(lane->waiting, condition);
  }
  return dropped;
}

void KeyLanes::stop() {
  for (const auto& lane : lanes_) lane->thread.request_stop();
  for (const auto& lane : lanes_) {
    if (lane->thread.joinable()) lane->thread.join();
  }
}

std::uint64_t KeyLanes::lane_hash(const Message& message) noexcept {
  constexpr std::hash<std::string_view> hash;
  if (!message.key.is_null()) return hash(message.key.view());
  // No key, no order: spread evenly.
  return hash(message.read_at.topic) + static_cast<std::uint64_t>(message.read_at.partition) * 31 +
         static_cast<std::uint64_t>(message.read_at.offset);
}

void KeyLanes::run(std::size_t number, std::stop_token stop) {
  Lane& lane = *lanes_[number];
  while (true) {
    const std::size_t limit = limit_(number);
    std::vector<LaneItem> items;
    {
      std::unique_lock lock(lane.mutex);
      if (!lane.wake.wait(lock, stop, [&] { return !lane.waiting.empty(); })) return;
      if (stop.stop_requested()) return;
      while (!lane.waiting.empty() && items.size() < limit) {
        items.push_back(std::move(lane.waiting.front()));
        lane.waiting.pop_front();
      }
    }
    work_(number, std::move(items), stop);
  }
}

}  // namespace oncemark::consume
