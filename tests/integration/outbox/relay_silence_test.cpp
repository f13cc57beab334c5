#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/outbox/relay.hpp>

#include "outbox_fixture.hpp"

namespace oncemark::outbox {
namespace {

using ::testing::ElementsAre;

class RelaySilenceTest : public OutboxTest {
 protected:
  /// Whether no row was touched since it was appended.
  bool is_untouched() { return count("status = 'pending' AND attempts = 0 AND last_error IS NULL") == count("TRUE"); }
};

TEST_F(RelaySilenceTest, MarksTheRowsThatWereAckedAndBacksOffTheOtherKeys) {
  broker_.answer_key("lost", Answer::silence);
  RelayOptions options = quick();
  options.backoff = {.initial = 1h, .factor = 1, .cap = 1h, .jitter = 0};
  put_numbered({"good", "lost"}, 3);
  Relay relay(pool_, broker_, options);

  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'failing'") == 1; }));

  EXPECT_EQ(count("message_key = 'good' AND status = 'sent'"), 3u);
  EXPECT_EQ(count("message_key = 'lost' AND status = 'failing' AND payload = '1' AND attempts = 0 "
                  "AND last_error LIKE 'no delivery report%'"),
            1u);
  EXPECT_EQ(count("message_key = 'lost' AND status = 'pending' AND last_error IS NULL"), 2u);
  EXPECT_GE(broker_.discards(), 1);
  EXPECT_EQ(relay.counts().refused, 0u);
}

TEST_F(RelaySilenceTest, SendsABackedOffKeyInOrderOnceItIsAnswered) {
  broker_.answer_key("lost", Answer::silence);
  put_numbered({"good", "lost"}, 3);
  Relay relay(pool_, broker_, quick());
  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'failing'") == 1; }));

  broker_.answer_key("lost", Answer::ack);

  EXPECT_TRUE(all_sent());
  EXPECT_THAT(by_key(broker_.acked()).at("lost"), ElementsAre("1", "2", "3"));
  EXPECT_EQ(count("attempts = 0 AND last_error IS NULL"), 6u);
}

TEST_F(RelaySilenceTest, TouchesNoRowInAnOutage) {
  broker_.answer_all(Answer::silence);
  RelayOptions options = quick();
  options.report_timeout = 50ms;
  put_numbered({"a", "b"}, 5);
  Relay relay(pool_, broker_, options);

  EXPECT_TRUE(eventually(10s, [&] { return broker_.discards() >= 3; }));
  EXPECT_TRUE(is_untouched());
  broker_.answer_all(Answer::ack);

  EXPECT_TRUE(all_sent());
  for (const auto& [key, payloads] : by_key(broker_.acked())) {
    EXPECT_THAT(payloads, ElementsAre("1", "2", "3", "4", "5")) << key;
  }
  EXPECT_EQ(count("attempts = 0"), 10u);
}

TEST_F(RelaySilenceTest, KeepsItsShardsWhileItWaitsForReports) {
  broker_.answer_all(Answer::silence);
  RelayOptions options = quick();
  options.report_timeout = 1h;
  put_numbered({"a"}, 1);
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(5s, [&] { return broker_.in_flight() == 1; }));

  EXPECT_FALSE(eventually(4s, [&] {
    return pool_.transact([](mysql::Transaction& tx) {
      return !tx.query("SELECT shard FROM relay_shard FOR UPDATE SKIP LOCKED").empty();
    });
  }));

  EXPECT_EQ(broker_.in_flight(), 1u);
}

TEST_F(RelaySilenceTest, CountsReportsOfFailureAsSilence) {
  broker_.answer_all(Answer::fail);
  put_numbered({"a", "b"}, 2);
  Relay relay(pool_, broker_, quick());
  EXPECT_TRUE(eventually(10s, [&] { return broker_.handed_over_count() >= 12; }));
  EXPECT_TRUE(is_untouched());

  broker_.answer_key("a", Answer::ack);

  EXPECT_TRUE(eventually(10s, [&] { return count("message_key = 'b' AND status = 'failing'") == 1; }));
  EXPECT_EQ(count("message_key = 'a' AND status = 'sent'"), 2u);
  EXPECT_EQ(count("attempts > 0"), 0u);
}

// Else the same rows would be tried for ever, and whatever lies behind them would starve.
TEST_F(RelaySilenceTest, GetsPastMoreUnansweredRowsThanMayBeInFlight) {
  broker_.answer_topic("lost", Answer::silence);
  RelayOptions options = quick();
  options.batch = 5;
  options.report_timeout = 100ms;
  std::vector<Draft> drafts;
  for (int i = 0; i < 25; ++i) drafts.push_back({.topic = "lost", .key = std::to_string(i)});
  for (int i = 0; i < 5; ++i) drafts.push_back({.topic = "lost"});
  put(drafts);
  put_numbered({"good"}, 5);
  Relay relay(pool_, broker_, options);

  EXPECT_TRUE(eventually(10s, [&] { return count("message_key = 'good' AND status = 'sent'") == 5; }));

  EXPECT_EQ(count("attempts > 0"), 0u);
  broker_.answer_topic("lost", Answer::ack);
  EXPECT_TRUE(all_sent());
}

TEST_F(RelaySilenceTest, SendsNothingOfAKeyPastItsUnansweredRow) {
  broker_.refuse_whole_batches();
  broker_.answer_topic("lost", Answer::silence);
  broker_.answer_key("bad", Answer::refuse);
  put({{.topic = "lost", .key = "k", .payload = "1"},
       {.topic = "t", .key = "k", .payload = "2"},
       {.topic = "t", .key = "bad"},
       {.topic = "other", .key = "good"}});
  RelayOptions options = quick();
  options.backoff = {.initial = 1h, .factor = 1, .cap = 1h, .jitter = 0};
  Relay relay(pool_, broker_, options);

  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'failing'") == 2; }));

  EXPECT_EQ(count("message_key = 'k' AND payload = '1' AND status = 'failing' AND attempts = 0"), 1u);
  EXPECT_EQ(count("message_key = 'k' AND payload = '2' AND status = 'pending'"), 1u);
  EXPECT_EQ(count("message_key = 'bad' AND status = 'failing' AND attempts = 1"), 1u);
}

}  // namespace
}  // namespace oncemark::outbox
