#include "outbox/key_gate.hpp"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oncemark::outbox {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kA = 100, kB = 200;  // hashes of two keys

std::vector<int> all_shards() {
  std::vector<int> shards(64);
  std::iota(shards.begin(), shards.end(), 0);
  return shards;
}

RowKey row(std::uint64_t id, KeyHash key, int shard = 0) { return {.id = id, .shard = shard, .key = key}; }

TEST(KeyGate, LetsEverythingPassWhileNothingFails) {
  KeyGate gate;
  gate.set_failing({}, {});

  EXPECT_TRUE(gate.is_open());
  EXPECT_TRUE(gate.lets_pass(row(1, kA)));
}

TEST(KeyGate, AsksForEachKeyOnce) {
  KeyGate gate;
  EXPECT_THAT(gate.unknown({{7, false}}), ElementsAre(7));

  gate.set_failing({{7, false}}, {row(7, kA)});

  EXPECT_THAT(gate.unknown({{7, true}, {9, false}}), ElementsAre(9));
}

TEST(KeyGate, HoldsBackTheRowsOfAFailingKeyOnly) {
  KeyGate gate;
  gate.set_failing({{7, false}}, {row(7, kA)});

  EXPECT_FALSE(gate.lets_pass(row(8, kA)));
  EXPECT_TRUE(gate.lets_pass(row(9, kB)));
  EXPECT_TRUE(gate.lets_pass(row(10, std::nullopt)));
  EXPECT_TRUE(gate.is_waiting(8));
}

TEST(KeyGate, FreesTheRowsThatWaitedWhenTheirKeyOpens) {
  KeyGate gate;
  gate.set_failing({{7, false}, {17, false}}, {row(7, kA), row(17, kB)});
  (void)gate.lets_pass(row(8, kA));
  (void)gate.lets_pass(row(18, kB));

  gate.set_failing({{17, false}}, {});

  EXPECT_FALSE(gate.is_waiting(8));
  EXPECT_TRUE(gate.is_waiting(18));
}

TEST(KeyGate, TriesTheHeadOfAKeyOnlyAndOnlyWhenDue) {
  KeyGate gate;
  gate.set_failing({{9, true}, {7, true}, {17, false}, {20, true}},
                   {row(7, kA), row(9, kA), row(17, kB), row(20, std::nullopt)});

  EXPECT_THAT(gate.due_heads(all_shards(), 10), ElementsAre(7, 20));
  EXPECT_THAT(gate.due_heads(all_shards(), 1), ElementsAre(7));
}

// Two failing rows of one key: the work of a relay that had lost its shards and did not know it yet.
TEST(KeyGate, MakesTheSecondFailingRowTheHeadWhenTheFirstIsGone) {
  KeyGate gate;
  gate.set_failing({{7, true}}, {row(7, kA)});
  (void)gate.lets_pass(row(9, kA));
  gate.set_failing({{7, true}, {9, true}}, {row(9, kA)});

  gate.set_failing({{9, true}}, {});

  EXPECT_THAT(gate.due_heads(all_shards(), 10), ElementsAre(9));
}

TEST(KeyGate, LeavesTheHeadsOfOthersShardsAlone) {
  KeyGate gate;
  gate.set_failing({{7, true}, {8, true}}, {row(7, kA, 3), row(8, kB, 4)});

  EXPECT_THAT(gate.due_heads({4, 5}, 10), ElementsAre(8));
}

TEST(KeyGate, IgnoresAFailingRowThatIsGone) {
  KeyGate gate;
  gate.set_failing({{7, true}}, {});

  EXPECT_THAT(gate.due_heads(all_shards(), 10), IsEmpty());
  EXPECT_TRUE(gate.is_open());
}

TEST(KeyGate, PassesOverWhatIsSetAside) {
  KeyGate gate;
  gate.set_failing({{5, true}}, {row(5, kB)});
  gate.set_aside({row(3, kA), row(4, std::nullopt), row(5, kB)});

  EXPECT_FALSE(gate.lets_pass(row(6, kA)));
  EXPECT_TRUE(gate.is_waiting(4));
  EXPECT_TRUE(gate.lets_pass(row(7, std::nullopt)));
  EXPECT_THAT(gate.due_heads(all_shards(), 10), IsEmpty());

  gate.clear_aside();

  EXPECT_FALSE(gate.is_waiting(3));
  EXPECT_FALSE(gate.is_waiting(4));
  EXPECT_FALSE(gate.is_waiting(6));
  EXPECT_THAT(gate.due_heads(all_shards(), 10), ElementsAre(5));
}

TEST(KeyGate, KeepsWhatIsSetAsideWhenItForgetsTheRest) {
  KeyGate gate;
  gate.set_failing({{7, false}}, {row(7, kB)});
  (void)gate.lets_pass(row(8, kB));
  gate.set_aside({row(3, kA)});

  gate.forget_waiting();

  EXPECT_TRUE(gate.is_waiting(3));
  EXPECT_FALSE(gate.is_waiting(8));
  EXPECT_FALSE(gate.lets_pass(row(8, kB)));
}

}  // namespace
}  // namespace oncemark::outbox
