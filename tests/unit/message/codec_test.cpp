#include <oncemark/message/codec.hpp>

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/message/names.hpp>

namespace oncemark {
namespace {

using namespace std::chrono;
using namespace std::chrono_literals;

constexpr Time kReceived{1'764'000'000'123ms};
constexpr Time kHappened = sys_days{2026y / November / 23} + 9h + 30min + 123us;

Record source_record(Headers headers = {}) {
  return {.position = {"orders", 3, 991},
          .timestamp = kReceived,
          .key = "o-1",
          .payload = "boots",
          .headers = std::move(headers)};
}

/// A record as the router writes it: foreign headers first, then ours.
Record retry_record() {
  Headers headers{{"traceparent", "00-1"}, {"om-message-id", "m-1"}, {"traceparent", nullptr}};
  headers.set(names::kAttempt, "2");
  headers.set(names::kLife, "3");
  headers.set(names::kDue, "2026-11-23T10:00:00.000000Z");
  headers.set(names::kOriginTopic, "orders");
  headers.set(names::kOriginPartition, "3");
  headers.set(names::kOriginOffset, "991");
  headers.set(names::kOriginTimestamp, format_rfc3339(kReceived));
  headers.set(names::kOriginGroup, "shipping");
  headers.set(names::kErrorClass, "std::runtime_error");
  headers.set(names::kErrorMessage, "no boots left");
  headers.set(names::kErrorStage, "handler");
  headers.set(names::kFirstFailedAt, "2026-11-23T09:30:00.000000Z");
  return {.position = {"retry.shipping.orders", 3, 17},
          .timestamp = kReceived + 1h,
          .key = "o-1",
          .payload = nullptr,
          .headers = std::move(headers)};
}

std::string refusal(auto decode, const Record& record) {
  try {
    (void)decode(record);
  } catch (const PermanentError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(CoordinatesIdentity, HoldsTopicPartitionOffsetAndMilliseconds) {
  EXPECT_EQ(coordinates_identity({"orders", 3, 991}, Time{1'764'000'000'000ms}), "@orders/3/991/1764000000000");
  EXPECT_EQ(coordinates_identity({"orders", 3, 991}, Time{1ms + 999us}), "@orders/3/991/1");
}

TEST(CoordinatesIdentity, TellsARecreatedTopicApart) {
  EXPECT_NE(coordinates_identity({"orders", 3, 991}, kReceived),
            coordinates_identity({"orders", 3, 991}, kReceived + 1ms));
}

TEST(CoordinatesIdentity, FitsAMessageIdForTheLongestTopics) {
  const std::string long_topic(248, 't');
  const auto identity = [](const std::string& topic) {
    return coordinates_identity(
        {topic, std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int64_t>::max()}, Time::min());
  };

  EXPECT_LE(identity(long_topic + "a").size(), kMaxMessageId);
  EXPECT_LE(identity(std::string(180, 't')).size(), kMaxMessageId);
  EXPECT_NE(identity(long_topic + "a"), identity(long_topic + "b"));
}

TEST(SourceRecord, BecomesAFirstDelivery) {
  const Message message = decode_source_record(source_record({{"om-message-id", "m-1"}}));

  EXPECT_EQ(message.id, "m-1");
  EXPECT_TRUE(message.has_id);
  EXPECT_EQ(message.business_key, "m-1");
  EXPECT_EQ(message.topic, "orders");
  EXPECT_EQ(message.key, Bytes("o-1"));
  EXPECT_EQ(message.payload, Bytes("boots"));
  EXPECT_EQ(message.origin, (Position{"orders", 3, 991}));
  EXPECT_EQ(message.read_at, message.origin);
  EXPECT_EQ(message.origin_timestamp, kReceived);
  EXPECT_EQ(message.event_time, kReceived);
  EXPECT_EQ(message.attempt, 1U);
  EXPECT_EQ(message.life, 1U);
  EXPECT_FALSE(message.from_retry_topic);
}

TEST(SourceRecord, IsKnownByItsCoordinatesWhenItHasNoId) {
  const Message message = decode_source_record(source_record());

  EXPECT_EQ(message.id, "@orders/3/991/1764000000123");
  EXPECT_EQ(message.business_key, message.id);
  EXPECT_FALSE(message.has_id);
}

TEST(SourceRecord, KeepsNullAndEmptyApart) {
  Record record = source_record();
  record.key = nullptr;
  record.payload = "";
  const Message message = decode_source_record(record);

  EXPECT_TRUE(message.key.is_null());
  EXPECT_FALSE(message.payload.is_null());
}

TEST(SourceRecord, TakesTheEventTimeFromItsHeader) {
  const Message message = decode_source_record(source_record({{"om-event-time", format_rfc3339(kHappened)}}));
  EXPECT_EQ(message.event_time, kHappened);
  EXPECT_EQ(message.origin_timestamp, kReceived);
}

TEST(SourceRecord, TreatsOtherHeadersOfOursAsForeignBytes) {
  const Headers headers{{"om-life", "7"},           {"om-attempt", "nonsense"}, {"om-origin-topic", "payments"},
                        {"om-business-key", "k"},   {"om-message-id", "m-1"},   {"om-error-class", nullptr},
                        {"__dlq.errors.topic", "x"}};
  const Message message = decode_source_record(source_record(headers));

  EXPECT_EQ(message.headers, headers);
  EXPECT_EQ(message.life, 1U);
  EXPECT_EQ(message.attempt, 1U);
  EXPECT_EQ(message.topic, "orders");
  EXPECT_EQ(message.business_key, "m-1");
}

TEST(SourceRecord, MayHaveAnIdOfAnyBytesUpToTheLimit) {
  const std::string longest(kMaxMessageId, '\xFF');
  EXPECT_EQ(decode_source_record(source_record({{"om-message-id", longest}})).id, longest);
  EXPECT_EQ(decode_source_record(source_record({{"om-message-id", "a"}, {"om-message-id", "b"}})).id, "b");
}

TEST(SourceRecord, IsRefusedForAnIdOrEventTimeThatCannotBeRead) {
  const auto refused = [](Headers headers) { return refusal(decode_source_record, source_record(std::move(headers))); };

  EXPECT_EQ(refused({{"om-message-id", ""}}), "header om-message-id of orders/3@991 is empty");
  EXPECT_EQ(refused({{"om-message-id", nullptr}}), "header om-message-id of orders/3@991 is empty");
  EXPECT_EQ(refused({{"om-message-id", std::string(kMaxMessageId + 1, 'x')}}),
            "header om-message-id of orders/3@991 has 256 bytes; allowed: 1 to 255");
  EXPECT_THAT(refused({{"om-event-time", "noon"}}),
              testing::StartsWith("header om-event-time of orders/3@991 is not an RFC 3339 time: 'noon'"));
  EXPECT_THAT(refused({{"om-event-time", nullptr}}), testing::HasSubstr("is not an RFC 3339 time: ''"));
}

TEST(RetryRecord, BecomesTheMessageOfItsOrigin) {
  const Message message = decode_retry_record(retry_record());

  EXPECT_EQ(message.id, "m-1");
  EXPECT_TRUE(message.has_id);
  EXPECT_EQ(message.business_key, "m-1");
  EXPECT_EQ(message.topic, "orders");
  EXPECT_EQ(message.key, Bytes("o-1"));
  EXPECT_TRUE(message.payload.is_null());
  EXPECT_EQ(message.origin, (Position{"orders", 3, 991}));
  EXPECT_EQ(message.origin_timestamp, kReceived);
  EXPECT_EQ(message.event_time, kReceived);
  EXPECT_EQ(message.read_at, (Position{"retry.shipping.orders", 3, 17}));
  EXPECT_EQ(message.attempt, 3U);
  EXPECT_EQ(message.life, 3U);
  EXPECT_TRUE(message.from_retry_topic);
}

TEST(RetryRecord, HandsOverTheHeadersOfItsOrigin) {
  Record record = retry_record();
  record.headers.set(names::kEventTime, format_rfc3339(kHappened));
  const Message message = decode_retry_record(record);

  EXPECT_EQ(message.headers, (Headers{{"traceparent", "00-1"},
                                      {"om-message-id", "m-1"},
                                      {"traceparent", nullptr},
                                      {"om-event-time", format_rfc3339(kHappened)}}));
  EXPECT_EQ(message.event_time, kHappened);
}

TEST(RetryRecord, IsInItsFirstLifeUnlessItSaysOtherwise) {
  Record record = retry_record();
  record.headers.remove(names::kLife);
  EXPECT_EQ(decode_retry_record(record).life, 1U);
}

TEST(RetryRecord, IsAFirstDeliveryAfterAReplay) {
  Record record = retry_record();
  record.headers.set(names::kAttempt, "0");
  EXPECT_EQ(decode_retry_record(record).attempt, 1U);
}

TEST(RetryRecord, KeepsTheBusinessKeyItFailedUnder) {
  Record record = retry_record();
  record.headers.set(names::kBusinessKey, "order o-1");
  const Message message = decode_retry_record(record);

  EXPECT_EQ(message.business_key, "order o-1");
  EXPECT_EQ(message.id, "m-1");
}

TEST(RetryRecord, WithoutAnIdIsKnownByTheCoordinatesOfItsOrigin) {
  Record record = retry_record();
  record.headers.remove(names::kMessageId);
  const Message message = decode_retry_record(record);

  EXPECT_EQ(message.id, "@orders/3/991/1764000000123");
  EXPECT_EQ(message.business_key, message.id);
  EXPECT_FALSE(message.has_id);
}

TEST(RetryRecord, DoesNotShowTheHandlerAnIdThatWasMadeFromCoordinates) {
  Record record = retry_record();
  record.headers.set(names::kMessageId, "@orders/3/991/1764000000123");
  const Message message = decode_retry_record(record);

  EXPECT_EQ(message.id, "@orders/3/991/1764000000123");
  EXPECT_FALSE(message.has_id);
  EXPECT_FALSE(message.headers.contains(names::kMessageId));
}

TEST(RetryRecord, NamesTheHeaderThatIsMissing) {
  for (const auto name :
       {names::kAttempt, names::kOriginTopic, names::kOriginPartition, names::kOriginOffset, names::kOriginTimestamp}) {
    Record record = retry_record();
    record.headers.remove(name);
    EXPECT_EQ(refusal(decode_retry_record, record),
              "header " + std::string(name) + " of retry.shipping.orders/3@17 is missing");
  }
}

TEST(RetryRecord, NamesTheHeaderThatIsMalformed) {
  const std::vector<std::pair<std::string_view, Bytes>> malformed = {
      {names::kAttempt, "two"},
      {names::kAttempt, "-1"},
      {names::kAttempt, "4294967295"},
      {names::kAttempt, ""},
      {names::kLife, "0"},
      {names::kLife, "4294967296"},
      {names::kLife, nullptr},
      {names::kOriginTopic, ""},
      {names::kOriginPartition, "2147483648"},
      {names::kOriginPartition, "-1"},
      {names::kOriginOffset, "-1"},
      {names::kOriginOffset, "9223372036854775808"},
      {names::kOriginTimestamp, "1764"},
      {names::kMessageId, ""},
      {names::kBusinessKey, ""},
      {names::kBusinessKey, std::string(kMaxBusinessKey + 1, 'k')},
      {names::kEventTime, "noon"},
  };
  for (const auto& [name, value] : malformed) {
    Record record = retry_record();
    record.headers.set(name, value);
    EXPECT_THAT(refusal(decode_retry_record, record),
                testing::StartsWith("header " + std::string(name) + " of retry.shipping.orders/3@17 "))
        << value.view().substr(0, 40);
  }
}

TEST(OriginGroup, IsEmptyWhenTheHeaderIsMissingOrNull) {
  EXPECT_EQ(origin_group(retry_record()), "shipping");
  EXPECT_EQ(origin_group(source_record()), "");
  EXPECT_EQ(origin_group(source_record({{"om-origin-group", nullptr}})), "");
}

TEST(WithoutFailureHeaders, RemovesEveryNameOfAFailureAndNothingElse) {
  Headers headers{{"a", "1"}, {"om-message-id", "m"}, {"om-other", "2"}, {"om-event-time", "t"}};
  headers.append(std::string(names::kKafkaDlqTopic), "of somebody else's dead letter");
  const Headers foreign = headers;
  for (const auto name :
       {names::kAttempt, names::kLife, names::kDue, names::kReplayId, names::kBusinessKey, names::kOriginTopic,
        names::kOriginPartition, names::kOriginOffset, names::kOriginTimestamp, names::kOriginGroup, names::kErrorClass,
        names::kErrorMessage, names::kErrorStage, names::kFirstFailedAt}) {
    headers.append(std::string(name), "x");
  }
  EXPECT_EQ(without_failure_headers(headers), foreign);
}

TEST(PayloadHash, IsZeroOnlyForNull) {
  EXPECT_EQ(payload_hash(nullptr), 0U);
  EXPECT_NE(payload_hash(""), 0U);
  EXPECT_NE(payload_hash("boots"), payload_hash("boots "));
  EXPECT_NE(payload_hash(std::string("a\0b", 3)), payload_hash("a"));
}

TEST(PayloadHash, StaysTheSameAcrossVersionsSinceItIsStored) {
  EXPECT_EQ(payload_hash(""), 0x2D06800538D394C2U);
  EXPECT_EQ(payload_hash("boots"), 8756980043433121933U);
}

TEST(ParseNumber, ReadsDecimalNumbersOf64Bits) {
  EXPECT_EQ(parse_number("0", "x"), 0);
  EXPECT_EQ(parse_number("007", "x"), 7);
  EXPECT_EQ(parse_number("-1", "x"), -1);
  EXPECT_EQ(parse_number("9223372036854775807", "x"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(parse_number("-9223372036854775808", "x"), std::numeric_limits<std::int64_t>::min());
}

TEST(ParseNumber, NamesWhatItCouldNotRead) {
  for (const std::string_view text : {"", " 1", "1 ", "+1", "-", "1.5", "0x10", "1e3", "9223372036854775808"}) {
    EXPECT_THROW((void)parse_number(text, "workers"), PermanentError) << text;
  }
  try {
    (void)parse_number("many\n", "workers");
  } catch (const PermanentError& error) {
    EXPECT_STREQ(error.what(), "workers is 'many?'; expected a decimal number");
  }
}

TEST(Position, PrintsTopicPartitionAndOffset) { EXPECT_EQ((Position{"orders", 3, 991}.str()), "orders/3@991"); }

}  // namespace
}  // namespace oncemark
