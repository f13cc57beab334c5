#include <oncemark/consume/offset_tracker.hpp>

#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark::consume {
namespace {

TEST(OffsetTracker, HasNothingToCommitBeforeTheFirstRecord) {
  const OffsetTracker tracker;

  EXPECT_EQ(tracker.committable(), std::nullopt);
}

TEST(OffsetTracker, HoldsTheCommitAtTheFirstUnfinishedOffset) {
  OffsetTracker tracker;
  for (const auto offset : {10, 11, 12}) tracker.start(offset);

  tracker.finish(11);
  tracker.finish(12);
  EXPECT_EQ(tracker.committable(), 10);  // 10 is still running

  tracker.finish(10);
  EXPECT_EQ(tracker.committable(), 13);
  EXPECT_EQ(tracker.in_flight(), 0u);
}

TEST(OffsetTracker, ToleratesGapsInTheLog) {
  OffsetTracker tracker;
  for (const auto offset : {3, 7, 20}) tracker.start(offset);

  tracker.finish(3);
  EXPECT_EQ(tracker.committable(), 7);

  tracker.finish(20);
  tracker.finish(7);
  EXPECT_EQ(tracker.committable(), 21);
}

TEST(OffsetTracker, RefusesOffsetsThatGoBackOrEndTwice) {
  OffsetTracker tracker;
  tracker.start(5);

  EXPECT_THROW(tracker.start(5), MisuseError);
  EXPECT_THROW(tracker.finish(6), MisuseError);
  tracker.start(6);
  tracker.finish(6);
  EXPECT_THROW(tracker.finish(6), MisuseError);
}

}  // namespace
}  // namespace oncemark::consume
