#include <oncemark/inbox/redis_hint.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark::inbox {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

std::string refused(const RedisHintOptions& options) {
  try {
    options.validate();
    return "nothing was thrown";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(RedisHintOptions, NameTheFieldThatIsOutOfRange) {
  EXPECT_NO_THROW(RedisHintOptions{}.validate());
  EXPECT_THAT(refused({.ttl = 0s}), HasSubstr("RedisHintOptions::ttl is 0 s"));
  EXPECT_THAT(refused({.max_queued = 0}), HasSubstr("RedisHintOptions::max_queued is 0"));
  EXPECT_THAT(refused({.epoch_interval = 2h}), HasSubstr("RedisHintOptions::epoch_interval"));
  EXPECT_THAT(refused({.failures = 0}), HasSubstr("RedisHintOptions::failures is 0"));
  EXPECT_THAT(refused({.away = {.factor = 0.5}}), HasSubstr("factor"));
  EXPECT_THAT(refused({.redis = {.url = "redis"}}), HasSubstr("url"));
}

}  // namespace
}  // namespace oncemark::inbox
