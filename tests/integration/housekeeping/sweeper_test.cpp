#include <oncemark/housekeeping/sweeper.hpp>

#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/faults.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/horizon.hpp>
#include <oncemark/ledger/suspects.hpp>
#include <oncemark/outbox/writer.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/letters.hpp"
#include "support/marks.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::housekeeping {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using testing::insert_mark;
using testing::insert_old_marks;
using ::testing::IsEmpty;
using testing::Tables;
using testing::TempSchema;

class SweeperTest : public ::testing::Test {
 protected:
  SweepCounts sweep(SweepOptions options = {}) {
    options.pause = 0ms;
    const auto counts = Sweeper(pool_, options).sweep();
    if (!counts) throw std::runtime_error("another sweeper is at work");
    return *counts;
  }
  std::vector<std::string> strings(const std::string& sql) {
    std::vector<std::string> all;
    for (const mysql::Row& row : pool_.transact([&](mysql::Transaction& tx) { return tx.query(sql); })) {
      all.push_back(row.get<std::string>(0));
    }
    return all;
  }
  std::vector<std::string> marks() { return strings("SELECT message_key FROM consumed_message ORDER BY message_key"); }
  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::int64_t>(0); });
  }
  void execute(const std::string& sql) {
    pool_.transact([&](mysql::Transaction& tx) { tx.execute(sql); });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(SweeperTest, RemovesOnlyMarksThatAreSettledAndOld) {
  for (const char* state : {"done", "discarded", "retrying", "parked", "dead"}) {
    insert_mark(pool_, {.key = std::string("old-") + state, .state = state});
    insert_mark(pool_, {.key = std::string("young-") + state, .state = state, .days = 6});
  }

  EXPECT_EQ(sweep(), (SweepCounts{.marks = 2, .marks_seen = 10}));

  EXPECT_THAT(marks(), ElementsAre("old-dead", "old-parked", "old-retrying", "young-dead", "young-discarded",
                                   "young-done", "young-parked", "young-retrying"));
}

TEST_F(SweeperTest, RaisesTheHorizonToTheYoungestEventItRemoved) {
  insert_mark(pool_, {.key = "a", .event_days = 30});
  insert_mark(pool_, {.key = "b", .event_days = 12});
  insert_mark(pool_, {.key = "c", .event_days = 11, .partition = 1});
  insert_mark(pool_, {.key = "d", .consumer = "billing", .event_days = 20});
  insert_mark(pool_, {.key = "e", .state = "dead", .event_days = 9});

  sweep({.batch = 2});

  EXPECT_THAT(strings("SELECT CONCAT(consumer, ' ', origin_partition, ' ', TIMESTAMPDIFF(DAY, event_time, "
                      "UTC_TIMESTAMP(6))) FROM consumed_horizon ORDER BY 1"),
              ElementsAre("billing 0 20", "shipping 0 12", "shipping 1 11"));
}

TEST_F(SweeperTest, NeverLowersTheHorizon) {
  insert_mark(pool_, {.key = "a", .event_days = 9});
  sweep();
  const auto horizon = strings("SELECT CAST(event_time AS CHAR) FROM consumed_horizon");

  insert_mark(pool_, {.key = "b", .event_days = 30});
  sweep();

  EXPECT_EQ(strings("SELECT CAST(event_time AS CHAR) FROM consumed_horizon"), horizon);
}

TEST_F(SweeperTest, RemovesNotesOfSuspectsThatNobodyCameBackTo) {
  const std::vector<Position> records{{"orders", 0, 1}, {"orders", 0, 2}, {"orders", 0, 3}};
  (void)ledger::note_suspects(pool_, "shipping", records);
  execute("UPDATE suspect_message SET taken_at = taken_at - INTERVAL 8 DAY WHERE read_offset < 3");

  EXPECT_EQ(Sweeper(pool_).count().suspects, 2u);
  EXPECT_EQ(sweep({.batch = 1}), (SweepCounts{.suspects = 2}));
  EXPECT_EQ(count("SELECT MIN(read_offset) FROM suspect_message"), 3);
}

// Its horizon would lie in the future, and turn every later message of the partition into a letter.
TEST_F(SweeperTest, KeepsAMarkWhoseEventIsYoungerThanTheRetention) {
  insert_mark(pool_, {.key = "ahead", .event_days = -3'650});
  insert_mark(pool_, {.key = "young event", .event_days = 6});

  EXPECT_EQ(sweep().marks, 0u);
  EXPECT_THAT(strings("SELECT consumer FROM consumed_horizon"), IsEmpty());
}

TEST_F(SweeperTest, LeavesAMarkThatAConsumerHoldsForLater) {
  insert_old_marks(pool_, 3);
  auto held = pool_.acquire();
  mysql::UnitOfWork claim(*held);
  ASSERT_FALSE(ledger::claim(claim.tx(), "shipping", testing::message_with_id("old-2")).is_fresh);

  EXPECT_EQ(sweep().marks, 2u);
  claim.rollback();
  EXPECT_EQ(sweep().marks, 1u);
}

// The state row, the letter and the outgoing rows of a message share its names.
TEST_F(SweeperTest, KeepsTheMarkUntilLetterAndOutgoingRowsOfItsMessageAreGone) {
  testing::bury(pool_, testing::order_message("o-1"));
  execute("UPDATE dead_letter SET state = 'replayed', died_at = died_at - INTERVAL 20 DAY");
  execute("UPDATE consumed_message SET state = 'done', life = 2, consumed_at = consumed_at - INTERVAL 20 DAY");
  EXPECT_EQ(sweep().marks, 0u);

  EXPECT_EQ(sweep({.letters = 240h}), (SweepCounts{.letters = 1, .marks_seen = 1})) << "its DLQ row is there still";

  execute(
      "UPDATE outbox_message SET status = 'sent', sent_at = UTC_TIMESTAMP(6) - INTERVAL 20 DAY, "
      "available_at = UTC_TIMESTAMP(6) - INTERVAL 20 DAY");
  EXPECT_EQ(sweep(), (SweepCounts{.marks = 1, .outbox_rows = 1, .marks_seen = 1}));
}

TEST_F(SweeperTest, RemovesOutboxRowsThatWereSentLongAgo) {
  pool_.transact([&](mysql::Transaction& tx) {
    for (const char* id : {"old", "young", "pending", "late", "dead"}) outbox::append(tx, {.topic = "t", .id = id});
    tx.execute(
        "UPDATE outbox_message SET available_at = UTC_TIMESTAMP(6) - INTERVAL 10 DAY, created_at = available_at");
    tx.execute("UPDATE outbox_message SET status = 'sent', sent_at = available_at WHERE message_id = 'old'");
    tx.execute("UPDATE outbox_message SET status = 'sent', sent_at = UTC_TIMESTAMP(6) WHERE message_id = 'late'");
    tx.execute("UPDATE outbox_message SET status = 'dead' WHERE message_id = 'dead'");
    tx.execute(
        "UPDATE outbox_message SET status = 'sent', sent_at = UTC_TIMESTAMP(6), available_at = sent_at "
        "WHERE message_id = 'young'");
  });

  EXPECT_EQ(sweep({.batch = 1}).outbox_rows, 1u);

  EXPECT_THAT(strings("SELECT message_id FROM outbox_message ORDER BY message_id"),
              ElementsAre("dead", "late", "pending", "young"));
}

TEST_F(SweeperTest, RemovesSettledLettersOnlyWhenTold) {
  testing::bury_orders(pool_, 4);
  execute(
      "UPDATE dead_letter SET died_at = died_at - INTERVAL 20 DAY, state = ELT(id, 'dead', 'replaying', 'replayed', "
      "'archived')");

  EXPECT_EQ(sweep().letters, 0u);
  EXPECT_EQ(sweep({.letters = 504h}).letters, 0u);
  EXPECT_EQ(sweep({.letters = 24h, .batch = 1}).letters, 2u);

  EXPECT_THAT(strings("SELECT state FROM dead_letter ORDER BY id"), ElementsAre("dead", "replaying"));
}

TEST_F(SweeperTest, CountsWithoutRemoving) {
  insert_old_marks(pool_, 25);
  insert_mark(pool_, {.key = "young", .days = 1});

  const SweepCounts counted = Sweeper(pool_, {.batch = 10, .pause = 0ms}).count();

  EXPECT_EQ(counted, (SweepCounts{.marks = 25, .marks_seen = 26}));
  EXPECT_EQ(marks().size(), 26u);
  EXPECT_THAT(strings("SELECT scope FROM sweep_progress"), IsEmpty());
  EXPECT_EQ(sweep({.batch = 10}), counted);
}

TEST_F(SweeperTest, GoesOnWhereItWasStoppedAndThenDoesTheRest) {
  insert_old_marks(pool_, 20);
  std::stop_source stop;
  stop.request_stop();
  ASSERT_EQ(Sweeper(pool_, {.batch = 5, .pause = 0ms}).sweep(stop.get_token())->marks, 0u);
  execute("UPDATE sweep_progress SET position = 'old-14'");  // as keys sort: old-1, old-10, …, old-14, …

  EXPECT_EQ(sweep({.batch = 5}), (SweepCounts{.marks = 20, .marks_seen = 20}));
  EXPECT_THAT(strings("SELECT position FROM sweep_progress"), ElementsAre(""));
}

TEST_F(SweeperTest, LeavesTheWorkToAnotherOne) {
  auto other = pool_.connect(60s);
  (void)other->query("SELECT GET_LOCK(CONCAT('oncemark.sweep.', LEFT(SHA2(DATABASE(), 256), 32)), 0)", {});

  EXPECT_EQ(Sweeper(pool_).sweep(), std::nullopt);
}

TEST_F(SweeperTest, UndoesHorizonAndRemovalTogether) {
  insert_old_marks(pool_, 5);
  for (const char* fault : {"sweeper.after_horizon:throw", "sweeper.before_commit:throw"}) {
    faults::arm(fault);
    EXPECT_THROW(sweep(), Error);
    EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_horizon"), 0);
    EXPECT_EQ(marks().size(), 5u);
  }
  faults::disarm();
}

// The promise of the horizon, under load: whoever finds a purged message fresh sees in the same transaction that it is
// not younger than the horizon. And purging costs claims nothing but a short wait: not one of them fails.
TEST_F(SweeperTest, PurgesUnderRunningClaimsWithoutHidingAPurgedMark) {
  constexpr int kOld = 1'000;
  insert_old_marks(pool_, kOld);
  std::map<std::string, Time> event_times;
  pool_.transact([&](mysql::Transaction& tx) {
    for (const mysql::Row& row : tx.query("SELECT message_key, event_time FROM consumed_message")) {
      event_times[row.get<std::string>(0)] = row.get<Time>(1);
    }
  });
  std::atomic<int> failed{0};
  std::atomic<int> hidden{0};
  std::atomic<int> purged_before_claim{0};
  const auto claim_some = [&](int lane, int round) {
    std::vector<Message> messages;
    for (int i = 0; i < 10; ++i) {
      const int number = (lane * 1'009 + round * 131 + i * 17) % kOld + 1;
      Message old = testing::message_with_id("old-" + std::to_string(number));
      old.origin.partition = number % 3;
      old.event_time = event_times.at(old.id);
      messages.push_back(std::move(old));
      messages.push_back(testing::message_with_id("new-" + std::to_string(lane * 100'000 + round * 100 + i)));
    }
    std::vector<const Message*> pointers;
    for (const Message& message : messages) pointers.push_back(&message);
    auto connection = pool_.acquire();
    mysql::UnitOfWork unit(*connection);  // never committed: the purged marks stay away for the next ones
    const auto claims = ledger::claim_group(unit.tx(), "shipping", pointers);
    const auto older = ledger::find_older_than_horizon(unit.tx(), "shipping", pointers);
    for (std::size_t i = 0; i < messages.size(); ++i) {
      if (!claims[i].is_fresh || messages[i].id.starts_with("new")) continue;
      ++purged_before_claim;
      if (!std::ranges::binary_search(older, i)) ++hidden;
    }
  };
  {
    std::atomic<bool> is_done{false};
    std::vector<std::jthread> lanes;
    for (int lane = 0; lane < 3; ++lane) {
      lanes.emplace_back([&, lane] {
        for (int round = 0; !is_done || round < 10; ++round) {
          try {
            claim_some(lane, round);
          } catch (const Error& error) {
            if (error.is_infrastructure()) continue;  // a deadlock, which lanes try again
            ++failed;
            ADD_FAILURE() << error.what();
            return;
          } catch (const std::exception& error) {
            ++failed;
            ADD_FAILURE() << error.what();
            return;
          }
        }
      });
    }
    Sweeper sweeper(pool_, {.batch = 50, .pause = 1ms});
    while (count("SELECT COUNT(*) FROM consumed_message WHERE consumed_at < UTC_TIMESTAMP(6) - INTERVAL 9 DAY") > 0) {
      ASSERT_TRUE(sweeper.sweep());
    }
    is_done = true;
  }

  EXPECT_EQ(failed, 0);
  EXPECT_EQ(hidden, 0);
  EXPECT_GT(purged_before_claim, 0);
}

}  // namespace
}  // namespace oncemark::housekeeping
