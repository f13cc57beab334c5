#include "kafka/start.hpp"

#include <gtest/gtest.h>

namespace oncemark::kafka {
namespace {

constexpr Watermarks kLog{.low = 50, .high = 90};

StartRules rules(StartAt no_offset, StartAt out_of_range) {
  return {.group = "shipping", .brokers = "b:1", .no_offset = no_offset, .out_of_range = out_of_range};
}

TEST(ChooseStart, TakesACommittedPositionInsideTheLog) {
  for (std::int64_t committed : {50, 70, 90}) {
    const Start start = choose_start(committed, kLog, rules(StartAt::stop, StartAt::stop));
    EXPECT_EQ(start.reason, StartReason::committed);
    EXPECT_EQ(start.offset, committed);
  }
}

TEST(ChooseStart, FollowsItsRuleWithoutACommittedPosition) {
  EXPECT_EQ(choose_start(std::nullopt, kLog, rules(StartAt::earliest, StartAt::stop)).offset, 50);
  EXPECT_EQ(choose_start(std::nullopt, kLog, rules(StartAt::latest, StartAt::stop)).offset, 90);
  EXPECT_EQ(choose_start(std::nullopt, kLog, rules(StartAt::stop, StartAt::latest)).offset, std::nullopt);
  EXPECT_EQ(choose_start(std::nullopt, kLog, rules(StartAt::latest, StartAt::stop)).reason, StartReason::no_offset);
}

TEST(ChooseStart, NeverJumpsSilentlyFromAPositionOutsideTheLog) {
  for (std::int64_t committed : {0, 49, 91, 1'000}) {
    const Start stopped = choose_start(committed, kLog, rules(StartAt::latest, StartAt::stop));
    EXPECT_EQ(stopped.reason, StartReason::out_of_range);
    EXPECT_EQ(stopped.offset, std::nullopt);
    EXPECT_EQ(choose_start(committed, kLog, rules(StartAt::stop, StartAt::earliest)).offset, 50);
    EXPECT_EQ(choose_start(committed, kLog, rules(StartAt::stop, StartAt::latest)).offset, 90);
  }
}

}  // namespace
}  // namespace oncemark::kafka
