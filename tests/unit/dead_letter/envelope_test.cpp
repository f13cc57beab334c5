#include <oncemark/dead_letter/envelope.hpp>

#include <gtest/gtest.h>

#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/testing/builders.hpp>

namespace oncemark::dead_letter {
namespace {

Envelope envelope() {
  return {.group = "shipping-group",
          .life = 2,
          .attempt = 3,
          .first_failed_at = Time(std::chrono::seconds(1'764'000'001)),
          .error_class = "std::runtime_error",
          .error_text = "the warehouse said no",
          .stage = "handler"};
}

Message failed_message() {
  Message message = testing::message_with_id("o-1");
  message.headers.append("traceparent", "00-1-2-03");
  message.headers.append("twice", "a");
  message.headers.append("twice", nullptr);
  message.origin = {"orders", 3, 991};
  return message;
}

TEST(Envelope, OfARetryIsReadBackByTheCodec) {
  const Message message = failed_message();
  Record record;
  record.position = {"retry.shipping-group.orders", 3, 5};
  record.key = message.key;
  record.payload = message.payload;
  record.headers = retry_headers(message, envelope(), Time(std::chrono::seconds(1'764'000'100)));

  const Message again = decode_retry_record(record);

  EXPECT_EQ(again.id, "o-1");
  EXPECT_EQ(again.business_key, "o-1");
  EXPECT_EQ(again.topic, "orders");
  EXPECT_EQ(again.origin, message.origin);
  EXPECT_EQ(again.origin_timestamp, message.origin_timestamp);
  EXPECT_EQ(again.life, 2u);
  EXPECT_EQ(again.attempt, 4u);
  EXPECT_EQ(again.headers, message.headers);
  EXPECT_EQ(origin_group(record), "shipping-group");
}

TEST(Envelope, KeepsForeignHeadersInOrderAndBeforeOurs) {
  const Headers headers = dead_letter_headers(failed_message(), envelope());

  auto at = headers.begin();
  EXPECT_EQ((at++)->name, names::kMessageId);
  EXPECT_EQ((at++)->name, "traceparent");
  EXPECT_EQ(at->name, "twice");
  EXPECT_EQ((at++)->value, Bytes("a"));
  EXPECT_TRUE((at++)->value.is_null());
  EXPECT_EQ(at->name, names::kLife);
}

TEST(Envelope, DoesNotPileUpHeaders) {
  Message message = failed_message();
  message.headers = dead_letter_headers(message, envelope());
  const std::size_t once = message.headers.size();

  EXPECT_EQ(dead_letter_headers(message, envelope()).size(), once);
}

TEST(Envelope, WritesKafkasOwnNamesOnADeadLetter) {
  const Headers headers = dead_letter_headers(failed_message(), envelope());

  EXPECT_EQ(headers.text("__dlq.errors.topic"), "orders");
  EXPECT_EQ(headers.text("__dlq.errors.partition"), "3");
  EXPECT_EQ(headers.text("__dlq.errors.offset"), "991");
  EXPECT_EQ(headers.text("__dlq.errors.group"), "shipping-group");
  EXPECT_EQ(headers.text("__dlq.errors.delivery.count"), "3");
  EXPECT_EQ(headers.text("__dlq.errors.message"), "the warehouse said no");
}

TEST(Envelope, WritesSpringsNamesWithTheirWidthsWhenAsked) {
  Message message = failed_message();
  message.origin_timestamp = Time(std::chrono::milliseconds(0x0102030405));
  EXPECT_FALSE(dead_letter_headers(message, envelope()).contains("kafka_dlt-original-topic"));

  const Headers headers = dead_letter_headers(message, envelope(), Families::kafka_and_spring);

  EXPECT_EQ(headers.text("kafka_dlt-original-topic"), "orders");
  EXPECT_EQ(headers.text("kafka_dlt-original-partition"), std::string_view("\0\0\0\x03", 4));
  EXPECT_EQ(headers.text("kafka_dlt-original-offset"), std::string_view("\0\0\0\0\0\0\x03\xdf", 8));
  EXPECT_EQ(headers.text("kafka_dlt-original-timestamp"), std::string_view("\0\0\0\x01\x02\x03\x04\x05", 8));
  EXPECT_EQ(headers.text("kafka_dlt-original-timestamp-type"), "CreateTime");
  EXPECT_EQ(headers.text("kafka_dlt-original-consumer-group"), "shipping-group");
  EXPECT_EQ(headers.text("kafka_dlt-exception-fqcn"), "std::runtime_error");
  EXPECT_EQ(headers.text("kafka_dlt-exception-message"), "the warehouse said no");
}

TEST(Envelope, OfARetryLeavesTheHeadersOfOtherFamiliesAlone) {
  Message message = failed_message();
  message.headers.append("__dlq.errors.topic", "somebody else's");
  message.headers.append("kafka_dlt-original-topic", "somebody else's");

  const Headers headers = retry_headers(message, envelope(), Time{});

  EXPECT_EQ(without_failure_headers(headers), [&] {
    Headers expected = message.headers;
    expected.set(names::kDue, "x");
    return without_failure_headers(expected);
  }());
  EXPECT_EQ(headers.text("__dlq.errors.topic"), "somebody else's");
  EXPECT_EQ(headers.text("kafka_dlt-original-topic"), "somebody else's");
}

TEST(Envelope, CarriesTheBusinessKeyOnlyWhenItIsNotTheMessageId) {
  Message message = failed_message();
  EXPECT_FALSE(dead_letter_headers(message, envelope()).contains(names::kBusinessKey));

  message.business_key = std::string("k\0ey", 4);
  EXPECT_EQ(dead_letter_headers(message, envelope()).text(names::kBusinessKey), std::string_view("k\0ey", 4));
}

TEST(Fingerprint, IsTheSameForErrorsThatDifferInNumbersAndIdsOnly) {
  const auto a = fingerprint("mysql.1062", "Duplicate entry '4711' for key 2 of 0193572c-6a00-7abc-8def-0123456789ab");
  const auto b = fingerprint("mysql.1062", "Duplicate entry '4712' for key 3 of 0193572c-6a00-7abc-8def-0123456789ff");

  EXPECT_EQ(a, b);
  EXPECT_EQ(a.size(), 16u);
  EXPECT_NE(a, fingerprint("mysql.1063", "Duplicate entry '4711' for key 2"));
  EXPECT_NE(a, fingerprint("mysql.1062", "No entry '4711' for key 2 of 0193572c-6a00-7abc-8def-0123456789ab"));
}

TEST(Mask, KeepsWordsAndHidesWhatVaries) {
  EXPECT_EQ(mask("timed out after 250 ms at 0x7ffe12"), "timed out after # ms at #");
  EXPECT_EQ(mask("order o-17 of 2026-11-23"), "order o-# of #");
  EXPECT_EQ(mask("it's"), "it's");
  EXPECT_EQ(mask("can't open 'a b' or \"c\", isn't there"), "can't open '…' or \"…\", isn't there");
  EXPECT_EQ(mask("at 10.0.0.12:9092, record orders/3/991"), "at #, record orders/#");
  EXPECT_EQ(mask("-17.5 is not -3"), "# is not #");
  EXPECT_EQ(mask("since 2026-11-23T09:30:00.000123Z"), mask("since 2026-01-02T19:00:01Z"));
}

TEST(Mask, HidesIdsOfAnyMake) {
  const std::string masked = "no order #";
  for (const std::string id : {"4711", "0193572c-6a00-7abc-8def-0123456789ab", "0193572C6A007ABC8DEF0123456789AB",
                               "deadbeef00", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "0x7FFE12", "2NsBqvL8k3JfU1mZ9xQwErTyUiO"}) {
    EXPECT_EQ(mask("no order " + id), masked) << id;
  }
}

TEST(Mask, TakesAnyBytes) {
  EXPECT_EQ(mask(std::string("\xff\0'", 3)), std::string("\xff\0'", 3));
  EXPECT_EQ(mask(""), "");
  EXPECT_EQ(mask("--"), "--");
}

TEST(Purpose, TellsKeysApartThatShareAMessageId) {
  Message a = failed_message();
  EXPECT_EQ(retry_purpose("shipping", a, 1, 2), "retry:shipping:1:2");
  EXPECT_EQ(dead_letter_purpose("shipping", a, 1), "dlq:shipping:1");

  Message b = a;
  a.business_key = "x";
  b.business_key = "y";
  EXPECT_NE(retry_purpose("shipping", a, 1, 2), retry_purpose("shipping", b, 1, 2));
}

}  // namespace
}  // namespace oncemark::dead_letter
