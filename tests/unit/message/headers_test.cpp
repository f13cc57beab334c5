#include <oncemark/message/headers.hpp>

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <oncemark/core/error.hpp>

namespace oncemark {
namespace {

TEST(Headers, KeepOrderAndDuplicates) {
  Headers headers;
  headers.append("b", "1");
  headers.append("a", "2");
  headers.append("b", "3");

  EXPECT_EQ(headers, (Headers{{"b", "1"}, {"a", "2"}, {"b", "3"}}));
  EXPECT_NE(headers, (Headers{{"a", "2"}, {"b", "1"}, {"b", "3"}}));
}

TEST(Headers, FindTheLastOfAName) {
  const Headers headers{{"a", "1"}, {"b", "2"}, {"a", "3"}};

  ASSERT_NE(headers.find("a"), nullptr);
  EXPECT_EQ(*headers.find("a"), Bytes("3"));
  EXPECT_EQ(headers.find("A"), nullptr);
  EXPECT_TRUE(headers.contains("b"));
  EXPECT_FALSE(headers.contains(""));
}

TEST(Headers, HaveNoTextWhereTheLastValueIsNull) {
  const Headers headers{{"a", "1"}, {"a", nullptr}, {"b", ""}};

  EXPECT_EQ(headers.text("a"), std::nullopt);
  EXPECT_EQ(headers.text("b"), "");
  EXPECT_EQ(headers.text("c"), std::nullopt);
}

TEST(Headers, SetLeavesOneOfTheNameAtTheEnd) {
  Headers headers{{"a", "1"}, {"b", "2"}, {"a", "3"}};
  headers.set("a", "4");
  EXPECT_EQ(headers, (Headers{{"b", "2"}, {"a", "4"}}));
}

TEST(Headers, MaySetOrRemoveByANameOfTheirOwn) {
  const std::string twice = "a name that is stored outside of its string";
  const Headers original{{twice, "1"}, {"b", "2"}, {twice, "3"}};

  Headers headers = original;
  headers.set(headers.begin()->name, "4");
  EXPECT_EQ(headers, (Headers{{"b", "2"}, {twice, "4"}}));

  headers = original;
  headers.remove(headers.begin()->name);
  EXPECT_EQ(headers, (Headers{{"b", "2"}}));

  headers = original;
  headers.remove_prefixed(headers.begin()->name);
  EXPECT_EQ(headers, (Headers{{"b", "2"}}));
}

TEST(Headers, RemoveByNameOrPrefix) {
  Headers headers{{"om-a", "1"}, {"x", "2"}, {"om-b", "3"}, {"OM-c", "4"}, {"om-a", "5"}};

  headers.remove("om-a");
  EXPECT_EQ(headers, (Headers{{"x", "2"}, {"om-b", "3"}, {"OM-c", "4"}}));

  headers.remove_prefixed("om-");
  EXPECT_EQ(headers, (Headers{{"x", "2"}, {"OM-c", "4"}}));
}

TEST(HeaderJson, IsAnArrayOfPairs) {
  EXPECT_EQ(encode_headers({}), "[]");
  EXPECT_EQ(encode_headers({{"a", "1"}, {"b", nullptr}, {"", ""}}), R"([["a","1"],["b",null],["",""]])");
}

TEST(HeaderJson, EscapesWhatJsonWantsEscaped) {
  const Headers headers{{"a\"\\", std::string("\0\n\x1F/\x7F\xC3\xA4", 7)}};
  EXPECT_EQ(encode_headers(headers), "[[\"a\\\"\\\\\",\"\\u0000\\u000a\\u001f/\x7F\xC3\xA4\"]]");
}

TEST(HeaderJson, WritesNamesAndValuesThatAreNoUtf8AsBase64) {
  const Headers headers{{"\xFF", "\xED\xA0\x80"}, {"ok", "\xC0\x80"}};
  EXPECT_EQ(encode_headers(headers), R"([[{"base64":"/w=="},{"base64":"7aCA"}],["ok",{"base64":"wIA="}]])");
}

TEST(HeaderJson, ReadsWhatAServerReformatted) {
  const Headers headers = decode_headers(R"( [ ["a", "\u00e4\/"], [{"base64": "/w=="}, null] ] )");
  EXPECT_EQ(headers, (Headers{{"a", "\xC3\xA4/"}, {"\xFF", nullptr}}));
}

TEST(HeaderJson, TellsTextThatLooksLikeItsOwnFormFromIt) {
  const Headers headers{{R"({"base64":"/w=="})", R"({"base64":"/w=="})"}, {"null", "null"}};
  EXPECT_EQ(decode_headers(encode_headers(headers)), headers);
}

class HeaderJsonRefuses : public testing::TestWithParam<const char*> {};

TEST_P(HeaderJsonRefuses, Garbage) { EXPECT_THROW((void)decode_headers(GetParam()), PermanentError); }

INSTANTIATE_TEST_SUITE_P(Headers, HeaderJsonRefuses,
                         testing::Values("", "[", "{}", "null", "[] []", "\"a\"", R"([["a"]])", R"([["a","b","c"]])",
                                         R"([[]])", R"(["a","b"])", R"([[null,"b"]])", R"([["a",1]])", "[1E999]",
                                         R"([["a",true]])", R"([["a",[]]])", R"([["a",{}]])", R"([["a",{"base64":1}]])",
                                         R"([["a",{"base65":"/w=="}]])", R"([["a",{"base64":"/w==","b":1}]])",
                                         R"([["a",{"base64":"/w="}]])", R"([["a",{"base64":"/x=="}]])",
                                         R"([["a",{"base64":"===="}]])", R"([["a",{"base64":"/w==/w=="}]])",
                                         R"([["a",{"base64":"/ w="}]])", R"([["a",{"base64":"_w=="}]])",
                                         R"([["a","\ud800"]])", "[[\"a\",\"\xFF\"]]"));

TEST(HeaderJson, SaysWhichHeaderItCouldNotReadButNotItsContent) {
  const auto refused = [](std::string_view text) -> std::string {
    try {
      (void)decode_headers(text);
    } catch (const PermanentError& error) {
      return error.what();
    }
    return "accepted";
  };

  EXPECT_THAT(refused(R"([["a","b"],["secret",7]])"), testing::HasSubstr("the value of header 1 is neither"));
  EXPECT_THAT(refused(R"([["secret","secret])"), testing::HasSubstr("no JSON from byte 20"));
  EXPECT_THAT(refused(R"([["secret","secret])"), testing::Not(testing::HasSubstr("secret")));
}

/// Bytes of any kind, with a liking for those where UTF-8 goes wrong.
std::string random_bytes(std::mt19937_64& random) {
  constexpr std::string_view kTricky = "\xC0\xC2\xE0\xED\xEF\xF0\xF4\xF5\x80\x9F\xA0\xBF\xFF\"\\/\x7F\n";
  std::string bytes(random() % 12, '\0');
  for (char& c : bytes) c = random() % 2 == 0 ? kTricky[random() % kTricky.size()] : static_cast<char>(random());
  return bytes;
}

TEST(HeaderJson, ReadsBackAnyBytes) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);

  for (int round = 0; round < 3'000; ++round) {
    Headers headers;
    for (auto count = random() % 5; count > 0; --count) {
      headers.append(random_bytes(random), random() % 8 == 0 ? Bytes() : Bytes(random_bytes(random)));
    }
    const std::string text = encode_headers(headers);

    ASSERT_TRUE(nlohmann::json::accept(text)) << text;
    ASSERT_EQ(decode_headers(text), headers) << text;
  }
}

TEST(HeaderJson, ReadsBackEveryPairOfBytes) {
  for (int first = 0; first < 256; ++first) {
    Headers headers;
    for (int second = 0; second < 256; ++second) {
      headers.append("k", std::string{static_cast<char>(first), static_cast<char>(second)});
    }
    ASSERT_EQ(decode_headers(encode_headers(headers)), headers) << first;
  }
}

}  // namespace
}  // namespace oncemark
