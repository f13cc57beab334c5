#include <oncemark/dead_letter/replay.hpp>

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <oncemark/core/faults.hpp>
#include <oncemark/dead_letter/trail.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>

#include "support/eventually.hpp"
#include "support/letters.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::dead_letter {
namespace {

using namespace std::chrono_literals;
using oncemark::testing::bury;
using oncemark::testing::bury_orders;
using oncemark::testing::order_message;
using ::testing::HasSubstr;
using steady = std::chrono::steady_clock;

constexpr ReplayOptions kOneByOne{.together = 1};

class ReplayTest : public ::testing::Test {
 protected:
  ~ReplayTest() override { faults::disarm(); }

  [[nodiscard]] static ReplayOrder order(double rate = 0) {
    return {
        .selection = {.consumer = "shipping"}, .pace = {.rate = rate}, .operator_name = "ann", .reason = "fixed #7"};
  }
  ReplayJob replay_all(ReplayOptions options = {}) {
    Replay replay(pool_, options);
    (void)replay.start(order());
    return replay.run({}, {});
  }
  [[nodiscard]] std::uint64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query(sql).at(0).get<std::uint64_t>(0); });
  }
  [[nodiscard]] std::uint64_t retries_sent() {
    return count("SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'retry:%'");
  }
  [[nodiscard]] Trail trail(std::uint64_t id) {
    return pool_.transact([&](mysql::Transaction& tx) { return trail_of(tx, *find_letter(tx, id)); });
  }
  /// The record as the group would read it from its retry topic.
  [[nodiscard]] Message next_delivery(const std::string& message_id) {
    return pool_.transact([&](mysql::Transaction& tx) {
      const auto row = tx.query_row(
          "SELECT message_key, payload, headers FROM outbox_message "
          "WHERE message_id = ? AND purpose LIKE 'retry:%' ORDER BY id DESC LIMIT 1",
          message_id);
      Record record{.position = {.topic = "retry.shipping.orders"},
                    .key = row->get<Bytes>(0),
                    .payload = row->get<Bytes>(1),
                    .headers = decode_headers(row->get<std::string>(2))};
      record.headers.set(names::kMessageId, message_id);
      return decode_retry_record(record);
    });
  }

  oncemark::testing::TempSchema schema_{oncemark::testing::Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(ReplayTest, StartsTheNextLifeOfEachLetter) {
  const auto letters = bury_orders(pool_, 2);

  const ReplayJob job = replay_all();

  EXPECT_EQ(job.state, "done");
  EXPECT_EQ(job.replayed, 2u);
  EXPECT_EQ(job.skipped, 0u);
  EXPECT_EQ(job.checkpoint, 2u);
  const Trail now = trail(letters[0]);
  EXPECT_EQ(now.standing->state, ledger::State::retrying);
  EXPECT_EQ(now.standing->life, 2u);
  EXPECT_EQ(now.standing->attempt, 0u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replaying'"), 2u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 2u);
}

TEST_F(ReplayTest, SendsTheRecordAsItWasToTheGroupsRetryTopic) {
  const Message message = order_message("o-1");
  bury(pool_, message);

  (void)replay_all();

  const Message again = next_delivery("o-1");
  EXPECT_EQ(again.life, 2u);
  EXPECT_EQ(again.attempt, 1u);
  EXPECT_EQ(again.key, message.key);
  EXPECT_EQ(again.payload, message.payload);
  EXPECT_EQ(again.origin, message.origin);
  EXPECT_EQ(again.headers.text("trace"), "t-o-1");
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE topic = 'retry.shipping.orders' AND relay = 'shipping' "
                  "AND status = 'pending' AND CONVERT(headers USING utf8mb4) LIKE '%om-replay-id%'"),
            1u);
}

TEST_F(ReplayTest, ItsRecordIsClaimedOnceAndSettlesTheLetter) {
  const auto id = bury(pool_, order_message("o-1"));
  (void)replay_all();
  const Message again = next_delivery("o-1");
  const auto claim = [&] {
    return pool_.transact([&](mysql::Transaction& tx) { return ledger::claim(tx, "shipping", again).is_fresh; });
  };

  EXPECT_TRUE(claim());
  EXPECT_FALSE(claim());

  EXPECT_EQ(trail(id).standing->state, ledger::State::done);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'replayed'"), 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0u);
}

TEST_F(ReplayTest, AMessageThatDiesAgainHasASecondLetterThatCanBeReplayed) {
  bury(pool_, order_message("o-1"));
  (void)replay_all();
  bury(pool_, next_delivery("o-1"));

  const ReplayJob second = replay_all();

  EXPECT_EQ(second.replayed, 1u);
  EXPECT_EQ(next_delivery("o-1").life, 3u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE life = 1 AND state = 'replayed'"), 1u);
}

TEST_F(ReplayTest, AuditsWhoAndWhy) {
  const auto id = bury(pool_, order_message("o-1"));

  const ReplayJob job = replay_all();

  const Trail now = trail(id);
  ASSERT_EQ(now.audits.size(), 1u);
  EXPECT_EQ(now.audits[0].job_id, job.id);
  EXPECT_EQ(now.audits[0].outcome, "replayed");
  EXPECT_EQ(now.audits[0].operator_name, "ann");
  EXPECT_EQ(now.audits[0].reason, "fixed #7");
}

TEST_F(ReplayTest, TakesLettersTogetherAndOneThatIsToBlameAlone) {
  const auto letters = bury_orders(pool_, 40);
  pool_.transact([&](mysql::Transaction& tx) {  // can be no topic
    tx.execute("UPDATE dead_letter SET origin_group = REPEAT('g', 250) WHERE id = ?", letters[4]);
  });
  Replay replay(pool_);
  (void)replay.start(order());
  int transactions = 0;

  const ReplayJob job = replay.run({}, [&](const ReplayJob&) { ++transactions; });

  EXPECT_EQ(job.replayed, 39u);
  EXPECT_EQ(job.refused, 1u);
  EXPECT_EQ(retries_sent(), 39u);
  EXPECT_LT(transactions, 12) << "they did not share their commits";
  EXPECT_THROW(Replay(pool_, {.together = 0}), MisuseError);
}

TEST_F(ReplayTest, ASecondReplayFindsNothingToDo) {
  bury_orders(pool_, 3);
  (void)replay_all();

  EXPECT_EQ(replay_all().selected, 0u);
  EXPECT_EQ(retries_sent(), 3u);
}

TEST_F(ReplayTest, SkipsALetterThatIsNoLongerDeadAndAuditsWhatItIs) {
  const auto letters = bury_orders(pool_, 3);
  Replay replay(pool_, kOneByOne);
  (void)replay.start(order());

  // The second one is discarded by somebody else once the first is done.
  const ReplayJob job = replay.run({}, [&](const ReplayJob& now) {
    if (now.checkpoint != 1) return;
    pool_.transact([&](mysql::Transaction& tx) {
      tx.execute("UPDATE consumed_message SET state = 'discarded' WHERE message_key = 'o-2'");
    });
  });

  EXPECT_EQ(job.replayed, 2u);
  EXPECT_EQ(job.skipped, 1u);
  EXPECT_EQ(trail(letters[1]).audits.at(0).outcome, "skipped:discarded");
  EXPECT_EQ(trail(letters[1]).standing->life, 1u);
}

TEST_F(ReplayTest, CountsWhatHadGoneBeforeItsTurnAsSkipped) {
  const auto letters = bury_orders(pool_, 2);
  Replay replay(pool_);
  (void)replay.start(order());
  pool_.transact([&](mysql::Transaction& tx) {
    tx.execute("UPDATE dead_letter SET state = 'replaying' WHERE id = ?", letters[0]);
  });

  const ReplayJob job = replay.run({}, {});

  EXPECT_EQ(job.replayed, 1u);
  EXPECT_EQ(job.skipped, 1u);
}

TEST_F(ReplayTest, TakesNoLetterThatDiesAfterTheStart) {
  bury_orders(pool_, 2);
  Replay replay(pool_);
  EXPECT_EQ(replay.start(order()).selected, 2u);
  bury(pool_, order_message("late"));

  EXPECT_EQ(replay.run({}, {}).replayed, 2u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'dead'"), 1u);
}

TEST_F(ReplayTest, TakesTheOldestUpToTheLimit) {
  const auto letters = bury_orders(pool_, 3);
  ReplayOrder two = order();
  two.limit = 2;
  Replay replay(pool_);

  EXPECT_EQ(replay.start(two).selected, 2u);
  EXPECT_EQ(replay.run({}, {}).replayed, 2u);
  EXPECT_EQ(count("SELECT id FROM dead_letter WHERE state = 'dead'"), letters[2]);
}

TEST_F(ReplayTest, PlansWithoutTouchingAnything) {
  const auto letters = bury_orders(pool_, 2);
  bury(pool_, order_message("o-9"), "billing");

  const ReplayPlan plan = Replay(pool_).plan(order());

  EXPECT_EQ(plan.letters, letters);
  ASSERT_EQ(plan.targets.size(), 1u);
  EXPECT_EQ(plan.targets[0].topic, "retry.shipping.orders");
  EXPECT_EQ(plan.targets[0].letters, 2u);
  ASSERT_EQ(plan.groups.size(), 1u);
  EXPECT_EQ(count("SELECT (SELECT COUNT(*) FROM replay_job) + (SELECT COUNT(*) FROM replay_audit)"), 0u);
  EXPECT_EQ(retries_sent(), 0u);
}

TEST_F(ReplayTest, OnlyOneJobOfAConsumerRunsAtATime) {
  bury_orders(pool_, 2);
  Replay first(pool_);
  const ReplayJob running = first.start(order());

  Replay second(pool_);
  try {
    (void)second.start(order());
    FAIL() << "a second job was started";
  } catch (const JobRunningError& error) {
    EXPECT_EQ(error.job().id, running.id);
    EXPECT_THAT(error.what(), HasSubstr("job " + std::to_string(running.id) + " of ann"));
  }
  EXPECT_THROW((void)second.resume(running.id, {}), JobRunningError);
}

TEST_F(ReplayTest, JobsOfTwoConsumersRunSideBySide) {
  bury(pool_, order_message("o-1"), "billing");
  ReplayOrder other = order();
  other.selection.consumer = "billing";
  Replay first(pool_);
  Replay second(pool_);

  (void)first.start(order());
  (void)second.start(other);

  EXPECT_EQ(second.run({}, {}).replayed, 1u);
  EXPECT_EQ(first.run({}, {}).replayed, 0u);
}

TEST_F(ReplayTest, AStopKeepsTheRestForResume) {
  bury_orders(pool_, 5);
  ReplayJob stopped;
  {
    Replay replay(pool_, kOneByOne);
    (void)replay.start(order());
    std::stop_source stop;
    stopped = replay.run(stop.get_token(), [&](const ReplayJob& now) {
      if (now.replayed == 2) stop.request_stop();
    });
  }
  EXPECT_EQ(stopped.state, "stopped");
  EXPECT_EQ(retries_sent(), 2u);

  Replay replay(pool_);
  EXPECT_EQ(replay.resume(stopped.id, {}).replayed, 2u);
  const ReplayJob done = replay.run({}, {});

  EXPECT_EQ(done.state, "done");
  EXPECT_EQ(done.replayed, 5u);
  EXPECT_EQ(retries_sent(), 5u);
}

TEST_F(ReplayTest, ResumeKeepsTheFrozenSelectionAndTheTarget) {
  bury_orders(pool_, 3);
  ReplayOrder named = order();
  named.selection.message_id = "o-2";
  named.topics.retry = "again.{group}.{topic}";
  named.relay = "carrier";
  std::uint64_t id = 0;
  {
    Replay replay(pool_);
    id = replay.start(named).id;
  }  // as if the process had died

  Replay replay(pool_);
  (void)replay.resume(id, {});
  (void)replay.run({}, {});

  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE topic = 'again.shipping.orders' AND relay = 'carrier' "
                  "AND message_id = 'o-2'"),
            1u);
  EXPECT_EQ(retries_sent(), 1u);
}

TEST_F(ReplayTest, ResumingADoneJobDoesNothing) {
  bury_orders(pool_, 1);
  const ReplayJob done = replay_all();

  Replay replay(pool_);
  EXPECT_EQ(replay.resume(done.id, {}).state, "done");
  EXPECT_EQ(replay.run({}, {}).replayed, 1u);
  EXPECT_THROW((void)replay.resume(done.id + 1, {}), MisuseError);
}

TEST_F(ReplayTest, AJobWhoseProcessDiedIsShownAsInterruptedAndGivesWayToANewOne) {
  bury_orders(pool_, 2);
  { (void)Replay(pool_).start(order()); }
  ASSERT_TRUE(oncemark::testing::eventually(5s, [&] { return replay_jobs(pool_, {}, 10).at(0).state != "running"; }));
  EXPECT_EQ(replay_jobs(pool_, {.consumer = "shipping"}, 10).at(0).state, "interrupted");

  EXPECT_EQ(replay_all().replayed, 2u);

  const auto jobs = replay_jobs(pool_, {}, 10);
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[0].state, "done");
  EXPECT_EQ(jobs[1].state, "stopped");
}

TEST_F(ReplayTest, KeepsToTheRate) {
  bury_orders(pool_, 6);
  Replay replay(pool_);
  (void)replay.start(order(20));

  const auto began = steady::now();
  (void)replay.run({}, {});

  EXPECT_GE(steady::now() - began, 225ms);  // five intervals of 50 ms; the bucket holds a tenth of a second
}

TEST_F(ReplayTest, AStopInTheMiddleOfAWaitTakesEffectAtOnce) {
  bury_orders(pool_, 2);
  Replay replay(pool_);
  (void)replay.start(order(0.001));
  std::stop_source stop;
  steady::time_point asked;
  std::jthread stopper;

  const ReplayJob job = replay.run(stop.get_token(), [&](const ReplayJob&) {
    stopper = std::jthread([&] {
      std::this_thread::sleep_for(100ms);
      asked = steady::now();
      stop.request_stop();
    });
  });

  EXPECT_LT(steady::now() - asked, 500ms);
  EXPECT_EQ(job.replayed, 1u);
  EXPECT_EQ(job.state, "stopped");
}

TEST_F(ReplayTest, TriesAgainAfterAFailureBeforeTheCommit) {
  bury_orders(pool_, 3);
  faults::arm("replay.before_commit:throw@2");

  const ReplayJob job = replay_all(kOneByOne);

  EXPECT_EQ(job.replayed, 3u);
  EXPECT_EQ(retries_sent(), 3u);
}

TEST_F(ReplayTest, DoesNotRepeatALetterWhoseCommitTookEffectUnnoticed) {
  bury_orders(pool_, 3);
  faults::arm("replay.after_commit:throw@2");

  const ReplayJob job = replay_all(kOneByOne);

  EXPECT_EQ(job.replayed, 3u);
  EXPECT_EQ(job.skipped, 0u);
  EXPECT_EQ(retries_sent(), 3u);
}

TEST_F(ReplayTest, GivesUpInTimeWhenTheDatabaseStaysAway) {
  bury_orders(pool_, 2);
  faults::arm("replay.before_commit:throw@1,replay.before_commit:throw@2");
  Replay replay(pool_, {.patience = 0ms});
  const ReplayJob job = replay.start(order());

  EXPECT_THROW((void)replay.run({}, {}), UnavailableError);

  EXPECT_EQ(replay_jobs(pool_, {}, 1).at(0).state, "stopped");
  EXPECT_EQ(Replay(pool_).resume(job.id, {}).state, "running");
}

TEST_F(ReplayTest, GoesOnAfterItsConnectionsWereKilled) {
  bury_orders(pool_, 6);
  Replay replay(pool_, kOneByOne);
  (void)replay.start(order());
  mysql::PoolOptions other = schema_.options();
  other.schema = "information_schema";
  mysql::Pool server(other);

  const ReplayJob job = replay.run({}, [&](const ReplayJob& now) {
    if (now.replayed != 3) return;
    const auto connection = server.acquire();
    const std::array<mysql::Param, 1> schema{mysql::Param(schema_.name())};
    for (const mysql::Row& row : connection->query("SELECT id FROM processlist WHERE db = ?", schema)) {
      connection->control("KILL " + std::to_string(row.get<std::int64_t>(0)));
    }
  });

  EXPECT_EQ(job.state, "done");
  EXPECT_EQ(job.replayed, 6u);
  EXPECT_EQ(retries_sent(), 6u);
}

TEST_F(ReplayTest, PassesOverALetterThatCanNeverBeReplayed) {
  bury_orders(pool_, 2);
  Message odd = order_message("odd");
  odd.topic = odd.origin.topic = std::string(240, 't');
  mysql::Pool& pool = pool_;
  dead_letter::Router router(pool, {.topics = {.retry = "r{group}{topic}", .dead_letter = "d{group}{topic}"}});
  (void)router.route({.message = odd,
                      .consumer = "shipping",
                      .group = "shipping",
                      .error = {.error_class = "permanent", .text = "x", .kind = ErrorKind::permanent}});
  bury(pool_, order_message("last"));

  const ReplayJob job = replay_all();

  EXPECT_EQ(job.state, "done");
  EXPECT_EQ(job.replayed, 3u);
  EXPECT_EQ(job.refused, 1u);
  EXPECT_EQ(job.skipped, 0u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE outcome = 'refused'"), 1u);
}

TEST_F(ReplayTest, NeverHandsAPointerToTheHandlerAsIfItWereTheRecord) {
  const auto limit = count("SELECT @@max_allowed_packet");
  Message huge = order_message("huge");
  huge.payload = std::string(limit, 'x');
  const auto id = bury(pool_, huge);

  const ReplayJob job = replay_all();

  EXPECT_EQ(job.refused, 1u);
  EXPECT_EQ(retries_sent(), 0u);
  EXPECT_EQ(trail(id).standing->state, ledger::State::dead);
}

TEST_F(ReplayTest, RefusesAnOrderThatCannotBeRun) {
  Replay replay(pool_);
  ReplayOrder nobody = order();
  nobody.selection.consumer.reset();
  ReplayOrder backwards = order(-1);
  ReplayOrder long_winded = order();
  long_winded.reason = std::string(1'025, 'x');

  EXPECT_THROW((void)replay.start(nobody), MisuseError);
  EXPECT_THROW((void)replay.start(backwards), MisuseError);
  EXPECT_THROW((void)replay.plan(long_winded), MisuseError);
}

}  // namespace
}  // namespace oncemark::dead_letter
