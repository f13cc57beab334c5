#include <oncemark/redis/client.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <oncemark/core/error.hpp>

namespace oncemark::redis {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

std::string refused(const ClientOptions& options) {
  try {
    options.validate();
    return "nothing was thrown";
  } catch (const ConfigError& error) {
    return error.key() + " | " + error.what();
  }
}

TEST(ClientOptions, AreValidByDefault) { EXPECT_NO_THROW(ClientOptions{}.validate()); }

TEST(ClientOptions, TakeAnAddressOrASocket) {
  EXPECT_NO_THROW(ClientOptions{.url = "tcp://redis.shop.example:6380"}.validate());
  EXPECT_NO_THROW(ClientOptions{.url = "tcp://[::1]:6379"}.validate());
  EXPECT_NO_THROW(ClientOptions{.url = "unix:///run/redis/redis.sock"}.validate());

  EXPECT_THAT(refused({.url = ""}), HasSubstr("url | "));
  EXPECT_THAT(refused({.url = "redis:6379"}), HasSubstr("url | "));
  EXPECT_THAT(refused({.url = "tcp://redis"}), HasSubstr("url | "));
  EXPECT_THAT(refused({.url = "tcp://redis:70000"}), HasSubstr("url | "));
  EXPECT_THAT(refused({.url = "unix://redis.sock"}), HasSubstr("url | "));
}

TEST(ClientOptions, DoNotRepeatAnAddressThatMayHoldAPassword) {
  EXPECT_THAT(refused({.url = "redis://:s3cret@redis:6379/0"}), Not(HasSubstr("s3cret")));
}

TEST(ClientOptions, SayWhatToDoAboutTls) { EXPECT_THAT(refused({.url = "rediss://redis:6380"}), HasSubstr("stunnel")); }

TEST(ClientOptions, NameTheFieldThatIsOutOfRange) {
  EXPECT_THAT(refused({.database = -1}), HasSubstr("database | "));
  EXPECT_THAT(refused({.size = 0}), HasSubstr("size | "));
  EXPECT_THAT(refused({.connect_timeout = 0ms}), HasSubstr("connect_timeout | "));
  EXPECT_THAT(refused({.command_timeout = 61s}), HasSubstr("command_timeout | "));
  EXPECT_THAT(refused({.user = "oncemark"}), HasSubstr("password_file | "));
}

}  // namespace
}  // namespace oncemark::redis
