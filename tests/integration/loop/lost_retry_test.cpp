// A retry that the broker lost, through the real loop: the watchdog sends it again, and it is done once.
#include <oncemark/housekeeping/watchdog.hpp>
#include <oncemark/outbox/writer.hpp>

#include "integration/loop/consumer_fixture.hpp"

namespace oncemark {
namespace {

class LostRetry : public ConsumerTest {
 protected:
  LostRetry() {
    create("effect (id BIGINT AUTO_INCREMENT PRIMARY KEY, message_id VARBINARY(320))");
    pool_.transact([&](mysql::Transaction& tx) {
      for (const char* id : {"sent", "gone"}) outbox::append(tx, {.topic = topic_, .payload = "p", .id = id});
    });
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
};

TEST_F(LostRetry, ComesBackAndIsDoneOnce) {
  kafka::Producer business_out{{.brokers = Stack::brokers()}};
  outbox::Relay business{pool_, business_out, {.max_poll_interval = 50ms}};
  Running running(*this, {.effect =
                              [](const Message& message, mysql::Transaction& tx) {
                                if (message.attempt == 1) throw std::runtime_error("not yet");
                                tx.execute("INSERT INTO effect (message_id) VALUES (?)", message.id);
                              },
                          .failures = {.retries = {.delays = {1h}}},
                          .has_relay = false});
  ASSERT_TRUE(eventually(30s, [&] { return count("SELECT COUNT(*) FROM failed_message") == 2; }));
  lose_the_retries();
  kafka::Producer failure_out{{.brokers = Stack::brokers()}};
  outbox::Relay relay{pool_, failure_out, {.name = "shipping", .max_poll_interval = 50ms}};
  ASSERT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'"), 0) << "there is nothing to wait for";

  housekeeping::Watchdog watchdog(pool_);
  EXPECT_EQ(watchdog.look(), (housekeeping::WatchdogCounts{.overdue = 2, .resent = 2}));

  ASSERT_TRUE(
      eventually(30s, [&] { return count("SELECT COUNT(*) FROM consumed_message WHERE state = 'done'") == 2; }));
  // The relay may note an ack after the consumer has done the message; that note must not undo what follows.
  ASSERT_TRUE(
      eventually(30s, [&] { return count("SELECT COUNT(*) FROM outbox_message WHERE status <> 'sent'") == 0; }));
  // Once more, although it is done by now: a copy like any other.
  pool_.transact([](mysql::Transaction& tx) {
    tx.execute("UPDATE outbox_message SET status = 'pending', sent_at = NULL WHERE purpose <> ''");
  });
  ASSERT_TRUE(eventually(30s, [&] { return running.counts().duplicates == 2; }));
  EXPECT_EQ(count("SELECT COUNT(*) FROM effect"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
}

}  // namespace
}  // namespace oncemark
