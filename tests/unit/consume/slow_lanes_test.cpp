#include "consume/slow_lanes.hpp"

#include <gtest/gtest.h>

namespace oncemark::consume {
namespace {

using namespace std::chrono_literals;

TEST(SlowLanes, RememberAKeyUntilItIsQuickAgain) {
  SlowLanes slow(50ms);
  const SteadyTime now{};

  slow.note(1, 49ms, now);
  EXPECT_FALSE(slow.contains(1));
  slow.note(1, 50ms, now);
  EXPECT_TRUE(slow.contains(1));
  slow.note(1, 30ms, now);  // neither slow nor quick
  EXPECT_TRUE(slow.contains(1));
  slow.note(1, 10ms, now);
  EXPECT_FALSE(slow.contains(1));
  EXPECT_TRUE(slow.is_empty());
}

TEST(SlowLanes, ForgetOldKeysWhenTheyAreManyAndTakeNoMoreThanThat) {
  SlowLanes slow(50ms);
  const SteadyTime then{};
  for (std::uint64_t lane = 0; lane < SlowLanes::kMax; ++lane) slow.note(lane, 1s, then);

  slow.note(SlowLanes::kMax, 1s, then + 30s);
  EXPECT_FALSE(slow.contains(SlowLanes::kMax));
  slow.note(SlowLanes::kMax, 1s, then + 61s);
  EXPECT_TRUE(slow.contains(SlowLanes::kMax));
  EXPECT_FALSE(slow.contains(0));
}

}  // namespace
}  // namespace oncemark::consume
