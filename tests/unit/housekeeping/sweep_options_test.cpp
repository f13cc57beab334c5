#include <oncemark/housekeeping/sweeper.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark::housekeeping {
namespace {

using namespace std::chrono_literals;

std::string refusal(const SweepOptions& options) {
  try {
    options.validate();
    return "";
  } catch (const ConfigError& error) {
    return error.key() + ": " + error.what();
  }
}

TEST(SweepOptions, AreSoundAsTheyCome) { EXPECT_EQ(refusal({}), ""); }

TEST(SweepOptions, KeepMarksForLongerThanACopyCanBeOnItsWay) {
  EXPECT_THAT(refusal({.marks = 24h, .longest_retry = 24h}), ::testing::StartsWith("marks: "));
  EXPECT_EQ(refusal({.marks = 24h, .longest_retry = 23h}), "");
}

TEST(SweepOptions, NameTheFieldThatIsOutOfRange) {
  EXPECT_THAT(refusal({.batch = 0}), ::testing::StartsWith("batch: "));
  EXPECT_THAT(refusal({.batch = 10'001}), ::testing::HasSubstr("1 to 10000"));
  EXPECT_THAT(refusal({.outbox = 0s}), ::testing::StartsWith("outbox: "));
  EXPECT_THAT(refusal({.pause = -1ms}), ::testing::StartsWith("pause: "));
}

}  // namespace
}  // namespace oncemark::housekeeping
