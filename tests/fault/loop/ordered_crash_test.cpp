// Kills a consumer whose retries keep the order of a key, at every point where a sequence changes, while a second one
// drives the same sequences; starts it again; and checks from the tables that every key kept its order.
#include <oncemark/core/faults.hpp>
#include <oncemark/dead_letter/replay.hpp>

#include "fault/loop/loop_fixture.hpp"

namespace oncemark {
namespace {

class OrderedCrashPoints : public LoopTest, public ::testing::WithParamInterface<std::string> {
 protected:
  static constexpr int kMessages = 80;
  static constexpr int kPoison = 5;

  OrderedCrashPoints() : LoopTest(/*partitions=*/2) {
    std::vector<std::pair<std::string, std::string>> messages;
    for (int i = 0; i < kMessages; ++i) {
      const char* kind = i % 16 == 9 ? "poison" : i % 4 == 2 ? "flaky" : "plain";
      messages.emplace_back(std::string(kind) + "-" + std::to_string(i), "key-" + std::to_string(i % 5));
    }
    send(messages);
  }

  static std::vector<std::string> ordered(const std::string& on_dead) {
    return {"order=by_key", "on_dead=" + on_dead, "lease=1000", "delay=40"};
  }
  std::int64_t parked() { return count("SELECT COUNT(*) FROM parked_message"); }
  void expect_sequences_sound() {
    EXPECT_EQ(count("SELECT COUNT(*) FROM parked_key k WHERE k.depth <> (SELECT COUNT(*) FROM parked_message p WHERE "
                    "p.consumer = k.consumer AND p.order_key = k.order_key)"),
              0);
    EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message c LEFT JOIN parked_message p ON p.consumer = c.consumer AND "
                    "p.message_key = c.message_key WHERE c.state = 'parked' AND p.seq IS NULL"),
              0);
  }
  /// Until nothing is stopped any more: each letter is replayed in its place.
  bool replay_what_stopped() {
    if (count("SELECT COUNT(*) FROM dead_letter WHERE state = 'dead'") == 0) return effects() == kMessages;
    dead_letter::Replay replay(pool_);
    (void)replay.start({.selection = {.consumer = "shipping"}, .operator_name = "test", .reason = "fixed"});
    (void)replay.run({}, {});
    return false;
  }
  /// Later ones in repeated runs, so that the process dies in another moment.
  static std::string passage() {
    static int runs = 0;
    return std::to_string(1 + runs++ % 3);
  }
};

TEST_P(OrderedCrashPoints, KeepEveryKeyInOrderAndLoseNothing) {
  auto victim = start("victim", ordered("stop_key"), GetParam() + ":kill@" + passage());
  ASSERT_TRUE(eventually(30s, [&] { return victim->has_ended() || effects() > 0; }));
  auto other = start("other", ordered("stop_key"));
  ASSERT_TRUE(victim->dies_by_kill(30s)) << "the worker never passed " << GetParam();
  expect_sequences_sound();
  victim = start("victim", ordered("stop_key"));

  ASSERT_TRUE(eventually(60s, [&] { return replay_what_stopped(); }))
      << effects() << " effects, " << parked() << " parked";
  expect_each_effect_once(kMessages);
  expect_order_per_key();
  EXPECT_EQ(parked(), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM parked_key"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message WHERE state = 'done'"), kMessages);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replayed'"), kPoison);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter"), kPoison) << "two letters in one life";
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'retry:%'"), 0);
  EXPECT_EQ(victim->stop(), 0);
  EXPECT_EQ(other->stop(), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM suspect_message"), 0);
}

/// Where sequences change, and what else a failing message passes.
std::vector<std::string> ordered_points() {
  std::vector<std::string> points;
  for (const std::string& name : faults::names()) {
    if (name.starts_with("parked.") || name.starts_with("parking.") || name.starts_with("router.")) {
      points.push_back(name);
    }
  }
  return points;
}

INSTANTIATE_TEST_SUITE_P(OfSequences, OrderedCrashPoints, ::testing::ValuesIn(ordered_points()), [](const auto& param) {
  std::string name = param.param;
  for (char& c : name) {
    if (c == '.' || c == '_') c = 'X';
  }
  return name;
});

TEST_F(LoopTest, DyingWithFollowersInTheTransactionOfTheirHeadLeavesThemAllParked) {
  constexpr int kOfKey = 13;
  std::vector<std::pair<std::string, std::string>> messages{{"flaky-0", "key-0"}};
  for (int i = 1; i < kOfKey; ++i) messages.emplace_back("plain-" + std::to_string(i), "key-0");
  send(messages);
  const std::vector<std::string> ordered{"order=by_key", "on_dead=stop_key", "lease=1000", "delay=400"};
  // The first transaction of a driver is its head's alone; in the second one eight messages have been run.
  auto worker = start("victim", ordered, "parked.after_handler:kill@2");
  ASSERT_TRUE(worker->dies_by_kill(30s));
  EXPECT_EQ(effects(), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM parked_message"), kOfKey - 1);

  worker = start("victim", ordered);

  ASSERT_TRUE(eventually(30s, [&] { return effects() == kOfKey; }));
  expect_each_effect_once(kOfKey);
  expect_order_per_key();
  ASSERT_TRUE(eventually(10s, [&] { return count("SELECT COUNT(*) FROM parked_key") == 0; }));
  EXPECT_EQ(worker->stop(), 0);
}

TEST_F(LoopTest, DeadMessagesLetTheirKeysGoOnInOrderWhenToldSo) {
  send({{"poison-0", "key-0"},
        {"plain-1", "key-0"},
        {"flaky-2", "key-0"},
        {"plain-3", "key-1"},
        {"poison-4", "key-0"},
        {"plain-5", "key-0"}});
  auto worker = start("worker", {"order=by_key", "on_dead=continue", "delay=40"});

  ASSERT_TRUE(eventually(30s, [&] { return effects() == 4 && count("SELECT COUNT(*) FROM dead_letter") == 2; }));
  ASSERT_TRUE(eventually(10s, [&] { return committed() == 6; }));

  expect_order_per_key();
  EXPECT_EQ(count("SELECT COUNT(*) FROM parked_key"), 0);
  EXPECT_EQ(worker->stop(), 0);
  EXPECT_EQ(worker->counted("dead"), 2);
}

}  // namespace
}  // namespace oncemark
