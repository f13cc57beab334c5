#include <oncemark/message/json_pointer.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string key_at(const std::string& pointer, const Bytes& payload) { return json_key(payload, JsonPointer(pointer)); }

std::string complaint(const std::string& pointer, const Bytes& payload) {
  try {
    return "no complaint, but " + key_at(pointer, payload);
  } catch (const PermanentError& error) {
    return error.what();
  }
}

std::optional<std::uint64_t> hash(const std::string& payload, const std::vector<std::string>& pointers) {
  const std::vector<JsonPointer> places(pointers.begin(), pointers.end());
  return json_hash(Bytes(payload), places);
}

TEST(JsonPointer, DecodesItsSteps) {
  EXPECT_THAT(JsonPointer("").steps(), IsEmpty());
  EXPECT_THAT(JsonPointer("/").steps(), ElementsAre(""));
  EXPECT_THAT(JsonPointer("/a~1b/m~0n/~01/0/").steps(), ElementsAre("a/b", "m~n", "~1", "0", ""));
}

TEST(JsonPointer, RefusesWhatIsNone) {
  for (const char* text : {"order/id", "#/order", "/a~", "/a~2", "$.id"}) {
    EXPECT_THROW(JsonPointer{text}, ConfigError) << text;
  }
}

TEST(JsonKey, FindsWhatRfc6901SaysItWould) {
  const std::string document = R"({"foo":["bar","baz"],"":"0","a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,
                                   "m~n":8})";
  EXPECT_EQ(key_at("/foo/0", document), "bar");
  EXPECT_EQ(key_at("/", document), "0");
  EXPECT_EQ(key_at("/a~1b", document), "1");
  EXPECT_EQ(key_at("/c%d", document), "2");
  EXPECT_EQ(key_at("/e^f", document), "3");
  EXPECT_EQ(key_at("/g|h", document), "4");
  EXPECT_EQ(key_at("/i\\j", document), "5");
  EXPECT_EQ(key_at("/k\"l", document), "6");
  EXPECT_EQ(key_at("/ ", document), "7");
  EXPECT_EQ(key_at("/m~0n", document), "8");
}

TEST(JsonKey, TakesNumberAndStringAlike) {
  EXPECT_EQ(key_at("/id", R"({"id":1})"), "1");
  EXPECT_EQ(key_at("/id", R"({"id":"1"})"), "1");
  EXPECT_EQ(key_at("/id", R"({"id":-7})"), "-7");
  EXPECT_EQ(key_at("/id", R"({"id":-0})"), "0");
  EXPECT_EQ(key_at("/id", R"({"id":"01"})"), "01");
  EXPECT_EQ(key_at("", "42"), "42");
}

TEST(JsonKey, KeepsEveryDigitOfALongNumber) {
  EXPECT_EQ(key_at("/id", R"({"id":18446744073709551615})"), "18446744073709551615");
  EXPECT_EQ(key_at("/id", R"({"id":123456789012345678901234567890})"), "123456789012345678901234567890");
  EXPECT_EQ(key_at("/id", R"({"id":-123456789012345678901234567891})"), "-123456789012345678901234567891");
}

TEST(JsonKey, KeepsEveryByteOfAString) {
  EXPECT_EQ(key_at("/id", R"({"id":"a\u0000b \ud83d\ude00"})"), std::string("a\0b \xF0\x9F\x98\x80", 8));
}

TEST(JsonKey, StepsIntoArraysByIndexOnly) {
  const std::string document = R"({"lines":[{"sku":"a"},{"sku":"b"},[["deep"]]],"0":"named"})";
  EXPECT_EQ(key_at("/lines/1/sku", document), "b");
  EXPECT_EQ(key_at("/lines/2/0/0", document), "deep");
  EXPECT_EQ(key_at("/0", document), "named");
  for (const char* pointer :
       {"/lines/3", "/lines/-", "/lines/01/sku", "/lines/+1/sku", "/lines/sku", "/lines/1/sku/x"}) {
    EXPECT_THAT(complaint(pointer, document), HasSubstr("there is nothing")) << pointer;
  }
}

TEST(JsonKey, IsNotMisledByTheSameNameElsewhere) {
  const std::string document = R"({"x":{"order":{"id":"wrong"}},"id":"wrong","order":{"x":{"id":"wrong"},"id":"right"},
                                   "y":[{"id":"wrong"}]})";
  EXPECT_EQ(key_at("/order/id", document), "right");
}

TEST(JsonKey, TakesTheLastOfANameThatComesTwice) {
  EXPECT_EQ(key_at("/id", R"({"id":1,"id":2})"), "2");
  EXPECT_EQ(key_at("/order/id", R"({"order":{"id":1},"order":{"id":2}})"), "2");
  EXPECT_THAT(complaint("/order/id", R"({"order":{"id":1},"order":{}})"), HasSubstr("there is nothing"));
  EXPECT_THAT(complaint("/order/id", R"({"order":{"id":1},"order":7})"), HasSubstr("there is nothing"));
}

TEST(JsonKey, SaysWhatIsWrong) {
  EXPECT_THAT(complaint("/id", nullptr), HasSubstr("the payload is null"));
  EXPECT_THAT(complaint("/id", ""), HasSubstr("the payload is empty"));
  EXPECT_THAT(complaint("/id", R"({"id":"secret)"), HasSubstr("no JSON: it ends too early"));
  EXPECT_THAT(complaint("/id", R"({"id":1} x)"), HasSubstr("no JSON: see byte 10"));
  EXPECT_THAT(complaint("/id", "{\"id\":\"\xFF\"}"), HasSubstr("no JSON"));
  EXPECT_THAT(complaint("/id", std::string("\0\0\0\0\7{\"id\":1}", 13)), HasSubstr("schema registry"));
  EXPECT_THAT(complaint("/id", R"({"id":null})"), HasSubstr("lies null"));
  EXPECT_THAT(complaint("/id", R"({"id":""})"), HasSubstr("an empty string"));
  EXPECT_THAT(complaint("/id", R"({"id":true})"), HasSubstr("a boolean"));
  EXPECT_THAT(complaint("/id", R"({"id":1.0})"), HasSubstr("a fraction or an exponent"));
  EXPECT_THAT(complaint("/id", R"({"id":1e3})"), HasSubstr("a fraction or an exponent"));
  EXPECT_THAT(complaint("/id", R"({"id":{"a":1}})"), HasSubstr("an object"));
  EXPECT_THAT(complaint("/id", R"({"id":["a"]})"), HasSubstr("an array"));
}

TEST(JsonKey, NeverShowsThePayload) {
  EXPECT_THAT(complaint("/id", R"({"id":"secret)"), ::testing::Not(HasSubstr("secret")));
}

TEST(JsonKey, RefusesToFollowANestWithoutEnd) {
  EXPECT_THAT(complaint("/id", std::string(1'000'000, '[')), HasSubstr("nests deeper"));
}

TEST(JsonHash, SeesValuesAndNotTheirSpelling) {
  const auto order =
      hash(R"({"id":1,"at":"10:00","total":{"cents":250,"in":"EUR"},"lines":["a","b"]})", {"/total", "/lines"});

  ASSERT_TRUE(order);
  EXPECT_EQ(order, hash(R"({ "lines": ["a", "b"], "total": {"in":"\u0045UR","cents":250.0}, "at":"10:05" })",
                        {"/total", "/lines"}));
  EXPECT_NE(order, hash(R"({"total":{"cents":251,"in":"EUR"},"lines":["a","b"]})", {"/total", "/lines"}));
  EXPECT_NE(order, hash(R"({"total":{"cents":"250","in":"EUR"},"lines":["a","b"]})", {"/total", "/lines"}));
  EXPECT_NE(order, hash(R"({"total":{"cents":250,"in":"EUR"},"lines":["b","a"]})", {"/total", "/lines"}));
  EXPECT_NE(order, hash(R"({"total":{"cents":250,"in":"EUR"},"lines":["a",["b"]]})", {"/total", "/lines"}));
  EXPECT_NE(order, hash(R"({"total":{"in":250,"cents":"EUR"},"lines":["a","b"]})", {"/total", "/lines"}));
}

TEST(JsonHash, TellsPlacesNothingAndNullApart) {
  EXPECT_NE(hash(R"({"a":1,"b":2})", {"/a", "/b"}), hash(R"({"a":2,"b":1})", {"/a", "/b"}));
  EXPECT_NE(hash(R"({"a":1})", {"/a", "/b"}), hash(R"({"a":1,"b":null})", {"/a", "/b"}));
  EXPECT_NE(hash(R"({"a":1})", {"/a", "/b"}), hash(R"({"b":1})", {"/a", "/b"}));
  EXPECT_NE(hash(R"({"a":[]})", {"/a"}), hash(R"({"a":{}})", {"/a"}));
  EXPECT_NE(hash(R"({"a":[[],[]]})", {"/a"}), hash(R"({"a":[[[]]]})", {"/a"}));
  EXPECT_NE(hash(R"({"a":0.1})", {"/a"}), hash(R"({"a":0.2})", {"/a"}));
  EXPECT_EQ(hash(R"({"a":0.10})", {"/a"}), hash(R"({"a":1e-1})", {"/a"}));
  EXPECT_NE(hash(R"({"a":123456789012345678901})", {"/a"}), hash(R"({"a":123456789012345678902})", {"/a"}));
}

TEST(JsonHash, IsNothingWhereThePlacesAreNot) {
  EXPECT_FALSE(hash("no json", {"/a"}));
  EXPECT_FALSE(hash("", {"/a"}));
  EXPECT_FALSE(hash(R"({"b":1})", {"/a"}));
  EXPECT_FALSE(hash(R"({"a":1})", {}));
  EXPECT_FALSE(json_hash(nullptr, std::vector<JsonPointer>{JsonPointer("")}));
}

}  // namespace
}  // namespace oncemark
