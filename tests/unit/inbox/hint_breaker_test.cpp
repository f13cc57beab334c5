#include "inbox/hint_breaker.hpp"

#include <gtest/gtest.h>

namespace oncemark::inbox {
namespace {

using namespace std::chrono_literals;

constexpr Backoff kAway{.initial = 100ms, .factor = 2.0, .cap = 300ms, .jitter = 0.0};

TEST(HintBreaker, OpensAfterErrorsInARowOnly) {
  HintBreaker breaker(3, kAway);

  for (int i = 0; i < 2; ++i) EXPECT_FALSE(breaker.failed(SteadyTime{}, 0));
  breaker.succeeded();
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(breaker.failed(SteadyTime{}, 0));
  EXPECT_TRUE(breaker.is_closed());
  EXPECT_EQ(breaker.probe_at(), std::nullopt);

  EXPECT_EQ(breaker.failed(SteadyTime{}, 0), 100ms);
  EXPECT_FALSE(breaker.is_closed());
  EXPECT_EQ(breaker.probe_at(), SteadyTime{} + 100ms);
}

TEST(HintBreaker, StaysOpenForLongerEachTimeItsProbeFails) {
  HintBreaker breaker(1, kAway);
  (void)breaker.failed(SteadyTime{}, 0);

  breaker.probed(false, SteadyTime{} + 1s, 0);
  EXPECT_EQ(breaker.probe_at(), SteadyTime{} + 1s + 200ms);
  breaker.probed(false, SteadyTime{} + 2s, 0);
  EXPECT_EQ(breaker.probe_at(), SteadyTime{} + 2s + 300ms);

  breaker.probed(true, SteadyTime{} + 3s, 0);
  EXPECT_TRUE(breaker.is_closed());
}

TEST(HintBreaker, ForgivesOnlyAServerThatGoesOnAnswering) {
  HintBreaker breaker(1, kAway);
  (void)breaker.failed(SteadyTime{}, 0);
  breaker.probed(true, SteadyTime{}, 0);
  EXPECT_EQ(breaker.failed(SteadyTime{}, 0), 200ms);  // it answered the probe and failed again

  breaker.probed(true, SteadyTime{}, 0);
  for (int i = 0; i < 10; ++i) breaker.succeeded();
  EXPECT_EQ(breaker.failed(SteadyTime{}, 0), 100ms);
}

TEST(HintBreaker, IsNotMovedByErrorsThatWereUnderWayWhenItOpened) {
  HintBreaker breaker(1, kAway);
  (void)breaker.failed(SteadyTime{}, 0);

  EXPECT_EQ(breaker.failed(SteadyTime{} + 50ms, 0), std::nullopt);
  EXPECT_EQ(breaker.probe_at(), SteadyTime{} + 100ms);
}

}  // namespace
}  // namespace oncemark::inbox
