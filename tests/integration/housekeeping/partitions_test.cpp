#include <oncemark/housekeeping/partitions.hpp>

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/housekeeping/sweeper.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/marks.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::housekeeping {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using testing::insert_mark;
using ::testing::IsEmpty;
using testing::Tables;
using testing::TempSchema;

constexpr std::chrono::hours kWeek{7 * 24};  // wide ones: each costs the server a second on a busy disk

class PartitionsTest : public ::testing::Test {
 protected:
  PartitionsTest() {
    // As if the table had been partitioned three weeks ago, and no partition been dropped since.
    execute(partition_statement({.marks = 21 * 24h, .width = kWeek, .ahead = 1}, now_));
  }
  /// A key as an id that was made so many days ago.
  std::string key(int days) const { return first_key_of(now_ - days * 24h) + "-7abc-8def-0123456789ab"; }
  void mark(int days, const std::string& state = "done") {
    insert_mark(pool_, {.key = key(days), .state = state, .days = days, .event_days = days});
  }
  Rotation rotate(PartitionOptions options = {}) {
    options.width = kWeek;
    return rotate_partitions(pool_, options);
  }
  void execute(const std::string& sql) {
    auto connection = pool_.acquire();
    connection->control(sql);
    connection->control("COMMIT");
  }
  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::int64_t>(0); });
  }
  std::int64_t marks() { return count("SELECT COUNT(*) FROM consumed_message"); }

  const Time now_ = std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(PartitionsTest, DropsWhatIsOldRaisesTheHorizonAndMakesWhatIsToCome) {
  mark(20);
  mark(16);
  mark(2);

  const Rotation rotation = rotate({.ahead = 2});

  EXPECT_GE(rotation.dropped.size(), 1u);
  EXPECT_THAT(rotation.kept, IsEmpty());
  EXPECT_EQ(rotation.added.size(), 1u);
  EXPECT_EQ(marks(), 1);
  EXPECT_EQ(count("SELECT TIMESTAMPDIFF(DAY, event_time, UTC_TIMESTAMP(6)) FROM consumed_horizon"), 16);
  EXPECT_EQ(partitions(pool_).back().name, "others");
  EXPECT_THAT(rotate({.ahead = 2}).added, IsEmpty());
}

TEST_F(PartitionsTest, KeepsAPartitionWithWhatIsNotSettled) {
  for (const char* state : {"retrying", "parked", "dead"}) {
    execute("DELETE FROM consumed_message");
    mark(16, state);

    const Rotation rotation = rotate({.ahead = 1});

    EXPECT_THAT(rotation.kept, ElementsAre(Field(&Rotation::Kept::why, HasSubstr("1 rows are not settled")))) << state;
    EXPECT_EQ(marks(), 1) << state;
  }
}

// Keys of another form may sort anywhere: order numbers lie in the oldest partition.
TEST_F(PartitionsTest, DropsNothingForItsNameAlone) {
  insert_mark(pool_, {.key = "000-order-17", .days = 1, .event_days = 1});

  EXPECT_THAT(rotate({.ahead = 1}).kept,
              ElementsAre(Field(&Rotation::Kept::why, HasSubstr("younger than the retention"))));
  EXPECT_EQ(marks(), 1);
}

TEST_F(PartitionsTest, LeavesOrdinaryClaimsAsTheyAre) {
  const Message message = testing::message_with_id(key(0));
  const auto claim = [&] {
    return pool_.transact([&](mysql::Transaction& tx) { return ledger::claim(tx, "shipping", message).is_fresh; });
  };
  EXPECT_TRUE(claim());
  EXPECT_FALSE(claim());
}

TEST_F(PartitionsTest, GivesUpWhenTheTableIsHeldForTooLong) {
  mark(16);
  auto held = pool_.acquire();
  mysql::UnitOfWork handler(*held);
  (void)ledger::claim(handler.tx(), "shipping", testing::message_with_id("o-1"));

  const Rotation rotation = rotate({.ahead = 1, .lock_wait = 1s, .tries = 1});

  EXPECT_THAT(rotation.dropped, IsEmpty());
  EXPECT_THAT(rotation.kept, Contains(Field(&Rotation::Kept::why, HasSubstr("could not be locked"))));
  EXPECT_EQ(marks(), 1);
}

TEST_F(PartitionsTest, LeavesAHorizonThatIsTooHighWhenItDiesBeforeTheDrop) {
  mark(21);  // in the first partition
  faults::arm("partitions.before_drop:throw");
  EXPECT_THROW(rotate({.ahead = 1}), Error);
  faults::disarm();

  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_horizon"), 1);
  EXPECT_EQ(marks(), 1);
  rotate({.ahead = 1});
  EXPECT_EQ(marks(), 0);
}

TEST_F(PartitionsTest, TheSweeperLeavesPlainRowsToTheDropForADayAndTakesTheOthers) {
  mark(16);
  insert_mark(pool_, {.key = key(8) + "x", .days = 8, .event_days = 8});
  insert_mark(pool_, {.key = key(8) + "y", .days = 8, .event_days = 8, .attempt = 2});
  insert_mark(pool_, {.key = "zzz", .days = 8, .event_days = 8});

  EXPECT_EQ(Sweeper(pool_, {.pause = 0ms}).sweep()->marks, 3u);

  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message WHERE message_key LIKE '%x'"), 1);
}

TEST(PartitionsOfAPlainTable, AreRefusedWithTheCommandThatMakesThem) {
  const TempSchema schema(Tables::ours);
  mysql::Pool pool(schema.options());

  EXPECT_THAT(partitions(pool), IsEmpty());
  try {
    rotate_partitions(pool, {});
    FAIL();
  } catch (const MisuseError& error) {
    EXPECT_THAT(error.what(), HasSubstr("oncemark partitions print"));
  }
}

}  // namespace
}  // namespace oncemark::housekeeping
