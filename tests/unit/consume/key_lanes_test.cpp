#include <oncemark/consume/key_lanes.hpp>

#include <atomic>
#include <condition_variable>
#include <latch>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/testing/builders.hpp>

namespace oncemark::consume {
namespace {

using ::testing::ElementsAre;
using namespace std::chrono_literals;

LaneItem item(std::string id, Bytes key, std::int64_t offset = 0) {
  LaneItem made;
  made.message = testing::message_with_id(std::move(id));
  made.message.key = std::move(key);
  made.message.read_at.offset = offset;
  return made;
}

void add(LaneItems& items, std::string id, Bytes key, std::int64_t offset = 0) {
  items.push_back(item(std::move(id), std::move(key), offset));
}

/// Remembers, in the order in which they were finished, the ids that the lanes were given.
class Log {
 public:
  void write(const LaneItems& items) {
    const std::lock_guard lock(mutex_);
    for (const LaneItem& entry : items) ids_.push_back(entry.message.id);
    changed_.notify_all();
  }
  std::vector<std::string> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, 10s, [&] { return ids_.size() >= count; }));
    return ids_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> ids_;
};

const KeyLanes::Limit kTen = [](std::size_t) { return std::size_t{10}; };
const KeyLanes::IsSlow kNone = [](std::uint64_t) { return false; };

TEST(KeyLanes, TakeWhatWaitsTogether) {
  std::latch may_go(1);
  std::atomic<std::size_t> largest{0};
  Log log;
  KeyLanes lanes(1, kTen, kNone, [&](std::size_t, LaneItems items, const std::stop_token&) {
    may_go.wait();
    if (items.size() > largest) largest = items.size();
    log.write(items);
    return LaneItems();
  });

  LaneItems items;
  for (int i = 0; i < 25; ++i) add(items, std::to_string(i), std::to_string(i % 5));
  lanes.push(std::move(items));
  may_go.count_down();
  log.wait_for(25);

  EXPECT_EQ(largest, 10u);
}

TEST(KeyLanes, KeepTheOrderOfAKeyOverManyWorkersAndReturns) {
  std::mutex mutex;
  std::map<std::string, int> last;
  std::set<std::string> returned;
  Log log;
  std::atomic<int> disorders{0};
  KeyLanes lanes(4, kTen, kNone, [&](std::size_t, LaneItems items, const std::stop_token&) {
    LaneItems settled;
    LaneItems left;
    std::set<std::string> stopped;
    while (!items.empty()) {
      const std::string key = items.front().message.key.str();
      const std::string id = items.front().message.id;
      const std::lock_guard lock(mutex);
      const bool goes_back = stopped.contains(key) || (std::stoi(id) % 7 == 0 && returned.insert(id).second);
      LaneItems& to = goes_back ? left : settled;
      to.splice(to.end(), items, items.begin());
      if (goes_back) {
        stopped.insert(key);
        continue;
      }
      const auto found = last.emplace(key, -1).first;
      if (std::stoi(id) <= found->second) ++disorders;
      found->second = std::stoi(id);
    }
    log.write(settled);
    return left;
  });

  for (int round = 0; round < 20; ++round) {
    LaneItems items;
    for (int i = 0; i < 50; ++i) add(items, std::to_string(round * 50 + i), std::to_string(i % 3));
    lanes.push(std::move(items));
  }
  log.wait_for(1'000);

  EXPECT_EQ(disorders, 0);
}

TEST(KeyLanes, LetAKeyRestWithoutItsNeighbours) {
  Log log;
  std::atomic<int> visits{0};
  KeyLanes lanes(1, kTen, kNone, [&](std::size_t, LaneItems items, const std::stop_token&) {
    LaneItems left;
    if (items.front().message.id == "tired" && ++visits == 1) {
      left.splice(left.end(), items, items.begin());
      left.front().not_before = std::chrono::steady_clock::now() + 50ms;
    }
    log.write(items);
    return left;
  });

  LaneItems items;
  add(items, "tired", "a");
  lanes.push(std::move(items));
  while (visits == 0) std::this_thread::yield();
  LaneItems others;
  add(others, "behind", "a");
  add(others, "other", "b");
  lanes.push(std::move(others));

  EXPECT_THAT(log.wait_for(3), ElementsAre("other", "tired", "behind"));
}

TEST(KeyLanes, GiveWhatGoesAloneAWorkerOfItsOwnButNeverAllWorkers) {
  std::latch may_end(1);
  std::atomic<int> running_slow{0};
  Log log;
  KeyLanes lanes(
      3, kTen,
      [slow = KeyLanes::lane_of(item("", "slow-1").message), other = KeyLanes::lane_of(item("", "slow-2").message),
       third = KeyLanes::lane_of(item("", "slow-3").message)](std::uint64_t lane) {
        return lane == slow || lane == other || lane == third;
      },
      [&](std::size_t, LaneItems items, const std::stop_token&) {
        if (items.front().message.id == "slow") {
          EXPECT_EQ(items.size(), 1u);
          ++running_slow;
          may_end.wait();
        }
        log.write(items);
        return LaneItems();
      });

  LaneItems items;
  for (const char* key : {"slow-1", "slow-2", "slow-3"}) {
    for (int i = 0; i < 3; ++i) add(items, "slow", key);
  }
  for (int i = 0; i < 50; ++i) add(items, "quick", std::to_string(i));
  lanes.push(std::move(items));
  log.wait_for(50);

  EXPECT_EQ(running_slow, 2);
  may_end.count_down();
  log.wait_for(59);
}

TEST(KeyLanes, TakeNothingWhileHeldAndGiveBackWhatWaits) {
  Log log;
  KeyLanes lanes(2, kTen, kNone, [&](std::size_t, LaneItems items, const std::stop_token&) {
    log.write(items);
    return LaneItems();
  });
  lanes.hold(true);
  LaneItems items;
  add(items, "a", "a");
  add(items, "b", "b");
  lanes.push(std::move(items));

  const LaneItems back = lanes.take_back([](const LaneItem& waiting) { return waiting.message.id == "a"; });
  lanes.hold(false);

  ASSERT_EQ(back.size(), 1u);
  EXPECT_THAT(log.wait_for(1), ElementsAre("b"));
}

TEST(KeyLanes, TellNoKeyFromAKeyOfTheSameBytes) {
  const LaneItem none = item("a", nullptr, 7);
  const LaneItem same_bytes = item("b", "@" + none.message.read_at.str(), 8);
  const LaneItem empty = item("c", "", 9);

  EXPECT_NE(KeyLanes::lane_of(none.message), KeyLanes::lane_of(same_bytes.message));
  EXPECT_NE(KeyLanes::lane_of(none.message), KeyLanes::lane_of(empty.message));
  EXPECT_NE(KeyLanes::lane_of(none.message), KeyLanes::lane_of(item("d", nullptr, 8).message));
}

}  // namespace
}  // namespace oncemark::consume
