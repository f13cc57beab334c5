#include <oncemark/ledger/transitions.hpp>

#include <gtest/gtest.h>

#include <oncemark/ledger/claim.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/temp_schema.hpp"

namespace oncemark::ledger {
namespace {

using testing::message_with_id;
using testing::retried_message;
using testing::Tables;
using testing::TempSchema;

class TransitionsTest : public ::testing::Test {
 protected:
  std::optional<Standing> fail_and_commit(const Message& message, State next) {
    return pool_.transact([&](mysql::Transaction& tx) { return fail(tx, "shipping", message, next); });
  }
  std::optional<Standing> standing(const std::string& key) {
    return pool_.transact([&](mysql::Transaction& tx) { return lock_standing(tx, "shipping", key); });
  }
  std::vector<std::optional<Standing>> lock_all(std::vector<std::string_view> keys) {
    return pool_.transact([&](mysql::Transaction& tx) { return lock_standings(tx, "shipping", keys); });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(TransitionsTest, CountFailedDeliveriesOfALife) {
  EXPECT_EQ(fail_and_commit(message_with_id("o-1"), State::retrying)->attempt, 1u);
  EXPECT_EQ(fail_and_commit(retried_message("o-1", 1, 2), State::retrying)->attempt, 2u);
  EXPECT_EQ(fail_and_commit(retried_message("o-1", 1, 3), State::dead)->attempt, 3u);

  EXPECT_EQ(standing("o-1")->state, State::dead);
}

TEST_F(TransitionsTest, LeaveAMessageAloneThatAnotherInstanceSettled) {
  pool_.transact([&](mysql::Transaction& tx) { (void)claim(tx, "shipping", message_with_id("done")); });
  EXPECT_EQ(fail_and_commit(message_with_id("done"), State::dead), std::nullopt);
  EXPECT_EQ(standing("done")->state, State::done);

  (void)fail_and_commit(message_with_id("o-1"), State::retrying);
  EXPECT_EQ(fail_and_commit(message_with_id("o-1"), State::retrying), std::nullopt);  // routed already
  (void)fail_and_commit(retried_message("o-1", 1, 2), State::retrying);
  EXPECT_EQ(fail_and_commit(retried_message("o-1", 1, 2), State::dead), std::nullopt);
  EXPECT_EQ(standing("o-1")->attempt, 2u);
}

TEST_F(TransitionsTest, FindTheRowsOfManyMessagesInTheOrderAskedFor) {
  pool_.transact([&](mysql::Transaction& tx) { (void)claim(tx, "shipping", message_with_id("done")); });
  (void)fail_and_commit(message_with_id("failing"), State::retrying);

  const auto found = lock_all({"failing", "unknown", "done", "failing", "DONE"});

  ASSERT_EQ(found.size(), 5u);
  EXPECT_EQ(found[0]->state, State::retrying);
  EXPECT_FALSE(found[1].has_value());
  EXPECT_EQ(found[2]->state, State::done);
  EXPECT_EQ(found[3]->attempt, 1u);
  EXPECT_FALSE(found[4].has_value());
  EXPECT_TRUE(lock_all({}).empty());
}

TEST_F(TransitionsTest, LockJustTheRowsThatAreNamed) {
  for (const char* key : {"a", "b", "c"}) (void)fail_and_commit(message_with_id(key), State::dead);
  mysql::Pool other(schema_.options());
  auto held = other.acquire();
  mysql::UnitOfWork unit(*held);
  (void)lock_standing(unit.tx(), "shipping", "b");

  EXPECT_EQ(lock_all({"c", "a"})[0]->state, State::dead);  // would wait for b if it looked at it

  pool_.transact([&](mysql::Transaction& tx) {
    const std::vector<std::string_view> keys{"a", "c"};
    (void)lock_standings(tx, "shipping", keys);
    EXPECT_TRUE(
        unit.tx().query("SELECT 1 FROM consumed_message WHERE message_key = 'a' FOR UPDATE SKIP LOCKED").empty());
  });
}

TEST_F(TransitionsTest, ReviveDeadMessagesIntoTheirNextLife) {
  for (const char* key : {"o-1", "o-2", "o-3"}) (void)fail_and_commit(message_with_id(key), State::dead);

  pool_.transact([&](mysql::Transaction& tx) {
    const std::vector<std::string_view> keys{"o-1", "o-3"};
    revive(tx, "shipping", keys);
  });

  for (const char* key : {"o-1", "o-3"}) {
    const auto row = standing(key);
    EXPECT_EQ(row->state, State::retrying);
    EXPECT_EQ(row->life, 2u);
    EXPECT_EQ(row->attempt, 0u);
  }
  EXPECT_EQ(standing("o-2")->state, State::dead);
}

TEST_F(TransitionsTest, KeepTheFirstErrorAndTheWholeRecordWhileRetrying) {
  Message message = message_with_id("o-1", std::string("\0body", 5));
  message.key = nullptr;
  message.headers.append("empty", "");
  message.headers.append("null", nullptr);
  const auto keep = [&](const char* text) {
    return pool_.transact([&](mysql::Transaction& tx) {
      const Time now = database_now(tx);
      return keep_failed_message(tx, "shipping", message,
                                 {.group = "g", .error = {.error_class = "c", .text = text}, .now = now, .due = now});
    });
  };

  const Time first = keep("first");
  message.from_retry_topic = true;
  EXPECT_EQ(keep("second"), first);

  const auto row = pool_.transact([&](mysql::Transaction& tx) {
    return *tx.query_row("SELECT first_error, last_error, record_key, payload, headers FROM failed_message");
  });
  EXPECT_EQ(row.get<std::string>(0), "first");
  EXPECT_EQ(row.get<std::string>(1), "second");
  EXPECT_TRUE(row.is_null(2));
  EXPECT_EQ(row.get<Bytes>(3), message.payload);
  EXPECT_EQ(decode_headers(row.get<std::string>(4)), message.headers);
}

}  // namespace
}  // namespace oncemark::ledger
