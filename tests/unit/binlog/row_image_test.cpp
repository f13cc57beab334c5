#include "binlog/row_image.hpp"

#include <gtest/gtest.h>

#include <bit>

#include "event_bytes.hpp"

namespace oncemark::binlog {
namespace {

/// The value of a single column whose bytes are given.
Field field_of(std::uint8_t kind, std::uint16_t metadata, const std::string& bytes) {
  TableMap map;
  map.schema = "s";
  map.table = "t";
  map.columns.push_back({.kind = kind, .metadata = metadata, .is_nullable = true});
  const std::string image = std::string(1, '\0') + bytes;
  Cursor cursor(image);
  std::vector<Field> fields;
  read_image(cursor, map, ColumnBits("\xff"), {}, fields);
  EXPECT_TRUE(cursor.is_at_end());
  // The same bytes are passed over where the column is not wanted.
  Cursor again(image);
  std::vector<Field> none;
  read_image(again, map, ColumnBits("\xff"), {false}, none);
  EXPECT_TRUE(again.is_at_end());
  EXPECT_EQ(none[0].state, Field::State::absent);
  Field field = fields[0];
  if (field.state == Field::State::bytes) field.text = std::string(field.bytes);
  return field;
}

TEST(RowImage, ReadsIntegersWithAndWithoutTheirSign) {
  EXPECT_EQ(field_of(kTiny, 0, "\xff").as_signed(), -1);
  EXPECT_EQ(field_of(kTiny, 0, "\xff").number, 255u);
  EXPECT_EQ(field_of(kShort, 0, le(0xfffe, 2)).as_signed(), -2);
  EXPECT_EQ(field_of(kInt24, 0, le(0xfffffd, 3)).as_signed(), -3);
  EXPECT_EQ(field_of(kLong, 0, le(0xfffffffc, 4)).as_signed(), -4);
  EXPECT_EQ(field_of(kLongLong, 0, le(~0ull, 8)).number, ~0ull);
  EXPECT_EQ(field_of(kLongLong, 0, le(~0ull, 8)).as_signed(), -1);
}

TEST(RowImage, ReadsRealNumbers) {
  EXPECT_EQ(field_of(kFloat, 4, le(std::bit_cast<std::uint32_t>(1.5f), 4)).real, 1.5);
  EXPECT_EQ(field_of(kDouble, 8, le(std::bit_cast<std::uint64_t>(1e-9), 8)).real, 1e-9);
}

TEST(RowImage, ReadsStringsByTheLengthOfTheirColumn) {
  EXPECT_EQ(field_of(kVarchar, 255,
                     "\x03"
                     "abc")
                .text,
            "abc");
  EXPECT_EQ(field_of(kVarchar, 256, le(3, 2) + "abc").text, "abc");
  EXPECT_EQ(field_of(kString, 1020, le(3, 2) + "abc").text, "abc");
  EXPECT_EQ(field_of(kBlob, 3, le(5, 3) + std::string("\0\1\2\3\4", 5)).text, std::string("\0\1\2\3\4", 5));
}

TEST(RowImage, ReadsDecimals) {
  EXPECT_EQ(field_of(kDecimal, 3 << 8 | 12, std::string("\x80\x00\x30\x39\x02\xa6", 6)).text, "12345.678");
  EXPECT_EQ(field_of(kDecimal, 3 << 8 | 12, std::string("\x7f\xff\xcf\xc6\xfd\x59", 6)).text, "-12345.678");
  EXPECT_EQ(field_of(kDecimal, 0 << 8 | 10, std::string("\x80\x00\x00\x00\x07", 5)).text, "7");
}

TEST(RowImage, ReadsDatesAndTimes) {
  EXPECT_EQ(field_of(kDate, 0, le(2024 << 9 | 2 << 5 | 29, 3)).text, "2024-02-29");
  EXPECT_EQ(field_of(kDate, 0, le(0, 3)).text, "0000-00-00");
  EXPECT_EQ(field_of(kTimestamp, 6, std::string("\x65\xdf\xd7\x9b\x06\x1a\x80", 7)).text, "2024-02-29 01:02:19.400000");
  EXPECT_EQ(field_of(kTimestamp, 0, std::string(4, '\0')).text, "0000-00-00 00:00:00");
  EXPECT_EQ(field_of(kTime, 1, std::string("\x7f\xff\xfe\xce", 4)).text, "-00:00:01.5");
  EXPECT_EQ(field_of(kTime, 0, std::string("\x80\xc8\xb8", 3)).text, "12:34:56");
}

TEST(RowImage, ReadsADatetimeWithItsFraction) {
  const std::uint64_t ym = 2024 * 13 + 2;
  const std::uint64_t packed = 0x8000000000 + (((ym << 5 | 29) << 17) | (1 << 12 | 2 << 6 | 3));
  std::string bytes;
  for (int shift = 32; shift >= 0; shift -= 8) bytes += static_cast<char>(packed >> shift);

  EXPECT_EQ(field_of(kDatetime, 0, bytes).text, "2024-02-29 01:02:03");
  EXPECT_EQ(field_of(kDatetime, 6, bytes + std::string("\x00\x01\xc8", 3)).text, "2024-02-29 01:02:03.000456");
  EXPECT_EQ(field_of(kDatetime, 3, bytes + std::string("\x11\xd0", 2)).text, "2024-02-29 01:02:03.456");
}

TEST(RowImage, ReadsEnumerationsSetsBitsAndYears) {
  EXPECT_EQ(field_of(kEnum, 1, "\x02").number, 2u);
  EXPECT_EQ(field_of(kSet, 2, le(0x101, 2)).number, 0x101u);
  EXPECT_EQ(field_of(kBit, 1 << 8 | 4, std::string("\x0a\xaa", 2)).number, 0xaaau);
  EXPECT_EQ(field_of(kYear, 0, "\x7c").number, 2024u);
}

TEST(RowImage, TellsNullFromWhatIsNotThere) {
  TableMap map;
  map.columns.resize(3, {.kind = kTiny});
  const std::string image = "\x02\x05";  // of columns 1 and 3, the second one is null
  Cursor cursor(image);
  std::vector<Field> fields;
  read_image(cursor, map, ColumnBits("\x05"), {}, fields);

  EXPECT_EQ(fields[0].number, 5u);
  EXPECT_EQ(fields[1].state, Field::State::absent);
  EXPECT_TRUE(fields[2].is_null());
}

TEST(RowImage, RefusesWhatIsCutOff) {
  EXPECT_THROW(field_of(kVarchar, 255,
                        "\x09"
                        "abc"),
               BinlogError);
  EXPECT_THROW(field_of(kLong, 0, "\x01"), BinlogError);
  EXPECT_THROW(field_of(kDecimal, 40 << 8 | 3, "12345678"), BinlogError);
}

}  // namespace
}  // namespace oncemark::binlog
