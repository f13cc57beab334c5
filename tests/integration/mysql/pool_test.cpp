#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/pool.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::mysql {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::TempSchema;

class PoolTest : public ::testing::Test {
 protected:
  PoolOptions options(std::size_t size, std::chrono::milliseconds acquire_timeout = 10s) {
    PoolOptions options = schema_.options();
    options.size = size;
    options.acquire_timeout = acquire_timeout;
    return options;
  }
  static int id_of(Session& session) { return session.query("SELECT CONNECTION_ID()", {}).at(0).get<int>(0); }
  void kill(int id) { admin_->control("KILL " + std::to_string(id)); }

  TempSchema schema_;
  std::unique_ptr<Connection> admin_ = Pool(schema_.options()).connect(60s);
};

TEST_F(PoolTest, LendsTheSameConnectionAgain) {
  Pool pool(options(4));
  const int first = id_of(*pool.acquire());

  EXPECT_EQ(id_of(*pool.acquire()), first);
}

TEST_F(PoolTest, IsUnavailableWhenAllConnectionsAreInUse) {
  Pool pool(options(2, 50ms));
  const Pool::Lease first = pool.acquire();
  const Pool::Lease second = pool.acquire();
  try {
    (void)pool.acquire();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("all 2"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("raise size"));
  }
}

TEST_F(PoolTest, WaitsForAConnectionThatIsGivenBack) {
  Pool pool(options(1));
  auto lease = std::make_unique<Pool::Lease>(pool.acquire());
  const int id = id_of(**lease);
  const std::jthread other([&] { lease.reset(); });

  EXPECT_EQ(id_of(*pool.acquire()), id);
}

TEST_F(PoolTest, MakesRoomForAConnectionThatWasDropped) {
  Pool pool(options(1, 50ms));
  Pool::Lease lease = pool.acquire();
  const int id = id_of(*lease);
  lease.drop();
  Pool::Lease next = pool.acquire();

  EXPECT_NE(id_of(*next), id);
  EXPECT_THROW((void)pool.acquire(), Error);
}

TEST_F(PoolTest, CountsALeaseThatWasMovedOnce) {
  Pool pool(options(1, 50ms));
  Pool::Lease first = pool.acquire();
  Pool::Lease second = std::move(first);
  EXPECT_THROW((void)pool.acquire(), Error);
  second.drop();

  first = pool.acquire();
  EXPECT_THROW((void)pool.acquire(), Error);
}

TEST_F(PoolTest, TakesBackNoOpenTransaction) {
  admin_->control("CREATE TABLE t (id INT PRIMARY KEY)");
  Pool pool(options(1));
  pool.acquire()->execute("INSERT INTO t VALUES (1)", {});

  EXPECT_EQ(pool.acquire()->query("SELECT COUNT(*) FROM t", {}).at(0).get<int>(0), 0);
  // An idle SELECT would block this until lock_wait_timeout.
  EXPECT_NO_THROW(admin_->control("ALTER TABLE t ADD x INT, ALGORITHM=COPY"));
}

TEST_F(PoolTest, DropsAConnectionThatBrokeWhileItWasLent) {
  Pool pool(options(1));
  {
    const Pool::Lease lease = pool.acquire();
    kill(id_of(*lease));
    EXPECT_TRUE(eventually(5s, [&] { return !lease->ping(); }));
  }
  EXPECT_EQ(pool.acquire()->query("SELECT 1", {}).at(0).get<int>(0), 1);
}

TEST_F(PoolTest, FindsOutThatAnIdleConnectionHasDied) {
  Pool pool(options(1));
  const int id = id_of(*pool.acquire());
  kill(id);
  std::this_thread::sleep_for(1'100ms);  // idle for longer than a second: asked before it is lent

  EXPECT_NE(id_of(*pool.acquire()), id);
}

TEST_F(PoolTest, BeginsOnAFreshConnectionWhenAnIdleOneHasDied) {
  Pool pool(options(1));
  const int id = id_of(*pool.acquire());
  kill(id);
  int runs = 0;
  const int next = pool.transact([&](Transaction& tx) {
    ++runs;
    return tx.query("SELECT CONNECTION_ID()").at(0).get<int>(0);
  });

  EXPECT_NE(next, id);
  EXPECT_EQ(runs, 1);
}

TEST_F(PoolTest, DropsAConnectionThatTheServerIsAboutToClose) {
  PoolOptions chosen = options(1);
  chosen.wait_timeout = 4s;
  Pool pool(chosen);
  const int id = id_of(*pool.acquire());
  std::this_thread::sleep_for(2'100ms);  // more than half of wait_timeout

  EXPECT_NE(id_of(*pool.acquire()), id);
}

TEST_F(PoolTest, SurvivesManyThreads) {
  admin_->control("CREATE TABLE t (x INT NOT NULL)");
  Pool pool(options(3));
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 50; ++n) pool.transact([](Transaction& tx) { tx.execute("INSERT INTO t VALUES (1)"); });
      });
    }
  }
  EXPECT_EQ(pool.acquire()->query("SELECT SUM(x) FROM t", {}).at(0).get<int>(0), 400);
}

TEST_F(PoolTest, IsReachableWhileTheServerAnswers) { EXPECT_TRUE(Pool(options(1)).is_reachable()); }

TEST_F(PoolTest, ConnectsOutsideOfItsBound) {
  Pool pool(options(1, 50ms));
  const Pool::Lease only = pool.acquire();

  EXPECT_TRUE(pool.connect(2s)->ping());
}

}  // namespace
}  // namespace oncemark::mysql
