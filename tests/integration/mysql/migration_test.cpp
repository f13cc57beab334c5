#include <oncemark/mysql/migration.hpp>

#include <algorithm>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/version.hpp>

#include "support/temp_schema.hpp"

namespace oncemark::mysql {
namespace {

using namespace std::chrono_literals;
using testing::Tables;
using testing::TempSchema;

class MigrationTest : public ::testing::Test {
 protected:
  void change(const std::string& sql) {
    const auto connection = pool_.connect(60s);
    connection->control(sql);
    connection->control("COMMIT");
  }
  std::string refusal() {
    try {
      require_schema(pool_);
      return "";
    } catch (const MisuseError& error) {
      return error.what();
    }
  }

  TempSchema schema_;
  Pool pool_{schema_.options()};
};

TEST_F(MigrationTest, IsPendingInADatabaseThatHasNothing) {
  for (const MigrationState& state : migration_status(pool_)) EXPECT_FALSE(state.is_applied);
  EXPECT_THAT(refusal(), ::testing::HasSubstr("run `oncemark schema apply`"));
}

TEST_F(MigrationTest, AppliesEverythingOnce) {
  EXPECT_EQ(apply_migrations(pool_).size(), migrations().size());
  EXPECT_TRUE(apply_migrations(pool_).empty());

  for (const MigrationState& state : migration_status(pool_)) {
    EXPECT_TRUE(state.is_applied);
    EXPECT_TRUE(state.checksum_matches);
    EXPECT_THAT(state.applied_at, ::testing::StartsWith("20"));
  }
  EXPECT_EQ(refusal(), "");
}

TEST_F(MigrationTest, AppliesOnceWhenTwoDoItAtTheSameTime) {
  std::vector<int> first;
  std::vector<int> second;
  {
    const std::jthread other([&] { first = apply_migrations(pool_); });
    second = apply_migrations(pool_);
  }
  EXPECT_EQ(first.size() + second.size(), migrations().size());
}

TEST_F(MigrationTest, RunsAgainFromTheFirstStatementAfterItDiedHalfWay) {
  apply_migrations(pool_);
  change("DELETE FROM oncemark_schema");

  EXPECT_EQ(apply_migrations(pool_).size(), migrations().size());
}

TEST_F(MigrationTest, RefusesATextThatWasAppliedAndThenChanged) {
  apply_migrations(pool_);
  change("UPDATE oncemark_schema SET checksum = '0000000000000000' WHERE version = 1");

  EXPECT_FALSE(migration_status(pool_).front().checksum_matches);
  EXPECT_THROW(apply_migrations(pool_), MisuseError);
  EXPECT_THAT(refusal(), ::testing::HasSubstr("V001"));
}

TEST_F(MigrationTest, AcceptsANewerDatabaseThatThisLibraryMayUse) {
  apply_migrations(pool_);
  change(
      "INSERT INTO oncemark_schema SELECT 900, 'V900__new.sql', checksum, lowest_library, epoch, applied_at "
      "FROM oncemark_schema WHERE version = 1");

  EXPECT_EQ(refusal(), "");
  EXPECT_EQ(migration_status(pool_).back().migration.version, 900);
}

TEST_F(MigrationTest, RefusesADatabaseThatNeedsANewerLibrary) {
  apply_migrations(pool_);
  change(
      "INSERT INTO oncemark_schema SELECT 900, 'V900__new.sql', checksum, 990000, epoch, applied_at "
      "FROM oncemark_schema WHERE version = 1");

  EXPECT_THAT(refusal(), ::testing::AllOf(::testing::HasSubstr("V900__new.sql"), ::testing::HasSubstr("990000")));
}

// A proxy's CLIENT_FOUND_ROWS makes an UPDATE that changes nothing affect a row; so does this trigger.
TEST_F(MigrationTest, RefusesAConnectionOnWhichAnUnchangedRowCountsAsAffected) {
  apply_migrations(pool_);
  change("CREATE TRIGGER touch BEFORE UPDATE ON oncemark_schema FOR EACH ROW SET NEW.applied_at = UTC_TIMESTAMP(6)");

  EXPECT_THAT(refusal(), ::testing::HasSubstr("CLIENT_FOUND_ROWS"));
}

TEST_F(MigrationTest, DrawsAnEpochThatDiffersFromDatabaseToDatabase) {
  const auto epoch = [](Pool& pool) {
    apply_migrations(pool);
    return pool.acquire()->query("SELECT epoch FROM oncemark_schema", {}).at(0).get<std::uint64_t>(0);
  };
  const TempSchema other;
  Pool pool(other.options());

  EXPECT_NE(epoch(pool_), epoch(pool));
}

TEST_F(MigrationTest, CanBePrintedAndAppliedByHand) {
  const auto connection = pool_.connect(60s);
  const std::string printed = print_migrations();
  std::size_t begin = 0;
  for (std::size_t end; (end = printed.find(";\n", begin)) != std::string::npos; begin = end + 2) {
    connection->control(printed.substr(begin, end - begin));
  }

  EXPECT_EQ(refusal(), "");
}

}  // namespace
}  // namespace oncemark::mysql
