#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/outbox/relay.hpp>

#include "outbox_fixture.hpp"

namespace oncemark::outbox {
namespace {

using ::testing::ElementsAre;

class RelayRefusalTest : public OutboxTest {
 protected:
  void put_letter(FailureRow row, const std::string& id = "letter") {
    row.message_id = id;
    row.purpose = "dlq:shipping:1";
    row.relay = "main";
    pool_.transact([&](mysql::Transaction& tx) { append_failure_row(tx, row); });
  }
};

TEST_F(RelayRefusalTest, BlamesNobodyForBeingRefusedInCompany) {
  broker_.refuse_whole_batches();
  broker_.answer_key("bad", Answer::refuse);
  RelayOptions options = quick();
  options.max_attempts = 2;
  put_numbered({"a", "bad", "b"}, 2);
  Relay relay(pool_, broker_, options);

  EXPECT_TRUE(eventually(10s, [&] { return count("status = 'dead'") == 2; }));

  EXPECT_EQ(count("message_key IN ('a', 'b') AND status = 'sent' AND attempts = 0 AND last_error IS NULL"), 4u);
  EXPECT_EQ(count("message_key = 'bad' AND attempts = 2"), 2u);
  EXPECT_EQ(relay.counts().refused, 4u);
  EXPECT_EQ(relay.counts().dead, 2u);
}

TEST_F(RelayRefusalTest, MakesLaterRowsOfTheKeyWaitAndNoOthers) {
  broker_.answer_key("bad", Answer::refuse);
  RelayOptions options = quick();
  options.backoff = {.initial = 1h, .factor = 1, .cap = 1h, .jitter = 0};
  put_numbered({"bad"}, 1);
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'failing'") == 1; }));

  put_numbered({"bad", "good"}, 3, 2);

  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'sent'") == 3; }));
  EXPECT_EQ(count("message_key = 'bad' AND status = 'pending' AND attempts = 0"), 3u);
  EXPECT_EQ(count("status = 'failing' AND attempts = 1 AND last_error = 'made to be refused' "
                  "AND available_at > UTC_TIMESTAMP(6) + INTERVAL 59 MINUTE"),
            1u);
  EXPECT_THAT(by_key(broker_.acked()).at("good"), ElementsAre("2", "3", "4"));
}

TEST_F(RelayRefusalTest, SendsTheKeyInOrderOnceItsHeadGetsThrough) {
  broker_.answer_key("k", Answer::refuse, 3);
  put_numbered({"k"}, 1);
  Relay relay(pool_, broker_, quick());
  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'failing'") == 1; }));
  put_numbered({"k"}, 4, 2);

  EXPECT_TRUE(all_sent());

  EXPECT_THAT(by_key(broker_.acked()).at("k"), ElementsAre("1", "2", "3", "4", "5"));
  EXPECT_EQ(count("last_error IS NULL"), 5u);
}

TEST_F(RelayRefusalTest, GoesOnWithTheKeyBehindADeadRow) {
  broker_.answer_topic("bad", Answer::refuse);
  RelayOptions options = quick();
  options.max_attempts = 3;
  put({{.topic = "bad", .key = "k", .id = "head"}});
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'failing'") == 1; }));
  put({{.topic = "good", .key = "k", .id = "tail"}});

  EXPECT_TRUE(eventually(10s, [&] { return count("message_id = 'tail' AND status = 'sent'") == 1; }));

  EXPECT_EQ(count("message_id = 'head' AND status = 'dead' AND attempts = 3"), 1u);
}

TEST_F(RelayRefusalTest, RetriesARefusedRowWithoutCompany) {
  broker_.refuse_whole_batches();
  broker_.answer_key("bad", Answer::refuse);
  RelayOptions options = quick();
  options.backoff = {.initial = 1h, .factor = 1, .cap = 1h, .jitter = 0};
  put_numbered({"bad"}, 1);
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'failing'") == 1; }));

  pool_.transact([&](mysql::Transaction& tx) {
    tx.execute("UPDATE outbox_message SET available_at = UTC_TIMESTAMP(6)");
    append(tx, {.topic = "t", .key = "good"});
  });

  EXPECT_TRUE(eventually(5s, [&] { return count("attempts = 2 OR status = 'sent'") == 2; }));
  EXPECT_EQ(broker_.handed_over_count(), 3u);
}

TEST_F(RelayRefusalTest, HoldsNothingBackBehindARowWithoutKey) {
  broker_.answer_topic("bad", Answer::refuse);
  RelayOptions options = quick();
  options.backoff = {.initial = 1h, .factor = 1, .cap = 1h, .jitter = 0};
  put({{.topic = "bad"}, {.topic = "good"}});
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'failing'") == 1; }));

  put({{.topic = "good"}, {.topic = "good", .key = ""}});

  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'sent'") == 3; }));
}

TEST_F(RelayRefusalTest, NeverGivesUpALetterForItsTopic) {
  broker_.answer_topic("dlq", Answer::refuse_topic);
  RelayOptions options = quick();
  options.max_attempts = 2;
  put_letter({.topic = "dlq", .key = "k"});
  put({{.topic = "dlq", .id = "business"}});
  Relay relay(pool_, broker_, options);
  EXPECT_TRUE(eventually(10s, [&] { return count("message_id = 'business' AND status = 'dead'") == 1; }));
  EXPECT_TRUE(eventually(10s, [&] { return broker_.handed_over_count() > 12; }));
  EXPECT_EQ(count("message_id = 'letter' AND status = 'failing' AND attempts = 0 AND last_error LIKE '%no topic%'"),
            1u);

  broker_.answer_topic("dlq", Answer::ack);

  EXPECT_TRUE(eventually(5s, [&] { return count("message_id = 'letter' AND status = 'sent'") == 1; }));
}

TEST_F(RelayRefusalTest, TrimsTheErrorTextOfALetterThatIsTooLarge) {
  broker_.set_max_record(1'500);
  put_letter({.topic = "dlq",
              .key = "k",
              .payload = std::string(1'000, 'p'),
              .headers = {{"foreign", "f"}, {"om-error-message", std::string(500, 'e')}}});
  Relay relay(pool_, broker_, quick());

  EXPECT_TRUE(all_sent());

  const OutgoingRecord sent = broker_.acked().front();
  EXPECT_EQ(sent.payload.size(), 1'000u);
  EXPECT_EQ(sent.headers.text("foreign"), "f");
  EXPECT_EQ(sent.headers.text("om-error-message"), std::string(64, 'e'));
  EXPECT_FALSE(sent.headers.contains("om-record-left-out"));
}

TEST_F(RelayRefusalTest, SendsAPointerWhereTheLetterItselfDoesNotFit) {
  broker_.refuse_whole_batches();
  broker_.set_max_record(1'000);
  put_letter({.topic = "dlq",
              .key = "k",
              .payload = std::string(1'000, 'p'),
              .headers = {{"foreign", "f"}, {"traceparent", "t"}, {"om-origin-topic", "orders"}}});
  put_letter({.topic = "dlq", .key = "k", .payload = "small"}, "second");
  Relay relay(pool_, broker_, quick());

  EXPECT_TRUE(all_sent());

  const auto acked = broker_.acked();
  ASSERT_EQ(acked.size(), 2u);
  EXPECT_TRUE(acked[0].payload.is_null());
  EXPECT_EQ(acked[0].key, Bytes("k"));
  EXPECT_EQ(acked[0].headers.text("om-record-left-out"), "1000");
  EXPECT_EQ(acked[0].headers.text("om-origin-topic"), "orders");
  EXPECT_EQ(acked[0].headers.text("traceparent"), "t");
  EXPECT_FALSE(acked[0].headers.contains("foreign"));
  EXPECT_EQ(acked[1].payload, Bytes("small"));
}

TEST_F(RelayRefusalTest, MakesNoBusinessRecordSmaller) {
  broker_.set_max_record(1'000);
  RelayOptions options = quick();
  options.max_attempts = 2;
  put({{.topic = "t", .key = "k", .payload = std::string(2'000, 'p')}});
  Relay relay(pool_, broker_, options);

  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'dead' AND last_error LIKE '%too large%'") == 1; }));

  EXPECT_EQ(broker_.acked_count(), 0u);
}

TEST_F(RelayRefusalTest, GivesUpARowWhoseHeadersCannotBeRead) {
  RelayOptions options = quick();
  options.max_attempts = 1;
  put({{.topic = "t", .key = "k", .id = "broken"}});
  execute("UPDATE outbox_message SET headers = 'no json'");
  put_numbered({"k"}, 1);
  Relay relay(pool_, broker_, options);

  EXPECT_TRUE(eventually(5s, [&] { return count("status = 'sent'") == 1; }));

  EXPECT_TRUE(eventually(
      5s, [&] { return count("message_id = 'broken' AND status = 'dead' AND last_error LIKE '%headers%'") == 1; }));
}

}  // namespace
}  // namespace oncemark::outbox
