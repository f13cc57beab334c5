#include <oncemark/outbox/shards.hpp>

#include <numeric>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/mysql/errors.hpp>

#include <oncemark/core/error.hpp>

#include "outbox_fixture.hpp"

namespace oncemark::outbox {
namespace {

using ::testing::SizeIs;

class ShardLeaseTest : public OutboxTest {
 protected:
  /// What a relay does all the time: keeps the lease, and takes it anew when told so or when it was lost.
  static void turn(ShardLease& lease) {
    try {
      if (lease.keep()) lease.take();
    } catch (const mysql::MysqlError& error) {
      EXPECT_TRUE(error.is_infrastructure()) << error.what();  // silent for too long on a busy machine
    }
  }
};

TEST_F(ShardLeaseTest, HoldsAllWhenItIsAlone) {
  ShardLease lease(pool_, "main");
  std::vector<int> all(kShards);
  std::iota(all.begin(), all.end(), 0);

  EXPECT_EQ(lease.take(), all);
  EXPECT_FALSE(lease.keep());
  EXPECT_EQ(live_relays(pool_, "main"), 1);
  EXPECT_EQ(live_relays(pool_, "other"), 0);
}

TEST_F(ShardLeaseTest, SharesWithOneThatJoins) {
  ShardLease first(pool_, "main");
  first.take();
  ShardLease second(pool_, "main");
  EXPECT_THAT(second.take(), SizeIs(0));

  EXPECT_TRUE(first.keep());
  EXPECT_THAT(first.take(), SizeIs(32));
  EXPECT_THAT(second.take(), SizeIs(32));

  std::set<int> both(first.held().begin(), first.held().end());
  both.insert(second.held().begin(), second.held().end());
  EXPECT_THAT(both, SizeIs(kShards));
  EXPECT_FALSE(first.keep());
  EXPECT_FALSE(second.keep());
}

TEST_F(ShardLeaseTest, CoversAllShardsWhenTheyCannotBeSharedEvenly) {
  ShardLease a(pool_, "main"), b(pool_, "main"), c(pool_, "main");
  for (ShardLease* lease : {&a, &b, &c}) lease->take();

  EXPECT_TRUE(eventually(5s, [&] {
    std::set<int> all;
    for (ShardLease* lease : {&a, &b, &c}) {
      turn(*lease);
      all.insert(lease->held().begin(), lease->held().end());
    }
    return all.size() == kShards;
  }));

  for (ShardLease* lease : {&a, &b, &c}) EXPECT_LE(lease->held().size(), 22u);
}

TEST_F(ShardLeaseTest, TakesOverWhatAnotherLeaves) {
  ShardLease first(pool_, "main");
  {
    ShardLease second(pool_, "main");
    second.take();
    first.take();
    EXPECT_THAT(first.held(), SizeIs(0));
  }

  EXPECT_TRUE(first.keep());
  EXPECT_THAT(first.take(), SizeIs(kShards));
  EXPECT_EQ(live_relays(pool_, "main"), 1);
}

TEST_F(ShardLeaseTest, LeavesOtherRelaysAlone) {
  ShardLease main(pool_, "main"), shipping(pool_, "shipping");

  EXPECT_THAT(main.take(), SizeIs(kShards));
  EXPECT_THAT(shipping.take(), SizeIs(kShards));
}

TEST_F(ShardLeaseTest, IsLostBySilence) {
  ShardLease hung(pool_, "main", 1s);
  ShardLease successor(pool_, "main");
  hung.take();
  EXPECT_THAT(successor.take(), SizeIs(0));

  EXPECT_TRUE(eventually(3s, [&] {
    turn(successor);
    return successor.held().size() == kShards;
  }));

  EXPECT_GE(hung.silent_for(), 1s);
  EXPECT_THROW((void)hung.keep(), Error);
  EXPECT_THAT(hung.held(), SizeIs(0));
  hung.take();
  turn(successor);
  turn(hung);
  EXPECT_THAT(hung.take(), SizeIs(32));
}

TEST_F(ShardLeaseTest, IsRenewedBeforeItsTransactionGrowsOld) {
  ShardLease lease(pool_, "main");
  lease.take();
  EXPECT_FALSE(lease.keep());

  EXPECT_TRUE(eventually(5s, [&] { return lease.keep(); }));

  EXPECT_THAT(lease.take(), SizeIs(kShards));
  EXPECT_FALSE(lease.keep());
}

TEST_F(ShardLeaseTest, StartsTogetherWithOthersOnAnEmptyTable) {
  std::vector<std::thread> threads;
  std::vector<std::unique_ptr<ShardLease>> leases;
  for (int i = 0; i < 4; ++i) leases.push_back(std::make_unique<ShardLease>(pool_, "main"));
  for (auto& lease : leases) threads.emplace_back([&] { lease->take(); });
  for (std::thread& thread : threads) thread.join();

  EXPECT_TRUE(eventually(10s, [&] {
    for (auto& lease : leases) turn(*lease);
    return std::all_of(leases.begin(), leases.end(), [](auto& lease) { return lease->held().size() == 16; });
  }));
}

}  // namespace
}  // namespace oncemark::outbox
