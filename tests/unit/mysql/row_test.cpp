#include <oncemark/mysql/row.hpp>

#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark::mysql {
namespace {

Row row_of(Row::Value value) {
  return Row(std::make_shared<const Row::Names>(Row::Names{"Amount"}), {std::move(value)});
}

constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();

TEST(Row, FindsAColumnByIndexAndByNameInAnyCase) {
  const Row row = row_of(std::int64_t{7});

  EXPECT_EQ(row.get<int>(0), 7);
  EXPECT_EQ(row.get<int>("amount"), 7);
  EXPECT_EQ(row.get<int>("AMOUNT"), 7);
  EXPECT_THROW((void)row.get<int>(1), MisuseError);
  EXPECT_THROW((void)row.get<int>("price"), MisuseError);
}

TEST(Row, ReadsIntegersOfBothSignednesses) {
  EXPECT_EQ(row_of(std::int64_t{-5}).get<std::int64_t>(0), -5);
  EXPECT_EQ(row_of(kMax).get<std::uint64_t>(0), kMax);
  EXPECT_EQ(row_of(std::uint64_t{9}).get<std::int64_t>(0), 9);
  EXPECT_TRUE(row_of(std::int64_t{1}).get<bool>(0));
}

TEST(Row, RefusesAnIntegerThatDoesNotFit) {
  EXPECT_THROW((void)row_of(kMax).get<std::int64_t>(0), MisuseError);
  EXPECT_THROW((void)row_of(std::int64_t{-1}).get<std::uint64_t>(0), MisuseError);
  EXPECT_THROW((void)row_of(std::int64_t{300}).get<std::uint8_t>(0), MisuseError);
  EXPECT_THROW((void)row_of(std::int64_t{40'000}).get<std::int16_t>(0), MisuseError);
}

TEST(Row, ReadsADecimalAsAnIntegerOnlyWhenItIsOne) {
  EXPECT_EQ(row_of(std::string("12")).get<std::int64_t>(0), 12);
  EXPECT_EQ(row_of(std::string("-12.00")).get<std::int64_t>(0), -12);
  EXPECT_EQ(row_of(std::string("18446744073709551615")).get<std::uint64_t>(0), kMax);
  EXPECT_THROW((void)row_of(std::string("12.50")).get<std::int64_t>(0), MisuseError);
  EXPECT_THROW((void)row_of(std::string("18446744073709551616")).get<std::uint64_t>(0), MisuseError);
  EXPECT_THROW((void)row_of(std::string("twelve")).get<std::int64_t>(0), MisuseError);
  EXPECT_THROW((void)row_of(std::string("")).get<std::int64_t>(0), MisuseError);
}

TEST(Row, ReadsADoubleAsAnIntegerOnlyWhenItIsOne) {
  EXPECT_EQ(row_of(3.0).get<std::int64_t>(0), 3);
  EXPECT_THROW((void)row_of(3.5).get<std::int64_t>(0), MisuseError);
  EXPECT_THROW((void)row_of(9223372036854775808.0).get<std::int64_t>(0), MisuseError);
  EXPECT_THROW((void)row_of(-1.0).get<std::uint64_t>(0), MisuseError);
}

TEST(Row, ReadsNumbersAsDoubles) {
  EXPECT_DOUBLE_EQ(row_of(0.1).get<double>(0), 0.1);
  EXPECT_DOUBLE_EQ(row_of(std::int64_t{-2}).get<double>(0), -2.0);
  EXPECT_DOUBLE_EQ(row_of(std::string("12.50")).get<double>(0), 12.5);
  EXPECT_THROW((void)row_of(std::string("12,50")).get<double>(0), MisuseError);
}

TEST(Row, ReadsEveryTypeAsText) {
  EXPECT_EQ(row_of(std::string("a\0b", 3)).get<std::string>(0), std::string("a\0b", 3));
  EXPECT_EQ(row_of(kMax).get<std::string>(0), "18446744073709551615");
  EXPECT_EQ(row_of(std::int64_t{-5}).get<std::string>(0), "-5");
  EXPECT_EQ(row_of(0.1).get<std::string>(0), "0.1");
}

TEST(Row, ReadsADatetimeWithAndWithoutItsFraction) {
  const Time time = parse_datetime("2026-11-23 09:30:00.000123");

  EXPECT_EQ(row_of(std::string("2026-11-23 09:30:00.000123")).get<Time>(0), time);
  EXPECT_EQ(row_of(std::string("2026-11-23 09:30:00")).get<Time>(0), time - std::chrono::microseconds(123));
  EXPECT_THROW((void)row_of(std::string("yesterday")).get<Time>(0), MisuseError);
}

TEST(Row, TellsNullFromEmpty) {
  EXPECT_TRUE(row_of(nullptr).is_null(0));
  EXPECT_TRUE(row_of(nullptr).get<Bytes>(0).is_null());
  EXPECT_FALSE(row_of(std::string()).get<Bytes>(0).is_null());
  EXPECT_EQ(row_of(nullptr).get<std::optional<int>>(0), std::nullopt);
  EXPECT_EQ(row_of(std::string("x")).get<std::optional<std::string>>(0), "x");
}

TEST(Row, RefusesNullWhereTheTypeCannotHoldIt) {
  EXPECT_THROW((void)row_of(nullptr).get<int>(0), MisuseError);
  EXPECT_THROW((void)row_of(nullptr).get<std::string>(0), MisuseError);
  EXPECT_THROW((void)row_of(nullptr).get<Time>(0), MisuseError);
}

TEST(Param, KeepsNullApartFromEmptyAndZero) {
  EXPECT_TRUE(std::holds_alternative<std::nullptr_t>(Param(nullptr).value()));
  EXPECT_TRUE(std::holds_alternative<std::nullptr_t>(Param(Bytes()).value()));
  EXPECT_TRUE(std::holds_alternative<std::nullptr_t>(Param(std::optional<int>()).value()));
  EXPECT_EQ(std::get<std::string_view>(Param(Bytes("")).value()), "");
  EXPECT_EQ(std::get<std::int64_t>(Param(0).value()), 0);
  EXPECT_EQ(std::get<std::int64_t>(Param(true).value()), 1);
}

TEST(Param, KeepsTheSignednessOfItsType) {
  EXPECT_EQ(std::get<std::uint64_t>(Param(kMax).value()), kMax);
  EXPECT_EQ(std::get<std::uint64_t>(Param(1u).value()), 1u);
  EXPECT_EQ(std::get<std::int64_t>(Param(-1).value()), -1);
}

}  // namespace
}  // namespace oncemark::mysql
