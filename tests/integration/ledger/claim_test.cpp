#include <oncemark/ledger/claim.hpp>

#include <future>
#include <thread>

#include <gtest/gtest.h>

#include <oncemark/ledger/transitions.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::ledger {
namespace {

using namespace std::chrono_literals;
using testing::message_with_id;
using testing::retried_message;
using testing::Tables;
using testing::TempSchema;

class ClaimTest : public ::testing::Test {
 protected:
  Claim claim_and_commit(const Message& message, const std::string& consumer = "shipping") {
    return pool_.transact([&](mysql::Transaction& tx) { return claim(tx, consumer, message); });
  }
  std::optional<Standing> standing(const std::string& key) {
    return pool_.transact([&](mysql::Transaction& tx) { return lock_standing(tx, "shipping", key); });
  }
  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql)->get<std::int64_t>(0); });
  }
  /// Makes the message fail its deliveries up to `attempt` in life 1.
  void fail_times(const std::string& id, std::uint32_t attempts) {
    for (std::uint32_t n = 1; n <= attempts; ++n) {
      const Message message = n == 1 ? message_with_id(id) : retried_message(id, 1, n);
      pool_.transact([&](mysql::Transaction& tx) {
        ASSERT_TRUE(fail(tx, "shipping", message, State::retrying));
        const Time now = database_now(tx);
        keep_failed_message(tx, "shipping", message, {.group = "g", .error = {}, .now = now, .due = now});
      });
    }
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(ClaimTest, FindsAMessageFreshOnceAndThenADuplicate) {
  EXPECT_TRUE(claim_and_commit(message_with_id("o-1")).is_fresh);

  const Claim again = claim_and_commit(message_with_id("o-1"));

  EXPECT_FALSE(again.is_fresh);
  EXPECT_EQ(again.standing.state, State::done);
  EXPECT_FALSE(again.is_key_conflict);
  EXPECT_TRUE(claim_and_commit(message_with_id("o-1"), "billing").is_fresh);
}

TEST_F(ClaimTest, TellsKeysApartByteByByte) {
  for (const std::string key : {"A-1", "a-1", "a-1 ", "\xc3\xa4-1"}) {
    EXPECT_TRUE(claim_and_commit(message_with_id(key)).is_fresh) << key;
  }
  EXPECT_TRUE(claim_and_commit(message_with_id(std::string("a-1\0", 4))).is_fresh);
  EXPECT_FALSE(claim_and_commit(message_with_id(std::string("a-1\0", 4))).is_fresh);
}

TEST_F(ClaimTest, RefusesAnOverLongKeyInsteadOfCuttingIt) {
  Message message = message_with_id("o");
  message.business_key = std::string(513, 'k');

  EXPECT_THROW((void)claim_and_commit(message), mysql::MysqlError);
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message"), 0);
}

TEST_F(ClaimTest, ReportsAKeyConflictWhenThePayloadDiffers) {
  (void)claim_and_commit(message_with_id("o-1", "one body"));

  EXPECT_TRUE(claim_and_commit(message_with_id("o-1", "another body")).is_key_conflict);
  EXPECT_TRUE(claim_and_commit(message_with_id("o-1", nullptr)).is_key_conflict);
}

TEST_F(ClaimTest, IsUndoneWithItsTransaction) {
  {
    auto connection = pool_.acquire();
    mysql::UnitOfWork unit(*connection);
    EXPECT_TRUE(claim(unit.tx(), "shipping", message_with_id("o-1")).is_fresh);
  }
  EXPECT_TRUE(claim_and_commit(message_with_id("o-1")).is_fresh);
}

TEST_F(ClaimTest, WaitsForACopyInFlightAndThenIsADuplicate) {
  auto connection = pool_.acquire();
  mysql::UnitOfWork first(*connection);
  ASSERT_TRUE(claim(first.tx(), "shipping", message_with_id("o-1")).is_fresh);

  auto second = std::async(std::launch::async, [&] { return claim_and_commit(message_with_id("o-1")); });
  EXPECT_EQ(second.wait_for(200ms), std::future_status::timeout);  // held by the row's lock
  first.commit();

  EXPECT_FALSE(second.get().is_fresh);
}

TEST_F(ClaimTest, OfARetryTakesExactlyTheDeliveryThatIsDue) {
  fail_times("o-1", 2);

  EXPECT_FALSE(claim_and_commit(retried_message("o-1", 1, 2)).is_fresh);  // an older copy
  EXPECT_FALSE(claim_and_commit(retried_message("o-1", 2, 3)).is_fresh);  // another life
  EXPECT_FALSE(claim_and_commit(message_with_id("o-1")).is_fresh);        // the source record again
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 1);

  EXPECT_TRUE(claim_and_commit(retried_message("o-1", 1, 3)).is_fresh);
  EXPECT_EQ(standing("o-1")->state, State::done);
  EXPECT_EQ(count("SELECT COUNT(*) FROM failed_message"), 0);
  EXPECT_FALSE(claim_and_commit(retried_message("o-1", 1, 3)).is_fresh);  // redelivered
}

TEST_F(ClaimTest, OfARetryWithoutARowIsFresh) {
  EXPECT_TRUE(claim_and_commit(retried_message("restored", 3, 2)).is_fresh);
  EXPECT_EQ(standing("restored")->life, 1u);
}

TEST_F(ClaimTest, OfAGroupNamesTheFreshOnesInOrder) {
  (void)claim_and_commit(message_with_id("b"));
  std::vector<Message> messages;
  for (const char* id : {"d", "b", "a", "d", "c"}) messages.push_back(message_with_id(id));
  messages[3].payload = "another body";
  std::vector<const Message*> pointers;
  for (const Message& message : messages) pointers.push_back(&message);

  const auto claims = pool_.transact([&](mysql::Transaction& tx) { return claim_group(tx, "shipping", pointers); });

  std::vector<bool> fresh;
  for (const Claim& claimed : claims) fresh.push_back(claimed.is_fresh);
  EXPECT_EQ(fresh, (std::vector<bool>{true, false, true, false, true}));
  EXPECT_EQ(claims[1].standing.state, State::done);
  EXPECT_TRUE(claims[3].is_key_conflict);
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message"), 4);
}

TEST_F(ClaimTest, OfAGroupIsTheSameWhetherItLooksOrInsertsFirst) {
  const std::vector<Message> known{message_with_id("old", "A"), message_with_id("other", "A")};
  for (const Message& message : known) ASSERT_TRUE(claim_and_commit(message).is_fresh);
  const std::vector<Message> group{message_with_id("old", "B"), message_with_id("new", "C"),
                                   message_with_id("new", "D"), message_with_id("old", "A"),
                                   message_with_id("other", "A")};
  const auto pointers = testing::pointers_to(group);

  for (const ClaimFirst first : {ClaimFirst::insert, ClaimFirst::look}) {
    auto connection = pool_.acquire();
    mysql::UnitOfWork unit(*connection);  // never committed
    const auto claims = claim_group(unit.tx(), "shipping", pointers, first);
    std::vector<bool> fresh;
    std::vector<bool> conflicts;
    for (const Claim& claimed : claims) {
      fresh.push_back(claimed.is_fresh);
      conflicts.push_back(claimed.is_key_conflict);
    }
    EXPECT_EQ(fresh, (std::vector<bool>{false, true, false, false, false}));
    EXPECT_EQ(conflicts, (std::vector<bool>{true, false, true, false, false}));
    EXPECT_EQ(unit.tx().query_row("SELECT COUNT(*) FROM consumed_message")->get<int>(0), 3);
  }
}

TEST_F(ClaimTest, OfAGroupThatLooksFirstStillWaitsForACopyInFlight) {
  const std::vector<Message> group{message_with_id("flying"), message_with_id("new")};
  const auto pointers = testing::pointers_to(group);
  auto connection = pool_.acquire();
  mysql::UnitOfWork elsewhere(*connection);
  ASSERT_TRUE(claim(elsewhere.tx(), "shipping", group[0]).is_fresh);

  auto claims = std::async(std::launch::async, [&] {
    return pool_.transact(
        [&](mysql::Transaction& tx) { return claim_group(tx, "shipping", pointers, ClaimFirst::look); });
  });
  EXPECT_EQ(claims.wait_for(200ms), std::future_status::timeout);  // held by the row's lock
  elsewhere.commit();

  const auto found = claims.get();
  EXPECT_FALSE(found[0].is_fresh);
  EXPECT_TRUE(found[1].is_fresh);
}

TEST_F(ClaimTest, OfAGroupComparesACopyWithWhoeverMadeTheRow) {
  ASSERT_TRUE(claim_and_commit(message_with_id("old", "A")).is_fresh);
  const std::vector<Message> group{message_with_id("old", "B"), message_with_id("old", "A"),
                                   message_with_id("new", "C"), message_with_id("new", "D"),
                                   message_with_id("new", "C")};
  const auto pointers = testing::pointers_to(group);

  const auto claims = pool_.transact([&](mysql::Transaction& tx) { return claim_group(tx, "shipping", pointers); });

  EXPECT_TRUE(claims[0].is_key_conflict);
  EXPECT_FALSE(claims[1].is_key_conflict);
  EXPECT_TRUE(claims[2].is_fresh);
  EXPECT_TRUE(claims[3].is_key_conflict);
  EXPECT_FALSE(claims[4].is_key_conflict);
}

TEST_F(ClaimTest, ComparesTheContentsThatTheMessageNames) {
  Message first = message_with_id("o-1", "sent at 10:00");
  Message again = message_with_id("o-1", "sent at 10:05");
  first.content_hash = again.content_hash = 42;

  ASSERT_TRUE(claim_and_commit(first).is_fresh);

  EXPECT_FALSE(claim_and_commit(again).is_key_conflict);
  EXPECT_EQ(standing("o-1")->payload_hash, 42u);
}

TEST_F(ClaimTest, GivenBackIsFreshForTheNext) {
  pool_.transact([&](mysql::Transaction& tx) {
    EXPECT_TRUE(claim(tx, "shipping", message_with_id("o-1")).is_fresh);
    give_back(tx, "shipping", "o-1");
  });

  EXPECT_TRUE(claim_and_commit(message_with_id("o-1")).is_fresh);
}

TEST_F(ClaimTest, GivesSeveralBackInOneStatementThatMeetsNoOthersRow) {
  std::vector<Message> messages;
  for (int i = 0; i < 5; ++i) messages.push_back(message_with_id("o-" + std::to_string(i)));
  pool_.transact([&](mysql::Transaction& other) {
    ASSERT_TRUE(claim(other, "shipping", messages[4]).is_fresh);  // locked, and a few rows that a scan would meet
    pool_.transact([&](mysql::Transaction& tx) {
      for (int i = 0; i < 4; ++i) ASSERT_TRUE(claim(tx, "shipping", messages[i]).is_fresh);
      give_back(tx, "shipping", std::vector<std::string_view>{"o-0", "o-1", "o-3"});
    });
  });

  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message"), 2);
  EXPECT_EQ(standing("o-2")->state, State::done);
  EXPECT_EQ(standing("o-4")->state, State::done);
}

TEST_F(ClaimTest, CountsAffectedRowsExactlyOnThisServer) {
  EXPECT_NO_THROW(require_exact_affected_rows(pool_));
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message"), 0);
}

TEST_F(ClaimTest, OfThreeCopiesWhoseFirstRollsBackLetsExactlyOneThrough) {
  auto connection = pool_.acquire();
  auto first = std::make_unique<mysql::UnitOfWork>(*connection);
  ASSERT_TRUE(claim(first->tx(), "shipping", message_with_id("o-1")).is_fresh);
  std::vector<std::future<bool>> others;
  for (int i = 0; i < 3; ++i) {
    // Waiters may die by 1213; transact() runs them again.
    others.push_back(std::async(std::launch::async, [&] { return claim_and_commit(message_with_id("o-1")).is_fresh; }));
  }
  ASSERT_TRUE(testing::eventually(5s, [&] {
    // Not from innodb_trx: it is a cache that is not refreshed while it is read more often than every 0.1 s.
    return count(
               "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND "
               "info LIKE 'INSERT INTO consumed_message%'") >= 3;
  }));
  first->rollback();

  int fresh = 0;
  for (auto& other : others) fresh += other.get() ? 1 : 0;
  EXPECT_EQ(fresh, 1);
}

}  // namespace
}  // namespace oncemark::ledger
