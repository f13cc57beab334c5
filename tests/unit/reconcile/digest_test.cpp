#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/reconcile/digest.hpp>
#include <oncemark/reconcile/repair.hpp>

namespace oncemark::reconcile {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Grid kGrid{.minutes = 4, .slices = 2};

Buckets empty_buckets() { return {.sums = std::vector<Sum>(kGrid.buckets()), .first = {}, .last = {}}; }

TEST(Differing, FindsBucketsWithOtherCountsKeysOrContents) {
  Buckets sent = empty_buckets();
  Buckets settled = empty_buckets();
  sent.sums[1] = settled.sums[1] = {.count = 3, .keys = 7, .contents = 9, .hashed = 3};
  sent.sums[2] = {.count = 1, .keys = 7, .contents = 9, .hashed = 1};
  sent.sums[4] = {.count = 1, .keys = 7, .contents = 9, .hashed = 1};
  settled.sums[4] = {.count = 1, .keys = 8, .contents = 9, .hashed = 1};
  sent.sums[6] = {.count = 1, .keys = 7, .contents = 9, .hashed = 1};
  settled.sums[6] = {.count = 1, .keys = 7, .contents = 1, .hashed = 1};

  EXPECT_THAT(differing(&sent, &settled, kGrid, 0, Contents::compared), ElementsAre(2, 4, 6));
  EXPECT_THAT(differing(&sent, &settled, kGrid, 0, Contents::ignored), ElementsAre(2, 4));
  EXPECT_THAT(differing(&sent, &settled, kGrid, 4, Contents::compared), ElementsAre(4, 6));
  EXPECT_THAT(differing(&sent, nullptr, kGrid, 0, Contents::compared), ElementsAre(1, 2, 4, 6));
  EXPECT_THAT(differing(nullptr, nullptr, kGrid, 0, Contents::compared), IsEmpty());
}

TEST(Differing, DoesNotCompareContentsThatAreNotAllKnown) {
  Buckets sent = empty_buckets();
  Buckets settled = empty_buckets();
  sent.sums[0] = {.count = 2, .keys = 7, .contents = 5, .hashed = 1};
  settled.sums[0] = {.count = 2, .keys = 7, .contents = 9, .hashed = 2};

  EXPECT_THAT(differing(&sent, &settled, kGrid, 0, Contents::compared), IsEmpty());
}

TEST(SuitableSlices, AimAtSmallBucketsWithinABoundedNumber) {
  EXPECT_EQ(suitable_slices(0, 10'080), 1u);
  EXPECT_EQ(suitable_slices(10'000'000, 10'000), 8u);
  EXPECT_EQ(suitable_slices(10'000'000, 60), 2'048u);
  EXPECT_EQ(suitable_slices(100'000'000'000, 10'000), 8u);
  EXPECT_EQ(suitable_slices(100'000'000'000, 500'000), 1u);
}

TEST(Grid, RefusesWhatCannotBeCompared) {
  EXPECT_THROW((Grid{.minutes = 10, .slices = 3}.validate()), MisuseError);
  EXPECT_THROW((Grid{.minutes = 0, .slices = 1}.validate()), MisuseError);
  EXPECT_THROW((Grid{.minutes = 1 << 20, .slices = 8}.validate()), MisuseError);
  EXPECT_THROW((Grid{.from = Time(std::chrono::seconds(1)), .minutes = 1}.validate()), MisuseError);
}

TEST(ActionFor, LeavesToAPersonWhatNoRuleCanDecide) {
  EXPECT_EQ(action_for({.kind = Kind::unexpected}), Action::none);
  EXPECT_EQ(action_for({.kind = Kind::conflict}), Action::none);
  EXPECT_EQ(action_for({.kind = Kind::unsent, .standing = "pending"}), Action::none);
  EXPECT_EQ(action_for({.kind = Kind::unsent, .standing = "dead"}), Action::resend);
  EXPECT_EQ(action_for({.kind = Kind::unsettled, .standing = "no row", .row = 7}), Action::resend);
  EXPECT_EQ(action_for({.kind = Kind::dead, .standing = "dead", .letter = 7}), Action::replay);
  EXPECT_EQ(action_for({.kind = Kind::dead, .standing = "done", .letter = 7}), Action::close);
  EXPECT_NE(why_not({.kind = Kind::unexpected}), "");
  EXPECT_EQ(why_not({.kind = Kind::unsent, .standing = "dead"}), "");
}

TEST(ParseKind, TakesEveryNameThatIsPrinted) {
  for (int i = 0; i < kKinds; ++i) EXPECT_EQ(parse_kind(to_string(static_cast<Kind>(i))), static_cast<Kind>(i));
  EXPECT_THROW((void)parse_kind("lost"), MisuseError);
}

}  // namespace
}  // namespace oncemark::reconcile
