#include <oncemark/housekeeping/watchdog.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/faults.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/letters.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::housekeeping {
namespace {

using namespace std::chrono_literals;
using testing::order_message;
using testing::Tables;
using testing::TempSchema;

class WatchdogTest : public ::testing::Test {
 protected:
  /// A message whose first delivery failed; the retry was due, and its record sent, so many minutes ago.
  void fail_long_ago(const Message& message, int minutes = 120) {
    (void)router_.route({.message = message,
                         .consumer = "shipping",
                         .group = "ship-group",
                         .error = {.error_class = "timeout", .text = "not yet", .kind = ErrorKind::transient}});
    execute("UPDATE outbox_message SET status = 'sent', sent_at = UTC_TIMESTAMP(6) - INTERVAL " +
            std::to_string(minutes) + " MINUTE WHERE status <> 'sent'");
    execute("UPDATE failed_message SET due_at = UTC_TIMESTAMP(6) - INTERVAL " + std::to_string(minutes) + " MINUTE");
  }
  std::uint64_t resent(WatchdogOptions options = {}) { return Watchdog(pool_, options).look().resent; }
  mysql::Row row(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql).value(); });
  }
  std::int64_t count(const std::string& sql) { return row(sql).get<std::int64_t>(0); }
  std::int64_t pending() { return count("SELECT COUNT(*) FROM outbox_message WHERE status = 'pending'"); }
  void execute(const std::string& sql) {
    pool_.transact([&](mysql::Transaction& tx) { tx.execute(sql); });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
  dead_letter::Router router_{pool_, {.retries = {.delays = {1s, 1s}}}};
};

TEST_F(WatchdogTest, SendsAgainWhatIsLongOverdue) {
  fail_long_ago(order_message("o-1"));

  EXPECT_EQ(Watchdog(pool_).count(), (WatchdogCounts{.overdue = 1}));
  EXPECT_EQ(resent(), 1u);

  EXPECT_EQ(pending(), 1);
  EXPECT_EQ(resent(), 0u) << "it is on its way";
  execute("UPDATE outbox_message SET status = 'sent', sent_at = UTC_TIMESTAMP(6)");
  EXPECT_EQ(resent(), 0u) << "it was sent just now";
}

TEST_F(WatchdogTest, LeavesAloneWhatIsNotOverdue) {
  fail_long_ago(order_message("o-1"), 50);

  EXPECT_EQ(resent(), 0u);
  EXPECT_EQ(resent({.overdue = 40min}), 1u);
}

TEST_F(WatchdogTest, MakesAnOutboxRowThatIsGoneAgainByteForByte) {
  Message message = order_message("o-1");
  message.business_key = "invoice-1";
  message.key = std::string("\0\xff", 2);
  message.headers.append("null", nullptr);
  fail_long_ago(message);
  const std::string columns =
      "SELECT message_id, purpose, relay, shard, topic, message_key, business_key, event_time, payload, headers "
      "FROM outbox_message";
  const mysql::Row before = row(columns);
  execute("UPDATE failed_message SET due_at = due_at + INTERVAL 0 SECOND");
  execute("DELETE FROM outbox_message");

  EXPECT_EQ(resent(), 1u);

  const mysql::Row after = row(columns);
  for (std::size_t i = 0; i + 1 < before.size(); ++i) EXPECT_EQ(before.get<Bytes>(i), after.get<Bytes>(i)) << i;
  Headers was = decode_headers(before.get<std::string>(9));
  Headers is = decode_headers(after.get<std::string>(9));
  was.remove("om-due");  // the test has moved it
  is.remove("om-due");
  EXPECT_EQ(was, is);
  EXPECT_EQ(pending(), 1);
}

TEST_F(WatchdogTest, LeavesAloneWhatTheRelayHasNotSentYet) {
  fail_long_ago(order_message("o-1"));
  for (const char* status : {"waiting", "pending", "failing", "dead"}) {
    execute(std::string("UPDATE outbox_message SET status = '") + status + "'");
    EXPECT_EQ(resent(), 0u) << status;
  }
}

TEST_F(WatchdogTest, LeavesAloneWhatAConsumerIsJustHandling) {
  fail_long_ago(order_message("o-1"));
  auto connection = pool_.acquire();
  mysql::UnitOfWork handling(*connection);
  ASSERT_TRUE(ledger::lock_standing(handling.tx(), "shipping", "o-1"));

  EXPECT_EQ(resent(), 0u);
  handling.rollback();
  EXPECT_EQ(resent(), 1u);
}

TEST_F(WatchdogTest, LeavesAloneWhatIsDone) {
  fail_long_ago(order_message("o-1"));
  const auto again = pool_.transact([](mysql::Transaction& tx) {
    return dead_letter::send_again(tx, {}, "shipping", "o-2", 1h);  // was never seen
  });
  EXPECT_EQ(again, dead_letter::Resend::nothing);
  execute("UPDATE consumed_message SET state = 'done'");
  EXPECT_EQ(resent(), 0u);
}

// A consumer that is away for a day must not find a thousand copies of its topic.
TEST_F(WatchdogTest, SendsSoManyInARoundAndTheOthersInTheNext) {
  for (int i = 0; i < 5; ++i) fail_long_ago(order_message("o-" + std::to_string(i)));

  EXPECT_EQ(resent({.batch = 3}), 3u);
  EXPECT_EQ(resent({.batch = 3}), 2u);
  EXPECT_EQ(pending(), 5);
}

TEST_F(WatchdogTest, LooksAfterOneConsumerWhenTold) {
  fail_long_ago(order_message("o-1"));

  EXPECT_EQ(resent({.consumer = "billing"}), 0u);
  EXPECT_EQ(resent({.consumer = "shipping"}), 1u);
}

TEST_F(WatchdogTest, ChangesNothingBeforeItsCommit) {
  fail_long_ago(order_message("o-1"));
  faults::arm("watchdog.before_commit:throw");
  EXPECT_THROW(resent(), Error);
  faults::disarm();

  EXPECT_EQ(pending(), 0);
  EXPECT_EQ(resent(), 1u);
}

}  // namespace
}  // namespace oncemark::housekeeping
