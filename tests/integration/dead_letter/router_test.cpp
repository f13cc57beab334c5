#include <oncemark/dead_letter/router.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/dead_letter/replay.hpp>
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

TEST_F(RouterTest, RoutesTheFailuresOfAGroupTogetherAndOneThatIsToBlameAlone) {
  const std::vector<Message> messages{message_with_id("o-3"), message_with_id("o-1"), message_with_id("o-2")};
  ASSERT_EQ(route(messages[1], kTransient), Routed::retrying);  // by another instance
  const auto failures_in = [&](std::string_view group) {
    std::vector<Failure> failures;
    for (const Message& message : messages) {
      failures.push_back({.message = message,
                          .consumer = "shipping",
                          .group = message.id == "o-2" ? group : std::string_view("ship-group"),
                          .error = message.id == "o-3" ? kPermanent : kTransient});
    }
    return failures;
  };
  const std::string no_group(300, 'g');  // of which no topic can be made
  const auto refused = router_.route_all(failures_in(no_group));
  ASSERT_EQ(refused.size(), 3u);
  EXPECT_EQ(refused[0].routed, Routed::dead);
  EXPECT_EQ(refused[1].routed, Routed::settled);
  EXPECT_TRUE(refused[2].failure);

  const auto routes = router_.route_all(failures_in("ship-group"));
  EXPECT_EQ(routes[0].routed, Routed::settled);
  EXPECT_EQ(routes[2].routed, Routed::retrying);
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message"), 3);
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

TEST_F(RouterTest, KeepsTheFirstAndTheLastErrorInTheLetter) {
  Message message = message_with_id("o-1");
  ASSERT_EQ(route(message, kTransient), Routed::retrying);
  ASSERT_EQ(route(message = redelivered(message),
                  {.error_class = "mysql.1205", .text = "lock wait", .kind = ErrorKind::transient}),
            Routed::retrying);
  ASSERT_EQ(route(message = redelivered(message), kPermanent), Routed::dead);
  ASSERT_EQ(route(message_with_id("o-2"), kPermanent), Routed::dead);

  const auto letters = pool_.transact([](mysql::Transaction& tx) { return find_letters(tx, {}, 2, Detail::summary); });
  ASSERT_EQ(letters.size(), 2u);
  EXPECT_EQ(letters[0].first_error_class, "std::runtime_error");
  EXPECT_EQ(letters[0].first_error_text, "not yet");
  EXPECT_EQ(letters[0].error_class, "permanent");
  EXPECT_EQ(letters[0].error_text, "no address");
  EXPECT_EQ(letters[1].first_error_text, "no address") << "the only failure is the first and the last";
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
    const std::vector<std::string_view> keys{"o-1"};
    ledger::revive(tx, "shipping", keys);
    tx.execute("UPDATE dead_letter SET state = 'replaying' WHERE id = 1");
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

TEST_F(RouterTest, WaitsAsLongAsTheHandlerSaysAndCountsTheAttempt) {
  Message message = message_with_id("o-1");
  const ErrorSummary busy{
      .error_class = "retry_after", .text = "busy", .kind = ErrorKind::transient, .retry_after = 2h};

  ASSERT_EQ(route(message, busy), Routed::retrying);
  EXPECT_NEAR(row("SELECT TIMESTAMPDIFF(MICROSECOND, created_at, available_at) FROM outbox_message").get<double>(0),
              2 * 3'600e6, 50'000);
  ASSERT_EQ(route(message = redelivered(message), busy), Routed::retrying);
  EXPECT_EQ(route(redelivered(message), busy), Routed::dead);  // the third and last delivery
}

TEST_F(RouterTest, DiscardsByARuleAndKeepsTheMessageForTheAudit) {
  Router router{pool_, {.retries = {.rules = {{.errors = {"shop::*"}, .action = retry::Action::discard}}}}};
  const Message message = message_with_id("o-1", "body");
  const Failure unwanted{.message = message,
                         .consumer = "shipping",
                         .group = "ship-group",
                         .error = {.error_class = "shop::Unwanted", .text = "no"}};

  EXPECT_EQ(router.route(unwanted), Routed::discarded);
  EXPECT_EQ(router.route(unwanted), Routed::settled);

  EXPECT_EQ(row("SELECT state FROM consumed_message").get<std::string>(0), "discarded");
  const auto letter = pool_.transact([](mysql::Transaction& tx) { return find_letter(tx, 1); });
  ASSERT_TRUE(letter);
  EXPECT_EQ(letter->state, LetterState::discarded);
  EXPECT_EQ(letter->message.payload, message.payload);
  const auto audit = row("SELECT letter_id, action, outcome, operator, reason FROM replay_audit");
  EXPECT_EQ(audit.get<std::uint64_t>(0), letter->id);
  EXPECT_EQ(audit.get<std::string>(1), "discard");
  EXPECT_EQ(audit.get<std::string>(2), "discarded");
  EXPECT_EQ(audit.get<std::string>(3), "retry policy");
  EXPECT_EQ(audit.get<std::string>(4), "rule 0");
  EXPECT_EQ(count("SELECT COUNT(*) FROM outbox_message"), 0);
  const auto claim = pool_.transact([&](mysql::Transaction& tx) { return ledger::claim(tx, "shipping", message); });
  EXPECT_FALSE(claim.is_fresh);
}

TEST_F(RouterTest, DiscardsARetriedMessageWithItsFailure) {
  Router router{pool_,
                {.retries = {.delays = {1ms, 1ms},
                             .rules = {{.when = [](const retry::FailureFacts& facts) { return facts.failed == 2; },
                                        .action = retry::Action::discard}}}}};
  const Message message = message_with_id("o-1");
  const auto fail = [&](const Message& delivery) {
    return router.route({.message = delivery, .consumer = "shipping", .group = "ship-group", .error = kTransient});
  };

  ASSERT_EQ(fail(message), Routed::retrying);
  ASSERT_EQ(fail(redelivered(message)), Routed::discarded);

  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE state = 'discarded' AND attempts = 2"), 1);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter WHERE first_failed_at < died_at"), 1);
}

TEST_F(RouterTest, WritesNothingWhileARuleTriesInPlace) {
  Router router{pool_, {.retries = {.rules = {{.action = retry::Action::retry_here, .tries = 2}}}}};
  const Message message = message_with_id("o-1");
  const auto fail = [&](int tried_here) {
    return router.route({.message = message,
                         .consumer = "shipping",
                         .group = "ship-group",
                         .error = kTransient,
                         .tried_here = tried_here});
  };

  EXPECT_EQ(fail(0), Routed::again);
  EXPECT_EQ(fail(1), Routed::again);
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message"), 0);
  EXPECT_EQ(fail(2), Routed::retrying);
}

class AgeLimitTest : public RouterTest {
 protected:
  /// As if the message had first failed, or been replayed, so many minutes ago.
  void age_by(int minutes) {
    pool_.transact([&](mysql::Transaction& tx) {
      tx.execute("UPDATE failed_message SET first_failed_at = first_failed_at - INTERVAL ? MINUTE", minutes);
      tx.execute("UPDATE replay_audit SET at = at - INTERVAL ? MINUTE", minutes);
    });
  }
  Routed fail(const Message& message) {
    return aging_.route({.message = message, .consumer = "shipping", .group = "ship-group", .error = kTransient});
  }

  Router aging_{pool_, {.retries = {.max_attempts = 100, .delays = {1min}, .max_age = 60min}}};
};

TEST_F(AgeLimitTest, EndsTheRetriesOfAMessageByTheTimeOfItsFirstFailure) {
  Message message = message_with_id("o-1");  // an event of long ago, which does not count
  ASSERT_EQ(fail(message), Routed::retrying);
  age_by(58);
  ASSERT_EQ(fail(message = redelivered(message)), Routed::retrying);
  age_by(2);

  EXPECT_EQ(fail(redelivered(message)), Routed::dead);
}

TEST_F(AgeLimitTest, BeginsAnewWithAReplay) {
  const Message message = message_with_id("o-1");
  ASSERT_EQ(fail(message), Routed::retrying);
  age_by(600);
  ASSERT_EQ(fail(redelivered(message)), Routed::dead);
  Replay replay(pool_);
  (void)replay.start({.selection = {.consumer = "shipping"}, .operator_name = "test", .reason = "fixed"});
  (void)replay.run({}, {});
  const Message replayed = redelivered(message);
  ASSERT_EQ(replayed.life, 2u);

  ASSERT_EQ(fail(replayed), Routed::retrying);
  age_by(60);
  EXPECT_EQ(fail(redelivered(replayed)), Routed::dead);
}

/// A second message with the key "order-7", and other contents.
class KeyConflictTest : public RouterTest {
 protected:
  static Message message_at(std::int64_t offset, const Bytes& payload) {
    Message message = message_with_id("m-" + std::to_string(offset), payload);
    message.business_key = "order-7";
    message.origin.offset = message.read_at.offset = offset;
    return message;
  }
  Routed conflict(const Message& message) {
    return route(message, {.error_class = "key_conflict", .text = "same key", .kind = ErrorKind::permanent},
                 Stage::key);
  }
};

TEST_F(KeyConflictTest, BecomesALetterKeyedByItsCoordinatesAndLeavesTheKeysRowAlone) {
  ASSERT_EQ(route(message_at(1, "one"), kTransient), Routed::retrying);
  const auto before = row("SELECT state, attempt, token, payload_hash, consumed_at FROM consumed_message");
  const Message second = message_at(2, "other");

  EXPECT_EQ(conflict(second), Routed::dead);
  EXPECT_EQ(conflict(second), Routed::settled);  // the redelivery

  const auto after =
      row("SELECT state, attempt, token, payload_hash, consumed_at FROM consumed_message "
          "WHERE message_key = 'order-7'");
  for (std::size_t column = 0; column < 5; ++column) {
    EXPECT_EQ(after.get<std::string>(column), before.get<std::string>(column));
  }
  const auto letter = row("SELECT identity, error_class, error_stage, error_text, payload FROM dead_letter");
  EXPECT_EQ(letter.get<std::string>(0), coordinates_identity(second.origin, second.origin_timestamp));
  EXPECT_EQ(letter.get<std::string>(1), "key_conflict");
  EXPECT_EQ(letter.get<std::string>(2), "key");
  EXPECT_THAT(letter.get<std::string>(3), ::testing::EndsWith("the first one was orders/0@1"));
  EXPECT_EQ(letter.get<std::string>(4), "other");
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 1);
}

TEST_F(KeyConflictTest, IsNoneWhenTheRecordItselfMadeTheRow) {
  const Message message = message_at(1, "one");
  pool_.transact([&](mysql::Transaction& tx) { (void)ledger::claim(tx, "shipping", message); });

  EXPECT_EQ(conflict(message), Routed::settled);
  EXPECT_EQ(count("SELECT COUNT(*) FROM dead_letter"), 0);
}

TEST_F(KeyConflictTest, IsDiscardedByARuleButNeverTriedAgain) {
  const auto by = [&](retry::Action action, std::int64_t offset) {
    Router router{pool_, {.retries = {.rules = {{.errors = {"key_conflict"}, .action = action}}}}};
    const Message message = message_at(offset, "other");
    return router.route({.message = message,
                         .consumer = "shipping",
                         .group = "ship-group",
                         .stage = Stage::key,
                         .error = {.error_class = "key_conflict", .text = "", .kind = ErrorKind::permanent}});
  };

  EXPECT_EQ(by(retry::Action::discard, 1), Routed::discarded);
  EXPECT_EQ(by(retry::Action::retry_later, 2), Routed::dead);
  EXPECT_EQ(by(retry::Action::retry_here, 3), Routed::dead);
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
