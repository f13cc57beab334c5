#include <oncemark/consume/group_size.hpp>

#include <gtest/gtest.h>

namespace oncemark::consume {
namespace {

using namespace std::chrono_literals;

TEST(GroupSize, GrowsByAQuarterWhileFullGroupsAreQuick) {
  GroupSize size(10);
  EXPECT_EQ(size.limit(), 1u);

  for (const std::size_t expected : {2u, 3u, 4u, 5u, 6u, 7u, 8u, 10u, 10u}) {
    size.succeeded(size.limit(), 1ms, 1ms);
    EXPECT_EQ(size.limit(), expected);
  }
}

TEST(GroupSize, LearnsNothingFromAGroupThatWasNotFull) {
  GroupSize size(10);
  size.succeeded(1, 1ms, 1ms);
  size.succeeded(1, 1ms, 1ms);

  EXPECT_EQ(size.limit(), 2u);
}

TEST(GroupSize, HalvesWhenSlowOrFailedAndNeverBelowOne) {
  GroupSize size(100);
  while (size.limit() < 100) size.succeeded(size.limit(), 1ms, 1ms);

  size.succeeded(100, 30ms, 1ms);
  EXPECT_EQ(size.limit(), 50u);
  size.failed();
  EXPECT_EQ(size.limit(), 25u);
  for (int i = 0; i < 10; ++i) size.failed();
  EXPECT_EQ(size.limit(), 1u);
}

TEST(GroupSize, StaysWhereGroupsAreLongEnough) {
  GroupSize size(100);
  for (int i = 0; i < 10; ++i) size.succeeded(size.limit(), 1ms, 1ms);
  const std::size_t before = size.limit();

  size.succeeded(before, 20ms, 1ms);
  size.succeeded(before, 29ms, 1ms);

  EXPECT_EQ(size.limit(), before);
}

TEST(GroupSize, MakesLongerGroupsWhereClaimAndCommitTakeLong) {
  GroupSize size(100);
  size.succeeded(1, 25ms, 10ms);  // worth 80 ms of handlers
  EXPECT_EQ(size.limit(), 2u);
  size.succeeded(2, 121ms, 10ms);
  EXPECT_EQ(size.limit(), 1u);

  GroupSize on_a_slow_disk(100);
  on_a_slow_disk.succeeded(1, 199ms, 1s);
  EXPECT_EQ(on_a_slow_disk.limit(), 2u);
  on_a_slow_disk.succeeded(2, 200ms, 1s);  // long enough in any case
  EXPECT_EQ(on_a_slow_disk.limit(), 2u);
}

TEST(GroupSize, GrowsMoreSlowlyWhereRowsAreFoughtFor) {
  GroupSize size(100);
  const auto groups_until_growth = [&] {
    const std::size_t before = size.limit();
    int groups = 0;
    for (; size.limit() == before; ++groups) size.succeeded(size.limit(), 1ms, 1ms);
    return groups;
  };
  EXPECT_EQ(groups_until_growth(), 1);

  size.lost_race();
  EXPECT_EQ(size.limit(), 1u);
  EXPECT_EQ(groups_until_growth(), 4);
  EXPECT_EQ(groups_until_growth(), 2);
  EXPECT_EQ(groups_until_growth(), 1);
  for (int i = 0; i < 10; ++i) size.lost_race();
  EXPECT_EQ(groups_until_growth(), 64);
}

TEST(GroupSize, IsFixedWhenLeastAndMostAreTheSame) {
  GroupSize size(10, GroupSize::kTarget, 10);
  EXPECT_EQ(size.limit(), 10u);
  size.failed();
  size.succeeded(10, 1s, 1ms);
  EXPECT_EQ(size.limit(), 10u);
}

}  // namespace
}  // namespace oncemark::consume
