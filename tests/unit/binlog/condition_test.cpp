#include "binlog/condition.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark::binlog {
namespace {

using ::testing::HasSubstr;

RowChange paid() {
  RowChange change{.change = Change::update, .schema = "shop", .table = "orders"};
  change.before.add("state", Bytes("new"));
  change.after.add("state", Bytes("paid"));
  change.after.add("note", Bytes("it's"));
  change.after.add("cancelled_at", Bytes());
  return change;
}

bool holds(const char* condition) { return Condition(condition).holds(paid()); }

TEST(Condition, ComparesAColumnOfEitherImage) {
  EXPECT_TRUE(holds("after.state = 'paid'"));
  EXPECT_TRUE(holds("  before.state<>'paid' "));
  EXPECT_FALSE(holds("before.state = 'paid'"));
  EXPECT_FALSE(holds("after.state <> 'paid'"));
  EXPECT_FALSE(holds("after.state = 'Paid'"));
  EXPECT_TRUE(holds("after.note = 'it''s'"));
  EXPECT_FALSE(holds("after.note = ''"));
}

TEST(Condition, HasNullNeitherEqualATextNorDifferFromIt) {
  EXPECT_TRUE(holds("after.cancelled_at IS NULL"));
  EXPECT_FALSE(holds("after.cancelled_at is  not null"));
  EXPECT_FALSE(holds("after.cancelled_at = ''"));
  EXPECT_FALSE(holds("after.cancelled_at <> 'x'"));
  EXPECT_TRUE(holds("after.state IS NOT NULL"));
}

TEST(Condition, TakesWhatAnImageLacksForNull) {
  EXPECT_TRUE(holds("before.note IS NULL"));
  EXPECT_FALSE(holds("before.note <> 'x'"));
}

TEST(Condition, SaysWhatIsWrongWithATextThatIsNone) {
  const auto refusal = [](const char* text) -> std::string {
    try {
      (void)Condition(text);
    } catch (const MisuseError& error) {
      return error.what();
    }
    return "accepted";
  };

  EXPECT_THAT(refusal("state = 'paid'"), HasSubstr("neither before. nor after."));
  EXPECT_THAT(refusal("now.state = 'paid'"), HasSubstr("neither before. nor after."));
  EXPECT_THAT(refusal(""), HasSubstr("neither before. nor after."));
  EXPECT_THAT(refusal("after. = 'paid'"), HasSubstr("names no column"));
  EXPECT_THAT(refusal("after.state"), HasSubstr("IS NULL"));
  EXPECT_THAT(refusal("after.total > '5'"), HasSubstr("IS NULL"));
  EXPECT_THAT(refusal("after.total = 5"), HasSubstr("single quotes"));
  EXPECT_THAT(refusal("after.note = '"), HasSubstr("single quotes"));
  EXPECT_THAT(refusal("after.note = 'it's'"), HasSubstr("written twice"));
  EXPECT_THAT(refusal("after.note = '''"), HasSubstr("written twice"));
}

}  // namespace
}  // namespace oncemark::binlog
