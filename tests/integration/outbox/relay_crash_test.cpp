#include <algorithm>
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/outbox/relay.hpp>

#include "outbox_fixture.hpp"
#include "relay_process.hpp"

namespace oncemark::outbox {
namespace {

/// What is left when every copy but the first is removed.
std::vector<int> first_occurrences(const std::vector<int>& numbers) {
  std::vector<int> first;
  for (const int number : numbers) {
    if (std::find(first.begin(), first.end(), number) == first.end()) first.push_back(number);
  }
  return first;
}

std::vector<std::string> some_keys(int count) {
  std::vector<std::string> keys;
  for (int i = 0; i < count; ++i) keys.push_back("key" + std::to_string(i));
  return keys;
}

class RelayCrashTest : public OutboxTest {
 protected:
  /// Every number from 1 to `last` of each key, and for the first time in this order.
  void expect_order(std::size_t keys, int last) {
    std::vector<int> all;
    for (int i = 1; i <= last; ++i) all.push_back(i);
    const auto numbers = topic_.by_key();
    EXPECT_EQ(numbers.size(), keys);
    for (const auto& [key, found] : numbers) EXPECT_EQ(first_occurrences(found), all) << key;
  }

  TopicFile topic_;
};

class RelayFailPointTest : public RelayCrashTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(RelayFailPointTest, LosesNothingWhenKilledThere) {
  put_numbered(some_keys(20), 10);
  RelayProcess killed(schema_, topic_.path(), std::string(GetParam()) + ":kill@2");
  EXPECT_EQ(killed.wait(), SIGKILL);
  EXPECT_GT(count("status = 'pending'"), 0u);

  RelayProcess successor(schema_, topic_.path());

  EXPECT_TRUE(all_sent());
  expect_order(20, 10);
}

INSTANTIATE_TEST_SUITE_P(, RelayFailPointTest,
                         ::testing::Values("relay.after_send", "relay.after_ack", "relay.after_mark"),
                         [](const auto& test) { return std::string(test.param).substr(sizeof("relay.") - 1); });

TEST_F(RelayCrashTest, SendsAgainWhatWasSentAndNotMarked) {
  put_numbered({"k"}, 3);
  RelayProcess killed(schema_, topic_.path(), "relay.after_ack:kill");
  EXPECT_EQ(killed.wait(), SIGKILL);
  EXPECT_EQ(topic_.records(), 3u);
  EXPECT_EQ(count("status = 'pending'"), 3u);

  RelayProcess successor(schema_, topic_.path());

  EXPECT_TRUE(all_sent());
  EXPECT_EQ(topic_.by_key().at("k"), (std::vector<int>{1, 2, 3, 1, 2, 3}));
}

TEST_F(RelayCrashTest, IsFollowedSoonByAnotherRelayWhenItIsKilled) {
  RelayProcess killed(schema_, topic_.path());
  put_numbered({"k"}, 1);
  EXPECT_TRUE(all_sent());
  Relay successor(pool_, broker_, quick());
  EXPECT_TRUE(eventually(5s, [&] { return successor.counts().shards == kShards / 2; }));
  killed.signal(SIGKILL);
  killed.wait();

  EXPECT_TRUE(eventually(5s, [&] { return successor.counts().shards == kShards; }));
}

TEST_F(RelayCrashTest, LosesItsShardsWhenItHangsAndSendsNothingAfterwards) {
  put_numbered(some_keys(5), 1);
  RelayProcess hung(schema_, topic_.path(), "relay.after_send:stop");
  EXPECT_TRUE(eventually(10s, [&] { return hung.is_stopped(); }));
  Relay successor(pool_, broker_, quick());

  EXPECT_TRUE(eventually(8s, [&] { return successor.counts().shards == kShards; }));
  EXPECT_TRUE(all_sent(5s));
  put_numbered(some_keys(5), 1, 2);
  EXPECT_TRUE(all_sent(5s));
  hung.signal(SIGCONT);

  EXPECT_TRUE(eventually(5s, [&] { return successor.counts().shards == kShards / 2; }));
  EXPECT_EQ(topic_.records(), 5u);
  EXPECT_EQ(broker_.acked_count(), 10u);
}

TEST_F(RelayCrashTest, KeepsTheOrderOfEachKeyOverTwoRelaysAKillAndAPause) {
  const auto keys = some_keys(40);
  auto first = std::make_unique<RelayProcess>(schema_, topic_.path());
  RelayProcess second(schema_, topic_.path());
  std::unique_ptr<RelayProcess> third;
  for (int i = 1; i <= 400; ++i) {
    put_numbered(keys, 1, i);
    if (i == 100) first.reset();
    if (i == 150) third = std::make_unique<RelayProcess>(schema_, topic_.path());
    if (i == 200) second.signal(SIGSTOP);
    if (i == 350) second.signal(SIGCONT);
    std::this_thread::sleep_for(10ms);
  }

  EXPECT_TRUE(all_sent());
  expect_order(keys.size(), 400);
}

class RelaySharingTest : public OutboxTest {};

TEST_F(RelaySharingTest, SharesTheShardsWithARelayThatJoinsAndTakesThemBackWhenItLeaves) {
  Relay first(pool_, broker_, quick());
  EXPECT_TRUE(eventually(5s, [&] { return first.counts().shards == kShards; }));
  RecordingSink other_broker;
  {
    Relay second(pool_, other_broker, quick());
    EXPECT_TRUE(eventually(5s, [&] { return first.counts().shards == 32 && second.counts().shards == 32; }));
    put_numbered(some_keys(200), 3);
    EXPECT_TRUE(all_sent());
    EXPECT_GT(broker_.acked_count(), 100u);
    EXPECT_GT(other_broker.acked_count(), 100u);
    EXPECT_EQ(broker_.acked_count() + other_broker.acked_count(), 600u);
  }

  EXPECT_TRUE(eventually(5s, [&] { return first.counts().shards == kShards; }));
}

}  // namespace
}  // namespace oncemark::outbox
