#include "inbox/duplicate_share.hpp"

#include <gtest/gtest.h>

namespace oncemark::inbox {
namespace {

TEST(DuplicateShare, IsFrequentAboveTheLimitAndUntilItIsBelowHalfOfIt) {
  DuplicateShare share(0.05);

  share.add(1'000, 50);
  EXPECT_FALSE(share.is_frequent());  // not above
  share.add(100, 20);
  EXPECT_TRUE(share.is_frequent());
  share.add(1'000, 5);
  EXPECT_TRUE(share.is_frequent());  // 3.6 %: the same share as on the way up decides nothing
  share.add(1'000, 0);
  EXPECT_FALSE(share.is_frequent());
}

TEST(DuplicateShare, ConcludesNothingFromAHandfulOfMessages) {
  DuplicateShare share(0.05);

  share.add(99, 99);
  EXPECT_FALSE(share.is_frequent());
  share.add(1, 1);
  EXPECT_TRUE(share.is_frequent());
}

TEST(DuplicateShare, ForgetsWhatWasLongAgo) {
  DuplicateShare share(0.05);
  for (int i = 0; i < 1'000; ++i) share.add(100, 100);
  EXPECT_TRUE(share.is_frequent());

  for (int i = 0; i < 100; ++i) share.add(100, 0);
  EXPECT_FALSE(share.is_frequent());
}

TEST(DuplicateShare, IsAlwaysFrequentWithALimitOfZero) {
  DuplicateShare share(0);

  EXPECT_TRUE(share.is_frequent());
  share.add(10'000, 0);
  EXPECT_TRUE(share.is_frequent());
}

}  // namespace
}  // namespace oncemark::inbox
