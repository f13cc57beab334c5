#include "bench/workload.hpp"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace bench {
namespace {

std::string digest_of(const std::vector<Item>& all) {
  Digest digest;
  for (const Item& item : all) digest.add(item);
  return digest.str();
}

// Taken with `bench_verify digest` from topics that the peers' harness had filled (load.sh topic w1 2000 …).
TEST(Workload, IsByteForByteThatOfTheHarness) {
  EXPECT_EQ(digest_of(items("w1", 2'000)), "5020e04d2ae324d1");
  EXPECT_EQ(digest_of(items("w3", 2'000)), "96aceb40c3232623");
  EXPECT_EQ(digest_of(items("w4", 2'000)), "a275b69a53fba5a0");
}

TEST(Workload, HasPayloadsOfTwoHundredBytes) {
  for (const Item& item : items("w4", 500)) EXPECT_EQ(item.payload().size(), 200u) << item.payload();
}

TEST(Workload, CopiesHealthyMessagesOnly) {
  std::set<std::string> healthy;
  std::size_t copies = 0, twice = 0, always = 0;
  for (const Item& item : items("w4", 2'000)) {
    copies += item.is_copy;
    twice += item.fail == Fail::twice;
    always += item.fail == Fail::always;
    if (item.is_copy) {
      EXPECT_TRUE(healthy.contains(item.id));
    } else if (item.fail == Fail::no) {
      EXPECT_TRUE(healthy.insert(item.id).second);
    }
  }
  EXPECT_EQ(copies, 200u);
  EXPECT_EQ(twice, 200u);
  EXPECT_EQ(always, 20u);
}

TEST(Workload, GivesW5OtherIdsForEachSeed) {
  const auto first = items("w5", 100, 1);
  const auto second = items("w5", 100, 2);
  std::set<std::string> ids;
  for (const auto& all : {first, second}) {
    for (const Item& item : all) {
      EXPECT_TRUE(item.is_copy || ids.insert(item.id).second);
    }
  }
}

TEST(Workload, GivesTheSlowAccountOneMessageInSoMany) {
  std::size_t slow = 0;
  for (const Item& item : items("w6-slow", 5'000, kSeed, 1'000)) {
    EXPECT_EQ(item.is_slow, item.account == 0);
    slow += item.is_slow;
  }
  EXPECT_EQ(slow, 5u);
}

TEST(Workload, PutsHalfOfTheSkewedMessagesOnTenAccounts) {
  std::size_t hot = 0, first_of_the_rest = 0, last_of_the_rest = 0;
  for (const Item& item : items("w6-hot", 20'000)) {
    ASSERT_LT(item.account, kAccounts);
    hot += item.account < kHotAccounts;
    first_of_the_rest += item.account == kHotAccounts;
    last_of_the_rest += item.account == kAccounts - 1;
  }
  EXPECT_NEAR(static_cast<double>(hot), 10'000, 500);
  EXPECT_GT(first_of_the_rest, 100 * (last_of_the_rest + 1));
}

TEST(Digest, NoticesTheOrderOfAKeyAndNotThatBetweenKeys) {
  Digest straight, swapped_keys, swapped_within;
  straight.add("a", "1", "", "x"), straight.add("a", "2", "", "x"), straight.add("b", "3", "", "x");
  swapped_keys.add("b", "3", "", "x"), swapped_keys.add("a", "1", "", "x"), swapped_keys.add("a", "2", "", "x");
  swapped_within.add("a", "2", "", "x"), swapped_within.add("a", "1", "", "x"), swapped_within.add("b", "3", "", "x");
  EXPECT_EQ(straight.str(), swapped_keys.str());
  EXPECT_NE(straight.str(), swapped_within.str());
}

}  // namespace
}  // namespace bench
