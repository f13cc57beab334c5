#include <oncemark/core/loop.hpp>

#include <optional>

#include <gtest/gtest.h>

namespace oncemark {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

/// Counts events of another thread and waits for them.
class Events {
 public:
  void add() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
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

TEST(Loop, CutsAWaitShortWhenNudged) {
  Events rounds;
  Loop loop([&](std::stop_token) {
    rounds.add();
    return milliseconds::max();
  });
  ASSERT_TRUE(rounds.await(1));

  loop.nudge();

  EXPECT_TRUE(rounds.await(2));
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

TEST(WaitFor, WakesWhenAnotherThreadAsksForTheStop) {
  std::stop_source source;
  std::jthread stopper([&] { source.request_stop(); });

  EXPECT_FALSE(wait_for(source.get_token(), milliseconds::max()));
}

}  // namespace
}  // namespace oncemark
