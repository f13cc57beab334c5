#include <oncemark/mysql/transaction.hpp>

#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/testing/recording_session.hpp>

namespace oncemark::mysql {
namespace {

using ::testing::ElementsAre;
using testing::RecordingSession;

TEST(UnitOfWork, CommitsAsSqlText) {
  RecordingSession session;
  UnitOfWork unit(session);
  unit.tx().execute("INSERT INTO t VALUES (?)", 1);
  unit.commit();

  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", "INSERT INTO t VALUES (?)", "COMMIT"));
  EXPECT_TRUE(unit.is_reusable());
}

TEST(UnitOfWork, LeavesItToTheFirstStatementToBegin) {
  RecordingSession session;
  {
    UnitOfWork unit(session, UnitOfWork::Begin::with_first_statement);
    unit.tx().execute("INSERT INTO t VALUES (?)", 1);
  }

  EXPECT_THAT(session.texts(), ElementsAre("INSERT INTO t VALUES (?)", "ROLLBACK"));
}

TEST(UnitOfWork, RollsBackUnlessCommitted) {
  RecordingSession session;
  { UnitOfWork unit(session); }

  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", "ROLLBACK"));
}

TEST(UnitOfWork, RollsBackWhenTheServerRefusesTheCommit) {
  RecordingSession session;
  session.will_fail("COMMIT", 1290);
  UnitOfWork unit(session);

  EXPECT_THROW(unit.commit(), MysqlError);
  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", "COMMIT", "ROLLBACK"));
  EXPECT_TRUE(unit.is_reusable());
}

TEST(UnitOfWork, IsInDoubtWhenTheConnectionIsLostDuringCommit) {
  for (const int code : {2002, 2006, 2013, 2055, 4031, 1180}) {
    RecordingSession session;
    session.will_fail("COMMIT", code);
    UnitOfWork unit(session);

    EXPECT_THROW(unit.commit(), InDoubtError) << code;
    EXPECT_FALSE(unit.is_reusable());
    EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", "COMMIT"));
  }
}

TEST(UnitOfWork, IsInDoubtWhenTheAnswerToCommitIsUnknown) {
  RecordingSession session;
  session.will_throw("COMMIT", [] { throw std::bad_alloc(); });
  UnitOfWork unit(session);

  EXPECT_THROW(unit.commit(), InDoubtError);
  EXPECT_FALSE(unit.is_reusable());
}

TEST(UnitOfWork, SaysWhatToDoWhenInDoubt) {
  RecordingSession session;
  session.will_fail("COMMIT", 2013);
  UnitOfWork unit(session);

  try {
    unit.commit();
    FAIL();
  } catch (const InDoubtError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("claim the message again on a new connection"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("2013"));
  }
}

TEST(UnitOfWork, SaysThatTheConnectionMustGoWhenRollbackFails) {
  RecordingSession session;
  session.will_fail("ROLLBACK", 2013);
  UnitOfWork unit(session);
  unit.rollback();

  EXPECT_FALSE(unit.is_reusable());
}

TEST(UnitOfWork, EndsOnce) {
  RecordingSession session;
  UnitOfWork unit(session);
  unit.commit();

  EXPECT_THROW(unit.commit(), MisuseError);
  unit.rollback();
  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", "COMMIT"));
}

TEST(Transaction, BindsEveryArgumentByValue) {
  RecordingSession session;
  UnitOfWork unit(session);
  unit.tx().execute("INSERT", -1, 2u, 0.5, "text", nullptr, std::nullopt);

  const auto& params = session.sent().back().params;
  EXPECT_THAT(params, ElementsAre(std::int64_t{-1}, std::uint64_t{2}, 0.5, "text", nullptr, nullptr));
}

TEST(Transaction, ReturnsRowsAndCounts) {
  RecordingSession session;
  session.will_affect("UPDATE", 3);
  session.will_return("SELECT", testing::rows({"n"}, {{std::int64_t{7}}, {nullptr}}));
  UnitOfWork unit(session);

  EXPECT_EQ(unit.tx().execute("UPDATE t SET x = 1"), 3u);
  const Rows rows = unit.tx().query("SELECT n FROM t");
  EXPECT_EQ(rows.at(0).get<int>("n"), 7);
  EXPECT_TRUE(rows.at(1).is_null(0));
  EXPECT_EQ(unit.tx().query_row("SELECT n FROM t"), std::nullopt);
}

TEST(Transaction, IsDoomedByASwallowedDeadlock) {
  RecordingSession session;
  session.will_fail("UPDATE", 1213, "40001");
  UnitOfWork unit(session);
  EXPECT_THROW(unit.tx().execute("UPDATE t SET x = 1"), MysqlError);

  EXPECT_TRUE(unit.tx().is_doomed());
  EXPECT_THROW(unit.tx().execute("INSERT INTO t VALUES (1)"), MysqlError);
  EXPECT_THROW((void)unit.tx().query("SELECT 1"), MysqlError);
  EXPECT_THROW(unit.tx().savepoint("a"), MysqlError);
  EXPECT_THROW(unit.tx().after_commit([] {}), MysqlError);
  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", "UPDATE t SET x = 1"));
}

TEST(Transaction, RefusesToCommitWhenDoomedAndThrowsTheSameErrorAgain) {
  RecordingSession session;
  session.will_fail("UPDATE", 1205);
  UnitOfWork unit(session);
  EXPECT_THROW(unit.tx().execute("UPDATE t SET x = 1"), MysqlError);

  try {
    unit.commit();
    FAIL();
  } catch (const MysqlError& error) {
    EXPECT_EQ(error.code(), 1205);
  }
  EXPECT_EQ(session.texts().back(), "ROLLBACK");
}

TEST(Transaction, IsDoomedByAnErrorThatLeavesTheStatementsFateOpen) {
  RecordingSession session;
  session.will_throw("INSERT", [] { throw std::bad_alloc(); });
  UnitOfWork unit(session);

  EXPECT_THROW(unit.tx().execute("INSERT INTO t VALUES (1)"), std::bad_alloc);
  EXPECT_THROW(unit.commit(), std::bad_alloc);
}

TEST(Transaction, GoesOnAfterAnOrdinaryError) {
  RecordingSession session;
  session.will_fail("INSERT", 1062, "23000");
  UnitOfWork unit(session);
  EXPECT_THROW(unit.tx().execute("INSERT INTO t VALUES (1)"), MysqlError);

  EXPECT_FALSE(unit.tx().is_doomed());
  unit.commit();
}

TEST(Transaction, DoesNotSendWhatCommitsImplicitly) {
  RecordingSession session;
  UnitOfWork unit(session);

  EXPECT_THROW(unit.tx().execute("/* x */ create table t (id INT)"), MisuseError);
  EXPECT_THROW((void)unit.tx().query("CHECK TABLE t"), MisuseError);
  EXPECT_FALSE(unit.tx().is_doomed());
  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION"));
}

TEST(Transaction, SetsRollsBackToAndReleasesSavepoints) {
  RecordingSession session;
  UnitOfWork unit(session);
  unit.tx().savepoint("before_7");
  unit.tx().rollback_to("before_7");
  unit.tx().release("before_7");

  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", "SAVEPOINT `before_7`",
                                           "ROLLBACK TO SAVEPOINT `before_7`", "RELEASE SAVEPOINT `before_7`"));
}

TEST(Transaction, RefusesASavepointNameThatIsNoName) {
  RecordingSession session;
  UnitOfWork unit(session);

  for (const std::string& name : {std::string(), std::string("7"), std::string("a b"), std::string("a;COMMIT"),
                                  std::string(65, 'a'), std::string("`a`")}) {
    EXPECT_THROW(unit.tx().savepoint(name), MisuseError) << name;
  }
  EXPECT_EQ(session.sent().size(), 1u);
}

TEST(Transaction, IsDoomedWhenItsSavepointIsGone) {
  RecordingSession session;
  session.will_fail("RELEASE", 1305, "42000", "SAVEPOINT a does not exist");
  UnitOfWork unit(session);
  unit.tx().savepoint("a");

  EXPECT_THROW(unit.tx().release("a"), MysqlError);
  EXPECT_THROW(unit.commit(), MysqlError);
}

TEST(Transaction, GuardsACallWithASavepoint) {
  RecordingSession session;
  UnitOfWork unit(session);
  unit.tx().execute("CALL settle(?)", 1);

  EXPECT_THAT(session.texts(), ElementsAre("START TRANSACTION", "SAVEPOINT `oncemark_call`", "CALL settle(?)",
                                           "RELEASE SAVEPOINT `oncemark_call`"));
}

TEST(Transaction, IsDoomedByACallThatFails) {
  RecordingSession session;
  session.will_fail("CALL", 1644, "45000");
  UnitOfWork unit(session);

  EXPECT_THROW(unit.tx().execute("CALL settle()"), MysqlError);
  EXPECT_TRUE(unit.tx().is_doomed());
}

TEST(Transaction, RefusesStatementsOnceItHasEnded) {
  RecordingSession session;
  UnitOfWork unit(session);
  unit.commit();

  EXPECT_THROW(unit.tx().execute("INSERT INTO t VALUES (1)"), MisuseError);
}

TEST(AfterCommit, RunsHooksInOrderOnceTheCommitSucceeded) {
  RecordingSession session;
  UnitOfWork unit(session);
  std::vector<std::string> seen;
  unit.tx().after_commit([&] { seen.push_back(session.texts().back()); });
  unit.tx().after_commit([&] { seen.push_back("second"); });
  EXPECT_TRUE(seen.empty());
  unit.commit();

  EXPECT_THAT(seen, ElementsAre("COMMIT", "second"));
}

TEST(AfterCommit, RunsTheNextHookWhenOneThrows) {
  RecordingSession session;
  UnitOfWork unit(session);
  bool has_run = false;
  unit.tx().after_commit([] { throw std::runtime_error("hint lost"); });
  unit.tx().after_commit([&] { has_run = true; });
  unit.commit();

  EXPECT_TRUE(has_run);
}

TEST(AfterCommit, RunsNoHookAfterARollbackARefusalOrADoubt) {
  for (const int code : {0, 1290, 2013}) {
    RecordingSession session;
    bool has_run = false;
    {
      UnitOfWork unit(session);
      unit.tx().after_commit([&] { has_run = true; });
      if (code != 0) {
        session.will_fail("COMMIT", code);
        EXPECT_THROW(unit.commit(), Error);
      }
    }
    EXPECT_FALSE(has_run) << code;
  }
}

TEST(Transaction, InsertsManyRowsByFewStatementsOfFewShapes) {
  RecordingSession session;
  UnitOfWork unit(session);
  RowValues rows;
  for (int i = 0; i < 9; ++i) rows.add("key", i);

  EXPECT_EQ(unit.tx().insert_rows("INSERT INTO t (k, n)", rows, "ON DUPLICATE KEY UPDATE n = n"), 2u);

  EXPECT_THAT(session.texts(),
              ElementsAre("START TRANSACTION",
                          "INSERT INTO t (k, n) VALUES (?, ?), (?, ?), (?, ?), (?, ?), (?, ?), (?, ?), (?, ?), (?, ?) "
                          "ON DUPLICATE KEY UPDATE n = n",
                          "INSERT INTO t (k, n) VALUES (?, ?) ON DUPLICATE KEY UPDATE n = n"));
  EXPECT_EQ(session.sent().back().params.back(), RecordingSession::Value(std::int64_t{8}));
}

TEST(Transaction, SplitsRowsByWhatTheServerTakes) {
  RecordingSession session;
  UnitOfWork unit(session);
  RowValues rows;
  const std::string large(6u << 20, 'x');  // two fit into the 16 MiB of a session that says nothing else
  for (int i = 0; i < 5; ++i) rows.add(large);

  unit.tx().insert_rows("INSERT INTO t (body)", rows);

  ASSERT_EQ(session.sent().size(), 4u);
  EXPECT_EQ(session.sent()[1].params.size(), 2u);
  EXPECT_EQ(session.sent()[2].params.size(), 2u);
  EXPECT_EQ(session.sent()[3].params.size(), 1u);
}

TEST(Transaction, UpdatesManyRowsFromATableOfValues) {
  RecordingSession session;
  UnitOfWork unit(session);
  RowValues rows;
  rows.add(1, 10);
  rows.add(2, 20);

  unit.tx().update_rows("UPDATE account AS a JOIN {rows} AS v ON a.id = v.id SET a.balance = v.amount",
                        {"id", "amount"}, rows);

  EXPECT_EQ(session.texts().back(),
            "UPDATE account AS a JOIN (SELECT ? AS id, ? AS amount UNION ALL SELECT ?, ?) AS v ON a.id = v.id "
            "SET a.balance = v.amount");
}

TEST(Transaction, SendsNothingForNoRowsAndRefusesWhatDoesNotFit) {
  RecordingSession session;
  UnitOfWork unit(session);
  RowValues rows;

  EXPECT_EQ(unit.tx().insert_rows("INSERT INTO t (a)", rows), 0u);
  rows.add(1, 2);
  EXPECT_THROW(rows.add(1), MisuseError);
  EXPECT_THROW(unit.tx().update_rows("UPDATE t SET a = 1", {"a", "b"}, rows), MisuseError);
  EXPECT_THROW(unit.tx().update_rows("UPDATE t JOIN {rows} AS v", {"a"}, rows), MisuseError);
  EXPECT_THROW(unit.tx().update_rows("UPDATE t JOIN {rows} AS v", {"a", "b; DROP"}, rows), MisuseError);
  EXPECT_EQ(session.sent().size(), 1u);
}

TEST(RowValues, AreSplitIntoStatementsOfFourSizesInEachOctave) {
  RowValues rows;
  for (int i = 0; i < 127; ++i) rows.add(i);

  std::vector<std::size_t> sizes;
  for (std::size_t first = 0; first < rows.size(); first += sizes.back()) {
    sizes.push_back(rows.chunk(first, 1'000, 1 << 20));
  }

  EXPECT_THAT(sizes, ElementsAre(112u, 14u, 1u));
}

TEST(RowValues, KeepTheLastRowOfAKey) {
  RowValues rows;
  rows.add("b", 1);
  rows.add("a", 2);
  rows.add("b", 3);

  const RowValues last = rows.last(1);
  const auto params = last.params(0, 2);

  EXPECT_EQ(std::get<std::string_view>(params[0].value()), "a");
  EXPECT_EQ(std::get<std::int64_t>(params[3].value()), 3);
}

TEST(RowValues, AddUpRowsOfOneKeyInKeyOrder) {
  RowValues rows;
  rows.add("b", 5, 1);
  rows.add("a", 1, 1);
  rows.add("b", -2, 1);

  const RowValues summed = rows.summed(1);

  ASSERT_EQ(summed.size(), 2u);
  const auto params = summed.params(0, 2);
  EXPECT_EQ(std::get<std::string_view>(params[0].value()), "a");
  EXPECT_EQ(std::get<std::int64_t>(params[4].value()), 3);
  EXPECT_EQ(std::get<std::int64_t>(params[5].value()), 2);
  rows.add("b", "text", 1);
  EXPECT_THROW((void)rows.summed(1), MisuseError);
}

}  // namespace
}  // namespace oncemark::mysql
