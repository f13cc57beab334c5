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
  Revival revive_and_commit(const std::string& key, std::uint32_t life) {
    return pool_.transact([&](mysql::Transaction& tx) { return revive(tx, "shipping", key, life); });
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

TEST_F(TransitionsTest, ReviveNobodyWhoIsNotDead) {
  pool_.transact([&](mysql::Transaction& tx) { (void)claim(tx, "shipping", message_with_id("done")); });
  (void)fail_and_commit(message_with_id("retrying"), State::retrying);

  EXPECT_FALSE(revive_and_commit("done", 1).is_revived);
  EXPECT_FALSE(revive_and_commit("retrying", 1).is_revived);
  EXPECT_EQ(standing("done")->state, State::done);
  EXPECT_EQ(standing("retrying")->life, 1u);
}

TEST_F(TransitionsTest, ReviveADeadMessageOnceIntoItsNextLife) {
  (void)fail_and_commit(message_with_id("o-1"), State::dead);

  EXPECT_TRUE(revive_and_commit("o-1", 1).is_revived);
  const auto row = standing("o-1");
  EXPECT_EQ(row->state, State::retrying);
  EXPECT_EQ(row->life, 2u);
  EXPECT_EQ(row->attempt, 0u);

  const Revival again = revive_and_commit("o-1", 1);
  EXPECT_FALSE(again.is_revived);
  EXPECT_EQ(again.found->state, State::retrying);
  EXPECT_FALSE(revive_and_commit("unknown", 1).found.has_value());
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
