#include <oncemark/consume/breaker.hpp>

#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark::consume {
namespace {

using namespace std::chrono_literals;
using What = Breaker::Turn::What;

class BreakerTest : public ::testing::Test {
 protected:
  /// One more first delivery with a key of its own fails.
  bool another_fails(const std::string& error_class = "std::runtime_error") {
    return breaker_.failed(error_class, "key-" + std::to_string(++keys_), now_);
  }
  void succeed(std::size_t messages = 1) { breaker_.succeeded(messages, now_); }
  What turn() { return breaker_.turn(now_).what; }

  SteadyTime now_{};
  Breaker breaker_{{.keys = 10, .window = 60s, .first_probe = 1s, .longest_probe = 4s}};
  int keys_ = 0;
};

TEST_F(BreakerTest, OpensWhenManyKeysFailAlike) {
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(another_fails());
  EXPECT_EQ(turn(), What::run);

  EXPECT_TRUE(another_fails());

  EXPECT_TRUE(breaker_.is_open());
  EXPECT_EQ(breaker_.reason(), "std::runtime_error");
  EXPECT_EQ(turn(), What::wait);
}

TEST_F(BreakerTest, StaysClosedWhenOneKeyFailsForEver) {
  for (int i = 0; i < 1'000; ++i) EXPECT_FALSE(breaker_.failed("std::runtime_error", "account-7", now_));
}

TEST_F(BreakerTest, StaysClosedWhenAFewKeysFailOften) {
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_FALSE(breaker_.failed("std::runtime_error", "account-" + std::to_string(i % 9), now_));
  }
}

TEST_F(BreakerTest, OpensThoughSeveralMessagesOfEachKeyFail) {
  bool is_open = false;
  for (int i = 0; i < 10; ++i) {
    const std::string key = "account-" + std::to_string(i);
    for (int repeat = 0; repeat < 5; ++repeat) is_open = breaker_.failed("std::runtime_error", key, now_);
  }
  EXPECT_TRUE(is_open);
}

TEST_F(BreakerTest, StaysClosedWhenKeysFailForDifferentReasons) {
  for (int i = 0; i < 1'000; ++i) EXPECT_FALSE(another_fails("mysql." + std::to_string(1000 + i % 3 * 100)));
}

// With the default, 1 % and even 10 % of bad messages, each with a key of its own.
TEST(Breaker, StaysClosedForAFewBadMessagesAmongMany) {
  for (const double share : {0.01, 0.1}) {
    Breaker breaker;
    std::mt19937 random(7);
    std::bernoulli_distribution is_bad(share);
    for (int i = 0; i < 100'000; ++i) {
      if (is_bad(random)) {
        ASSERT_FALSE(breaker.failed("permanent", std::to_string(i), SteadyTime{} + i * 1ms)) << i;
      } else {
        breaker.succeeded(1, SteadyTime{} + i * 1ms);
      }
    }
  }
}

TEST(Breaker, StaysClosedForABurstOfBadMessagesBelowItsLimit) {
  Breaker breaker;
  for (int burst = 0; burst < 100; ++burst) {
    for (int i = 0; i < 20; ++i) ASSERT_FALSE(breaker.failed("permanent", std::to_string(i), SteadyTime{}));
    breaker.succeeded(128, SteadyTime{});
  }
}

TEST_F(BreakerTest, OpensThoughHealthyMessagesCameBefore) {
  succeed(1'000'000);

  for (int i = 0; i < 9; ++i) EXPECT_FALSE(another_fails());
  EXPECT_TRUE(another_fails());
}

TEST_F(BreakerTest, OpensWhenHalfOfEverythingFails) {
  bool is_open = false;
  for (int i = 0; i < 12 && !is_open; ++i) {
    succeed();
    is_open = another_fails();
  }
  EXPECT_TRUE(is_open);
}

TEST_F(BreakerTest, ForgetsWhatIsOlderThanItsWindow) {
  for (int i = 0; i < 9; ++i) (void)another_fails();
  now_ += 61s;

  EXPECT_FALSE(another_fails());
}

TEST_F(BreakerTest, HoldsEveryFailureBackWhileItIsOpen) {
  breaker_.open("unavailable", now_);

  EXPECT_TRUE(another_fails("permanent"));
  EXPECT_EQ(breaker_.reason(), "unavailable");
}

TEST_F(BreakerTest, LetsOneProbeThroughAtAGrowingInterval) {
  breaker_.open("unavailable", now_);
  for (const auto interval : {1s, 2s, 4s, 4s}) {
    EXPECT_EQ(breaker_.turn(now_).wait, std::chrono::milliseconds(interval));
    now_ += interval;
    EXPECT_EQ(turn(), What::probe);
    EXPECT_EQ(turn(), What::wait) << "one at a time";
    breaker_.probe_failed(now_);
  }
}

TEST_F(BreakerTest, ClosesWhenAProbeSucceedsAndStartsAfresh) {
  for (int i = 0; i < 10; ++i) (void)another_fails();
  now_ += 1s;
  ASSERT_EQ(turn(), What::probe);

  breaker_.probe_succeeded(now_);

  EXPECT_EQ(turn(), What::run);
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(another_fails());
  EXPECT_TRUE(another_fails());
  EXPECT_EQ(breaker_.turn(now_).wait, 1s) << "the interval starts from the first again";
}

TEST_F(BreakerTest, IgnoresSuccessesThatBeganBeforeItOpened) {
  breaker_.open("unavailable", now_);

  succeed(100);

  EXPECT_TRUE(breaker_.is_open());
}

TEST_F(BreakerTest, ProbesAgainAtOnceAfterOneThatProvedNothing) {
  breaker_.open("unavailable", now_);
  now_ += 1s;
  ASSERT_EQ(turn(), What::probe);

  breaker_.probe_was_void();

  EXPECT_EQ(turn(), What::probe);
}

TEST(Breaker, OpensForAnOutageOnlyWhenItIsSwitchedOff) {
  Breaker breaker{{.keys = 0}};
  breaker.succeeded(5, SteadyTime{});
  for (int i = 0; i < 1'000; ++i) EXPECT_FALSE(breaker.failed("permanent", std::to_string(i), SteadyTime{}));

  breaker.open("mysql.2002", SteadyTime{});

  EXPECT_TRUE(breaker.is_open()) << "an outage stops the flow all the same";
}

TEST(BreakerOptions, NameTheFieldThatIsWrong) {
  try {
    Breaker breaker{{.keys = 1}};
    FAIL() << "nothing was thrown";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("BreakerOptions::keys is 1; it must be 0, or 2 to 1,000"));
  }
  EXPECT_THROW(Breaker({.first_probe = 5s, .longest_probe = 1s}), ConfigError);
}

}  // namespace
}  // namespace oncemark::consume
