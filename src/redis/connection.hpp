#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <hiredis/hiredis.h>

#include <oncemark/redis/client.hpp>

namespace oncemark::redis {

using Deadline = std::chrono::steady_clock::time_point;

/// One connection, logged in. Of no more use after any exception.
///
/// hiredis connects, formats and parses. Sending and receiving is done here: hiredis's own would raise SIGPIPE, and
/// knows time-outs only for a single system call, which a server that answers byte by byte outlasts.
class Connection final {
 public:
  /// Connects and logs in. Throws RedisError, or ConfigError for a password file.
  explicit Connection(const ClientOptions& options);

  /// All answers, in order. Throws RedisError when one is missing at the deadline.
  [[nodiscard]] std::vector<Reply> exchange(std::span<const Command> commands, Deadline deadline);
  /// Whether the server has neither closed it nor said anything unasked. No round trip.
  [[nodiscard]] bool is_usable() const noexcept;

 private:
  struct FreeContext {
    void operator()(redisContext* context) const noexcept { redisFree(context); }
  };

  void connect();
  void log_in(Deadline deadline);
  void send(const std::string& bytes, Deadline deadline);
  [[nodiscard]] Reply receive(Deadline deadline);
  [[nodiscard]] std::vector<Reply> talk(std::span<const Command> commands, Deadline deadline);
  void await(short event, Deadline deadline);
  [[noreturn]] void fail(std::string_view code, const std::string& what, std::string_view advice = {}) const;

  const ClientOptions* options_;
  std::unique_ptr<redisContext, FreeContext> context_;
  std::string tried_;  // for error texts: "MGET (129 words)"
  std::chrono::milliseconds timeout_{};
  const char* option_ = "";  // whose value timeout_ is
};

}  // namespace oncemark::redis
