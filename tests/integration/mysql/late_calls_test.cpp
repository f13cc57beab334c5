// What is left when a process dies between a commit and the call that should have followed it.
#include <csignal>

#include <gtest/gtest.h>

#include <oncemark/core/faults.hpp>
#include <oncemark/mysql/late_calls.hpp>
#include <oncemark/mysql/pool.hpp>

#include "support/temp_schema.hpp"

namespace oncemark::mysql {
namespace {

TEST(LateCallsTest, AreLostWithTheProcessWhileTheCommitStands) {
  testing::TempSchema schema;
  const auto dies = [&] {
    Pool pool(schema.options());
    pool.acquire()->control("CREATE TABLE made (what VARCHAR(20) PRIMARY KEY) ENGINE=InnoDB");
    LateCalls calls;
    faults::arm("transaction.before_hook:kill");
    pool.transact([&](Transaction& tx) {
      tx.execute("INSERT INTO made VALUES ('effect')");
      calls.after_commit(tx, "call", [&] {
        pool.transact([](Transaction& late) { late.execute("INSERT INTO made VALUES ('call')"); });
      });
    });
  };

  EXPECT_EXIT(dies(), ::testing::KilledBySignal(SIGKILL), "");

  Pool pool(schema.options());
  const auto made = pool.transact([](Transaction& tx) { return tx.query("SELECT what FROM made"); });
  ASSERT_EQ(made.size(), 1u);
  EXPECT_EQ(made.front().get<std::string>(0), "effect");
}

}  // namespace
}  // namespace oncemark::mysql
