#include <oncemark/ledger/suspects.hpp>

#include <future>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/ledger/claim.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/temp_schema.hpp"

namespace oncemark::ledger {
namespace {

using ::testing::ElementsAre;
using testing::Tables;
using testing::TempSchema;

class SuspectsTest : public ::testing::Test {
 protected:
  static Position at(std::int64_t offset) { return {"orders", 0, offset}; }

  std::vector<std::uint32_t> note(const std::vector<Position>& records, const std::string& consumer = "shipping") {
    return note_suspects(pool_, consumer, records);
  }
  std::uint32_t note_alone(const Position& record) { return note_suspect_alone(pool_, "shipping", record); }
  void clear(const std::vector<Position>& records) {
    pool_.transact([&](mysql::Transaction& tx) { clear_suspects(tx, "shipping", records); });
  }
  void let_pass(const std::string& interval) {
    pool_.transact([&](mysql::Transaction& tx) {
      tx.execute("UPDATE suspect_message SET taken_at = taken_at - INTERVAL " + interval);
    });
  }
  std::int64_t rows() {
    return pool_.transact([](mysql::Transaction& tx) {
      return tx.query_row("SELECT COUNT(*) FROM suspect_message")->get<std::int64_t>(0);
    });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(SuspectsTest, CountsTheTriesOfARecordThatIsNeverCleared) {
  EXPECT_THAT(note({at(1)}), ElementsAre(1));
  EXPECT_THAT(note({at(1)}), ElementsAre(2));
  EXPECT_THAT(note({at(1)}), ElementsAre(0)) << "the third time it has to run alone";

  EXPECT_EQ(note_alone(at(1)), kTriesAlone);
  EXPECT_THAT(note({at(1)}), ElementsAre(0));
  EXPECT_EQ(note_alone(at(1)), kTriesCrashLoop);
}

TEST_F(SuspectsTest, DoesNotCountARecordThatHasToRunAloneWithTheGroupItCameWith) {
  (void)note({at(2), at(3)});
  (void)note({at(2), at(3)});

  EXPECT_THAT(note({at(1), at(2), at(3), at(4)}), ElementsAre(1, 0, 0, 1));
  EXPECT_THAT(note({at(4), at(3), at(2), at(1)}), ElementsAre(2, 0, 0, 2)) << "the order of the records is kept";

  EXPECT_EQ(note_alone(at(3)), kTriesAlone);
}

// The sum of affected rows must not look as if all rows were new.
TEST_F(SuspectsTest, NoticesOneThatRunsAloneBesideOneThatIsNotedAgain) {
  (void)note({at(1)});
  (void)note({at(1)});
  (void)note({at(2)});

  EXPECT_THAT(note({at(1), at(2)}), ElementsAre(0, 2));
}

TEST_F(SuspectsTest, TellsPartitionsTopicsAndConsumersApart) {
  EXPECT_THAT(note({{"orders", 0, 1}, {"orders", 1, 1}, {"retry.g.orders", 0, 1}}), ElementsAre(1, 1, 1));
  EXPECT_THAT(note({{"orders", 1, 1}}), ElementsAre(2));
  EXPECT_THAT(note({{"orders", 1, 1}}, "billing"), ElementsAre(1));
}

TEST_F(SuspectsTest, ForgetsWhatWasClearedInTheTransactionThatSettlesIt) {
  (void)note({at(1), at(2), at(3)});

  clear({at(1), at(3)});

  EXPECT_EQ(rows(), 1);
  EXPECT_THAT(note({at(1), at(2)}), ElementsAre(1, 2));
}

TEST_F(SuspectsTest, KeepsTheNoteWhenTheTransactionIsRolledBack) {
  (void)note({at(1)});

  EXPECT_THROW(pool_.transact([&](mysql::Transaction& tx) {
    clear_suspects(tx, "shipping", std::vector{at(1)});
    throw std::runtime_error("the handler failed");
  }),
               std::runtime_error);

  EXPECT_THAT(note({at(1)}), ElementsAre(2));
}

TEST_F(SuspectsTest, DoesNotCountATryThatWasWithdrawn) {
  (void)note({at(1), at(2)});
  withdraw_suspects(pool_, "shipping", std::vector{at(1), at(2)});
  EXPECT_EQ(rows(), 0);

  for (int stops = 0; stops < 5; ++stops) {  // a clean stop each time
    EXPECT_THAT(note({at(1)}), ElementsAre(1));
    withdraw_suspects(pool_, "shipping", std::vector{at(1)});
  }
  (void)note({at(1)});
  (void)note({at(1)});
  EXPECT_EQ(note_alone(at(1)), kTriesAlone);
  withdraw_suspects(pool_, "shipping", std::vector{at(1)});
  EXPECT_EQ(note_alone(at(1)), kTriesAlone);
}

TEST_F(SuspectsTest, StartsFromOneWhenTheTriesLieBackForLongerThanADay) {
  (void)note({at(1), at(2)});
  (void)note({at(1), at(2)});
  let_pass("25 HOUR");

  EXPECT_THAT(note({at(1)}), ElementsAre(1));
  EXPECT_EQ(note_alone(at(2)), 1u);
}

TEST_F(SuspectsTest, SweepsOnlyWhatIsOlderThanAWeek) {
  (void)note({at(1)});
  let_pass("8 DAY");
  (void)note({at(2)});
  (void)note({at(3)}, "billing");

  EXPECT_EQ(sweep_suspects(pool_), 1u);
  EXPECT_EQ(rows(), 2);
}

// A process that was paused and wakes up settles the record under the eyes of the one that took over.
TEST_F(SuspectsTest, LeavesNothingBehindWhenTheFormerOwnerSettlesTheRecordAfterAll) {
  (void)note({at(1)});                         // the former owner, now paused in its handler
  EXPECT_THAT(note({at(1)}), ElementsAre(2));  // the new one

  clear({at(1)});  // the former owner commits
  clear({at(1)});  // the new one finds a duplicate

  EXPECT_EQ(rows(), 0);
}

TEST_F(SuspectsTest, ClearingMeetsNoRowButThoseThatItClears) {
  std::vector<Position> records;
  for (int i = 0; i < 784; ++i) records.push_back({"orders", i % 4, (i * 17) % 784});
  (void)note(records);
  auto connection = pool_.acquire();
  (void)connection->query("ANALYZE TABLE suspect_message", {});  // now the server knows how few rows there are
  mysql::UnitOfWork other(*connection);
  clear_suspects(other.tx(), "shipping", std::span(records).last(1));

  pool_.transact([&](mysql::Transaction& tx) {
    tx.execute("SET SESSION innodb_lock_wait_timeout = 1");
    clear_suspects(tx, "shipping", std::span(records).first(512));
  });

  other.commit();
  EXPECT_EQ(rows(), 271);
}

TEST_F(SuspectsTest, ClearsRecordsOfSeveralTopicsTogether) {
  const std::vector<Position> records{at(1), {"orders", 1, 1}, {"retry.shipping.orders", 0, 1}};
  (void)note(records);
  (void)note({at(2)});

  clear(records);

  EXPECT_EQ(rows(), 1);
}

TEST_F(SuspectsTest, IsNotedAndClearedByManyAtOnce) {
  std::vector<Position> forwards;
  for (int i = 0; i < 40; ++i) forwards.push_back(at(i));
  const std::vector<Position> backwards(forwards.rbegin(), forwards.rend());
  const auto work = [&](const std::vector<Position>& records) {
    for (int i = 0; i < 25; ++i) {
      (void)note_suspects(pool_, "shipping", records);
      clear(records);
    }
  };

  auto one = std::async(std::launch::async, work, std::cref(forwards));
  auto other = std::async(std::launch::async, work, std::cref(backwards));
  one.get();
  other.get();

  EXPECT_EQ(rows(), 0);
}

}  // namespace
}  // namespace oncemark::ledger
