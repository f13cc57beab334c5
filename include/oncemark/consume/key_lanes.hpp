#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include <oncemark/consume/failure.hpp>
#include <oncemark/message/message.hpp>

namespace oncemark::consume {

/// A message waiting in a lane.
struct LaneItem {
  Message message = {};
  std::uint64_t assignment = 0;            // number of the assignment that its partition was read under
  std::size_t bytes = 0;                   // what it counts for in the in-flight limit
  Stage stage = Stage::handler;            // decode, key: it failed there already and only has to be routed
  std::optional<ErrorSummary> error = {};  // how
};

/// Worker threads with a queue each: messages of one key go to one lane and stay in order there.
///
/// Shape:   lane = hash(Kafka key) mod lanes; a message without a key goes by its partition and offset. `work` gets
///          the lane's number, what waits in it now, at most `limit(lane)` messages, and a stop token for the lane.
/// Threads: push(), drop_if() and the rest from the runner's thread; `work` runs on the lanes' threads.
/// Errors:  `work` must not throw.
class KeyLanes {
 public:
  using Work = std::function<void(std::size_t lane, std::vector<LaneItem>, std::stop_token)>;
  using Limit = std::function<std::size_t(std::size_t lane)>;

  KeyLanes(std::size_t lanes, Limit limit, Work work);
  ~KeyLanes();
  KeyLanes(const KeyLanes&) = delete;
  KeyLanes& operator=(const KeyLanes&) = delete;

  void push(LaneItem item);
  /// Removes waiting (not running) messages; how many.
  std::size_t drop_if(const std::function<bool(const LaneItem&)>& condition);
  /// Asks the lanes to stop after what they are running, drops what waits, and joins.
  void stop();

  [[nodiscard]] static std::uint64_t lane_hash(const Message& message) noexcept;

 private:
  struct Lane {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::deque<LaneItem> waiting;  // guarded by mutex
    std::jthread thread;
  };
  void run(std::size_t number, std::stop_token stop);

  Limit limit_;
  Work work_;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace oncemark::consume
