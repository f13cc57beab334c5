#include "dead_letter/token_bucket.hpp"

#include <gtest/gtest.h>

namespace oncemark::dead_letter {
namespace {

using namespace std::chrono_literals;

const SteadyTime kStart{};

TEST(TokenBucket, LetsTheFirstPassAndThenKeepsTheInterval) {
  TokenBucket bucket(4, kStart);

  EXPECT_EQ(bucket.take(kStart), 0ns);
  EXPECT_EQ(bucket.take(kStart), 250ms);
  EXPECT_EQ(bucket.take(kStart + 100ms), 150ms);
  EXPECT_EQ(bucket.take(kStart + 250ms), 0ns);
  EXPECT_EQ(bucket.take(kStart + 250ms), 250ms);
}

TEST(TokenBucket, DoesNotMakeUpForAPause) {
  TokenBucket bucket(100, kStart);
  (void)bucket.take(kStart);

  int passed = 0;
  while (bucket.take(kStart + 1h) == 0ns) ++passed;

  EXPECT_EQ(passed, 10);  // a tenth of a second's worth
}

TEST(TokenBucket, NeverPassesMoreThanTheRateOverTime) {
  TokenBucket bucket(1'000, kStart);

  int passed = 0;
  for (SteadyTime now = kStart; now < kStart + 10s; now += 700us) {
    while (bucket.take(now) == 0ns) ++passed;
  }

  EXPECT_NEAR(passed, 10'000, 110);
}

TEST(TokenBucket, WithoutARateNeverWaits) {
  TokenBucket bucket(0, kStart);

  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(bucket.take(kStart), 0ns);
}

TEST(TokenBucket, TakesAVerySlowRate) {
  TokenBucket bucket(1e-9, kStart);

  EXPECT_EQ(bucket.take(kStart), 0ns);
  EXPECT_EQ(bucket.take(kStart), 24h);
}

}  // namespace
}  // namespace oncemark::dead_letter
