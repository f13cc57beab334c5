// Where parked sequences end: limits, switching the order off, and many instances at once.
#include <random>

#include "integration/ordered/ordered_fixture.hpp"

namespace oncemark {
namespace {

using ::testing::ElementsAre;

TEST_F(OrderedTest, AFullSequenceHoldsReadingAndGoesOnByItself) {
  script_.always_fail("a0");
  std::vector<std::string> ids{"a0", "a1", "a2", "a3"};
  for (int i = 0; i < 60; ++i) ids.push_back("b" + std::to_string(i));
  auto instance = start(log_of(ids), {.retries = {.max_attempts = 1'000,
                                                  .delays = retry::Schedule::fixed(50ms),
                                                  .order = retry::Order::by_key,
                                                  .max_parked_per_key = 2},
                                      .max_in_flight = 20});

  ASSERT_TRUE(eventually(10s, [&] { return parked() == 2 && effects_of("b").size() >= 10; }));
  ASSERT_TRUE(eventually(10s, [&] { return instance->source().is_held_off(); }));
  EXPECT_LT(effects_of("b").size(), 60u) << "reading ran away from the message that waits for room";
  EXPECT_LE(instance->source().committed("orders"), 2);
  expect_sound();
  script_.heal("a0");

  ASSERT_TRUE(eventually(20s, [&] { return effects() == 64; }));
  EXPECT_TRUE(instance->source().wait_for_commit("orders", 64));
  EXPECT_THAT(effects_of("a"), ElementsAre("a0", "a1", "a2", "a3"));
  expect_all_over();
}

TEST_F(OrderedTest, TheLimitForAllHoldsFailuresOfOtherKeysToo) {
  for (const char* id : {"a0", "b0", "c0"}) script_.always_fail(id);
  auto instance = start(log_of({"a0", "a1", "b0", "c0", "d0"}), {.retries = {.max_attempts = 1'000,
                                                                             .delays = retry::Schedule::fixed(50ms),
                                                                             .order = retry::Order::by_key,
                                                                             .max_parked = 2}});

  ASSERT_TRUE(eventually(10s, [&] { return parked() >= 2 && effects() == 1; }));
  expect_sound();
  for (const char* id : {"a0", "b0", "c0"}) script_.heal(id);

  ASSERT_TRUE(eventually(20s, [&] { return effects() == 5; }));
  EXPECT_TRUE(instance->source().wait_for_commit("orders", 5));
  expect_all_over();
}

TEST_F(OrderedTest, WhatIsParkedIsWorkedOffInOrderAfterTheOrderIsSwitchedOff) {
  script_.always_fail("a0");
  auto before = start(log_of({"a0", "a1"}), {.retries = {.delays = {10s}, .order = retry::Order::by_key}});
  ASSERT_TRUE(eventually(10s, [&] { return parked() == 2; }));
  before->stop();
  pool_.transact([](mysql::Transaction& tx) { tx.execute("UPDATE parked_key SET due_at = UTC_TIMESTAMP(6)"); });
  script_.fail("a0", 1);
  script_.close_gate("a0");

  auto after = start(log_of({"a0", "a1", "a2", "b0"}), {.retries = {.delays = {50ms, 50ms}}});
  ASSERT_TRUE(eventually(10s, [&] { return after->source().committed("orders") == 4; }));
  EXPECT_EQ(parked(), 3) << "a later message of a parked key was not appended";
  script_.open_gate("a0");

  ASSERT_TRUE(eventually(10s, [&] { return effects() == 4; }));
  EXPECT_THAT(effects_of("a"), ElementsAre("a0", "a1", "a2"));
  expect_all_over();
}

TEST_F(OrderedTest, WhereNothingIsParkedNobodyLooks) {
  script_.fail("a0", 1);
  auto instance = start(log_of({"a0", "a1"}), {.retries = {.delays = {10s}}});

  ASSERT_TRUE(eventually(10s, [&] { return in_state("retrying") == 1 && effects() == 1; }));
  EXPECT_THAT(effects_of("a"), ElementsAre("a1")) << "without by_key a retry is overtaken";
  EXPECT_EQ(parked(), 0);
}

/// Several owners of the same log at once, as after rebalances whose losers have not noticed (but under different
/// partitions: the watch against crash loops would take them for processes that died one after the other). Heads fail,
/// drivers race for them, and messages arrive while their key is let go.
TEST_F(OrderedTest, ManyInstancesKeepEveryKeyInOrder) {
  std::mt19937 random(42);
  std::vector<std::string> ids;
  std::map<std::string, int> next;
  for (int i = 0; i < 240; ++i) {
    const std::string key(1, static_cast<char>('a' + random() % 5));
    if (random() % 8 == 0 && next[key] > 0) {
      ids.push_back(key + std::to_string(random() % static_cast<unsigned>(next[key])));  // a copy
      continue;
    }
    const std::string id = key + std::to_string(next[key]++);
    if (random() % 4 == 0) script_.fail(id, 1 + static_cast<int>(random() % 2));
    ids.push_back(id);
  }
  const Options options{.retries = {.max_attempts = 50,
                                    .delays = retry::Schedule::fixed(10ms),
                                    .order = retry::Order::by_key,
                                    .max_parked_per_key = 20},
                        .partitions = 3};
  std::vector<std::unique_ptr<Instance>> instances;
  for (int i = 0; i < 3; ++i) instances.push_back(start(log_of(ids, 0, i), options));

  std::int64_t distinct = 0;
  for (const auto& [key, n] : next) distinct += n;
  ASSERT_TRUE(eventually(60s, [&] { return effects() == distinct && parked() == 0; }))
      << effects() << " of " << distinct << " effects, " << parked() << " parked";
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(instances[static_cast<std::size_t>(i)]->source().wait_for_commit("orders", 240, i));
  }
  for (const auto& instance : instances) instance->stop();

  EXPECT_EQ(effects(), distinct);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter"), 0);
  for (const auto& [key, n] : next) {
    std::vector<std::string> in_order;
    for (int i = 0; i < n; ++i) in_order.push_back(key + std::to_string(i));
    EXPECT_EQ(effects_of(key), in_order);
  }
  expect_all_over();
}

}  // namespace
}  // namespace oncemark
