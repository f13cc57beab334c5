// Kills a whole consumer process (its two relays included) at every fail point it can pass, while a second one joins
// the group; starts it again; and checks from the tables what the promises say.
#include <oncemark/core/faults.hpp>
#include <oncemark/outbox/writer.hpp>

#include "fault/loop/loop_fixture.hpp"

namespace oncemark {
namespace {

class CrashPoints : public LoopTest, public ::testing::WithParamInterface<std::string> {
 protected:
  static constexpr int kMessages = 60;
  static constexpr int kPoison = 4;
  static constexpr int kUnwanted = 4;
  static constexpr int kWanted = kMessages - kUnwanted;

  CrashPoints() : LoopTest(/*partitions=*/2) {
    pool_.transact([&](mysql::Transaction& tx) {
      for (int i = 0; i < kMessages; ++i) {
        const char* kind = i % 10 == 3 ? "flaky" : i % 15 == 7 ? "poison" : i % 15 == 11 ? "unwanted" : "plain";
        outbox::append(tx, {.topic = topic_,
                            .key = "key-" + std::to_string(i % 7),
                            .payload = "p",
                            .id = std::string(kind) + "-" + std::to_string(i)});
      }
    });
  }

  /// In this order: the row of a message that has ended is there from that commit on.
  bool is_settled() {
    return count("SELECT COUNT(*) FROM consumed_message WHERE state IN ('done', 'dead', 'discarded')") == kMessages &&
           count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'") == 0;
  }
  /// Later ones in repeated runs, so that the process dies in another moment.
  static std::string passage() {
    static int runs = 0;
    return std::to_string(2 + runs++ % 3);
  }
};

TEST_P(CrashPoints, NeitherLoseNorDoubleAnything) {
  auto victim = start("victim", {}, GetParam() + ":kill@" + passage());
  ASSERT_TRUE(eventually(30s, [&] { return victim->has_ended() || effects() > 0; }));
  auto other = start("other");
  ASSERT_TRUE(victim->dies_by_kill(30s)) << "the worker never passed " << GetParam();
  victim = start("victim");
  ASSERT_TRUE(eventually(60s, [&] { return is_settled(); }));

  expect_each_effect_once(kWanted - kPoison);
  expect_order_per_key("plain");
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'dead'"), kPoison);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'discarded'"), kUnwanted);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE outcome = 'discarded'"), kUnwanted);

  replay_all();
  ASSERT_TRUE(eventually(30s, [&] { return is_settled() && effects() == kWanted; }));
  expect_each_effect_once(kWanted);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replayed'"), kPoison);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
  EXPECT_EQ(victim->stop(), 0);
  EXPECT_EQ(other->stop(), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM suspect_message"), 0);
}

/// The fail points of the programs that the worker is made of.
std::vector<std::string> worker_points() {
  std::vector<std::string> points;
  const auto is_elsewhere = [](const std::string& name) {
    for (const char* part :
         {"replay.", "sweeper.", "partitions.", "watchdog.", "topic_replay.", "waiting.", "parked.", "parking.",
          "stuck.", "transaction.", "half.", "checkback.", "direct.", "binlog.", "reconcile.", "letters."}) {
      if (name.starts_with(part)) return true;
    }
    return false;
  };
  for (const std::string& name : faults::names()) {
    if (!is_elsewhere(name)) points.push_back(name);
  }
  return points;
}

INSTANTIATE_TEST_SUITE_P(OfAConsumer, CrashPoints, ::testing::ValuesIn(worker_points()), [](const auto& param) {
  std::string name = param.param;
  for (char& c : name) {
    if (c == '.' || c == '_') c = 'X';
  }
  return name;
});

}  // namespace
}  // namespace oncemark
