#include <oncemark/ledger/parked.hpp>

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/ledger/transitions.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/temp_schema.hpp"

namespace oncemark::ledger {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::message_with_id;
using testing::pointers_to;
using testing::Tables;
using testing::TempSchema;

/// A message of record key "k".
Message of_key(const std::string& id, const std::string& key = "k") {
  Message message = message_with_id(id);
  message.key = key;
  message.headers.append("trace", std::string("\0\xff", 2));
  return message;
}

class ParkedTest : public ::testing::Test {
 protected:
  template <typename Work>
  auto in_tx(Work&& work) {
    return pool_.transact([&](mysql::Transaction& tx) { return work(tx); });
  }
  /// As a lane does with a fresh message that failed.
  bool park_head(const Message& message, std::chrono::milliseconds delay = 0ms) {
    return in_tx([&](mysql::Transaction& tx) {
      (void)fail(tx, "shipping", message, State::parked).value();
      const Time now = database_now(tx);
      return begin_sequence(
          tx, "shipping", "k", message,
          {.group = "g", .error = {.error_class = "std::runtime_error", .text = "not yet"}, .now = now}, now + delay);
    });
  }
  Appended park(const std::vector<Message>& messages, std::uint32_t limit = 100) {
    const auto pointers = pointers_to(messages);
    return in_tx([&](mysql::Transaction& tx) {
      (void)claim_as_parked(tx, "shipping", pointers);
      return append_parked(tx, "shipping", "g", "k", pointers, limit);
    });
  }
  std::optional<std::uint32_t> take(std::uint64_t token) {
    const auto heads = in_tx([](mysql::Transaction& tx) { return next_due_heads(tx, "shipping", 10); });
    if (heads.empty()) return std::nullopt;
    const DueHead& head = heads.front();
    const auto is_taken =
        in_tx([&](mysql::Transaction& tx) { return take_heads(tx, "shipping", std::span(&head, 1), token, 60s); });
    return is_taken.front() ? std::optional(head.tries + 1) : std::nullopt;
  }
  /// Runs and finishes up to `most` messages; their ids.
  std::vector<std::string> drain(std::uint64_t token, std::size_t most) {
    return in_tx([&](mysql::Transaction& tx) {
      const auto head = head_taken_with(tx, "shipping", "k", token);
      const auto messages = head ? lock_parked(tx, "shipping", "k", *head, token, most) : std::vector<ParkedMessage>();
      std::vector<std::string> ids;
      for (const auto& parked : messages) ids.push_back(parked.message.id);
      if (!messages.empty()) (void)finish_parked(tx, "shipping", "k", messages, token, 60s);
      return ids;
    });
  }
  std::optional<State> state(const std::string& key) {
    const auto found = in_tx([&](mysql::Transaction& tx) { return lock_standing(tx, "shipping", key); });
    return found ? std::optional(found->state) : std::nullopt;
  }
  mysql::Row row(const std::string& sql) {
    return in_tx([&](mysql::Transaction& tx) { return tx.query_row(sql).value(); });
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(ParkedTest, AHeadKeepsTheWholeRecord) {
  const Message head = of_key("o-1");
  EXPECT_TRUE(park_head(head));
  ASSERT_EQ(take(7), 1u);

  const auto locked = in_tx([](mysql::Transaction& tx) { return lock_parked(tx, "shipping", "k", "o-1", 7, 10); });

  ASSERT_EQ(locked.size(), 1u);
  const Message& kept = locked.front().message;
  EXPECT_EQ(kept.id, head.id);
  EXPECT_EQ(kept.business_key, head.business_key);
  EXPECT_EQ(kept.topic, head.topic);
  EXPECT_EQ(kept.key, head.key);
  EXPECT_EQ(kept.payload, head.payload);
  EXPECT_EQ(kept.headers, head.headers);
  EXPECT_EQ(kept.origin, head.origin);
  EXPECT_EQ(kept.origin_timestamp, head.origin_timestamp);
  EXPECT_EQ(kept.event_time, head.event_time);
  EXPECT_TRUE(kept.has_id);
  EXPECT_EQ(kept.attempt, 2u);
  EXPECT_EQ(kept.life, 1u);
}

TEST_F(ParkedTest, FollowersAreDrainedInOrderAndTheLastOneFreesTheKey) {
  (void)park_head(of_key("o-9"));
  EXPECT_EQ(park({of_key("o-5"), of_key("o-7")}).messages, 2u);
  EXPECT_EQ(park({of_key("o-1")}).messages, 1u);
  ASSERT_EQ(take(7), 1u);

  EXPECT_THAT(drain(7, 1), ElementsAre("o-9"));
  EXPECT_THAT(drain(7, 2), ElementsAre("o-5", "o-7"));
  EXPECT_EQ(in_tx([](mysql::Transaction& tx) { return count_parked(tx, "shipping"); }).messages, 1u);
  EXPECT_THAT(drain(7, 9), ElementsAre("o-1"));

  EXPECT_EQ(in_tx([](mysql::Transaction& tx) { return count_parked(tx, "shipping"); }).keys, 0u);
  EXPECT_TRUE(park({of_key("o-8")}).is_gone);
  EXPECT_EQ(state("o-1"), State::done);
}

TEST_F(ParkedTest, ACopyIsNoFollower) {
  (void)park_head(of_key("o-1"));
  (void)park({of_key("o-2")});
  const std::vector<Message> messages{of_key("o-2"), of_key("o-3"), of_key("o-1"), of_key("o-3")};

  const auto claims =
      in_tx([&](mysql::Transaction& tx) { return claim_as_parked(tx, "shipping", pointers_to(messages)); });

  std::vector<bool> fresh;
  for (const Claim& claim : claims) fresh.push_back(claim.is_fresh);
  EXPECT_THAT(fresh, ElementsAre(false, true, false, false));
  EXPECT_FALSE(claims[0].is_key_conflict);
}

TEST_F(ParkedTest, ACopyWithOtherContentsIsAConflict) {
  (void)park_head(of_key("o-1"));
  Message other = of_key("o-1");
  other.payload = "other";

  const auto claims =
      in_tx([&](mysql::Transaction& tx) { return claim_as_parked(tx, "shipping", pointers_to(std::span(&other, 1))); });

  EXPECT_TRUE(claims.front().is_key_conflict);
}

TEST_F(ParkedTest, ASequenceGrowsToItsLimit) {
  (void)park_head(of_key("o-1"));

  EXPECT_EQ(park({of_key("o-2"), of_key("o-3"), of_key("o-4")}, 3).messages, 2u);
}

TEST_F(ParkedTest, AHeadIsTakenByOneOnlyAndItsTriesAreCounted) {
  (void)park_head(of_key("o-1"));

  EXPECT_EQ(take(7), 1u);
  EXPECT_EQ(take(8), std::nullopt) << "its lease is not over";
  EXPECT_THAT(drain(8, 1), IsEmpty()) << "it was taken with another token";
  in_tx([](mysql::Transaction& tx) { return tx.execute("UPDATE parked_key SET due_at = UTC_TIMESTAMP(6)"); });
  EXPECT_EQ(take(8), 2u);
  EXPECT_THAT(drain(7, 1), IsEmpty());
  EXPECT_TRUE(in_tx([](mysql::Transaction& tx) { return put_back_head(tx, "shipping", "k", "o-1", 8, 0ms); }));
  EXPECT_EQ(take(9), 1u) << "what was given back does not count";
}

TEST_F(ParkedTest, SeveralHeadsAreTakenButForThoseThatAreLockedOrWereTriedMeanwhile) {
  for (const char* key : {"c", "a", "b"}) {
    in_tx([&](mysql::Transaction& tx) {
      Message message = message_with_id(std::string("o-") + key);
      message.key = key;
      (void)claim_as_parked(tx, "shipping", pointers_to(std::span(&message, 1)));
      return begin_sequence(tx, "shipping", key, message, {.group = "g", .now = database_now(tx)}, database_now(tx));
    });
  }
  auto heads = in_tx([](mysql::Transaction& tx) { return next_due_heads(tx, "shipping", 10); });
  ASSERT_EQ(heads.size(), 3u);
  std::ranges::sort(heads, {}, &DueHead::order_key);
  heads[2].tries = 1;  // somebody took it and died since
  auto other = pool_.acquire();
  mysql::UnitOfWork lane(*other);
  (void)lock_standing(lane.tx(), "shipping", "o-b");

  const auto taken = in_tx([&](mysql::Transaction& tx) { return take_heads(tx, "shipping", heads, 7, 60s); });

  EXPECT_THAT(taken, ElementsAre(true, false, false));
}

TEST_F(ParkedTest, AHeadThatIsNotDueYetIsNotTaken) {
  (void)park_head(of_key("o-1"), 1h);

  EXPECT_EQ(take(7), std::nullopt);
  const auto heads = in_tx([](mysql::Transaction& tx) { return next_due_heads(tx, "shipping", 10); });
  EXPECT_GT(heads.at(0).wait, 59min);
}

TEST_F(ParkedTest, GroupsAreCutAtARowThatIsLockedElsewhere) {
  (void)park_head(of_key("o-1"));
  (void)park({of_key("o-2"), of_key("o-3")});
  ASSERT_EQ(take(7), 1u);
  auto other = pool_.acquire();
  mysql::UnitOfWork operators(*other);
  (void)lock_standing(operators.tx(), "shipping", "o-2");

  EXPECT_THAT(drain(7, 3), ElementsAre("o-1"));
  EXPECT_THAT(drain(7, 3), IsEmpty());
  operators.rollback();
  EXPECT_THAT(drain(7, 3), ElementsAre("o-2", "o-3"));
}

TEST_F(ParkedTest, AFailureThatDoesNotFitTheRowChangesNothing) {
  Message head = of_key("o-1");
  (void)park_head(head);
  head.attempt = 2;
  const auto fail_once = [&] {
    return in_tx([&](mysql::Transaction& tx) { return fail_head(tx, "shipping", head, State::parked); });
  };

  EXPECT_EQ(fail_once()->attempt, 2u);
  EXPECT_FALSE(fail_once()) << "this delivery was counted already";
}

TEST_F(ParkedTest, AMessageMeetsASequenceThatAnotherPartitionHasBegun) {
  EXPECT_TRUE(park_head(of_key("o-1")));
  EXPECT_FALSE(park_head(of_key("o-2")));

  const auto key = row("SELECT head_key, depth, next_seq FROM parked_key");
  EXPECT_EQ(key.get<std::string>(0), "o-1");
  EXPECT_EQ(key.get<int>(1), 2);
  EXPECT_EQ(key.get<int>(2), 3);
}

TEST_F(ParkedTest, LeavingMakesTheNextOneDueOrTheSequenceShorter) {
  (void)park_head(of_key("o-1"), 1h);
  (void)park({of_key("o-2"), of_key("o-3")});
  const auto leave = [&](const std::string& key) {
    return in_tx([&](mysql::Transaction& tx) {
      tx.execute("UPDATE consumed_message SET state = 'discarded' WHERE message_key = ?", key);
      return leave_sequence(tx, "shipping", key);
    });
  };

  EXPECT_TRUE(leave("o-2"));
  EXPECT_EQ(take(7), std::nullopt);
  EXPECT_TRUE(leave("o-1"));
  EXPECT_FALSE(leave("o-1"));
  EXPECT_EQ(take(7), 1u);
  EXPECT_THAT(drain(7, 9), ElementsAre("o-3"));
}

TEST(OrderKey, IsTheRecordKeyOrItsBeginningAndAHash) {
  EXPECT_EQ(order_key_of(of_key("o-1", "acct-7")), "acct-7");
  EXPECT_EQ(order_key_of(of_key("o-1", "")), "") << "an empty key is a key";
  Message without = of_key("o-1");
  without.key = nullptr;
  EXPECT_EQ(order_key_of(without), std::nullopt);
  const std::string longer(513, 'k');
  EXPECT_EQ(order_key_of(of_key("o-1", longer))->size(), 497u);
  EXPECT_NE(order_key_of(of_key("o-1", longer)), order_key_of(of_key("o-1", longer + "x")));
}

}  // namespace
}  // namespace oncemark::ledger
