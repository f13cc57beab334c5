#include <oncemark/dead_letter/store.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <oncemark/dead_letter/envelope.hpp>

#include "support/letters.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::dead_letter {
namespace {

using oncemark::testing::bury;
using oncemark::testing::bury_orders;
using oncemark::testing::order_message;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LetterStoreTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::vector<std::uint64_t> ids(const Selection& selection, std::size_t limit = 100) {
    return pool_.transact([&](mysql::Transaction& tx) {
      std::vector<std::uint64_t> found;
      for (const Letter& one : find_letters(tx, selection, limit, Detail::summary)) found.push_back(one.id);
      return found;
    });
  }
  [[nodiscard]] std::optional<Letter> letter(std::uint64_t id) {
    return pool_.transact([&](mysql::Transaction& tx) { return find_letter(tx, id); });
  }
  void set_died_at(std::uint64_t id, const char* time) {
    pool_.transact(
        [&](mysql::Transaction& tx) { tx.execute("UPDATE dead_letter SET died_at = ? WHERE id = ?", time, id); });
  }

  oncemark::testing::TempSchema schema_{oncemark::testing::Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(LetterStoreTest, GivesBackEveryByteOfTheRecord) {
  Message message = order_message("o-1");
  message.key = std::string("k\0y", 3);
  message.payload = std::string("\xff\0\x1b[2J", 6);
  message.headers = {{"a", "1"}, {"", nullptr}, {"a", std::string("\x80\0", 2)}};
  message.business_key = std::string("A \0b", 4);

  const auto found = letter(bury(pool_, message));

  ASSERT_TRUE(found);
  EXPECT_EQ(found->message.key, message.key);
  EXPECT_EQ(found->message.payload, message.payload);
  EXPECT_EQ(found->message.headers, message.headers);
  EXPECT_EQ(found->message.business_key, message.business_key);
  EXPECT_EQ(found->message.origin, message.origin);
  EXPECT_EQ(found->message.event_time, message.event_time);
  EXPECT_EQ(found->message.life, 1u);
  EXPECT_EQ(found->state, LetterState::dead);
  EXPECT_EQ(found->dlq_topic, "dlq.shipping.orders");
}

TEST_F(LetterStoreTest, TellsATombstoneFromAnEmptyPayload) {
  Message tombstone = order_message("o-1");
  tombstone.payload = nullptr;
  Message empty = order_message("o-2");
  empty.payload = "";

  EXPECT_TRUE(letter(bury(pool_, tombstone))->message.payload.is_null());
  EXPECT_FALSE(letter(bury(pool_, empty))->message.payload.is_null());
}

TEST_F(LetterStoreTest, SelectsByEachFieldAndByAllOfThem) {
  const auto first = bury(pool_, order_message("o-1"));
  Message other = order_message("o-2");
  other.origin.topic = other.topic = "returns";
  const auto second = bury(pool_, other, "billing", "no such customer");
  const std::string alike = fingerprint("permanent", "no such customer");

  EXPECT_THAT(ids({}), ElementsAre(first, second));
  EXPECT_THAT(ids({.consumer = "billing"}), ElementsAre(second));
  EXPECT_THAT(ids({.topic = "returns"}), ElementsAre(second));
  EXPECT_THAT(ids({.fingerprint = alike.substr(0, 4)}), ElementsAre(second));
  EXPECT_THAT(ids({.fingerprint = alike}), ElementsAre(second));
  EXPECT_THAT(ids({.error_class = "permanent"}), ElementsAre(first, second));
  EXPECT_THAT(ids({.message_id = "o-1"}), ElementsAre(first));
  EXPECT_THAT(ids({.id = second}), ElementsAre(second));
  EXPECT_THAT(ids({.after_id = first}), ElementsAre(second));
  EXPECT_THAT(ids({.last_id = first}), ElementsAre(first));
  EXPECT_THAT(ids({.consumer = "billing", .message_id = "o-1"}), IsEmpty());
  EXPECT_THAT(ids({.state = LetterState::archived}), IsEmpty());
}

TEST_F(LetterStoreTest, SelectsByTheTimeOfDeathFromInclusiveToExclusive) {
  const auto letters = bury_orders(pool_, 2);
  set_died_at(letters[0], "2026-01-01 10:00:00.000000");
  set_died_at(letters[1], "2026-01-01 11:00:00.000000");
  const Time ten = parse_datetime("2026-01-01 10:00:00");
  const Time eleven = parse_datetime("2026-01-01 11:00:00");

  EXPECT_THAT(ids({.died_since = ten, .died_until = eleven}), ElementsAre(letters[0]));
  EXPECT_THAT(ids({.died_since = ten + std::chrono::microseconds(1)}), ElementsAre(letters[1]));
}

TEST_F(LetterStoreTest, ListsTheNewestFirstWhenAsked) {
  const auto letters = bury_orders(pool_, 3);

  const auto newest = pool_.transact(
      [&](mysql::Transaction& tx) { return find_letters(tx, {}, 2, Detail::summary, Order::newest_first); });

  ASSERT_EQ(newest.size(), 2u);
  EXPECT_EQ(newest[0].id, letters[2]);
  EXPECT_EQ(newest[1].id, letters[1]);
  EXPECT_TRUE(newest[0].message.payload.is_null());  // a summary only
}

TEST_F(LetterStoreTest, RefusesWhatCanBeNoName) {
  EXPECT_THROW((void)ids({.consumer = "shipping\xc3\xa4"}), MisuseError);
  EXPECT_THROW((void)ids({.topic = ""}), MisuseError);
  EXPECT_THROW((void)ids({.fingerprint = "abc"}), MisuseError);
  EXPECT_THROW((void)ids({.fingerprint = "%%%%"}), MisuseError);
  EXPECT_THROW((void)parse_letter_state("dad"), MisuseError);
}

TEST_F(LetterStoreTest, SelectsByKeyPlaceAndCounts) {
  const auto letters = bury_orders(pool_, 3);  // offsets 1, 2, 3 of partition 3
  Message odd = order_message("odd", 9);
  odd.key = std::string("50%_|\xff\0x", 8);
  const auto odd_id = bury(pool_, odd, "shipping", "it's 100 % \\ \"wrong\"");
  Message keyless = order_message("keyless", 10);
  keyless.key = nullptr;
  const auto keyless_id = bury(pool_, keyless);

  EXPECT_THAT(ids({.key_glob = "o-?"}), ElementsAre(letters[0], letters[1], letters[2]));
  EXPECT_THAT(ids({.key_glob = "O-*"}), IsEmpty());  // bytes: case counts
  EXPECT_THAT(ids({.key_glob = "50%_|*"}), ElementsAre(odd_id));
  EXPECT_THAT(ids({.key_glob = "5?%?|*x"}), ElementsAre(odd_id));
  EXPECT_THAT(ids({.key_glob = "%"}), IsEmpty());
  EXPECT_EQ(ids({.key_glob = "*"}).size(), 4u);  // a null key matches nothing
  EXPECT_THAT(ids({.error_text = "100 % \\ \"w"}), ElementsAre(odd_id));
  EXPECT_THAT(ids({.partition = 3, .first_offset = 2, .last_offset = 3}), ElementsAre(letters[1], letters[2]));
  EXPECT_THAT(ids({.partition = 4}), IsEmpty());
  EXPECT_THAT(ids({.group = "billing"}), IsEmpty());
  EXPECT_EQ(ids({.min_attempts = 1, .max_attempts = 1}).size(), 5u);
  EXPECT_THAT(ids({.min_attempts = 2}), IsEmpty());
  EXPECT_THAT(ids({.min_replays = 1}), IsEmpty());
  EXPECT_EQ(ids({.max_replays = 0}).size(), 5u);
  EXPECT_EQ(ids({.first_offset = 10}), std::vector{keyless_id});
}

TEST_F(LetterStoreTest, FetchesByIdInTheGivenOrderUntilTheyAreTooLarge) {
  const auto letters = bury_orders(pool_, 4);
  const auto fetch = [&](const std::vector<std::uint64_t>& wanted, std::size_t bytes) {
    return pool_.transact([&](mysql::Transaction& tx) { return fetch_letters(tx, wanted, bytes); });
  };

  const Fetched all = fetch({letters[2], 999'999, letters[0], letters[3]}, 1'000'000);
  const Fetched one = fetch({letters[2], letters[0]}, 1);

  EXPECT_EQ(all.ids, 4u);
  ASSERT_EQ(all.letters.size(), 3u);
  EXPECT_EQ(all.letters[0].id, letters[2]);
  EXPECT_EQ(all.letters[1].id, letters[0]);
  EXPECT_EQ(all.letters[1].message.payload, "payload of o-1");
  EXPECT_EQ(one.ids, 1u);
  EXPECT_EQ(one.letters.at(0).id, letters[2]);
  EXPECT_EQ(fetch({}, 1).ids, 0u);
  EXPECT_EQ(fetch({999'999}, 1).ids, 1u);
}

TEST_F(LetterStoreTest, GroupsWhatFailedAlike) {
  bury(pool_, order_message("o-1"), "shipping", "warehouse 17 refuses");
  bury(pool_, order_message("o-2"), "shipping", "warehouse 4 refuses");
  bury(pool_, order_message("o-3"), "shipping", "no body");

  const auto groups = pool_.transact([&](mysql::Transaction& tx) { return letter_groups(tx, {}, 10); });

  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].letters, 2u);
  EXPECT_EQ(groups[0].error_text, "warehouse 4 refuses");  // the newest
  EXPECT_EQ(groups[1].letters, 1u);
}

TEST_F(LetterStoreTest, SumsUpByConsumerAndTopic) {
  const auto letters = bury_orders(pool_, 3);
  bury(pool_, order_message("o-9"), "billing");
  set_died_at(letters[1], "2026-01-01 10:00:00.000000");
  pool_.transact([&](mysql::Transaction& tx) {
    tx.execute("UPDATE dead_letter SET state = 'replaying' WHERE id = ?", letters[0]);
  });

  const auto topics = pool_.transact([&](mysql::Transaction& tx) { return letter_topics(tx); });

  ASSERT_EQ(topics.size(), 2u);
  EXPECT_EQ(topics[0].consumer, "shipping");
  EXPECT_EQ(topics[0].dead, 2u);
  EXPECT_EQ(topics[0].replaying, 1u);
  EXPECT_EQ(topics[0].oldest, parse_datetime("2026-01-01 10:00:00"));
  EXPECT_EQ(topics[0].top_error, "permanent");
  EXPECT_EQ(topics[0].top_error_count, 2u);
}

}  // namespace
}  // namespace oncemark::dead_letter
