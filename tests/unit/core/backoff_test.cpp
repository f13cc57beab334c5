#include <oncemark/core/backoff.hpp>

#include <cmath>
#include <functional>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr std::uint64_t kLowest = 0;
constexpr std::uint64_t kHighest = std::numeric_limits<std::uint64_t>::max();

Backoff without_jitter() { return {.initial = 100ms, .factor = 2.0, .cap = 1s, .jitter = 0.0}; }

TEST(Backoff, DoublesUpToTheCap) {
  const Backoff backoff = without_jitter();

  EXPECT_EQ(delay_after(backoff, 1, kLowest), 100ms);
  EXPECT_EQ(delay_after(backoff, 2, kLowest), 200ms);
  EXPECT_EQ(delay_after(backoff, 4, kLowest), 800ms);
  EXPECT_EQ(delay_after(backoff, 5, kLowest), 1s);
}

TEST(Backoff, StaysAtTheCapWhenThePowerOverflows) {
  Backoff backoff = without_jitter();
  EXPECT_EQ(delay_after(backoff, std::numeric_limits<int>::max(), kLowest), 1s);

  backoff.cap = milliseconds::max();
  EXPECT_EQ(delay_after(backoff, std::numeric_limits<int>::max(), kLowest), milliseconds::max());
}

TEST(Backoff, CountsFewerThanOneFailureAsOne) {
  EXPECT_EQ(delay_after(without_jitter(), 0, kLowest), 100ms);
  EXPECT_EQ(delay_after(without_jitter(), std::numeric_limits<int>::min(), kLowest), 100ms);
}

TEST(Backoff, DrawsOnlyItsShareAtRandom) {
  Backoff backoff = without_jitter();
  backoff.jitter = 0.5;

  EXPECT_EQ(delay_after(backoff, 1, kLowest), 100ms);
  EXPECT_EQ(delay_after(backoff, 1, kHighest / 2), 75ms);
  EXPECT_EQ(delay_after(backoff, 1, kHighest), 51ms);
  EXPECT_EQ(delay_after(backoff, 100, kHighest), 501ms);
}

TEST(Backoff, StaysInItsRangeForAnyBits) {
  const Backoff backoff{.initial = 7ms, .factor = 1.7, .cap = 5s, .jitter = 0.3};
  for (int failures = 1; failures < 20; ++failures) {
    const double full = std::min(5'000.0, std::floor(7.0 * std::pow(1.7, failures - 1)));
    for (std::uint64_t i = 0; i < 64; ++i) {
      const auto delay = delay_after(backoff, failures, kHighest >> i).count();
      EXPECT_GE(static_cast<double>(delay), full * 0.7);
      EXPECT_LE(static_cast<double>(delay), full);
    }
  }
}

TEST(Backoff, AcceptsItsDefaultsAndItsLimits) {
  EXPECT_NO_THROW(Backoff{}.validate());
  EXPECT_NO_THROW((Backoff{.initial = 1ms, .factor = 1, .cap = 1ms, .jitter = 0}.validate()));
  EXPECT_NO_THROW((Backoff{.initial = 1ms, .factor = 100, .cap = 1ms, .jitter = 1}.validate()));
}

TEST(Backoff, NamesTheFieldThatIsOutOfRange) {
  const auto refused = [](const Backoff& backoff) -> std::string {
    try {
      backoff.validate();
    } catch (const MisuseError& error) {
      return error.what();
    }
    return "accepted";
  };

  EXPECT_EQ(refused({.initial = 0ms}), "Backoff::initial is 0 ms; allowed: above 0 ms");
  EXPECT_THAT(refused({.factor = 0.99}), testing::HasSubstr("Backoff::factor is 0.99"));
  EXPECT_THAT(refused({.factor = std::nan("")}), testing::HasSubstr("Backoff::factor is nan"));
  EXPECT_THAT(refused({.initial = 2s, .cap = 1s}), testing::HasSubstr("Backoff::cap is 1000 ms"));
  EXPECT_THAT(refused({.jitter = 1.01}), testing::HasSubstr("Backoff::jitter is 1.01"));
}

}  // namespace
}  // namespace oncemark
