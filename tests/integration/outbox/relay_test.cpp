#include <oncemark/outbox/relay.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/faults.hpp>

#include "outbox_fixture.hpp"

namespace oncemark::outbox {
namespace {

using ::testing::Each;
using ::testing::SizeIs;

class RelayTest : public OutboxTest {};

TEST_F(RelayTest, SendsWhatWasCommittedAndMarksIt) {
  Relay relay(pool_, broker_, quick());
  put({{.topic = "orders", .key = "k", .payload = "p", .id = "m-1"}});

  EXPECT_TRUE(all_sent());

  ASSERT_THAT(broker_.acked(), SizeIs(1));
  const OutgoingRecord record = broker_.acked().front();
  EXPECT_EQ(record.topic, "orders");
  EXPECT_EQ(record.key, Bytes("k"));
  EXPECT_EQ(record.payload, Bytes("p"));
  EXPECT_EQ(count("sent_at >= created_at AND last_error IS NULL AND attempts = 0"), 1u);
  EXPECT_TRUE(eventually(1s, [&] { return relay.counts().sent == 1; }));
  EXPECT_EQ(relay.counts().shards, kShards);
}

TEST_F(RelayTest, AddsItsHeadersBehindTheStoredOnes) {
  put({{.topic = "t",
        .headers = {{"b", "2"}, {"a", nullptr}, {"b", "1"}},
        .id = "m-1",
        .event_time = parse_rfc3339("2026-01-02T03:04:05.000006Z")}});
  Relay relay(pool_, broker_, quick());
  EXPECT_TRUE(all_sent());

  EXPECT_EQ(broker_.acked().at(0).headers, (Headers{{"b", "2"},
                                                    {"a", nullptr},
                                                    {"b", "1"},
                                                    {"om-message-id", "m-1"},
                                                    {"om-event-time", "2026-01-02T03:04:05.000006Z"}}));
}

TEST_F(RelayTest, KeepsNullAndEmptyApart) {
  put({{.topic = "t", .key = nullptr, .payload = ""}, {.topic = "t", .key = "", .payload = nullptr}});
  Relay relay(pool_, broker_, quick());
  EXPECT_TRUE(all_sent());

  for (const OutgoingRecord& record : broker_.acked()) {
    EXPECT_NE(record.key.is_null(), record.payload.is_null());
    EXPECT_TRUE(record.key.empty());
    EXPECT_TRUE(record.payload.empty());
  }
}

TEST_F(RelayTest, SendsALowIdThatIsCommittedLate) {
  Relay relay(pool_, broker_, quick());
  const mysql::Pool::Lease connection = pool_.acquire();
  mysql::UnitOfWork slow(*connection);
  append(slow.tx(), {.topic = "t", .key = "slow", .id = "early id"});
  put({{.topic = "t", .key = "fast"}});
  EXPECT_TRUE(all_sent());

  slow.commit();

  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'sent'") == 2; }));
  EXPECT_EQ(value("SELECT message_id FROM outbox_message ORDER BY id LIMIT 1"), "early id");
  EXPECT_EQ(broker_.acked().at(1).key, Bytes("slow"));
}

TEST_F(RelayTest, SendsADelayedDraftOnceItIsDueAndNotBefore) {
  Relay relay(pool_, broker_, quick());
  put({{.topic = "t", .key = "k", .id = "delayed", .delay = 700ms}, {.topic = "t", .key = "k", .id = "at once"}});

  EXPECT_TRUE(all_sent());

  EXPECT_EQ(broker_.acked().at(0).headers.text("om-message-id"), "at once");
  EXPECT_EQ(count("message_id = 'delayed' AND sent_at >= available_at AND sent_at < available_at + INTERVAL 1 SECOND"),
            1u);
}

TEST_F(RelayTest, DoesNotWaitForADelayedDraftThatIsNotCommitted) {
  const mysql::Pool::Lease connection = pool_.acquire();
  mysql::UnitOfWork slow(*connection);
  append(slow.tx(), {.topic = "t", .id = "open", .delay = 1ms});
  Relay relay(pool_, broker_, quick());
  put({{.topic = "t", .id = "due", .delay = 50ms}});

  EXPECT_TRUE(eventually(900ms, [&] { return broker_.acked_count() == 1; }));

  slow.commit();
  EXPECT_TRUE(eventually(5s, [&] { return broker_.acked_count() == 2; }));
}

TEST_F(RelayTest, KeepsTheOrderOfEachKeyOverManyRounds) {
  broker_.set_capacity(5);
  RelayOptions options = quick();
  options.batch = 7;
  const std::vector<std::string> keys{"a", "b", "c", "d", "e"};
  put_numbered(keys, 30);
  Relay relay(pool_, broker_, options);
  put_numbered(keys, 30, 31);

  EXPECT_TRUE(all_sent());

  std::vector<std::string> in_order;
  for (int i = 1; i <= 60; ++i) in_order.push_back(std::to_string(i));
  for (const auto& [key, payloads] : by_key(broker_.acked())) EXPECT_EQ(payloads, in_order) << key;
}

TEST_F(RelayTest, LooksAtOnceWhenNudged) {
  RelayOptions options = quick();
  options.poll_interval = options.max_poll_interval = 1h;
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(5s, [&] { return relay.counts().shards == kShards; }));

  EXPECT_TRUE(eventually(5s, [&] {
    put({{.topic = "t"}});
    relay.nudge();
    return eventually(1s, [&] { return broker_.acked_count() > 0; });
  }));
}

TEST_F(RelayTest, SendsOnlyTheRowsThatBearItsName) {
  put({{.topic = "t", .id = "mine", .relay = "shipping"}, {.topic = "t", .id = "not mine"}});
  RelayOptions options = quick();
  options.name = "shipping";
  Relay relay(pool_, broker_, options);

  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'sent'") == 1; }));

  EXPECT_EQ(count("message_id = 'mine' AND status = 'sent'"), 1u);
  EXPECT_EQ(broker_.handed_over_count(), 1u);
}

TEST_F(RelayTest, RemembersAcksThatItCouldNotWriteDown) {
  faults::arm("relay.after_ack:throw");
  put_numbered({"k"}, 3);
  {
    Relay relay(pool_, broker_, quick());
    EXPECT_TRUE(all_sent());
  }
  faults::disarm();

  EXPECT_EQ(broker_.handed_over_count(), 3u);
}

TEST_F(RelayTest, StartsAnewWhenTheServerDropsItsConnections) {
  RelayOptions options = quick();
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(5s, [&] { return relay.counts().shards == kShards; }));
  put({{.topic = "t"}});
  EXPECT_TRUE(all_sent());

  const auto others = pool_.transact([&](mysql::Transaction& tx) {
    return tx.query("SELECT id FROM information_schema.PROCESSLIST WHERE db = ? AND id <> CONNECTION_ID()",
                    schema_.name());
  });
  for (const mysql::Row& row : others) execute("KILL " + std::to_string(row.get<std::uint64_t>(0)));
  put({{.topic = "t"}});

  EXPECT_TRUE(all_sent());
}

TEST_F(RelayTest, SaysWhatIsMissingAndWaitsForIt) {
  testing::TempSchema empty;
  mysql::Pool pool(empty.options());
  {
    Relay relay(pool, broker_, quick());
    (void)mysql::apply_migrations(pool);
    pool.transact([](mysql::Transaction& tx) { append(tx, {.topic = "t"}); });
    EXPECT_TRUE(eventually(10s, [&] { return broker_.acked_count() == 1; }));
  }
}

TEST_F(RelayTest, RemovesWhatWasSentWhenToldTo) {
  broker_.answer_key("bad", Answer::refuse);
  RelayOptions options = quick();
  options.sent_rows = SentRows::removed;
  put_numbered({"good", "bad"}, 3);
  Relay relay(pool_, broker_, options);

  EXPECT_TRUE(eventually(5s, [&] { return count("message_key = 'good'") == 0; }));

  EXPECT_THAT(by_key(broker_.acked()).at("good"), ::testing::ElementsAre("1", "2", "3"));
  EXPECT_EQ(count("message_key = 'bad'"), 3u);
  EXPECT_TRUE(eventually(1s, [&] { return relay.counts().sent == 3; }));
}

TEST_F(RelayTest, SendsAndMarksOtherRowsWhileOneIsNotAnswered) {
  broker_.answer_topic("lost", Answer::silence);
  RelayOptions options = quick();
  options.report_timeout = 10s;
  put({{.topic = "lost", .key = "lost"}});
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(5s, [&] { return broker_.in_flight() == 1; }));

  put_numbered({"good"}, 20);

  EXPECT_TRUE(eventually(1s, [&] { return count("status = 'sent'") == 20; }));
  EXPECT_EQ(broker_.in_flight(), 1u);
}

TEST_F(RelayTest, TakesEachRowOnceHoweverManyPollsFindIt) {
  broker_.answer_all(Answer::silence);
  RelayOptions options = quick();
  options.batch = 10;
  options.report_timeout = 10s;
  put_numbered({"a", "b"}, 10);
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(5s, [&] { return broker_.in_flight() == 20; }));
  put_numbered({"a", "b"}, 5, 11);
  EXPECT_TRUE(eventually(5s, [&] { return broker_.in_flight() == 30; }));

  broker_.answer_all(Answer::ack);

  EXPECT_TRUE(all_sent());
  EXPECT_EQ(broker_.handed_over_count(), 30u);
}

TEST_F(RelayTest, StopsSoonAlsoWhenNobodyAnswers) {
  broker_.answer_all(Answer::silence);
  put({{.topic = "t"}});
  RelayOptions options = quick();
  options.report_timeout = 1h;
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(5s, [&] { return broker_.in_flight() == 1; }));

  const auto asked = std::chrono::steady_clock::now();
  relay.stop();

  EXPECT_LT(std::chrono::steady_clock::now() - asked, 4s);
  EXPECT_EQ(relay.counts().shards, 0);
  EXPECT_EQ(count("status = 'pending' AND attempts = 0"), 1u);
}

}  // namespace
}  // namespace oncemark::outbox
