#include <oncemark/mysql/deferred.hpp>

#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/mysql/transaction.hpp>
#include <oncemark/testing/recording_session.hpp>

namespace oncemark::mysql {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::RecordingSession;

const DeferredStatement kLedger = DeferredStatement::insert("INSERT INTO ledger (id, amount)");
const DeferredStatement kBalance = DeferredStatement::update(
    "UPDATE account AS a JOIN {rows} AS v ON a.id = v.id SET a.balance = a.balance + v.amount", {"id", "amount"}, 1);
const std::string kInsertTwo = "INSERT INTO ledger (id, amount) VALUES (?, ?), (?, ?)";
const std::string kInsertOne = "INSERT INTO ledger (id, amount) VALUES (?, ?)";
const std::string kUpdateOne =
    "UPDATE account AS a JOIN (SELECT ? AS id, ? AS amount) AS v ON a.id = v.id SET a.balance = a.balance + v.amount";

TEST(Deferred, GoesTogetherBeforeTheCommit) {
  RecordingSession session;
  UnitOfWork unit(session);
  unit.tx().defer(kLedger, "m-1", 5);
  unit.tx().defer(kBalance, 7, 5);
  unit.tx().defer(kLedger, "m-2", 6);
  unit.tx().defer(kBalance, 7, 6);
  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION"));

  unit.commit();

  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", kInsertTwo, kUpdateOne, "COMMIT"));
  EXPECT_EQ(session.sent()[2].params.back(), RecordingSession::Value(std::int64_t{11}));
}

TEST(Deferred, GoesBeforeTheNextStatementSoThatItIsReadBack) {
  RecordingSession session;
  UnitOfWork unit(session);

  unit.tx().defer(kLedger, "m-1", 5);
  (void)unit.tx().query("SELECT SUM(amount) FROM ledger");
  unit.tx().defer(kLedger, "m-2", 5);
  unit.tx().execute("DELETE FROM ledger");
  unit.commit();

  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", kInsertOne, "SELECT SUM(amount) FROM ledger",
                                           kInsertOne, "DELETE FROM ledger", "COMMIT"));
}

TEST(Deferred, IsUndoneWithTheSavepointItIsYoungerThan) {
  RecordingSession session;
  UnitOfWork unit(session);

  unit.tx().defer(kLedger, "kept", 5);
  unit.tx().savepoint("here");
  unit.tx().defer(kLedger, "undone", 5);
  unit.tx().rollback_to("here");
  unit.commit();

  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", kInsertOne, "SAVEPOINT `here`",
                                           "ROLLBACK TO SAVEPOINT `here`", "COMMIT"));
}

TEST(Deferred, IsNotSentByARollback) {
  RecordingSession session;
  {
    UnitOfWork unit(session);
    unit.tx().defer(kLedger, "m-1", 5);
  }
  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", "ROLLBACK"));
}

TEST(Deferred, ThatFailsAtTheCommitCommitsNothing) {
  RecordingSession session;
  UnitOfWork unit(session);
  unit.tx().defer(kLedger, "m-1", 5);
  session.will_fail("INSERT INTO ledger", 1062);

  EXPECT_THROW(unit.commit(), MysqlError);

  EXPECT_THAT(session.texts().back(), "ROLLBACK");
}

TEST(Deferred, ThatLosesItsRaceDoomsTheTransaction) {
  RecordingSession session;
  UnitOfWork unit(session);
  unit.tx().defer(kLedger, "m-1", 5);
  session.will_fail("INSERT INTO ledger", 1213);

  EXPECT_THROW(unit.tx().flush(), MysqlError);

  EXPECT_TRUE(unit.tx().is_doomed());
  EXPECT_THROW(unit.tx().defer(kLedger, "m-2", 5), MysqlError);
}

TEST(Deferred, IsSentEarlyWhenItGrowsLarge) {
  RecordingSession session;
  UnitOfWork unit(session);
  const std::string large(300'000, 'x');

  for (int i = 0; i < 4; ++i) unit.tx().defer(kLedger, large, i);

  EXPECT_EQ(session.sent().size(), 2u);
}

TEST(Deferred, KeepsTheLastRowOfAKeyWhenAsked) {
  RecordingSession session;
  UnitOfWork unit(session);
  const auto status = DeferredStatement::update("UPDATE o JOIN {rows} AS v ON o.id = v.id SET o.s = v.s", {"id", "s"},
                                                1, DeferredStatement::Repeated::last);

  unit.tx().defer(status, 1, "packed");
  unit.tx().defer(status, 1, "sent");
  unit.tx().flush();

  EXPECT_EQ(session.sent().back().params.back(), RecordingSession::Value(std::string("sent")));
}

TEST(DeferredStatement, IsToldByWhatItSays) {
  EXPECT_EQ(kLedger, DeferredStatement::insert("INSERT INTO ledger (id, amount)"));
  EXPECT_NE(kLedger, DeferredStatement::insert("INSERT INTO ledger (id, amount)", "ON DUPLICATE KEY UPDATE id = id"));
  EXPECT_THROW((void)DeferredStatement::update("UPDATE t JOIN {rows} AS v", {"id"}, 2), MisuseError);
}

}  // namespace
}  // namespace oncemark::mysql
