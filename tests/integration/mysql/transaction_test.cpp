// Transactions against a real server: what is refused, lost or swallowed must not look like a commit.
#include <atomic>
#include <functional>
#include <latch>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/pool.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::mysql {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::TempSchema;

class TransactionTest : public ::testing::Test {
 protected:
  TransactionTest() {
    const auto connection = pool_.connect(60s);
    connection->control("CREATE TABLE t (id INT PRIMARY KEY, x INT NOT NULL DEFAULT 0) ENGINE=InnoDB");
    connection->control("INSERT INTO t VALUES (1, 0), (2, 0)");
    connection->control("COMMIT");
  }

  int x_of(int id) { return number("SELECT x FROM t WHERE id = " + std::to_string(id)); }
  int count() { return number("SELECT COUNT(*) FROM t"); }
  int number(const std::string& sql) {
    return pool_.transact([&](Transaction& tx) { return tx.query(sql).at(0).get<int>(0); });
  }
  static std::string id_of(Session& session) {
    return session.query("SELECT CONNECTION_ID()", {}).at(0).get<std::string>(0);
  }
  // Ends a connection on the server, and waits until the server has rolled it back.
  void kill(Session& victim) {
    const std::string id = id_of(victim);
    admin_->control("KILL " + id);
    ASSERT_TRUE(eventually(5s, [&] {
      return admin_->query("SELECT id FROM information_schema.processlist WHERE id = " + id, {}).empty();
    }));
  }

  TempSchema schema_;
  Pool pool_{schema_.options()};
  std::unique_ptr<Connection> admin_ = pool_.connect(60s);
};

TEST_F(TransactionTest, KeepsWhatWasCommitted) {
  const auto affected = pool_.transact([](Transaction& tx) { return tx.execute("INSERT INTO t VALUES (3, 3)"); });

  EXPECT_EQ(affected, 1u);
  EXPECT_EQ(x_of(3), 3);
}

TEST_F(TransactionTest, KeepsNothingOfWhatThrows) {
  EXPECT_THROW(pool_.transact([](Transaction& tx) {
    tx.execute("INSERT INTO t VALUES (3, 3)");
    throw std::runtime_error("no");
  }),
               std::runtime_error);

  EXPECT_EQ(count(), 2);
}

TEST_F(TransactionTest, KeepsASavepointsPartOnly) {
  pool_.transact([](Transaction& tx) {
    tx.execute("INSERT INTO t VALUES (3, 3)");
    tx.savepoint("before");
    tx.execute("INSERT INTO t VALUES (4, 4)");
    tx.rollback_to("before");
    tx.release("before");
  });

  EXPECT_EQ(count(), 3);
}

TEST_F(TransactionTest, ThrowsWhenTheServerRefusesToCommit) {
  PoolOptions options = schema_.options();
  options.lock_wait_timeout = 1s;
  Pool pool(options);
  const auto connection = pool.connect(60s);
  UnitOfWork unit(*connection);
  unit.tx().execute("UPDATE t SET x = 9 WHERE id = 1");
  // The read lock waits for nobody and blocks every commit: this one until lock_wait_timeout.
  admin_->control("FLUSH TABLES WITH READ LOCK");

  EXPECT_THROW(unit.commit(), MysqlError);
  admin_->control("UNLOCK TABLES");
  EXPECT_TRUE(unit.is_reusable());
  EXPECT_FALSE(connection->has_open_transaction());
  EXPECT_EQ(x_of(1), 0);
}

TEST_F(TransactionTest, IsInDoubtWhenItsConnectionIsKilledBeforeCommit) {
  const auto connection = pool_.connect(60s);
  UnitOfWork unit(*connection);
  bool has_run = false;
  unit.tx().execute("UPDATE t SET x = 9 WHERE id = 1");
  unit.tx().after_commit([&] { has_run = true; });
  kill(*connection);

  EXPECT_THROW(unit.commit(), InDoubtError);
  EXPECT_FALSE(unit.is_reusable());
  EXPECT_FALSE(connection->is_usable());
  EXPECT_FALSE(has_run);
  EXPECT_EQ(x_of(1), 0);
}

TEST_F(TransactionTest, IsNotRunAgainWhenInDoubt) {
  int runs = 0;
  EXPECT_THROW(pool_.transact([&](Transaction& tx) {
    ++runs;
    tx.execute("UPDATE t SET x = x + 1 WHERE id = 1");
    admin_->control("KILL " + tx.query("SELECT CONNECTION_ID()").at(0).get<std::string>(0));
  }),
               InDoubtError);

  EXPECT_EQ(runs, 1);
  EXPECT_EQ(x_of(1), 0);
}

// Both update the row that the other one holds: the server rolls one of the two back.
struct Deadlock {
  std::latch both_hold{2};
  std::atomic<int> losers = 0;

  void run(Pool& pool, int first, int second) {
    std::string error;
    try {
      const Pool::Lease lease = pool.acquire();
      UnitOfWork unit(*lease);
      unit.tx().execute("UPDATE t SET x = x + 1 WHERE id = ?", first);
      both_hold.arrive_and_wait();
      try {
        unit.tx().execute("UPDATE t SET x = x + 1 WHERE id = ?", second);
      } catch (const MysqlError&) {  // swallowed, as a careless handler does
        EXPECT_THROW(unit.tx().execute("INSERT INTO t VALUES (?, 0)", 10 + first), MysqlError);
      }
      unit.commit();
    } catch (const MysqlError& lost) {
      EXPECT_EQ(lost.code(), 1213);
      ++losers;
    }
  }
};

TEST_F(TransactionTest, LeavesNothingBehindWhenADeadlockIsSwallowed) {
  Deadlock deadlock;
  {
    const std::jthread other([&] { deadlock.run(pool_, 2, 1); });
    deadlock.run(pool_, 1, 2);
  }
  EXPECT_EQ(deadlock.losers, 1);
  EXPECT_EQ(x_of(1), 1);
  EXPECT_EQ(x_of(2), 1);
  EXPECT_EQ(count(), 2);
}

TEST_F(TransactionTest, RunsADeadlocksLoserAgain) {
  std::latch both_hold(2);
  std::atomic<int> runs = 0;
  const auto work = [&](int first, int second) {
    pool_.transact([&, has_waited = false](Transaction& tx) mutable {
      ++runs;
      tx.execute("UPDATE t SET x = x + 1 WHERE id = ?", first);
      if (!std::exchange(has_waited, true)) both_hold.arrive_and_wait();
      tx.execute("UPDATE t SET x = x + 1 WHERE id = ?", second);
    });
  };
  {
    const std::jthread other([&] { work(2, 1); });
    work(1, 2);
  }
  EXPECT_EQ(runs, 3);
  EXPECT_EQ(x_of(1), 2);
  EXPECT_EQ(x_of(2), 2);
}

TEST_F(TransactionTest, CommitsNothingAfterASwallowedLockWait) {
  PoolOptions options = schema_.options();
  options.lock_wait_timeout = 1s;
  options.transact_tries = 1;
  Pool impatient(options);
  const auto holder = pool_.connect(60s);
  holder->execute("UPDATE t SET x = 5 WHERE id = 2", {});

  const auto swallow = [](Transaction& tx) {
    tx.execute("UPDATE t SET x = 9 WHERE id = 1");
    try {
      tx.execute("UPDATE t SET x = 9 WHERE id = 2");
    } catch (const MysqlError&) {
    }
  };
  EXPECT_THROW(impatient.transact(swallow), MysqlError);
  EXPECT_EQ(x_of(1), 0);
}

TEST_F(TransactionTest, GivesUpAfterTheTriesThatWereAskedFor) {
  PoolOptions options = schema_.options();
  options.lock_wait_timeout = 1s;
  options.transact_tries = 2;
  Pool impatient(options);
  const auto holder = pool_.connect(60s);
  holder->execute("UPDATE t SET x = 5 WHERE id = 2", {});
  int runs = 0;

  EXPECT_THROW(impatient.transact([&](Transaction& tx) {
    ++runs;
    tx.execute("UPDATE t SET x = 9 WHERE id = 2");
  }),
               MysqlError);
  EXPECT_EQ(runs, 2);
}

TEST_F(TransactionTest, DoesNotSendDdl) {
  EXPECT_THROW(pool_.transact([](Transaction& tx) {
    tx.execute("INSERT INTO t VALUES (3, 3)");
    tx.execute("CREATE TABLE u (id INT)");
  }),
               MisuseError);

  EXPECT_EQ(count(), 2);
}

TEST_F(TransactionTest, MayUseATemporaryTable) {
  EXPECT_THROW(pool_.transact([](Transaction& tx) {
    tx.execute("INSERT INTO t VALUES (3, 3)");
    tx.execute("CREATE TEMPORARY TABLE scratch (id INT)");
    tx.execute("DROP TEMPORARY TABLE scratch");
    throw std::runtime_error("and is still the same transaction");
  }),
               std::runtime_error);

  EXPECT_EQ(count(), 2);
}

TEST_F(TransactionTest, IsDoomedByAProcedureThatCommits) {
  admin_->control("CREATE PROCEDURE sly() COMMIT");

  EXPECT_THROW(pool_.transact([](Transaction& tx) {
    try {
      tx.execute("CALL sly()");
    } catch (const MysqlError& error) {
      EXPECT_EQ(error.code(), 1305);
    }
    tx.execute("INSERT INTO t VALUES (3, 3)");
  }),
               MysqlError);
  EXPECT_EQ(count(), 2);
}

TEST_F(TransactionTest, MayCallAProcedure) {
  admin_->control("CREATE PROCEDURE add_row(IN id INT) INSERT INTO t VALUES (id, 0)");
  pool_.transact([](Transaction& tx) { tx.execute("CALL add_row(?)", 3); });

  EXPECT_EQ(count(), 3);
}

TEST_F(TransactionTest, InsertsAndUpdatesManyRows) {
  RowValues rows;
  for (int id = 3; id < 2'503; ++id) rows.add(id, 1);
  RowValues more;
  for (int id = 1; id <= 3; ++id) {
    more.add(id, 10);
    more.add(id, 5);
  }

  pool_.transact([&](Transaction& tx) {
    EXPECT_EQ(tx.insert_rows("INSERT INTO t (id, x)", rows), 2'500u);
    EXPECT_EQ(tx.insert_rows("INSERT INTO t (id, x)", rows, "ON DUPLICATE KEY UPDATE id = id"), 0u);
    EXPECT_EQ(tx.update_rows("UPDATE t JOIN {rows} AS v ON t.id = v.id SET t.x = t.x + v.more", {"id", "more"},
                             more.summed(1)),
              3u);
  });

  EXPECT_EQ(count(), 2'502);
  EXPECT_EQ(x_of(1), 15);
  EXPECT_EQ(x_of(3), 16);
}

TEST_F(TransactionTest, SplitsRowsByMaxAllowedPacket) {
  admin_->control("CREATE TABLE wide (id INT PRIMARY KEY, body LONGBLOB) ENGINE=InnoDB");
  const std::string body(5u << 20, 'x');
  RowValues rows;
  for (int id = 0; id < 5; ++id) rows.add(id, body);

  pool_.transact([&](Transaction& tx) {
    EXPECT_EQ(tx.insert_rows("INSERT INTO wide (id, body)", rows), 5u);
    EXPECT_EQ(tx.query("SELECT SUM(LENGTH(body)) FROM wide").at(0).get<std::size_t>(0), 5 * body.size());
  });
}

}  // namespace
}  // namespace oncemark::mysql
