#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include <oncemark/consume/failure.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/message/message.hpp>

namespace oncemark::consume {

struct AssignedPartition;

/// A message on its way through a lane.
struct LaneItem {
  Message message = {};
  std::shared_ptr<AssignedPartition> partition = {};  // under which assignment it was read
  std::size_t bytes = 0;                              // what it counts for in the in-flight limit
  Stage stage = Stage::handler;                       // with `error`: where it failed
  std::optional<ErrorSummary> error = {};             // it has failed already and only has to be routed
  int tries = 0;                                      // failures of it for which the servers may be to blame
  SteadyTime first_try = {};                          // when the first of them was
  int tried_here = 0;                                 // tries in place that a retry rule asked for
  SteadyTime not_before = {};                         // it rests until then, and its key with it
  bool is_alone = false;                              // never in a group: only then is its failure its own
  bool is_suspect = false;                            // processes died with it in hand: handled with nothing beside it
  bool is_probe = false;                              // let through while the lanes are held
  int times_held = 0;                                 // how often there was no room to park it
};

/// Items change hands without being copied or moved.
using LaneItems = std::list<LaneItem>;

/// A queue for every key, and workers that take from whichever is ready.
///
/// Shape:   messages of one key (of any partition and topic) are taken in the order they were pushed in, by one worker
///          at a time; different keys never wait for each other while a worker is free. A message without a key has
///          a queue of its own. A worker takes what waits now, of as many keys as it needs for a group of at most
///          `limit(worker)`. What must go alone (is_alone, already failed, from a retry topic, or of a key that
///          `is_slow`) is taken one by one, and at most workers − 1 of these run at once, so that slow keys cannot
///          take every worker from the others.
///          `work` returns what it did not settle: it goes back to the front of its queue, in order, and rests until
///          its not_before.
/// Threads: all members from any thread; `work`, `limit` and `is_slow` run on the workers' threads.
/// Errors:  `work` must not throw.
/// Source:  design, decision 3; a queue a key instead of a thread a hash, so that a slow key holds up itself only.
class KeyLanes {
 public:
  using Work = std::function<LaneItems(std::size_t worker, LaneItems items, std::stop_token stop)>;
  using Limit = std::function<std::size_t(std::size_t worker)>;
  using IsSlow = std::function<bool(std::uint64_t lane)>;

  KeyLanes(std::size_t workers, Limit limit, IsSlow is_slow, Work work);
  ~KeyLanes();
  KeyLanes(const KeyLanes&) = delete;
  KeyLanes& operator=(const KeyLanes&) = delete;

  void push(LaneItems items);
  /// Takes back what waits (not what runs) and meets the condition.
  [[nodiscard]] LaneItems take_back(const std::function<bool(const LaneItem&)>& condition);
  /// While held, workers finish what they run and take nothing more.
  void hold(bool is_held);
  /// While held: one item, the next that is ready, may be taken, marked is_probe.
  void let_one_through();
  /// Asks the workers to stop after what they are running, and joins them. What waits stays.
  void stop();

  /// The number of the queue that the message goes to, the same for all messages of its key.
  [[nodiscard]] static std::uint64_t lane_of(const Message& message);

 private:
  struct Lane {
    LaneItems waiting = {};
    bool is_running = false;  // a worker has items of it
    bool is_queued = false;   // it stands in ready_, singles_ or resting_
    std::uint64_t since = 0;  // when it got ready, as a count
  };
  using Lanes = std::unordered_map<std::string, Lane>;
  using Node = Lanes::value_type;
  struct Taken {
    LaneItems items = {};
    std::vector<Node*> lanes = {};
    bool is_single = false;
  };

  void run(std::size_t worker, const std::stop_token& stop);
  [[nodiscard]] Taken take(std::size_t limit);
  void give_back(Taken taken, LaneItems left);
  void queue(Node& node);
  void wake_rested();
  [[nodiscard]] bool can_take() const;
  [[nodiscard]] bool can_take_single() const;
  [[nodiscard]] bool must_go_alone(const Node& node) const;

  Limit limit_;
  IsSlow is_slow_;
  Work work_;
  std::size_t max_singles_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  Lanes lanes_;                               // guarded by mutex_, like all below
  std::deque<Node*> ready_;                   // nodes keep their addresses
  std::deque<Node*> singles_;                 // ready, but only one item at a time
  std::multimap<SteadyTime, Node*> resting_;  // not ready before that time
  std::uint64_t sequence_ = 0;
  std::size_t running_singles_ = 0;
  bool is_held_ = false;
  bool may_one_pass_ = false;  // though held
  std::vector<std::jthread> workers_;
};

}  // namespace oncemark::consume
