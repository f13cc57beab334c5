// A retry that the broker lost, through the real loop: the watchdog sends it again, and it is done once.
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include <oncemark/consume/runner.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/housekeeping/watchdog.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/consumer.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/outbox/relay.hpp>
#include <oncemark/outbox/writer.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"
#include "support/unique_topic.hpp"

namespace oncemark {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::Stack;
using testing::Tables;
using testing::TempSchema;

class LostRetry : public ::testing::Test {
 protected:
  LostRetry() {
    pool_.acquire()->control("CREATE TABLE effect (id BIGINT AUTO_INCREMENT PRIMARY KEY, message_id VARBINARY(320))");
    pool_.transact([&](mysql::Transaction& tx) {
      for (const char* id : {"sent", "gone"}) outbox::append(tx, {.topic = topic_, .payload = "p", .id = id});
    });
  }
  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::int64_t>(0); });
  }
  /// The retries look as if they had been sent long ago, and are on no topic.
  void lose_the_retries() {
    pool_.transact([&](mysql::Transaction& tx) {
      tx.execute(
          "UPDATE outbox_message SET status = 'sent', sent_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR "
          "WHERE purpose <> ''");
      tx.execute("DELETE FROM outbox_message WHERE purpose <> '' AND message_id = 'gone'");
      tx.execute("UPDATE failed_message SET due_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR");
    });
  }

  const std::string topic_ = testing::unique_topic(1);
  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(LostRetry, ComesBackAndIsDoneOnce) {
  kafka::Producer business_out{{.brokers = Stack::brokers()}};
  outbox::Relay business{pool_, business_out, {.max_poll_interval = 50ms}};
  kafka::Consumer source{{.brokers = Stack::brokers(), .group = testing::unique_name("g"), .topics = {topic_}}};
  inbox::Dedup once{pool_,
                    {.consumer = "shipping", .effects = Effects::transaction},
                    [](const Message& message, mysql::Transaction& tx) {
                      if (message.attempt == 1) throw std::runtime_error("not yet");
                      tx.execute("INSERT INTO effect (message_id) VALUES (?)", message.id);
                    }};
  dead_letter::Router failures{pool_, {.retries = {.delays = {1h}}}};
  consume::Runner runner{source, once, failures, {.workers = 2, .commit_interval = 50ms}};
  std::jthread run([&](std::stop_token stop) { runner.run(stop); });
  ASSERT_TRUE(eventually(30s, [&] { return count("SELECT COUNT(*) FROM failed_message") == 2; }));
  lose_the_retries();
  kafka::Producer failure_out{{.brokers = Stack::brokers()}};
  outbox::Relay relay{pool_, failure_out, {.name = "shipping", .max_poll_interval = 50ms}};
  ASSERT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'"), 0) << "there is nothing to wait for";

  housekeeping::Watchdog watchdog(pool_);
  EXPECT_EQ(watchdog.look(), (housekeeping::WatchdogCounts{.overdue = 2, .resent = 2}));

  ASSERT_TRUE(
      eventually(30s, [&] { return count("SELECT COUNT(*) FROM consumed_message WHERE state = 'done'") == 2; }));
  // Once more, although it is done by now: a copy like any other.
  pool_.transact([](mysql::Transaction& tx) {
    tx.execute("UPDATE outbox_message SET status = 'pending', sent_at = NULL WHERE purpose <> ''");
  });
  ASSERT_TRUE(eventually(30s, [&] { return runner.counts().duplicates == 2; }));
  EXPECT_EQ(count("SELECT COUNT(*) FROM effect"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
}

}  // namespace
}  // namespace oncemark
