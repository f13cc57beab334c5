#include <oncemark/retry/policy.hpp>

#include <gtest/gtest.h>

namespace oncemark::retry {
namespace {

using namespace std::chrono_literals;

TEST(Policy, GivesUpAPermanentErrorAtOnce) { EXPECT_FALSE(decide({}, ErrorKind::permanent, 1, 0).retry); }

TEST(Policy, GivesUpAfterTheLastAttempt) {
  const RetryOptions options{.max_attempts = 3};

  EXPECT_TRUE(decide(options, ErrorKind::transient, 2, 0).retry);
  EXPECT_FALSE(decide(options, ErrorKind::transient, 3, 0).retry);
}

TEST(Policy, GrowsTheDelayUpToTheCap) {
  const RetryOptions options{.max_attempts = 10,
                             .backoff = {.initial = 100ms, .factor = 10, .cap = 2'000ms, .jitter = 0}};

  EXPECT_EQ(decide(options, ErrorKind::transient, 1, 0).delay, 100ms);
  EXPECT_EQ(decide(options, ErrorKind::transient, 2, 0).delay, 1'000ms);
  EXPECT_EQ(decide(options, ErrorKind::transient, 3, 0).delay, 2'000ms);
}

TEST(Policy, FollowsAListOfDelays) {
  const RetryOptions options{.delays = {5s, 60s}};

  EXPECT_EQ(decide(options, ErrorKind::transient, 1, 0).delay, 5s);
  EXPECT_EQ(decide(options, ErrorKind::transient, 2, 0).delay, 60s);
  EXPECT_FALSE(decide(options, ErrorKind::transient, 3, 0).retry);
}

TEST(RetryOptions, RefuseValuesOutsideTheirRange) {
  EXPECT_THROW(RetryOptions{.max_attempts = 0}.validate(), ConfigError);
  EXPECT_THROW((RetryOptions{.delays = {-1ms}}.validate()), ConfigError);
  EXPECT_NO_THROW(RetryOptions{}.validate());
}

}  // namespace
}  // namespace oncemark::retry
