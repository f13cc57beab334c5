#include "transactional/half_record.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/message/names.hpp>

namespace oncemark::transactional {
namespace {

using ::testing::HasSubstr;

Half some_half() {
  Half half;
  half.message = {.id = "m-1",
                  .topic = "orders",
                  .key = Bytes(std::string("k\0\xff", 3)),
                  .payload = "body",
                  .headers = {{"traceparent", "00-1"}, {"twice", "a"}, {"twice", nullptr}},
                  .event_time = parse_rfc3339("2026-11-23T09:30:00.000123Z"),
                  .since = parse_rfc3339("2026-11-23T09:30:01Z"),
                  .checks = 3};
  half.knows = Knows::check;
  half.due = parse_rfc3339("2026-11-23T09:30:07Z");
  half.reason = "does not know";
  return half;
}

Record read_at(const OutgoingRecord& record) {
  return {.position = {record.topic, 0, 7},
          .timestamp = {},
          .key = record.key,
          .payload = record.payload,
          .headers = record.headers};
}

TEST(HalfRecord, BringsBackWhatItWasMadeOf) {
  const Half half = some_half();

  const OutgoingRecord record = to_half_record(half, "shop");
  const Half found = read_half(read_at(record));

  EXPECT_EQ(record.topic, "half.shop");
  EXPECT_EQ(record.key, Bytes("m-1"));
  EXPECT_EQ(found.message.id, "m-1");
  EXPECT_EQ(found.message.topic, "orders");
  EXPECT_EQ(found.message.key, half.message.key);
  EXPECT_EQ(found.message.payload, Bytes("body"));
  EXPECT_EQ(found.message.headers, half.message.headers);
  EXPECT_EQ(found.message.event_time, half.message.event_time);
  EXPECT_EQ(found.message.since, half.message.since);
  EXPECT_EQ(found.message.checks, 3u);
  EXPECT_EQ(found.knows, Knows::check);
  EXPECT_EQ(found.due, half.due);
  EXPECT_EQ(found.reason, "does not know");
}

TEST(HalfRecord, KeepsNullApartFromEmpty) {
  Half half = some_half();
  half.message.key = nullptr;
  half.message.payload = nullptr;
  EXPECT_TRUE(read_half(read_at(to_half_record(half, "shop"))).message.key.is_null());
  EXPECT_TRUE(read_half(read_at(to_half_record(half, "shop"))).message.payload.is_null());

  half.message.key = "";
  half.message.payload = "";
  EXPECT_FALSE(read_half(read_at(to_half_record(half, "shop"))).message.key.is_null());
  EXPECT_FALSE(read_half(read_at(to_half_record(half, "shop"))).message.payload.is_null());
}

TEST(HalfRecord, LeavesNothingOfItselfOnTheMessage) {
  const OutgoingRecord record = to_message_record(read_half(read_at(to_half_record(some_half(), "shop"))).message);

  EXPECT_EQ(record.topic, "orders");
  for (const Header& header : record.headers) EXPECT_FALSE(header.name.starts_with("om-half-")) << header.name;
  EXPECT_EQ(record.headers.text(names::kMessageId), "m-1");
  EXPECT_EQ(record.headers.text(names::kEventTime), "2026-11-23T09:30:00.000123Z");
}

TEST(HalfRecord, NamesTheHeaderThatIsMissing) {
  for (const auto name : {names::kMessageId, names::kHalfTopic, names::kHalfDue, names::kHalfChecks}) {
    Record record = read_at(to_half_record(some_half(), "shop"));
    record.headers.remove(name);
    try {
      (void)read_half(record);
      ADD_FAILURE() << "read without " << name;
    } catch (const PermanentError& error) {
      EXPECT_THAT(error.what(), HasSubstr(std::string(name)));
    }
  }
}

TEST(HalfTopic, IsNamedAfterItsSender) {
  EXPECT_EQ(half_topic("orders"), "half.orders");
  EXPECT_THROW((void)half_topic("a/b"), MisuseError);
}

}  // namespace
}  // namespace oncemark::transactional
