#include <oncemark/redis/errors.hpp>

#include <gtest/gtest.h>

#include "redis/reply.hpp"

namespace oncemark::redis {
namespace {

TEST(RedisErrors, AreTheServersOrTheOperatorsButNeverTheMessages) {
  for (const auto* code : {"NOAUTH", "WRONGPASS", "NOPERM", "MOVED"}) {
    EXPECT_EQ(classify(code), ErrorKind::misuse) << code;
    EXPECT_FALSE(cure(code).empty()) << code;
  }
  for (const auto* code : {"LOADING", "OOM", "READONLY", "timeout", "closed", "connection", "ERR", "SOMETHINGNEW"}) {
    EXPECT_EQ(classify(code), ErrorKind::transient) << code;
  }
}

TEST(RedisErrors, AreGroupedByTheirCode) {
  const RedisError error(ErrorKind::transient, "OOM", "SET on redis: OOM");

  EXPECT_EQ(error.error_class(), "redis.OOM");
  EXPECT_EQ(error.code(), "OOM");
  EXPECT_FALSE(error.is_infrastructure());
}

TEST(RedisErrors, LoseTheArgumentsThatAServerRepeats) {
  std::string text = "ERR unknown command 'AUTH', with args beginning with: 'oncemark' 's3cret' ";
  const redisReply native{.type = REDIS_REPLY_ERROR,
                          .integer = 0,
                          .len = text.size(),
                          .str = text.data(),
                          .elements = 0,
                          .element = nullptr};

  EXPECT_EQ(read_reply(native).text, "ERR unknown command 'AUTH'");
}

}  // namespace
}  // namespace oncemark::redis
