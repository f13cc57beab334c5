// Replays that are planned, paused, and held back by what becomes of their letters.
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <oncemark/core/faults.hpp>
#include <oncemark/dead_letter/replay.hpp>

#include "support/eventually.hpp"
#include "support/letters.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::dead_letter {
namespace {

using namespace std::chrono_literals;
using oncemark::testing::bury;
using oncemark::testing::bury_orders;
using oncemark::testing::eventually;
using oncemark::testing::order_message;
using ::testing::HasSubstr;

class FrozenReplayTest : public ::testing::Test {
 protected:
  [[nodiscard]] static ReplayOrder order(Pace pace = {}) {
    return {.selection = {.consumer = "shipping"}, .pace = std::move(pace), .operator_name = "ann", .reason = "why"};
  }
  [[nodiscard]] std::uint64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query(sql).at(0).get<std::uint64_t>(0); });
  }
  void execute(const std::string& sql) {
    pool_.transact([&](mysql::Transaction& tx) { tx.execute(sql); });
  }
  [[nodiscard]] std::uint64_t retries_sent() {
    return count("SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'retry:%'");
  }
  /// What consumers would do with so many of the replayed letters.
  void settle(const char* state, int letters) {
    pool_.transact([&](mysql::Transaction& tx) {
      for (const mysql::Row& row : tx.query("SELECT message_key FROM consumed_message WHERE state = 'retrying' "
                                            "ORDER BY message_key LIMIT ?",
                                            letters)) {
        tx.execute("UPDATE consumed_message SET state = ? WHERE message_key = ?", state, row.get<std::string>(0));
        tx.execute("UPDATE dead_letter SET state = 'replayed' WHERE identity = ? AND state = 'replaying'",
                   row.get<std::string>(0));
      }
    });
  }
  ReplayJob run(const ReplayOrder& what) {
    Replay replay(pool_);
    (void)replay.start(what);
    return replay.run({}, {});
  }

  oncemark::testing::TempSchema schema_{oncemark::testing::Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(FrozenReplayTest, APlanHoldsJustTheLettersOfItsTime) {
  const auto letters = bury_orders(pool_, 3);
  execute("UPDATE dead_letter SET state = 'archived' WHERE identity = 'o-2'");
  Replay planner(pool_);
  const ReplayJob plan = planner.save(order(), planner.plan(order()));
  bury(pool_, order_message("late"));
  execute("UPDATE dead_letter SET state = 'dead' WHERE identity = 'o-2'");  // restored: it was not in the plan

  Replay replay(pool_);
  (void)replay.resume(plan.id, {});
  const ReplayJob done = replay.run({}, {});

  EXPECT_EQ(plan.state, "planned");
  EXPECT_EQ(done.replayed, 2u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'dead'"), 2u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_selection"), 0u) << "what was frozen goes with the end";
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE action = 'plan' AND job_id = 1 AND reason = 'why'"), 1u);
}

TEST_F(FrozenReplayTest, AFilterChoosesAmongWhatIsSelected) {
  bury_orders(pool_, 5);
  ReplayOrder odd = order();
  odd.filter = {.accepts = [](const Letter& letter) { return letter.message.payload != "payload of o-2"; },
                .needs = Detail::with_record};
  odd.limit = 3;

  EXPECT_EQ(run(odd).replayed, 3u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'dead' AND identity IN ('o-2', 'o-5')"), 2u);
}

TEST_F(FrozenReplayTest, ByOriginTheLettersOfAKeyGoOutAsTheyWereSent) {
  for (const int offset : {5, 3, 9, 1}) bury(pool_, order_message("o-" + std::to_string(offset), offset));
  ReplayOrder in_order = order();
  in_order.turn = Turn::by_origin;

  EXPECT_EQ(run(in_order).replayed, 4u);

  EXPECT_EQ(pool_.transact([](mysql::Transaction& tx) {
    std::string ids;
    for (const mysql::Row& row :
         tx.query("SELECT message_id FROM outbox_message WHERE purpose LIKE 'retry:%' ORDER BY id")) {
      ids += row.get<std::string>(0) + " ";
    }
    return ids;
  }),
            "o-1 o-3 o-5 o-9 ");
}

TEST_F(FrozenReplayTest, LeavesLoopersWhereTheyAreAndAuditsThem) {
  bury_orders(pool_, 2);
  execute("UPDATE dead_letter SET life = 3 WHERE identity = 'o-1'");
  execute("UPDATE consumed_message SET life = 3 WHERE message_key = 'o-1'");

  const ReplayPlan plan = Replay(pool_).plan(order());
  const ReplayJob job = run(order());
  EXPECT_EQ(plan.guarded, 1u);
  EXPECT_EQ(job.replayed, 1u);
  EXPECT_EQ(job.guarded, 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE identity = 'o-1' AND outcome = 'guarded:life 3'"), 1u);

  ReplayOrder once_more = order();
  once_more.max_replays = 3;
  EXPECT_EQ(run(once_more).replayed, 1u);
}

TEST_F(FrozenReplayTest, GoesOnAfterACanaryThatWentWell) {
  bury_orders(pool_, 6);
  Replay replay(pool_);
  (void)replay.start(order({.canary = 2, .canary_wait = 60s}));
  std::uint64_t at_canary = 0;

  const ReplayJob job = replay.run({}, [&](const ReplayJob& now) {
    if (now.note.empty()) return;
    at_canary = now.replayed;
    EXPECT_THAT(now.note, HasSubstr("canary: 0 of 2 done"));
    settle("done", 2);
  });

  EXPECT_EQ(at_canary, 2u);
  EXPECT_EQ(job.state, "done");
  EXPECT_EQ(job.replayed, 6u);
}

TEST_F(FrozenReplayTest, PausesWhenTheCanaryFailsAgain) {
  bury_orders(pool_, 6);
  Replay replay(pool_);
  (void)replay.start(order({.canary = 2, .canary_wait = 60s}));

  const ReplayJob job = replay.run({}, [&](const ReplayJob& now) {
    if (!now.note.empty()) settle("dead", 2);
  });

  EXPECT_EQ(job.state, "paused");
  EXPECT_EQ(job.replayed, 2u);
  EXPECT_THAT(job.note, HasSubstr("2 failed again"));
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'dead'"), 4u);
}

TEST_F(FrozenReplayTest, ACanaryThatIsNotSettledInTimeCountsAsFailed) {
  bury_orders(pool_, 3);

  const ReplayJob job = run(order({.canary = 1, .canary_wait = 1s}));

  EXPECT_EQ(job.state, "paused");
  EXPECT_THAT(job.note, HasSubstr("1 were not settled in time"));
  Replay replay(pool_);  // whoever resumes has the canary looked at again
  (void)replay.resume(job.id, {});
  settle("done", 1);
  EXPECT_EQ(replay.run({}, {}).state, "done");
}

TEST_F(FrozenReplayTest, AfterARepairANewCanaryGoesFirst) {
  bury_orders(pool_, 6);
  const ReplayJob paused = run(order({.canary = 2, .canary_wait = 0s}));
  settle("dead", 2);
  Replay replay(pool_);
  (void)replay.resume(paused.id, {});

  const ReplayJob still = replay.run({}, {});  // nobody has settled the second one
  EXPECT_EQ(still.state, "paused");
  EXPECT_EQ(still.replayed, 4u);
  settle("done", 2);
  (void)replay.resume(paused.id, {});
  const ReplayJob done = replay.run({}, {});

  EXPECT_EQ(done.state, "done");
  EXPECT_EQ(done.replayed, 6u);
}

TEST_F(FrozenReplayTest, PausesWhenTooManyFailAgainLater) {
  bury_orders(pool_, 60);
  Replay replay(pool_, {.together = 1});
  (void)replay.start(order({.rate = 100, .stop_if_failed_over = 0.2}));

  const ReplayJob job = replay.run({}, [&](const ReplayJob& now) {
    if (now.replayed == 25) {
      settle("done", 10);
      settle("dead", 15);
    }
    // The judge looks every two seconds: hold the job until it has.
    if (now.replayed == 50) std::this_thread::sleep_for(2s);
  });

  EXPECT_EQ(job.state, "paused");
  EXPECT_THAT(job.note, HasSubstr("15 failed again; allowed: 20 %"));
  (void)replay.resume(job.id, {});
  EXPECT_EQ(replay.run({}, {}).state, "done") << "what failed before the repair does not count";
}

TEST_F(FrozenReplayTest, KeepsAtMostSoManyInFlight) {
  bury_orders(pool_, 9);
  Replay replay(pool_);
  const ReplayJob started = replay.start(order({.in_flight = 3}));
  std::jthread consumer([&](std::stop_token stop) {
    while (!stop.stop_requested()) {
      EXPECT_LE(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replaying'"), 3u);
      settle("done", 2);
    }
  });

  EXPECT_EQ(replay.run({}, {}).replayed, 9u);
  (void)started;
}

TEST_F(FrozenReplayTest, ARampBeginsSlowly) {
  bury_orders(pool_, 40);
  Replay replay(pool_);
  (void)replay.start(order({.ramp = {2, 1'000}, .ramp_every = 1s}));
  const auto began = std::chrono::steady_clock::now();
  std::uint64_t in_the_first_second = 0;

  const ReplayJob job = replay.run({}, [&](const ReplayJob& now) {
    if (std::chrono::steady_clock::now() - began < 900ms) in_the_first_second = now.replayed;
  });

  EXPECT_EQ(job.replayed, 40u);
  EXPECT_LE(in_the_first_second, 3u);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 10s);  // all of it at the first rate would take twenty
}

TEST_F(FrozenReplayTest, PausingAndCancellingFromOutsideEndsTheRun) {
  bury_orders(pool_, 40);
  Replay replay(pool_, {.together = 1});
  const ReplayJob started = replay.start(order({.rate = 50}));

  const ReplayJob held = replay.run({}, [&](const ReplayJob& now) {
    if (now.replayed == 3) (void)pause_job(pool_, started.id, "bob", "it hurts");
  });
  EXPECT_EQ(held.state, "paused");
  EXPECT_EQ(retries_sent(), 3u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE action = 'pause' AND operator = 'bob'"), 1u);
  EXPECT_THROW((void)pause_job(pool_, started.id, "bob", ""), MisuseError);

  EXPECT_EQ(cancel_job(pool_, started.id, "bob", "").state, "cancelled");
  EXPECT_THROW((void)Replay(pool_).resume(started.id, {}), MisuseError);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_selection"), 0u);
  EXPECT_THROW((void)cancel_job(pool_, 99, "bob", ""), MisuseError);
}

TEST_F(FrozenReplayTest, APauseReachesARunThatWaits) {
  bury_orders(pool_, 3);
  Replay replay(pool_);
  const ReplayJob started = replay.start(order({.rate = 0.001}));
  std::jthread other([&] {
    EXPECT_TRUE(eventually(10s, [&] { return retries_sent() == 1; }));
    (void)pause_job(pool_, started.id, "bob", "");
  });

  EXPECT_EQ(replay.run({}, {}).state, "paused");
}

}  // namespace
}  // namespace oncemark::dead_letter
