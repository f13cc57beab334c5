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
    return pool_.transact([&](mysql::Transaction& tx) { return find_letter_ids(tx, selection, limit); });
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

TEST_F(LetterStoreTest, MeasuresTheSelectionUpToALimit) {
  const auto letters = bury_orders(pool_, 3);
  const auto extent = [&](const Selection& selection, std::uint64_t limit) {
    return pool_.transact([&](mysql::Transaction& tx) { return extent_of(tx, selection, limit); });
  };

  EXPECT_EQ(extent({}, UINT64_MAX).letters, 3u);
  EXPECT_EQ(extent({}, UINT64_MAX).last_id, letters[2]);
  EXPECT_EQ(extent({}, 2).letters, 2u);
  EXPECT_EQ(extent({}, 2).last_id, letters[1]);
  EXPECT_EQ(extent({.message_id = "absent"}, 2).letters, 0u);
  EXPECT_EQ(extent({.message_id = "absent"}, UINT64_MAX).last_id, 0u);
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
  pool_.transact([&](mysql::Transaction& tx) { EXPECT_TRUE(mark_replaying(tx, letters[0])); });

  const auto topics = pool_.transact([&](mysql::Transaction& tx) { return letter_topics(tx); });

  ASSERT_EQ(topics.size(), 2u);
  EXPECT_EQ(topics[0].consumer, "shipping");
  EXPECT_EQ(topics[0].dead, 2u);
  EXPECT_EQ(topics[0].replaying, 1u);
  EXPECT_EQ(topics[0].oldest, parse_datetime("2026-01-01 10:00:00"));
  EXPECT_EQ(topics[0].top_error, "permanent");
  EXPECT_EQ(topics[0].top_error_count, 2u);
}

TEST_F(LetterStoreTest, MarksOnlyADeadLetterAsReplaying) {
  const auto id = bury(pool_, order_message("o-1"));
  const auto mark = [&] { return pool_.transact([&](mysql::Transaction& tx) { return mark_replaying(tx, id); }); };

  EXPECT_TRUE(mark());
  EXPECT_FALSE(mark());
  EXPECT_EQ(letter(id)->state, LetterState::replaying);
}

}  // namespace
}  // namespace oncemark::dead_letter
