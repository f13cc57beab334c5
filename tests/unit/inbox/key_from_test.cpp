#include <oncemark/inbox/key_from.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/testing/builders.hpp>

namespace oncemark::inbox {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_with_id;

std::string complaint(const KeyFrom& from, const Message& message) {
  try {
    return "no complaint, but " + from.extract(message);
  } catch (const PermanentError& error) {
    return error.what();
  }
}

Message cloud_event(Bytes source, Bytes id) {
  Message message = message_with_id("o-1");
  message.headers.append("ce_source", std::move(source));
  message.headers.append("ce_id", std::move(id));
  return message;
}

TEST(KeyFrom, TakesTheMessageIdOrCallsItMisuse) {
  Message message = message_with_id("o-1");
  EXPECT_EQ(KeyFrom::message_id().extract(message), "o-1");

  message.has_id = false;
  EXPECT_THROW((void)KeyFrom::message_id().extract(message), MisuseError);
}

TEST(KeyFrom, TakesTheLastHeaderOfAName) {
  Message message = message_with_id("o-1");
  EXPECT_THROW((void)KeyFrom::header("order").extract(message), PermanentError);

  message.headers.append("order", "first");
  message.headers.append("order", std::string("\0last", 5));
  EXPECT_EQ(KeyFrom::header("order").extract(message), std::string("\0last", 5));
}

TEST(KeyFrom, RefusesAnEmptyRecordKey) {
  Message message = message_with_id("o-1");
  EXPECT_EQ(KeyFrom::record_key().extract(message), "o-1");

  message.key = "";
  EXPECT_THROW((void)KeyFrom::record_key().extract(message), PermanentError);
}

TEST(KeyFrom, RefusesAKeyThatWouldNotFit) {
  const auto long_key = [](std::size_t size) {
    return KeyFrom::function([size](const Message&) { return std::string(size, 'k'); });
  };

  EXPECT_EQ(long_key(512).extract(message_with_id("o")).size(), 512u);
  EXPECT_THROW((void)long_key(513).extract(message_with_id("o")), PermanentError);
  EXPECT_THROW((void)long_key(0).extract(message_with_id("o")), PermanentError);
}

TEST(KeyFrom, ReadsAPlaceInAJsonPayloadAndNamesTheRecordThatLacksIt) {
  const KeyFrom from = KeyFrom::json_pointer("/order/id");

  EXPECT_EQ(from.extract(message_with_id("m", R"({"order":{"id":"A-1"}})")), "A-1");
  EXPECT_EQ(from.extract(message_with_id("m", R"({"order":{"id":17}})")), "17");
  EXPECT_THAT(complaint(from, message_with_id("m", R"({"order":{}})")),
              AllOf(HasSubstr("orders/0@0"), HasSubstr("'/order/id'"), HasSubstr("there is nothing")));
  EXPECT_THAT(complaint(from, message_with_id("m", nullptr)), HasSubstr("the payload is null"));
  EXPECT_THROW((void)KeyFrom::json_pointer("order.id"), ConfigError);
}

TEST(KeyFrom, JoinsSourceAndIdOfACloudEventWithoutAmbiguity) {
  const KeyFrom from = KeyFrom::cloud_event();

  EXPECT_EQ(from.extract(cloud_event("/shop/orders", "17")), "/shop/orders 17");
  EXPECT_NE(from.extract(cloud_event("/shop", "a b")), complaint(from, cloud_event("/shop a", "b")));
  EXPECT_THAT(complaint(from, cloud_event("/shop a", "b")), HasSubstr("no URI reference"));
  EXPECT_THAT(complaint(from, cloud_event("", "17")), HasSubstr("ce_source"));
  EXPECT_THAT(complaint(from, cloud_event("/shop", nullptr)), HasSubstr("ce_id"));
  EXPECT_THAT(complaint(from, message_with_id("o-1")), HasSubstr("ce_source"));
}

TEST(KeyFrom, FindsACloudEventInAStructuredPayload) {
  const std::string event = R"({"specversion":"1.0","source":"/shop/orders","id":"17","type":"placed"})";
  Message message = message_with_id("o-1", event);
  message.headers.append("content-type", "application/cloudevents+json; charset=UTF-8");

  EXPECT_EQ(KeyFrom::cloud_event().extract(message), "/shop/orders 17");
  message.payload = R"({"source":"/shop"})";
  EXPECT_THAT(complaint(KeyFrom::cloud_event(), message), HasSubstr("'/id'"));
}

TEST(KeyFrom, CallsAFunctionsFailureAMissingKeyAndItsMisuseMisuse) {
  const auto throwing = [](auto error) {
    return KeyFrom::function([error](const Message&) -> std::string { throw error; });
  };

  EXPECT_THAT(complaint(throwing(std::out_of_range("no such column")), message_with_id("o")),
              HasSubstr("std::out_of_range: no such column"));
  EXPECT_THAT(complaint(throwing(7), message_with_id("o")), HasSubstr("threw"));
  EXPECT_THROW((void)throwing(MisuseError("wrong")).extract(message_with_id("o")), MisuseError);
}

TEST(KeyFrom, RefusesASourceThatCanNeverGiveAKey) {
  EXPECT_THROW((void)KeyFrom::header(""), ConfigError);
  EXPECT_THROW((void)KeyFrom::function(nullptr), ConfigError);
}

TEST(KeyFrom, KnowsWhichKeysAreTheSameOnEveryTopic) {
  EXPECT_TRUE(KeyFrom::message_id().is_global());
  EXPECT_TRUE(KeyFrom::cloud_event().is_global());
  EXPECT_FALSE(KeyFrom::record_key().is_global());
  EXPECT_FALSE(KeyFrom::json_pointer("/id").is_global());
}

}  // namespace
}  // namespace oncemark::inbox
