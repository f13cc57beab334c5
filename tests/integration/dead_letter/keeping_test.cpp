#include <oncemark/dead_letter/keeping.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/letters.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::dead_letter {
namespace {

using oncemark::testing::bury;
using oncemark::testing::bury_orders;
using oncemark::testing::order_message;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class KeepingTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::uint64_t keep(const std::vector<std::uint64_t>& letters, Keeping keeping) {
    return pool_.transact([&](mysql::Transaction& tx) {
      return keep_letters(tx, letters, keeping, {.operator_name = "ann", .reason = "why"});
    });
  }
  [[nodiscard]] std::vector<std::uint64_t> select(const Selection& selection, std::uint64_t limit = UINT64_MAX) {
    return select_letters(pool_, selection, {}, limit);
  }
  /// id:state of each letter, by id.
  [[nodiscard]] std::vector<std::string> states() {
    std::vector<std::string> found;
    const mysql::Rows rows = pool_.transact(
        [](mysql::Transaction& tx) { return tx.query("SELECT identity, state FROM dead_letter ORDER BY id"); });
    for (const mysql::Row& row : rows) found.push_back(row.get<std::string>(0) + ":" + row.get<std::string>(1));
    return found;
  }
  [[nodiscard]] std::uint64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query(sql).at(0).get<std::uint64_t>(0); });
  }

  oncemark::testing::TempSchema schema_{oncemark::testing::Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(KeepingTest, EachWayTakesOnlyTheStatesThatItMay) {
  const auto letters = bury_orders(pool_, 3);

  EXPECT_EQ(keep(letters, Keeping::purge), 0u) << "no record that is still needed is deleted";
  EXPECT_EQ(keep(letters, Keeping::restore), 0u);
  EXPECT_EQ(keep({letters[0], letters[1]}, Keeping::archive), 2u);
  EXPECT_EQ(keep({letters[1], letters[2]}, Keeping::archive), 1u) << "one is archived already";
  EXPECT_THAT(states(), ElementsAre("o-1:archived", "o-2:archived", "o-3:archived"));
  EXPECT_EQ(keep({letters[0]}, Keeping::restore), 1u);
  EXPECT_EQ(keep({letters[0], letters[1]}, Keeping::resolve), 2u) << "dead or archived";
  EXPECT_EQ(keep({letters[0]}, Keeping::restore), 0u) << "resolved is for good";
  EXPECT_EQ(keep(letters, Keeping::purge), 3u);
  EXPECT_THAT(states(), IsEmpty());
}

TEST_F(KeepingTest, WhatIsReplayingIsNobodysToKeep) {
  const auto letters = bury_orders(pool_, 1);
  pool_.transact([](mysql::Transaction& tx) { tx.execute("UPDATE dead_letter SET state = 'replaying'"); });

  for (const Keeping keeping : {Keeping::archive, Keeping::restore, Keeping::resolve, Keeping::purge}) {
    EXPECT_EQ(keep(letters, keeping), 0u) << to_string(keeping);
  }
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit"), 0u);
}

TEST_F(KeepingTest, AuditsWhatItDidAndLeavesTheMessagesDead) {
  const auto letters = bury_orders(pool_, 2);

  EXPECT_EQ(keep({letters[0], 999}, Keeping::archive), 1u);

  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit WHERE action = 'archive' AND outcome = 'archived' AND identity = "
                  "'o-1' AND life = 1 AND operator = 'ann' AND reason = 'why' AND job_id IS NULL AND letter_id = " +
                  std::to_string(letters[0])),
            1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM replay_audit"), 1u);
  EXPECT_EQ(count("SELECT COUNT(*) FROM consumed_message WHERE state = 'dead'"), 2u);
}

TEST_F(KeepingTest, SelectsTheOldestAndWhatAFilterAccepts) {
  const auto letters = bury_orders(pool_, 4);
  bury(pool_, order_message("o-5"), "billing");

  EXPECT_THAT(select({.consumer = "shipping"}, 2), ElementsAre(letters[0], letters[1]));
  EXPECT_THAT(select({.consumer = "shipping"}, 0), IsEmpty());
  EXPECT_THAT(select({.consumer = "shipping", .state = LetterState::archived}), IsEmpty());
  const LetterFilter odd{.accepts = [](const Letter& letter) { return letter.message.payload != "payload of o-2"; },
                         .needs = Detail::with_record};
  EXPECT_THAT(select_letters(pool_, {.consumer = "shipping"}, odd, 2), ElementsAre(letters[0], letters[2]));
}

}  // namespace
}  // namespace oncemark::dead_letter
