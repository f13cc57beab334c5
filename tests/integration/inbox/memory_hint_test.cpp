#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/inbox/memory_hint.hpp>
#include <oncemark/mysql/epoch.hpp>
#include <oncemark/testing/builders.hpp>

#include "support/eventually.hpp"
#include "support/temp_schema.hpp"

namespace oncemark::inbox {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::message_with_id;
using testing::Tables;
using testing::TempSchema;

class MemoryHintTest : public ::testing::Test {
 protected:
  /// One that has read its epoch.
  std::unique_ptr<MemoryHint> make(std::size_t max_marks) {
    auto hint = std::make_unique<MemoryHint>(pool_, MemoryHintOptions{.max_marks = max_marks, .epoch_interval = 1s});
    EXPECT_TRUE(eventually(20s, [&] { return hint->epoch() != 0; }));
    return hint;
  }
  static void remember(MemoryHint& hint, std::vector<SeenMark> marks) {
    hint.remember("shipping", hint.epoch(), marks);
  }
  static bool knows(MemoryHint& hint, SeenMark mark, const std::string& consumer = "shipping") {
    const auto seen = hint.seen(consumer, std::span(&mark, 1));
    return !seen.empty() && seen.front();
  }

  TempSchema schema_{Tables::ours};
  mysql::Pool pool_{schema_.options()};
};

TEST_F(MemoryHintTest, KnowsAMarkByConsumerKeyAndContents) {
  const auto hint = make(100);
  remember(*hint, {{"o-1", 7}});

  EXPECT_TRUE(knows(*hint, {"o-1", 7}));
  EXPECT_FALSE(knows(*hint, {"o-1", 8})) << "other contents: a key conflict, which MySQL has to see";
  EXPECT_FALSE(knows(*hint, {"o-2", 7}));
  EXPECT_FALSE(knows(*hint, {"o-1", 7}, "billing"));
}

TEST_F(MemoryHintTest, KeepsTheMarksUsedLast) {
  const auto hint = make(10);
  remember(*hint, {{"used", 1}, {"unused", 1}});
  for (int i = 0; i < 20; ++i) {
    remember(*hint, {{"new-" + std::to_string(i), 1}});
    EXPECT_TRUE(knows(*hint, {"used", 1})) << "after " << i;
  }

  EXPECT_FALSE(knows(*hint, {"unused", 1}));
  EXPECT_TRUE(knows(*hint, {"new-19", 1}));
}

TEST_F(MemoryHintTest, ForgetsEverythingInANewEpoch) {
  const auto hint = make(100);
  remember(*hint, {{"o-1", 7}});
  const std::uint64_t before = hint->epoch();

  const std::uint64_t drawn = mysql::draw_epoch(pool_);  // as after a restore
  ASSERT_TRUE(eventually(20s, [&] { return hint->epoch() == drawn; }));

  EXPECT_FALSE(knows(*hint, {"o-1", 7}));
  const SeenMark late{"o-2", 7};
  hint->remember("shipping", before, std::span(&late, 1));  // committed before the restore
  EXPECT_FALSE(knows(*hint, late));
}

TEST_F(MemoryHintTest, SettlesACopyWithoutAStatement) {
  const auto hint = make(100);
  int runs = 0;
  Dedup dedup{pool_,
              {.consumer = "shipping",
               .effects = Effects::transaction,
               .hint = hint.get(),
               .hint_use = {.trust = Trust::skip, .ask_above = 0}},
              [&](const Message&, mysql::Transaction&) { ++runs; }};
  const Message message = message_with_id("m-1");
  ASSERT_EQ(dedup.handle(message), consume::Outcome::done);
  // A statement of a group of hits would miss the table.
  pool_.acquire()->control("RENAME TABLE consumed_message TO hidden");

  EXPECT_EQ(dedup.handle(message), consume::Outcome::duplicate);
  EXPECT_EQ(runs, 1);
}

TEST(MemoryHintOptions, NamesTheFieldThatIsWrong) {
  const auto field_of = [](const MemoryHintOptions& options) {
    try {
      options.validate();
    } catch (const ConfigError& error) {
      return error.key();
    }
    return std::string();
  };
  EXPECT_EQ(field_of({.max_marks = 1}), "MemoryHintOptions::max_marks");
  EXPECT_EQ(field_of({.epoch_interval = 1ms}), "MemoryHintOptions::epoch_interval");
  EXPECT_EQ(field_of({}), "");
}

}  // namespace
}  // namespace oncemark::inbox
