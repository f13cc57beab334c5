#include "binlog/json_binary.hpp"

#include <gtest/gtest.h>

#include <oncemark/binlog/errors.hpp>

#include "event_bytes.hpp"

namespace oncemark::binlog {
namespace {

/// A small array with one entry of that type, the rest behind it.
std::string array_of(int type, std::uint64_t entry, const std::string& rest = "") {
  return "\x02" + le(1, 2) + le(7 + rest.size(), 2) + static_cast<char>(type) + le(entry, 2) + rest;
}

TEST(JsonBinary, ReadsScalars) {
  EXPECT_EQ(json_text(""), "null");
  EXPECT_EQ(json_text(std::string("\x04\x00", 2)), "null");
  EXPECT_EQ(json_text("\x04\x01"), "true");
  EXPECT_EQ(json_text("\x05\xfe\xff"), "-2");
  EXPECT_EQ(json_text("\x0c\x03"
                      "a\"b"),
            "\"a\\\"b\"");
  EXPECT_EQ(json_text("\x0b" + le(0x3ff8000000000000, 8)), "1.5");
}

TEST(JsonBinary, ReadsAnObjectWithInlinedAndOutlyingValues) {
  // {"a": 1, "b": "xy"}
  const std::string body = le(2, 2) + le(23, 2) + le(18, 2) + le(1, 2) + le(19, 2) + le(1, 2) + "\x05" + le(1, 2) +
                           "\x0c" + le(20, 2) + "ab" + "\x02xy";

  EXPECT_EQ(json_text(std::string(1, '\0') + body), R"({"a": 1, "b": "xy"})");
}

TEST(JsonBinary, ReadsValuesThatJsonHasNoFormFor) {
  EXPECT_EQ(json_text(array_of(0x0f, 7, std::string("\xf6\x04\x03\x01\x81\x05", 6))), "[1.5]") << "decimal";
  EXPECT_EQ(json_text(array_of(0x0f, 7, "\xfc\x02hi")), "[\"base64:type252:aGk=\"]") << "blob";
}

TEST(JsonBinary, RefusesOffsetsBeyondTheDocument) {
  EXPECT_THROW((void)json_text(array_of(0x0c, 9'000)), BinlogError);
  EXPECT_THROW((void)json_text("\x02" + le(1, 2) + le(9'000, 2)), BinlogError);
}

TEST(JsonBinary, RefusesADocumentThatContainsItself) { EXPECT_THROW((void)json_text(array_of(0x02, 0)), BinlogError); }

TEST(JsonBinary, RefusesADocumentThatUnfoldsWithoutEnd) {
  // Each level names the next one many times.
  std::string levels;
  const unsigned width = 20;
  const unsigned size = 4 + 3 * width;
  for (unsigned level = 0; level < 12; ++level) {
    std::string entries;
    for (unsigned i = 0; i < width; ++i) entries += "\x02" + le(size, 2);
    levels += le(width, 2) + le(size * (12 - level), 2) + entries;
  }

  EXPECT_THROW((void)json_text("\x02" + levels), BinlogError);
}

TEST(JsonBinary, WritesStringsThatAreNoUtf8) {
  std::string out;
  append_json_string(out, "a\xff\n\x01z\xc3\xa4");

  EXPECT_EQ(out, "\"a?\\n\\u0001z\xc3\xa4\"");
}

TEST(JsonBinary, WritesNumbersAsShortAsTheyAre) {
  EXPECT_EQ(json_number(0.1), "0.1");
  EXPECT_EQ(json_number(0.1f), "0.1");
  EXPECT_EQ(json_number(1e300), "1e+300");
}

}  // namespace
}  // namespace oncemark::binlog
