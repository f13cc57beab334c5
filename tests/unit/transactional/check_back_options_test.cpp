#include <oncemark/transactional/check_back.hpp>

#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>
#include <oncemark/testing/recording_sink.hpp>
#include <oncemark/testing/scripted_source.hpp>
#include <oncemark/transactional/sender.hpp>

namespace oncemark::transactional {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

using Settings = std::map<std::string, std::string>;

/// What the constructor says about a half topic with these settings; empty when it fits.
std::string complaint(const Settings& topic, CheckBackOptions options = {.sender = "shop"},
                      const std::string& read = "half.shop") {
  mysql::Pool pool({.user = "nobody", .schema = "none"});  // never asked
  testing::ScriptedSource source("group", {read});
  testing::RecordingSink sink;
  try {
    const CheckBack checks(pool, source, sink, topic, std::move(options));
  } catch (const MisuseError& error) {
    return error.what();
  }
  return "";
}

std::string days(int count) { return std::to_string(count * 86'400'000LL); }

TEST(CheckBack, TakesAHalfTopicWithKafkasDefaults) {
  EXPECT_EQ(complaint({{"cleanup.policy", "delete"}, {"retention.ms", days(7)}, {"retention.bytes", "-1"}}), "");
  EXPECT_EQ(complaint({}), "") << "settings that may not be seen are taken for right";
}

TEST(CheckBack, RefusesATopicThatMayLoseHalfMessages) {
  EXPECT_THAT(complaint({{"cleanup.policy", "compact"}}), HasSubstr("cleanup.policy=delete"));
  EXPECT_THAT(complaint({{"retention.bytes", "1000"}}), HasSubstr("retention.bytes=-1"));
  EXPECT_THAT(complaint({{"retention.ms", "3600000"}}), HasSubstr("set retention.ms to 86400000"));
  EXPECT_THAT(complaint({{"retention.ms", days(2)}}, {.sender = "shop", .interval = 3h, .max_checks = 15}),
              HasSubstr("set retention.ms to 324000000"));
}

TEST(CheckBack, RefusesRowsThatGoBeforeTheirHalfMessages) {
  EXPECT_THAT(complaint({{"retention.ms", days(7)}}, {.sender = "shop", .keep_rows = 24h * 7}),
              AllOf(HasSubstr("keep_rows is 168 h"), HasSubstr("half.shop"), HasSubstr("168 h")));
  EXPECT_THAT(complaint({{"retention.ms", "-1"}}), HasSubstr("for ever"));
}

TEST(CheckBack, ReadsTheTopicOfItsSenderAndNoOther) {
  EXPECT_THAT(complaint({}, {.sender = "shop"}, "orders"), HasSubstr("half.shop"));
}

TEST(CheckBackOptions, NameTheFieldAndTheRange) {
  EXPECT_THAT(complaint({}, {.sender = "a b"}), HasSubstr("CheckBackOptions::sender"));
  EXPECT_THAT(complaint({}, {.sender = "shop", .max_checks = 0}), HasSubstr("CheckBackOptions::max_checks is 0"));
  EXPECT_THAT(complaint({}, {.sender = "shop", .keep_rows = 1h}), HasSubstr("CheckBackOptions::keep_rows is 1 h"));
}

TEST(SenderOptions, NameTheFieldAndTheRange) {
  const auto refused = [](const SenderOptions& options) -> std::string {
    try {
      options.validate();
    } catch (const MisuseError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refused({.name = "shop"}), "");
  EXPECT_THAT(refused({.name = ""}), HasSubstr("SenderOptions::name"));
  EXPECT_THAT(refused({.name = "shop", .first_check = 7h}), HasSubstr("SenderOptions::first_check"));
  EXPECT_THAT(refused({.name = "shop", .start_within = 5s}), HasSubstr("SenderOptions::start_within"));
}

}  // namespace
}  // namespace oncemark::transactional
