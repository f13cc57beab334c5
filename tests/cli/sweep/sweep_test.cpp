// oncemark sweep as a process: what it removes and says, and what is true after it was killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <oncemark/dead_letter/router.hpp>

#include "support/eventually.hpp"
#include "support/letters.hpp"
#include "support/marks.hpp"
#include "support/process.hpp"
#include "support/tool_environment.hpp"

namespace oncemark::testing {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

class SweepProgramTest : public ::testing::Test {
 protected:
  Ended sweep(std::vector<std::string> words, const std::map<std::string, std::string>& changes = {}) {
    words.insert(words.begin(), {program(), "sweep"});
    return run(std::move(words), environment(changes));
  }
  std::map<std::string, std::string> environment(const std::map<std::string, std::string>& changes = {}) const {
    return with(with(environment_of(schema_), {{"ONCEMARK_RETENTION__PAUSE", "0ms"}}), changes);
  }
  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::int64_t>(0); });
  }
  std::int64_t marks() { return count("SELECT COUNT(*) FROM consumed_message"); }
  /// A message in `retrying` whose retry was sent two hours ago, and lost.
  void lose_a_retry(const std::string& id) {
    dead_letter::Router router(pool_, {.retries = {.delays = {1s}}});
    (void)router.route({.message = order_message(id),
                        .consumer = "shipping",
                        .group = "shipping",
                        .error = {.error_class = "timeout", .text = "not yet", .kind = ErrorKind::transient}});
    pool_.transact([](mysql::Transaction& tx) {
      tx.execute("UPDATE outbox_message SET status = 'sent', sent_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR");
      tx.execute("UPDATE failed_message SET due_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR");
    });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(SweepProgramTest, CountsInADryRunWhatARoundThenRemoves) {
  insert_old_marks(pool_, 20);
  insert_mark(pool_, {.key = "young", .days = 1});
  lose_a_retry("o-1");

  const Ended dry = sweep({"once", "--dry-run", "--json"});
  EXPECT_EQ(dry.code, 0) << dry.err;
  const json counted = json::parse(dry.out);
  EXPECT_EQ(counted["marks"], 20);
  EXPECT_EQ(counted["overdue"], 1);
  EXPECT_EQ(counted["resent"], 0);
  EXPECT_EQ(marks(), 22);

  const Ended ended = sweep({"once"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("Removed 20 of 22 marks, 0 outbox rows, 0 letters, 0 notes of suspects."),
                               HasSubstr("Sent 1 of 1 overdue messages again.")));
  EXPECT_EQ(marks(), 2);
}

TEST_F(SweepProgramTest, ShowsTheHorizons) {
  EXPECT_THAT(sweep({"status"}).err, HasSubstr("No marks have been swept"));
  insert_old_marks(pool_, 5);
  ASSERT_EQ(sweep({"once"}).code, 0);

  const Ended ended = sweep({"status"});
  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("complete"), HasSubstr("7d"), HasSubstr("orders")));
}

TEST_F(SweepProgramTest, RunsUntilItIsStopped) {
  insert_old_marks(pool_, 5);
  lose_a_retry("o-1");
  Process process({.arguments = {program(), "sweep", "run"}, .environment = environment()});

  EXPECT_TRUE(eventually(
      30s, [&] { return marks() == 1 && count("SELECT COUNT(*) FROM outbox_message WHERE status = 'pending'") == 1; }));
  process.send(SIGTERM);
  const Ended ended = process.wait();

  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, AllOf(HasSubstr("swept marks=5"), HasSubstr("long overdue"), HasSubstr("sweeping stopped")));
}

TEST_F(SweepProgramTest, RefusesARetentionThatRetriesMayOutlive) {
  const Ended ended = sweep({"once"}, {{"ONCEMARK_RETENTION__MARKS", "2h"}});

  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("longest_retry"), HasSubstr("ONCEMARK_RETENTION__MARKS")));
}

TEST_F(SweepProgramTest, LeavesTheWorkToAnotherSweeper) {
  auto other = pool_.connect(60s);
  (void)other->query("SELECT GET_LOCK(CONCAT('oncemark.sweep.', LEFT(SHA2(DATABASE(), 256), 32)), 0)", {});

  const Ended ended = sweep({"once"});
  EXPECT_EQ(ended.code, 8);
  EXPECT_THAT(ended.err, HasSubstr("another sweeper is at work"));
}

class KilledSweepTest : public SweepProgramTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(KilledSweepTest, LeavesAHorizonThatCoversEveryMarkThatIsGone) {
  insert_old_marks(pool_, 20);
  pool_.acquire()->control("CREATE TABLE before_sweep AS SELECT * FROM consumed_message");
  const std::map<std::string, std::string> small_steps{{"ONCEMARK_RETENTION__BATCH", "4"}};

  const Ended killed = sweep({"once"}, with(small_steps, {{"ONCEMARK_FAULT", GetParam() + ":kill@2"}}));
  ASSERT_EQ(killed.code, 128 + SIGKILL) << killed.err;

  EXPECT_GT(marks(), 0);
  EXPECT_LT(marks(), 20);
  EXPECT_EQ(
      count("SELECT COUNT(*) FROM before_sweep b WHERE message_key NOT IN (SELECT message_key FROM "
            "consumed_message) AND NOT EXISTS (SELECT 1 FROM consumed_horizon h WHERE h.consumer = b.consumer AND "
            "h.origin_topic = b.origin_topic AND h.origin_partition = b.origin_partition AND "
            "h.event_time >= b.event_time)"),
      0);
  EXPECT_EQ(sweep({"once"}, small_steps).code, 0);
  EXPECT_EQ(marks(), 0);
}

INSTANTIATE_TEST_SUITE_P(Points, KilledSweepTest,
                         ::testing::Values("sweeper.after_horizon", "sweeper.before_commit", "sweeper.after_commit"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::erase_if(name, [](char c) { return c == '.' || c == '_'; });
                           return name;
                         });

class KilledWatchdogTest : public SweepProgramTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(KilledWatchdogTest, SendsEveryMessageOnceInTheEnd) {
  for (int i = 0; i < 3; ++i) lose_a_retry("o-" + std::to_string(i));

  ASSERT_EQ(sweep({"once"}, {{"ONCEMARK_FAULT", GetParam() + ":kill@2"}}).code, 128 + SIGKILL);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE status = 'pending'"),
            GetParam() == "watchdog.before_commit" ? 1 : 2);
  EXPECT_EQ(sweep({"once"}).code, 0);

  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE status = 'pending'"), 3);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message"), 3);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 3);
}

INSTANTIATE_TEST_SUITE_P(Points, KilledWatchdogTest,
                         ::testing::Values("watchdog.before_commit", "watchdog.after_commit"), [](const auto& param) {
                           std::string name = param.param;
                           std::erase_if(name, [](char c) { return c == '.' || c == '_'; });
                           return name;
                         });

}  // namespace
}  // namespace oncemark::testing
