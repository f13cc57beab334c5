#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/mysql/errors.hpp>
#include <oncemark/outbox/relay.hpp>

#include "outbox_fixture.hpp"

namespace oncemark::outbox {
namespace {

class RelayScaleTest : public OutboxTest {
 protected:
  /// 10 to the power of `digits` rows of relay main. The expressions may use n, the number of the row from 0.
  void fill(int digits, const std::string& key, const std::string& status, const std::string& available_at) {
    const std::string ten =
        "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 "
        "UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) AS ";
    std::string number = "0", from;
    for (int i = 0; i < digits; ++i) {
      number += " * 10 + t" + std::to_string(i) + ".d";
      from += (i == 0 ? "" : " CROSS JOIN ") + ten + "t" + std::to_string(i);
      if (i > 0) number = "(" + number + ")";
    }
    execute(
        "INSERT INTO outbox_message (message_id, relay, shard, topic, message_key, event_time, payload, headers, "
        "status, available_at, created_at) SELECT UUID(), 'main', n % 64, 't', " +
        key + ", UTC_TIMESTAMP(6), n, '[]', " + status + ", " + available_at + ", UTC_TIMESTAMP(6) FROM (SELECT " +
        number + " AS n FROM " + from + ") AS numbers");
  }
};

/// Figures that a MariaDB server keeps when it is asked to; a MySQL server does not have them.
class RelayStatisticsTest : public RelayScaleTest {
 protected:
  void SetUp() override {
    try {
      pool_.acquire()->control("SET GLOBAL userstat = 1");
    } catch (const mysql::MysqlError&) {
      GTEST_SKIP() << "the server keeps no user statistics";
    }
  }
  std::uint64_t rows_read() {
    return std::stoull(
        value("SELECT COALESCE(SUM(ROWS_READ), 0) FROM information_schema.TABLE_STATISTICS "
              "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'outbox_message'"));
  }
  std::uint64_t statements_of(const std::string& user) {
    return std::stoull(
        value("SELECT COALESCE(SUM(SELECT_COMMANDS + UPDATE_COMMANDS + OTHER_COMMANDS), 0) "
              "FROM information_schema.USER_STATISTICS WHERE USER = '" +
              user + "'"));
  }
};

TEST_F(RelayStatisticsTest, ReadsNeitherWaitingNorSentRowsInAPoll) {
  fill(5, "n % 1000", "'waiting'", "UTC_TIMESTAMP(6) + INTERVAL 1 DAY");
  fill(5, "n % 1000", "'sent'", "UTC_TIMESTAMP(6)");
  Relay relay(pool_, broker_, quick());
  put({{.topic = "t"}});
  EXPECT_TRUE(eventually(5s, [&] { return broker_.acked_count() == 1; }));

  const std::uint64_t before = rows_read();
  std::this_thread::sleep_for(1s);  // about 50 polls

  EXPECT_LT(rows_read() - before, 500u);
}

TEST_F(RelayStatisticsTest, ReadsFewRowsToPromoteThoseThatAreDue) {
  fill(5, "n % 1000", "'waiting'", "UTC_TIMESTAMP(6) + INTERVAL 1 DAY");
  fill(1, "n", "'waiting'", "UTC_TIMESTAMP(6)");
  const std::uint64_t before = rows_read();
  Relay relay(pool_, broker_, quick());

  EXPECT_TRUE(eventually(5s, [&] { return broker_.acked_count() == 10; }));

  EXPECT_LT(rows_read() - before, 2'000u);
  EXPECT_EQ(count("status = 'waiting'"), 100'000u);
}

TEST_F(RelayStatisticsTest, AsksAnIdleServerAtMostFiveQuestionsASecond) {
  const std::string user = schema_.name();
  mysql::PoolOptions options = schema_.options();
  options.user = user;
  options.password = "om";
  options.password_file.clear();
  pool_.acquire()->control("CREATE USER '" + user + "'@'%' IDENTIFIED BY 'om'");
  pool_.acquire()->control("GRANT ALL ON " + schema_.name() + ".* TO '" + user + "'@'%'");
  {
    mysql::Pool pool(options);
    Relay relay(pool, broker_);
    EXPECT_TRUE(eventually(5s, [&] { return relay.counts().shards == kShards; }));
    std::this_thread::sleep_for(1s);  // the pauses between polls have grown to their longest

    const std::uint64_t before = statements_of(user);
    std::this_thread::sleep_for(6s);

    const std::uint64_t asked = statements_of(user) - before;
    EXPECT_LE(asked, 6u * 5);
    EXPECT_GE(asked, 6u * 2);
  }
  pool_.acquire()->control("DROP USER '" + user + "'@'%'");
}

TEST_F(RelayScaleTest, SendsOtherKeysPastTenThousandRowsThatWait) {
  broker_.answer_key("bad", Answer::refuse);
  RelayOptions options = quick();
  options.backoff = {.initial = 1h, .factor = 1, .cap = 1h, .jitter = 0};
  put_numbered({"bad"}, 1);
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'failing'") == 1; }));
  fill(4, "'bad'", "'pending'", "UTC_TIMESTAMP(6)");
  execute("UPDATE outbox_message SET shard = " + std::to_string(shard_of("bad", "")));
  put_numbered({"good"}, 700);

  EXPECT_TRUE(eventually(5s, [&] { return count("message_key = 'good' AND status = 'sent'") == 700; }));

  EXPECT_EQ(count("message_key = 'bad' AND status = 'pending' AND attempts = 0"), 10'000u);
  EXPECT_EQ(by_key(broker_.acked()).count("bad"), 0u);
  broker_.answer_key("bad", Answer::ack);
  execute("UPDATE outbox_message SET available_at = UTC_TIMESTAMP(6) WHERE status = 'failing'");
  EXPECT_TRUE(all_sent());
}

TEST_F(RelayScaleTest, StaysFastBehindThousandsOfFailingKeys) {
  fill(4, "n", "'failing'", "UTC_TIMESTAMP(6) + INTERVAL 1 DAY");
  fill(4, "n", "'pending'", "UTC_TIMESTAMP(6)");
  Relay relay(pool_, broker_, quick());
  put_numbered({"good"}, 2'000);

  EXPECT_TRUE(eventually(5s, [&] { return count("message_key = 'good' AND status = 'sent'") == 2'000; }));

  EXPECT_EQ(broker_.handed_over_count(), 2'000u);
}

}  // namespace
}  // namespace oncemark::outbox
