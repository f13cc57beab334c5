#include <oncemark/binlog/relay.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/binlog/bell.hpp>
#include <oncemark/binlog/passing.hpp>
#include <oncemark/core/error.hpp>

#include "binlog_fixture.hpp"

namespace oncemark::binlog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(BinlogRelayTest, SendsWhatIsCommittedAndMarksIt) {
  Relay relay(pool_, broker_, quick());
  put_numbered({"a", "b"}, 3);

  EXPECT_TRUE(all_sent());
  EXPECT_THAT(by_key(broker_.acked())["a"], ElementsAre("1", "2", "3"));
  EXPECT_EQ(broker_.acked_count(), 6u);
  EXPECT_TRUE(eventually(10s, [&] { return relay.counts().sent == 6; }));
  EXPECT_EQ(broker_.acked()[0].headers.size(), 2u);
}

TEST_F(BinlogRelayTest, SendsInTheOrderOfCommitsAndNotOfInserts) {
  Relay relay(pool_, broker_, quick());
  ASSERT_TRUE(is_reading(relay));
  const auto slow = pool_.connect(60s);
  slow->control("START TRANSACTION");
  insert(*slow, "first", "inserted first");
  put({{.topic = "t", .key = "second", .payload = "committed first"}});
  ASSERT_TRUE(eventually(10s, [&] { return broker_.acked_count() == 1; }));
  slow->control("COMMIT");

  EXPECT_TRUE(all_sent());
  EXPECT_EQ(broker_.acked()[0].payload.view(), "committed first");
  EXPECT_EQ(broker_.acked()[1].payload.view(), "inserted first");
  EXPECT_EQ(relay.counts().scans, 1u) << "the first one only";
}

TEST_F(BinlogRelayTest, SendsNothingForWhatWasRolledBack) {
  Relay relay(pool_, broker_, quick());
  ASSERT_TRUE(is_reading(relay));
  const auto connection = pool_.connect(60s);
  connection->control("START TRANSACTION");
  insert(*connection, "k", "before the savepoint");
  connection->control("SAVEPOINT s");
  insert(*connection, "k", "behind the savepoint");
  connection->control("ROLLBACK TO SAVEPOINT s");
  connection->control("COMMIT");
  connection->control("START TRANSACTION");
  insert(*connection, "k", "in a transaction that is rolled back");
  connection->control("ROLLBACK");
  put({{.topic = "t", .key = "k", .payload = "last"}});

  EXPECT_TRUE(all_sent());
  EXPECT_THAT(by_key(broker_.acked())["k"], ElementsAre("before the savepoint", "last"));
}

TEST_F(BinlogRelayTest, SendsWhatStandsInTheTableWhenItStartsForTheFirstTime) {
  put_numbered({"a"}, 3);
  Relay relay(pool_, broker_, quick());

  EXPECT_TRUE(all_sent());
  EXPECT_THAT(by_key(broker_.acked())["a"], ElementsAre("1", "2", "3"));
}

TEST_F(BinlogRelayTest, GoesOnWhereItStood) {
  {
    Relay relay(pool_, broker_, quick());
    put_numbered({"a"}, 3);
    ASSERT_TRUE(all_sent());
  }
  put_numbered({"a"}, 3, 4);
  by_itself("FLUSH BINARY LOGS");
  put_numbered({"a"}, 3, 7);
  Relay relay(pool_, broker_, quick());

  EXPECT_TRUE(all_sent());
  EXPECT_THAT(by_key(broker_.acked())["a"], ElementsAre("1", "2", "3", "4", "5", "6", "7", "8", "9"));
  EXPECT_EQ(relay.counts().scans, 0u) << "all of it came out of the binlog";
}

TEST_F(BinlogRelayTest, FollowsTheBinlogIntoTheNextFile) {
  Relay relay(pool_, broker_, quick());
  ASSERT_TRUE(is_reading(relay));
  for (int i = 1; i <= 5; ++i) {
    put_numbered({"a", "b"}, 1, i);
    by_itself("FLUSH BINARY LOGS");
  }

  EXPECT_TRUE(all_sent());
  EXPECT_THAT(by_key(broker_.acked())["a"], ElementsAre("1", "2", "3", "4", "5"));
  EXPECT_EQ(broker_.acked_count(), 10u);
}

TEST_F(BinlogRelayTest, DoesNotSendAgainWhatAStandByHasSent) {
  {
    Relay relay(pool_, broker_, quick());
    put_numbered({"a"}, 1);
    ASSERT_TRUE(all_sent());
  }
  put_numbered({"a"}, 1, 2);
  {
    outbox::Relay polling(pool_, broker_, quick().outbox);
    ASSERT_TRUE(all_sent());
  }
  put_numbered({"a"}, 1, 3);
  Relay relay(pool_, broker_, quick());

  EXPECT_TRUE(all_sent());
  EXPECT_THAT(by_key(broker_.acked())["a"], ElementsAre("1", "2", "3"));
}

TEST_F(BinlogRelayTest, StandsByWhileARelayPolls) {
  auto polling = std::make_unique<outbox::Relay>(pool_, broker_, quick().outbox);
  ASSERT_TRUE(eventually(10s, [&] { return polling->counts().shards == outbox::kShards; }));
  RecordingSink other;
  Relay relay(pool_, other, quick());
  put_numbered({"a"}, 2);
  ASSERT_TRUE(all_sent());
  polling.reset();
  put_numbered({"a"}, 2, 3);

  EXPECT_TRUE(all_sent());
  EXPECT_EQ(broker_.acked_count(), 2u);
  EXPECT_THAT(by_key(other.acked())["a"], ElementsAre("3", "4"));
}

class PurgedBinlogTest : public BinlogRelayTest, public ::testing::WithParamInterface<bool> {};

// The same answer of the server as for a file that was there: it has none of that name, or no such GTID.
TEST_P(PurgedBinlogTest, IsNoticedAndClosedByAScan) {
  {
    Relay relay(pool_, broker_, quick());
    put_numbered({"a"}, 1);
    ASSERT_TRUE(all_sent());
  }
  execute(GetParam() ? "UPDATE relay_checkpoint SET gtids = IF(VERSION() LIKE '%MariaDB%', '0-1-99999999', "
                       "'00000000-0000-0000-0000-000000000007:1-7')"
                     : "UPDATE relay_checkpoint SET gtids = '', file = 'binlog.000000', position = 4");
  put_numbered({"a"}, 2, 2);
  Relay relay(pool_, broker_, quick());

  EXPECT_TRUE(all_sent());
  put_numbered({"a"}, 1, 4);
  EXPECT_TRUE(all_sent());
  EXPECT_THAT(by_key(broker_.acked())["a"], ElementsAre("1", "2", "3", "4"));
  EXPECT_EQ(relay.counts().gaps, GetParam() && is_mysql() ? 0u : 1u) << "MySQL sends all that the set lacks";
  EXPECT_FALSE(relay.failure());
}

INSTANTIATE_TEST_SUITE_P(, PurgedBinlogTest, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "ByGtid" : "ByFile"; });

TEST_F(BinlogRelayTest, StartsAnewFromNowWhenToldSo) {
  execute("INSERT INTO relay_checkpoint VALUES ('main', 'binlog.000000', 4, '', UTC_TIMESTAMP(6))");
  put_numbered({"a"}, 2);
  RelayOptions options = quick();
  options.start = Start::now;
  Relay relay(pool_, broker_, options);

  EXPECT_TRUE(all_sent());
  EXPECT_EQ(relay.counts().gaps, 0u);
  EXPECT_THAT(by_key(broker_.acked())["a"], ElementsAre("1", "2"));
}

TEST_F(BinlogRelayTest, SendsARowWhenItsTimeHasCome) {
  Relay relay(pool_, broker_, quick());
  ASSERT_TRUE(is_reading(relay));
  put({{.topic = "t", .key = "k", .payload = "later", .delay = 300ms}, {.topic = "t", .key = "l", .payload = "now"}});

  ASSERT_TRUE(eventually(10s, [&] { return broker_.acked_count() == 1; }));
  EXPECT_EQ(broker_.acked()[0].payload.view(), "now");
  EXPECT_TRUE(all_sent());
  EXPECT_EQ(broker_.acked_count(), 2u);
}

TEST_F(BinlogRelayTest, LetsNoKeyWaitForARowThatIsRefused) {
  broker_.answer_key("bad", Answer::refuse, 3);
  Relay relay(pool_, broker_, quick());
  ASSERT_TRUE(is_reading(relay));
  put_numbered({"bad"}, 1);
  ASSERT_TRUE(eventually(10s, [&] { return count("status = 'failing'") == 1; }));
  put_numbered({"good"}, 3);
  put_numbered({"bad"}, 2, 2);

  EXPECT_TRUE(eventually(10s, [&] { return by_key(broker_.acked())["good"].size() == 3; }));
  EXPECT_TRUE(all_sent());
  EXPECT_THAT(by_key(broker_.acked())["bad"], ElementsAre("1", "2", "3"));
  EXPECT_EQ(broker_.acked_count(), 6u);
}

TEST_F(BinlogRelayTest, GivesUpARowThatIsRefusedTooOften) {
  broker_.answer_key("bad", Answer::refuse);
  RelayOptions options = quick();
  options.outbox.max_attempts = 2;
  Relay relay(pool_, broker_, options);
  put_numbered({"bad", "good"}, 1);

  EXPECT_TRUE(eventually(10s, [&] { return count("status = 'dead'") == 1 && count("status = 'sent'") == 1; }));
  EXPECT_EQ(relay.counts().dead, 1u);
}

TEST_F(BinlogRelayTest, LosesNothingWhileTheBrokerIsAway) {
  Relay relay(pool_, broker_, quick());
  ASSERT_TRUE(is_reading(relay));
  broker_.answer_all(Answer::silence);
  put_numbered({"a", "b"}, 3);
  ASSERT_TRUE(eventually(10s, [&] { return broker_.discards() >= 2; }));
  broker_.answer_all(Answer::ack);
  put_numbered({"a", "b"}, 3, 4);

  EXPECT_TRUE(all_sent());
  EXPECT_THAT(by_key(broker_.acked())["a"], ElementsAre("1", "2", "3", "4", "5", "6"));
  EXPECT_EQ(count("attempts > 0"), 0u);
}

TEST_F(BinlogRelayTest, SendsTheRowsOfAnXaTransactionOnceItIsCommitted) {
  Relay relay(pool_, broker_, quick());
  ASSERT_TRUE(is_reading(relay));
  const auto connection = prepare_xa([](mysql::Session& session) { insert(session, "k", "prepared"); });
  put({{.topic = "t", .key = "l", .payload = "meanwhile"}});
  ASSERT_TRUE(eventually(10s, [&] { return broker_.acked_count() == 1; }));
  connection->control("XA COMMIT " + xid());

  EXPECT_TRUE(all_sent());
  EXPECT_THAT(by_key(broker_.acked())["k"], ElementsAre("prepared"));
}

TEST_F(BinlogRelayTest, SendsALargeTransactionWithoutHoldingAllOfIt) {
  Relay relay(pool_, broker_, quick());
  ASSERT_TRUE(is_reading(relay));
  pool_.transact([](mysql::Transaction& tx) {
    for (int i = 1; i <= 40; ++i) {
      outbox::append(tx, {.topic = "t", .key = "k", .payload = std::to_string(i) + std::string(250'000, 'x')});
    }
  });

  EXPECT_TRUE(all_sent());
  ASSERT_EQ(broker_.acked_count(), 40u);
  for (int i = 0; i < 40; ++i) {
    EXPECT_TRUE(broker_.acked()[static_cast<std::size_t>(i)].payload.view().starts_with(std::to_string(i + 1) + "x"));
  }
}

TEST_F(BinlogRelayTest, PassesEveryByteOn) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  Relay relay(pool_, broker_, quick());
  ASSERT_TRUE(is_reading(relay));
  put({{.topic = "t", .key = all, .payload = all, .headers = {{"h", all}, {"empty", ""}, {"null", nullptr}}},
       {.topic = "u", .key = nullptr, .payload = nullptr},
       {.topic = "v", .key = "", .payload = ""}});

  ASSERT_TRUE(all_sent());
  const auto records = broker_.acked();
  EXPECT_EQ(records[0].key.view(), all);
  EXPECT_EQ(records[0].payload.view(), all);
  EXPECT_EQ(records[0].headers.find("h")->view(), all);
  EXPECT_TRUE(records[0].headers.find("null")->is_null());
  EXPECT_TRUE(records[1].key.is_null());
  EXPECT_TRUE(records[1].payload.is_null());
  EXPECT_FALSE(records[2].key.is_null());
  EXPECT_EQ(records[0].headers.text("om-message-id"), value("SELECT message_id FROM outbox_message WHERE topic = 't'"));
}

TEST_F(BinlogRelayTest, RemovesWhatIsSentWhenToldSo) {
  RelayOptions options = quick();
  options.outbox.sent_rows = outbox::SentRows::removed;
  Relay relay(pool_, broker_, options);
  put_numbered({"a", "b"}, 5);

  EXPECT_TRUE(eventually(10s, [&] { return broker_.acked_count() == 10 && count("1 = 1") == 0; }));
}

class PassingRowsTest : public BinlogRelayTest {
 protected:
  PassingRowsTest() {
    options_ = quick();
    options_.rows = Rows::pass;
  }
  void pass_numbered(const std::string& key, int rows, int first = 1) {
    pool_.transact([&](mysql::Transaction& tx) {
      for (int i = first; i < first + rows; ++i) {
        append_in_passing(tx, {.topic = "t", .key = key, .payload = std::to_string(i), .headers = {{"h", "v"}}});
      }
    });
  }
  RelayOptions options_;
};

TEST_F(PassingRowsTest, AreSentAndLeaveNothingBehind) {
  Relay relay(pool_, broker_, options_);
  ASSERT_TRUE(is_reading(relay));
  pass_numbered("a", 3);

  EXPECT_TRUE(eventually(10s, [&] { return relay.counts().sent == 3; }));
  EXPECT_THAT(by_key(broker_.acked())["a"], ElementsAre("1", "2", "3"));
  EXPECT_EQ(count("1 = 1"), 0u);
}

TEST_F(PassingRowsTest, AreSentAfterADowntime) {
  {
    Relay relay(pool_, broker_, options_);
    ASSERT_TRUE(is_reading(relay));
  }
  pass_numbered("a", 3);
  Relay relay(pool_, broker_, options_);

  EXPECT_TRUE(eventually(10s, [&] { return broker_.acked_count() == 3; }));
}

TEST_F(PassingRowsTest, AreWrittenDownWhenTheBrokerRefusesThem) {
  broker_.answer_key("bad", Answer::refuse, 3);
  Relay relay(pool_, broker_, options_);
  ASSERT_TRUE(is_reading(relay));
  pass_numbered("bad", 1);
  ASSERT_TRUE(eventually(10s, [&] { return count("status = 'failing'") == 1; }));
  pass_numbered("bad", 2, 2);
  pass_numbered("good", 1);

  EXPECT_TRUE(eventually(10s, [&] { return broker_.acked_count() == 4; }));
  EXPECT_THAT(by_key(broker_.acked())["bad"], ElementsAre("1", "2", "3"));
  EXPECT_TRUE(all_sent());
  EXPECT_EQ(broker_.acked()[0].headers.text("h"), "v");
}

TEST_F(PassingRowsTest, CannotWaitForATime) {
  const outbox::Draft later{.topic = "t", .delay = 1s};
  const auto append = [&](mysql::Transaction& tx) { append_in_passing(tx, later); };

  EXPECT_THROW(pool_.transact(append), PermanentError);
}

TEST_F(BinlogRelayTest, EndsWithAReasonWhereItCannotReadTheTable) {
  by_itself(
      "ALTER TABLE outbox_message CHANGE topic headline VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL");
  Relay relay(pool_, broker_, quick());

  ASSERT_TRUE(eventually(10s, [&] { return relay.failure().has_value(); }));
  EXPECT_THAT(*relay.failure(), HasSubstr("topic"));
}

TEST_F(BinlogRelayTest, IsWokenByTheBell) {
  RelayOptions options = quick();
  options.outbox.poll_interval = options.outbox.max_poll_interval = 60s;
  outbox::Relay relay(pool_, broker_, options.outbox);
  ASSERT_TRUE(eventually(10s, [&] { return relay.counts().shards == outbox::kShards; }));
  Bell bell(pool_, [&](const std::string& name) {
    EXPECT_EQ(name, "main");
    relay.nudge();
  });
  ASSERT_TRUE(eventually(10s, [&] { return bell.is_listening(); }));

  // The binlog shows a row a little before a poll can see it; then the next one's bell makes up for it.
  bool is_sent = false;
  for (int i = 1; i <= 50 && !is_sent; ++i) {
    put_numbered({"a"}, 1, i);
    is_sent = eventually(200ms, [&] { return broker_.acked_count() > 0; });
  }
  EXPECT_TRUE(is_sent);
}

}  // namespace
}  // namespace oncemark::binlog
