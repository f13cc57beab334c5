#pragma once

#include <memory>

#include <hiredis/hiredis.h>

#include <oncemark/redis/client.hpp>

namespace oncemark::redis {

/// Owner of what hiredis gives back.
struct FreeReply {
  void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
};
using NativeReply = std::unique_ptr<redisReply, FreeReply>;

/// A copy of it that knows nothing of hiredis.
[[nodiscard]] Reply read_reply(const redisReply& native);

/// The first word of a server's error: its code.
[[nodiscard]] std::string_view code_of(std::string_view error) noexcept;

}  // namespace oncemark::redis
