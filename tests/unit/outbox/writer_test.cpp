#include <oncemark/outbox/writer.hpp>

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/mysql/session.hpp>

namespace oncemark::outbox {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

/// Counts what would have reached a server.
class CountingSession final : public mysql::Session {
 public:
  std::uint64_t execute(std::string_view, std::span<const mysql::Param> params) override {
    ++statements;
    bound = params.size();
    return 1;
  }
  mysql::Rows query(std::string_view, std::span<const mysql::Param>) override { return {}; }
  void control(std::string_view) override {}

  int statements = 0;
  std::size_t bound = 0;
};

/// What append() says of the draft; empty when it took it. A refusal must come before any statement.
std::string refusal_of(const Draft& draft) {
  CountingSession session;
  mysql::UnitOfWork work(session);
  try {
    append(work.tx(), draft);
  } catch (const Error& error) {
    EXPECT_EQ(session.statements, 0);
    return error.what();
  }
  EXPECT_EQ(session.statements, 1);
  return "";
}

Headers many_headers(std::size_t count, std::size_t value_bytes = 0) {
  Headers headers;
  for (std::size_t i = 0; i < count; ++i) headers.append("h", std::string(value_bytes, 'x'));
  return headers;
}

TEST(Append, TakesWhatTheLimitsAllow) {
  EXPECT_EQ(refusal_of({.topic = std::string(249, 't'),
                        .key = std::string(512, 'k'),
                        .payload = std::string(16u << 20, 'p'),
                        .headers = many_headers(1'000, 64),
                        .id = std::string(255, 'i'),
                        .business_key = std::string(512, 'b'),
                        .delay = 365 * 24h,
                        .relay = std::string(100, 'r')}),
            "");
  EXPECT_EQ(refusal_of({.topic = "t"}), "");
}

TEST(Append, NamesTheFieldThatExceedsItsLimit) {
  EXPECT_THAT(refusal_of({.topic = "t", .key = std::string(513, 'k')}), HasSubstr("key has 513 bytes; allowed: 512"));
  EXPECT_THAT(refusal_of({.topic = "t", .payload = std::string((16u << 20) + 1, 'p')}), HasSubstr("payload has"));
  EXPECT_THAT(refusal_of({.topic = "t", .headers = many_headers(1'001)}), HasSubstr("headers are 1001"));
  EXPECT_THAT(refusal_of({.topic = "t", .headers = many_headers(1, 64u << 10)}), HasSubstr("headers has 65537 bytes"));
  EXPECT_THAT(refusal_of({.topic = "t", .id = std::string(256, 'i')}), HasSubstr("id has 256"));
  EXPECT_THAT(refusal_of({.topic = "t", .business_key = std::string(513, 'b')}), HasSubstr("business_key has 513"));
  EXPECT_THAT(refusal_of({.topic = "t", .delay = -1ms}), HasSubstr("delay is -1 ms"));
  EXPECT_THAT(refusal_of({.topic = "t", .delay = 365 * 24h + 1ms}), HasSubstr("delay"));
  EXPECT_THAT(refusal_of({.topic = "t", .relay = ""}), HasSubstr("Draft::relay"));
}

TEST(Append, KeepsTheNamesOfOurHeadersToItself) {
  EXPECT_THAT(refusal_of({.topic = "t", .headers = {{"om-life", "9"}}}), HasSubstr("om-life"));
  EXPECT_EQ(refusal_of({.topic = "t", .headers = {{"Om-life", "9"}, {"omega", "1"}, {"", nullptr}}}), "");
}

TEST(Append, MakesAnIdWhenTheDraftHasNone) {
  CountingSession session;
  mysql::UnitOfWork work(session);

  EXPECT_EQ(append(work.tx(), {.topic = "t", .id = "mine"}), "mine");
  const std::string first = append(work.tx(), {.topic = "t"});
  const std::string second = append(work.tx(), {.topic = "t"});

  EXPECT_EQ(first.size(), 36u);
  EXPECT_LT(first, second);
}

TEST(CheckTopic, KnowsWhatKafkaTakes) {
  for (const std::string name : {"a", "orders", "retry.ship-ping.or_ders", "...", "A9"}) {
    EXPECT_NO_THROW(check_topic(name)) << name;
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a b"), std::string("ä"), std::string("a/b"),
        std::string("a\0b", 3), std::string(250, 't')}) {
    EXPECT_THROW(check_topic(name), PermanentError) << name;
  }
}

TEST(CheckName, SaysWhichSettingIsWrong) {
  EXPECT_NO_THROW(check_name("RelayOptions::name", std::string(100, 'n')));
  try {
    check_name("RelayOptions::name", std::string("a\nb"));
    FAIL();
  } catch (const MisuseError& error) {
    EXPECT_THAT(error.what(), HasSubstr("RelayOptions::name is \"a\\x0ab\""));
  }
  EXPECT_THROW(check_name("name", std::string(101, 'n')), MisuseError);
  EXPECT_THROW(check_name("name", ""), MisuseError);
}

}  // namespace
}  // namespace oncemark::outbox
