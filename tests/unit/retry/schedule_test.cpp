#include <oncemark/retry/schedule.hpp>

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark::retry {
namespace {

using namespace std::chrono_literals;
using Delay = Schedule::Delay;

constexpr std::uint64_t kLeast = 0;  // draws the longest delay
constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

std::vector<Delay> first(int count, const Schedule& schedule, std::uint64_t random = kLeast) {
  std::vector<Delay> delays;
  for (int failures = 1; failures <= count; ++failures) delays.push_back(schedule.after(failures, random));
  return delays;
}

TEST(Schedule, FollowsAListAndRepeatsItsLast) {
  EXPECT_EQ(first(4, {100ms, 5s, 60s}), (std::vector<Delay>{100ms, 5s, 60s, 60s}));
  EXPECT_EQ(Schedule({5s, 60s}).length(), 2);
}

TEST(Schedule, IsFixedLinearOrExponential) {
  EXPECT_EQ(first(3, Schedule::fixed(2s)), (std::vector<Delay>{2s, 2s, 2s}));
  EXPECT_EQ(first(3, Schedule::linear(1s, 500ms)), (std::vector<Delay>{1s, 1500ms, 2s}));
  EXPECT_EQ(first(4, Schedule::exponential(100ms, 10)), (std::vector<Delay>{100ms, 1s, 10s, 100s}));
  EXPECT_EQ(Schedule::fixed(2s).length(), std::nullopt);
}

TEST(Schedule, NeverExceedsItsCap) {
  EXPECT_EQ(first(3, Schedule::exponential(1s, 10).capped(15s)), (std::vector<Delay>{1s, 10s, 15s}));
  EXPECT_EQ(first(2, Schedule({5s, 60s}).capped(30s)), (std::vector<Delay>{5s, 30s}));
}

TEST(Schedule, NeverExceedsThirtyDaysHoweverOftenItGrows) {
  EXPECT_EQ(Schedule::exponential(1s, 100).after(std::numeric_limits<int>::max(), kLeast), kLongestDelay);
  EXPECT_EQ(Schedule::linear(1s, kLongestDelay).after(std::numeric_limits<int>::max(), kLeast), kLongestDelay);
}

TEST(Schedule, DrawsTheWholeDelayOrHalfOfIt) {
  EXPECT_EQ(Schedule::fixed(10s).full_jitter().after(1, kLeast), 10s);
  EXPECT_LE(Schedule::fixed(10s).full_jitter().after(1, kMost), 1ms);
  EXPECT_EQ(Schedule::fixed(10s).equal_jitter().after(1, kLeast), 10s);
  EXPECT_EQ(Schedule::fixed(10s).equal_jitter().after(1, kMost).count(), 5'001);  // rounded up, never to 5 s itself
  EXPECT_EQ(Schedule({5s, 60s}).equal_jitter().after(2, std::uint64_t{1} << 63), 45s);
}

TEST(Schedule, StaysWithinItsBoundsForAnyNumbers) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const Delay initial(1 + random() % 100'000);
    const Delay cap(random() % 10'000'000);
    const double share = static_cast<double>(random() % 101) / 100;
    const auto failures = static_cast<int>(random() % 1'000);
    const Schedule plain = Schedule::exponential(initial, 1 + static_cast<double>(random() % 990) / 10).capped(cap);
    const Delay whole = plain.after(failures, random());

    const Delay drawn = plain.jitter(share).after(failures, random());

    ASSERT_LE(whole, cap);
    ASSERT_LE(drawn, whole);
    ASSERT_GE(static_cast<double>(drawn.count()), static_cast<double>(whole.count()) * (1 - share) - 1e-3);
    ASSERT_LE(whole, plain.after(failures + 1, random()));
  }
}

TEST(Schedule, SaysWhatIsOutsideItsRange) {
  for (const Schedule& wrong :
       {Schedule(std::vector<Delay>{}), Schedule({1s, -1ms}), Schedule({kLongestDelay + 1ms}), Schedule::fixed(-1s),
        Schedule::linear(1s, -1ms), Schedule::exponential(1s, 0.5), Schedule::exponential(1s, 101),
        Schedule::fixed(1s).capped(-1ms), Schedule::fixed(1s).jitter(1.5), Schedule::fixed(1s).jitter(std::nan(""))}) {
    EXPECT_THROW(wrong.validate("delays"), ConfigError);
  }
  EXPECT_NO_THROW(Schedule({0ms, kLongestDelay}).validate("delays"));
}

}  // namespace
}  // namespace oncemark::retry
