#include <oncemark/dead_letter/router.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/dead_letter/store.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/temp_schema.hpp"

namespace oncemark::dead_letter {
namespace {

using namespace std::chrono_literals;
using consume::Failure;
using consume::Routed;
using consume::Stage;
using testing::message_with_id;
using testing::Tables;
using testing::TempSchema;

const ErrorSummary kTransient{.error_class = "std::runtime_error", .text = "not yet", .kind = ErrorKind::transient};
const ErrorSummary kPermanent{.error_class = "permanent", .text = "no address", .kind = ErrorKind::permanent};

class RouterTest : public ::testing::Test {
 protected:
  Routed route(const Message& message, const ErrorSummary& error, Stage stage = Stage::handler) {
    return router_.route(
        {.message = message, .consumer = "shipping", .group = "ship-group", .stage = stage, .error = error});
  }
  mysql::Row row(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) {
      auto found = tx.query_row(sql);
      if (!found) throw std::runtime_error("no row: " + sql);
      return *found;
    });
  }
  std::int64_t count(const std::string& sql) { return row(sql).get<std::int64_t>(0); }
  /// The message as the retry topic would bring it back: from the outbox row that was written last.
  Message redelivered(const Message& message) {
    const auto sent =
        row("SELECT topic, message_key, payload, headers, message_id FROM outbox_message ORDER BY id DESC LIMIT 1");
    Record record;
    record.position = {sent.get<std::string>(0), 0, 1};
    record.key = sent.get<Bytes>(1);
    record.payload = sent.get<Bytes>(2);
    record.headers = decode_headers(sent.get<std::string>(3));
    record.headers.set(names::kMessageId, sent.get<std::string>(4));
    record.headers.set(names::kEventTime, format_rfc3339(message.event_time));
    return decode_retry_record(record);
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
  Router router_{pool_, {.retries = {.delays = {200ms, 5s}}}};
};

TEST_F(RouterTest, SchedulesARetryInTheOutboxWithTheWholeRecord) {
  Message message = message_with_id("o-1", std::string("\0body", 5));
  message.key = "";
  message.headers.append("null", nullptr);

  EXPECT_EQ(route(message, kTransient), Routed::retrying);

  const auto sent =
      row("SELECT topic, relay, purpose, status, TIMESTAMPDIFF(MICROSECOND, created_at, available_at), message_key "
          "FROM outbox_message");
  EXPECT_EQ(sent.get<std::string>(0), "retry.ship-group.orders");
  EXPECT_EQ(sent.get<std::string>(1), "shipping");
  EXPECT_EQ(sent.get<std::string>(2), "retry:shipping:1:1");
  EXPECT_EQ(sent.get<std::string>(3), "waiting");
  EXPECT_NEAR(sent.get<double>(4), 200'000, 50'000);
  EXPECT_FALSE(sent.is_null(5));
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 1);

  const Message again = redelivered(message);
  EXPECT_EQ(again.attempt, 2u);
  EXPECT_EQ(again.key, message.key);
  EXPECT_EQ(again.payload, message.payload);
  EXPECT_TRUE(again.headers.find("null")->is_null());
}

TEST_F(RouterTest, RecognisesADeliveryThatWasRoutedBefore) {
  const Message first = message_with_id("o-1");
  ASSERT_EQ(route(first, kTransient), Routed::retrying);
  EXPECT_EQ(route(first, kTransient), Routed::settled);

  const Message second = redelivered(first);
  ASSERT_EQ(route(second, kTransient), Routed::retrying);
  EXPECT_EQ(route(second, kTransient), Routed::settled);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message"), 2);
}

TEST_F(RouterTest, MakesALetterAfterTheLastAttempt) {
  Message message = message_with_id("o-1");
  ASSERT_EQ(route(message, kTransient), Routed::retrying);
  ASSERT_EQ(route(message = redelivered(message), kTransient), Routed::retrying);
  ASSERT_EQ(route(message = redelivered(message), kTransient), Routed::dead);

  const auto letter = pool_.transact([](mysql::Transaction& tx) { return find_letter(tx, 1); });
  ASSERT_TRUE(letter);
  EXPECT_EQ(letter->attempts, 3u);
  EXPECT_EQ(letter->error_class, "std::runtime_error");
  EXPECT_EQ(letter->group, "ship-group");
  EXPECT_EQ(letter->dlq_topic, "dlq.ship-group.orders");
  EXPECT_LT(letter->first_failed_at, letter->died_at);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE purpose = 'dlq:shipping:1' AND status = 'pending'"), 1);
  EXPECT_EQ(route(message, kTransient), Routed::settled);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter"), 1);
}

TEST_F(RouterTest, DeadLettersAPermanentErrorAtOnce) {
  EXPECT_EQ(route(message_with_id("o-1"), kPermanent), Routed::dead);
  EXPECT_EQ(count("SELECT attempts FROM dead_letter"), 1);
}

TEST_F(RouterTest, DoesNotTouchWhatAnotherInstanceHasDone) {
  pool_.transact([&](mysql::Transaction& tx) { (void)ledger::claim(tx, "shipping", message_with_id("o-1")); });

  EXPECT_EQ(route(message_with_id("o-1"), kPermanent), Routed::settled);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message"), 0);
}

TEST_F(RouterTest, SettlesTheLetterOfTheLifeBeforeWhenAReplayDiesAgain) {
  const Message message = message_with_id("o-1");
  ASSERT_EQ(route(message, kPermanent), Routed::dead);
  pool_.transact([&](mysql::Transaction& tx) {
    ASSERT_TRUE(ledger::revive(tx, "shipping", "o-1", 1).is_revived);
    ASSERT_TRUE(mark_replaying(tx, 1));
  });
  Message replayed = message;
  replayed.from_retry_topic = true;
  replayed.life = 2;

  ASSERT_EQ(route(replayed, kPermanent), Routed::dead);

  EXPECT_EQ(row("SELECT state FROM dead_letter WHERE life = 1").get<std::string>(0), "replayed");
  EXPECT_EQ(row("SELECT state FROM dead_letter WHERE life = 2").get<std::string>(0), "dead");
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'dlq:%'"), 2);
}

TEST_F(RouterTest, KeepsTwoMessagesApartThatShareAMessageId) {
  Message a = message_with_id("same");
  Message b = message_with_id("same");
  a.business_key = "a";
  b.business_key = "b";

  EXPECT_EQ(route(a, kTransient), Routed::retrying);
  EXPECT_EQ(route(b, kTransient), Routed::retrying);
  EXPECT_EQ(redelivered(b).business_key, "b");
}

TEST_F(RouterTest, KeepsAPointerToARecordThatTheDatabaseCannotTake) {
  const auto limit = row("SELECT @@max_allowed_packet").get<std::uint64_t>(0);
  Message message = message_with_id("huge");
  message.payload = std::string(limit, 'x');

  EXPECT_EQ(route(message, kTransient), Routed::dead);

  const auto letter = row("SELECT payload, error_text FROM dead_letter");
  EXPECT_TRUE(letter.is_null(0));
  EXPECT_THAT(letter.get<std::string>(1), ::testing::HasSubstr("record left out of this letter"));
}

TEST_F(RouterTest, NamesTheTopicsItNeeds) {
  const auto needs = router_.prepare("shipping", "ship-group", {"orders"});

  ASSERT_EQ(needs.size(), 2u);
  EXPECT_EQ(needs[0].topic, "retry.ship-group.orders");
  EXPECT_TRUE(needs[0].subscribe);
  EXPECT_EQ(needs[1].topic, "dlq.ship-group.orders");
  EXPECT_FALSE(needs[1].subscribe);
}

}  // namespace
}  // namespace oncemark::dead_letter
