#include "redis/reply.hpp"

namespace oncemark::redis {

Reply read_reply(const redisReply& native) {
  Reply reply;
  switch (native.type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      reply.kind = Reply::Kind::text;
      reply.text.assign(native.str, native.len);
      break;
    case REDIS_REPLY_ERROR:
      reply.kind = Reply::Kind::error;
      reply.text.assign(native.str, native.len);
      // "ERR unknown command 'AUTH', with args beginning with: …": arguments may be secrets.
      if (const auto arguments = reply.text.find(", with args"); arguments != std::string::npos) {
        reply.text.resize(arguments);
      }
      break;
    case REDIS_REPLY_INTEGER:
      reply.kind = Reply::Kind::number;
      reply.number = native.integer;
      break;
    case REDIS_REPLY_ARRAY:
      reply.kind = Reply::Kind::list;
      reply.items.reserve(native.elements);
      for (std::size_t i = 0; i < native.elements; ++i) reply.items.push_back(read_reply(*native.element[i]));
      break;
    default:
      break;
  }
  return reply;
}

std::string_view code_of(std::string_view error) noexcept { return error.substr(0, error.find(' ')); }

}  // namespace oncemark::redis
