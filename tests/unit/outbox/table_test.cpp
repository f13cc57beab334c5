#include <oncemark/outbox/table.hpp>

#include <array>
#include <string>

#include <gtest/gtest.h>

namespace oncemark::outbox {
namespace {

// A change of these numbers moves keys to other shards, where they can overtake what is still unsent.
TEST(ShardOf, NeverChanges) {
  EXPECT_EQ(shard_of("order-1", "m"), 54);
  EXPECT_EQ(shard_of("order-2", "m"), 28);
  EXPECT_EQ(shard_of("", "m"), 2);
  EXPECT_EQ(shard_of(std::string("\0\xff", 2), "m"), 51);
}

TEST(ShardOf, TakesTheMessageIdWhereThereIsNoKey) {
  EXPECT_EQ(shard_of(nullptr, "order-1"), shard_of("order-1", "another id"));
  EXPECT_NE(shard_of(nullptr, "order-1"), shard_of(nullptr, "order-2"));
}

TEST(ShardOf, UsesEveryShard) {
  std::array<int, kShards> hits{};
  for (int i = 0; i < 64 * 100; ++i) ++hits.at(shard_of(std::to_string(i), ""));

  for (const int hit : hits) EXPECT_GT(hit, 50);
}

TEST(Status, HasTheNamesOfTheColumn) {
  EXPECT_EQ(to_string(Status::waiting), "waiting");
  EXPECT_EQ(to_string(Status::pending), "pending");
  EXPECT_EQ(to_string(Status::sent), "sent");
  EXPECT_EQ(to_string(Status::failing), "failing");
  EXPECT_EQ(to_string(Status::dead), "dead");
}

}  // namespace
}  // namespace oncemark::outbox
