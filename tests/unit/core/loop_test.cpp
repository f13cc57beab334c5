#include <oncemark/core/loop.hpp>

#include <atomic>

#include <gtest/gtest.h>

namespace oncemark {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

/// Counts events of another thread and waits for them.
class Events {
 public:
  int add() {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
    return ++count_;
  }

  bool await(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 30s, [&] { return count_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;  // guarded by mutex_
};

TEST(Loop, GoesOnAtOnceWhenTheWorkAsksForNoPause) {
  Events rounds;
  Loop loop([&](std::stop_token) {
    rounds.add();
    return 0ms;
  });

  EXPECT_TRUE(rounds.await(100));
}

TEST(Loop, WaitsAsLongAsTheWorkSays) {
  Events rounds;
  const auto start = std::chrono::steady_clock::now();
  Loop loop([&](std::stop_token) {
    rounds.add();
    return 20ms;
  });

  ASSERT_TRUE(rounds.await(3));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 40ms);
}

TEST(Loop, WaitsForANudgeHoweverLongTheWaitWouldBe) {
  Events rounds;
  std::atomic<bool> is_nudged = false;
  std::atomic<bool> was_nudged = false;
  Loop loop([&](std::stop_token) {
    was_nudged = is_nudged.load();
    rounds.add();
    return milliseconds::max();
  });
  ASSERT_TRUE(rounds.await(1));

  is_nudged = true;
  loop.nudge();

  ASSERT_TRUE(rounds.await(2));
  EXPECT_TRUE(was_nudged);
}

TEST(Loop, SpendsANudgeOnOneRound) {
  Events rounds;
  Loop loop([&](std::stop_token) { return rounds.add() == 1 ? milliseconds(1h) : 20ms; });
  ASSERT_TRUE(rounds.await(1));
  const auto start = std::chrono::steady_clock::now();

  loop.nudge();

  ASSERT_TRUE(rounds.await(4));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 40ms);
}

TEST(Loop, RemembersANudgeThatCameDuringTheWork) {
  Events rounds;
  Events nudges;
  Loop loop([&](std::stop_token) -> milliseconds {
    rounds.add();
    (void)nudges.await(1);
    return 1h;
  });
  ASSERT_TRUE(rounds.await(1));

  loop.nudge();
  nudges.add();

  EXPECT_TRUE(rounds.await(2));
}

TEST(Loop, EndsALongWaitWhenStopped) {
  Events rounds;
  Loop loop([&](std::stop_token) -> milliseconds {
    rounds.add();
    return 1h;
  });
  ASSERT_TRUE(rounds.await(1));

  loop.stop();

  loop.nudge();
  loop.stop();  // a second stop finds nothing to do
}

TEST(Loop, TellsTheWorkOfTheStopAndWaitsForItsRound) {
  Events rounds;
  bool is_finished = false;
  {
    Loop loop([&](std::stop_token stop) {
      rounds.add();
      EXPECT_FALSE(wait_for(stop, 1h));
      is_finished = true;
      return 0ms;
    });
    ASSERT_TRUE(rounds.await(1));
  }
  EXPECT_TRUE(is_finished);
}

TEST(WaitFor, SaysWhetherTheTimePassedOrTheStopCame) {
  std::stop_source source;
  EXPECT_TRUE(wait_for(source.get_token(), 0ms));
  EXPECT_TRUE(wait_for(source.get_token(), -1h));
  EXPECT_TRUE(wait_for(std::stop_token(), 1ms));

  source.request_stop();
  EXPECT_FALSE(wait_for(source.get_token(), milliseconds::max()));
}

TEST(WaitFor, WakesWhenAnotherThreadAsksForTheStopHoweverLongTheTime) {
  std::stop_source source;
  Events begun;
  std::atomic<bool> is_stopping = false;
  std::jthread waiter([&] {
    begun.add();
    EXPECT_FALSE(wait_for(source.get_token(), milliseconds::max()));
    EXPECT_TRUE(is_stopping);
  });
  ASSERT_TRUE(begun.await(1));

  is_stopping = true;
  source.request_stop();
}

}  // namespace
}  // namespace oncemark
