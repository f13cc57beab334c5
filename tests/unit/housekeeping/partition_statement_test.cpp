#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/housekeeping/partitions.hpp>

namespace oncemark::housekeeping {
namespace {

using namespace std::chrono_literals;

TEST(FirstKey, IsNotAboveAnIdMadeInThatMillisecondAndAboveAllEarlierOnes) {
  const Time time = parse_rfc3339("2031-03-04T05:06:07.089000Z");  // later than any id of this process
  const std::string before = MessageId::generate(time - 1ms).str();
  const std::string in_it = MessageId::generate(time).str();

  EXPECT_LT(before, first_key_of(time));
  EXPECT_LE(first_key_of(time), in_it);
}

TEST(PartitionStatement, CoversTheRetentionAndTheDaysToCome) {
  const std::string sql = partition_statement({.marks = 48h, .ahead = 1}, parse_rfc3339("2026-11-25T18:30:00.000000Z"));

  EXPECT_EQ(sql,
            "ALTER TABLE consumed_message PARTITION BY RANGE COLUMNS (message_key) (\n"
            "  PARTITION p20261124_00 VALUES LESS THAN ('" +
                first_key_of(parse_rfc3339("2026-11-24T00:00:00Z")) +
                "'),\n"
                "  PARTITION p20261125_00 VALUES LESS THAN ('" +
                first_key_of(parse_rfc3339("2026-11-25T00:00:00Z")) +
                "'),\n"
                "  PARTITION p20261126_00 VALUES LESS THAN ('" +
                first_key_of(parse_rfc3339("2026-11-26T00:00:00Z")) +
                "'),\n"
                "  PARTITION p20261127_00 VALUES LESS THAN ('" +
                first_key_of(parse_rfc3339("2026-11-27T00:00:00Z")) +
                "'),\n"
                "  PARTITION others VALUES LESS THAN (MAXVALUE)\n)");
}

TEST(PartitionOptions, NameTheFieldThatIsOutOfRange) {
  EXPECT_THROW(PartitionOptions{.width = 0h}.validate(), ConfigError);
  EXPECT_THROW(PartitionOptions{.ahead = 0}.validate(), ConfigError);
  EXPECT_NO_THROW(PartitionOptions{}.validate());
}

}  // namespace
}  // namespace oncemark::housekeeping
