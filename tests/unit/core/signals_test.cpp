#include <oncemark/core/signals.hpp>

#include <chrono>
#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <oncemark/core/error.hpp>
#include <oncemark/core/loop.hpp>

namespace oncemark {
namespace {

using namespace std::chrono_literals;

/// Whether the signal is blocked in this thread.
bool is_blocked(int signal) {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

bool stops_within_a_minute(const StopOnSignal& signals) { return !wait_for(signals.token(), 1min); }

class StopOnSignalDeathTest : public testing::Test {
 protected:
  StopOnSignalDeathTest() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST(StopOnSignal, AsksForAStopOnSigtermAndSigint) {
  for (const int number : {SIGTERM, SIGINT}) {
    const StopOnSignal signals;
    EXPECT_FALSE(signals.token().stop_requested());
    EXPECT_EQ(signals.signal(), 0);

    ::kill(::getpid(), number);

    EXPECT_TRUE(stops_within_a_minute(signals));
    EXPECT_EQ(signals.signal(), number);
  }
}

TEST(StopOnSignal, BlocksTheSignalsOnlyWhileItLives) {
  ASSERT_FALSE(is_blocked(SIGTERM));
  {
    const StopOnSignal signals;
    EXPECT_TRUE(is_blocked(SIGTERM));
    EXPECT_TRUE(is_blocked(SIGINT));
    EXPECT_FALSE(is_blocked(SIGHUP));
  }
  EXPECT_FALSE(is_blocked(SIGTERM));
  EXPECT_FALSE(is_blocked(SIGINT));
}

TEST(StopOnSignal, EndsPromptlyWithoutASignal) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) StopOnSignal signals;
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
}

TEST(StopOnSignal, RefusesASecondOneUntilTheFirstIsGone) {
  {
    const StopOnSignal first;
    EXPECT_THROW(StopOnSignal(), MisuseError);
    EXPECT_TRUE(is_blocked(SIGTERM));
  }
  EXPECT_NO_THROW(StopOnSignal());
}

TEST_F(StopOnSignalDeathTest, EndsTheProcessAtTheSecondSignal) {
  const auto interrupt_twice = [] {
    const StopOnSignal signals;
    ::kill(::getpid(), SIGTERM);
    if (!stops_within_a_minute(signals)) return;
    ::kill(::getpid(), SIGINT);
    (void)wait_for(std::stop_token(), 1min);
  };
  EXPECT_EXIT(interrupt_twice(), testing::ExitedWithCode(128 + SIGINT), "");
}

TEST_F(StopOnSignalDeathTest, LeavesLaterSignalsToTheirDefault) {
  const auto end_by_signal = [] {
    { const StopOnSignal signals; }
    ::kill(::getpid(), SIGTERM);
  };
  EXPECT_EXIT(end_by_signal(), testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace oncemark
