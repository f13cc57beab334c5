#include <oncemark/consume/key_lanes.hpp>

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

namespace oncemark::consume {
namespace {

// Keys are any bytes; what stands for "no key" must not be one.
std::string name_of(const Message& message) {
  std::string name;
  if (!message.key.is_null()) {
    name.reserve(message.key.size() + 1);
    name += 'k';
    name += message.key.view();
  } else {
    name += '@';
    name += message.read_at.str();
  }
  return name;
}

bool goes_alone(const LaneItem& item) { return item.is_alone || item.error || item.message.from_retry_topic; }

}  // namespace

std::uint64_t KeyLanes::lane_of(const Message& message) { return std::hash<std::string>()(name_of(message)); }

KeyLanes::KeyLanes(std::size_t workers, Limit limit, IsSlow is_slow, Work work)
    : limit_(std::move(limit)),
      is_slow_(std::move(is_slow)),
      work_(std::move(work)),
      max_singles_(std::max<std::size_t>(1, workers - 1)) {
  workers_.reserve(workers);
  for (std::size_t i = 0; i < workers; ++i) {
    workers_.emplace_back([this, i](const std::stop_token& stop) { run(i, stop); });
  }
}

KeyLanes::~KeyLanes() { stop(); }

void KeyLanes::push(LaneItems items) {
  std::size_t newly_ready = 0;
  {
    const std::lock_guard lock(mutex_);
    while (!items.empty()) {
      Node& node = *lanes_.try_emplace(name_of(items.front().message)).first;
      node.second.waiting.splice(node.second.waiting.end(), items, items.begin());
      if (node.second.is_running || node.second.is_queued) continue;
      queue(node);
      ++newly_ready;
    }
  }
  if (newly_ready == 1) {
    wake_.notify_one();
  } else if (newly_ready > 1) {
    wake_.notify_all();
  }
}

LaneItems KeyLanes::take_back(const std::function<bool(const LaneItem&)>& condition) {
  LaneItems taken;
  const std::lock_guard lock(mutex_);
  for (auto& [name, lane] : lanes_) {
    for (auto item = lane.waiting.begin(); item != lane.waiting.end();) {
      const auto next = std::next(item);
      if (condition(*item)) taken.splice(taken.end(), lane.waiting, item);
      item = next;
    }
  }
  return taken;  // a lane left empty is forgotten when its turn comes
}

void KeyLanes::hold(bool is_held) {
  {
    const std::lock_guard lock(mutex_);
    is_held_ = is_held;
    may_one_pass_ = false;
  }
  if (!is_held) wake_.notify_all();
}

void KeyLanes::let_one_through() {
  {
    const std::lock_guard lock(mutex_);
    if (!is_held_) return;
    may_one_pass_ = true;
  }
  wake_.notify_all();
}

void KeyLanes::stop() {
  for (std::jthread& worker : workers_) worker.request_stop();
  for (std::jthread& worker : workers_) {
    if (worker.joinable()) worker.join();
  }
}

void KeyLanes::run(std::size_t worker, const std::stop_token& stop) {
  while (true) {
    const std::size_t limit = limit_(worker);
    Taken taken;
    {
      std::unique_lock lock(mutex_);
      while (taken.items.empty()) {
        wake_rested();
        const SteadyTime until = resting_.empty() ? SteadyTime::max() : resting_.begin()->first;
        const auto ready = [&] { return can_take() || (!resting_.empty() && resting_.begin()->first < until); };
        if (resting_.empty()) {
          wake_.wait(lock, stop, ready);
        } else {
          wake_.wait_until(lock, stop, until, ready);
        }
        if (stop.stop_requested()) return;
        if (!can_take()) continue;
        taken = take(is_held_ ? 1 : limit);
        if (!is_held_ || taken.items.empty()) continue;
        may_one_pass_ = false;
        taken.items.front().is_probe = true;
      }
    }
    LaneItems items = std::move(taken.items);
    give_back(std::move(taken), work_(worker, std::move(items), stop));
  }
}

KeyLanes::Taken KeyLanes::take(std::size_t limit) {
  Taken taken;
  // A lane that was emptied meanwhile is forgotten; one that is not what it was goes to the other queue.
  const auto pop = [this](std::deque<Node*>& queue) -> Node* {
    Node* node = queue.front();
    queue.pop_front();
    node->second.is_queued = false;
    if (!node->second.waiting.empty()) return node;
    lanes_.erase(lanes_.find(node->first));
    return nullptr;
  };
  if (can_take_single() && (ready_.empty() || singles_.front()->second.since < ready_.front()->second.since)) {
    Node* node = pop(singles_);
    if (node == nullptr) return taken;
    node->second.is_running = true;
    taken.items.splice(taken.items.end(), node->second.waiting, node->second.waiting.begin());
    taken.lanes.push_back(node);
    taken.is_single = true;
    ++running_singles_;
    return taken;
  }
  while (taken.items.size() < limit && !ready_.empty()) {
    Node* node = pop(ready_);
    if (node == nullptr) continue;
    if (must_go_alone(*node)) {
      queue(*node);
      continue;
    }
    Lane& lane = node->second;
    do {
      taken.items.splice(taken.items.end(), lane.waiting, lane.waiting.begin());
    } while (taken.items.size() < limit && !lane.waiting.empty() && !goes_alone(lane.waiting.front()));
    lane.is_running = true;
    taken.lanes.push_back(node);
  }
  return taken;
}

void KeyLanes::give_back(Taken taken, LaneItems left) {
  bool may_others_take = false;
  {
    const std::lock_guard lock(mutex_);
    while (!left.empty()) {  // from the last one on, so that each key's own stay in order at the front
      const auto last = std::prev(left.end());
      Node& node = *lanes_.try_emplace(name_of(last->message)).first;
      node.second.waiting.splice(node.second.waiting.begin(), left, last);
    }
    if (taken.is_single) {
      --running_singles_;
      may_others_take = !singles_.empty();
    }
    for (Node* node : taken.lanes) {
      node->second.is_running = false;
      if (node->second.waiting.empty()) {
        lanes_.erase(lanes_.find(node->first));
      } else {
        queue(*node);
        may_others_take = true;
      }
    }
  }
  if (may_others_take) wake_.notify_one();
}

void KeyLanes::queue(Node& node) {
  Lane& lane = node.second;
  lane.is_queued = true;
  lane.since = ++sequence_;
  const LaneItem& first = lane.waiting.front();
  if (first.not_before > SteadyTime{} && first.not_before > std::chrono::steady_clock::now()) {
    resting_.emplace(first.not_before, &node);
  } else {
    (must_go_alone(node) ? singles_ : ready_).push_back(&node);
  }
}

void KeyLanes::wake_rested() {
  if (resting_.empty()) return;
  const SteadyTime now = std::chrono::steady_clock::now();
  while (!resting_.empty() && resting_.begin()->first <= now) {
    Node* node = resting_.extract(resting_.begin()).mapped();
    if (node->second.waiting.empty()) {
      lanes_.erase(lanes_.find(node->first));
    } else {
      queue(*node);
    }
  }
}

bool KeyLanes::can_take() const { return (!is_held_ || may_one_pass_) && (!ready_.empty() || can_take_single()); }

bool KeyLanes::can_take_single() const { return !singles_.empty() && running_singles_ < max_singles_; }

bool KeyLanes::must_go_alone(const Node& node) const {
  return goes_alone(node.second.waiting.front()) || is_slow_(std::hash<std::string>()(node.first));
}

}  // namespace oncemark::consume
