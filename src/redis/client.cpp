#include <oncemark/redis/client.hpp>

#include <charconv>
#include <condition_variable>
#include <mutex>
#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/redis/errors.hpp>

#include "redis/connection.hpp"
#include "redis/reply.hpp"

namespace oncemark::redis {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

[[noreturn]] void reject(const std::string& field, const std::string& value, std::string_view rule) {
  throw ConfigError(
      field, "redis " + field + " is " + (value.empty() ? "empty" : value) + "; it must be " + std::string(rule));
}

bool is_address(std::string_view url) {
  if (url.starts_with("unix:///")) return url.size() > 8;
  if (!url.starts_with("tcp://")) return false;
  url.remove_prefix(6);
  const std::size_t colon = url.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || url.find_first_of("/@? ") != std::string_view::npos)
    return false;
  const std::string_view digits = url.substr(colon + 1);
  int port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return error == std::errc{} && end == digits.data() + digits.size() && port > 0 && port < 65'536;
}

void require_timeout(const char* field, std::chrono::milliseconds value) {
  if (value >= 1ms && value <= 60s) return;
  reject(field, std::to_string(value.count()) + " ms", "from 1 to 60000 ms");
}

}  // namespace

void ClientOptions::validate() const {
  if (url.starts_with("rediss://") || url.starts_with("tls://")) {
    reject("url", "one with TLS", "tcp:// or unix://: hiredis 0.14 has no TLS; put stunnel or spiped in between");
  }
  // The value is not repeated: what does not fit may hold a password.
  if (!is_address(url)) reject("url", "something else", "tcp://host:port or unix:///path, without user and database");
  if (database < 0 || database > 65'535) reject("database", std::to_string(database), "from 0 to 65535");
  if (size < 1 || size > 1'000) reject("size", std::to_string(size), "from 1 to 1000");
  if (!user.empty() && password.empty() && password_file.empty()) {
    reject("password_file", "", "set when user is: a user logs in with a password");
  }
  require_timeout("connect_timeout", connect_timeout);
  require_timeout("command_timeout", command_timeout);
}

struct Client::Pool {
  ClientOptions options;
  std::mutex mutex;
  std::condition_variable freed;
  std::vector<std::unique_ptr<Connection>> idle;  // guarded by mutex; the one used last at the end
  std::size_t open = 0;                           // guarded by mutex; idle, lent and being made

  explicit Pool(ClientOptions chosen) : options(std::move(chosen)) { idle.reserve(options.size); }

  // Without a connection in the result one may be made: its place is taken.
  std::unique_ptr<Connection> take(Deadline deadline) {
    std::vector<std::unique_ptr<Connection>> closed;  // freed after the lock is released
    std::unique_lock lock(mutex);
    for (;;) {
      while (!idle.empty()) {
        std::unique_ptr<Connection> taken = std::move(idle.back());
        idle.pop_back();
        if (taken->is_usable()) return taken;
        closed.push_back(std::move(taken));
        --open;
      }
      if (open < options.size) {
        ++open;
        return nullptr;
      }
      if (freed.wait_until(lock, deadline) == std::cv_status::timeout && idle.empty() && open >= options.size) {
        throw RedisError(classify("busy"), "busy",
                         "all " + std::to_string(options.size) + " connections to redis " + options.url +
                             " were in use for " + std::to_string(options.command_timeout.count()) + " ms; " +
                             std::string(cure("busy")));
      }
    }
  }

  void give_back(std::unique_ptr<Connection> connection) noexcept {
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(connection));
    freed.notify_one();
  }

  void forget_one() noexcept {
    const std::lock_guard lock(mutex);
    --open;
    freed.notify_one();
  }
};

Client::Client(ClientOptions options) {
  options.validate();
  pool_ = std::make_unique<Pool>(std::move(options));
}

Client::~Client() = default;

const ClientOptions& Client::options() const noexcept { return pool_->options; }

std::vector<Reply> Client::pipeline(std::span<const Command> commands) {
  if (commands.empty()) return {};
  for (const Command& command : commands) {
    if (command.empty()) throw MisuseError("redis: a command without words");
  }
  std::unique_ptr<Connection> connection = pool_->take(steady_clock::now() + pool_->options.command_timeout);
  try {
    if (!connection) connection = std::make_unique<Connection>(pool_->options);
    std::vector<Reply> replies = connection->exchange(commands, steady_clock::now() + pool_->options.command_timeout);
    pool_->give_back(std::move(connection));
    return replies;
  } catch (...) {
    pool_->forget_one();
    throw;
  }
}

Reply Client::command(const Command& command) {
  std::vector<Reply> replies = pipeline({&command, 1});
  if (replies.front().kind != Reply::Kind::error) return std::move(replies.front());
  const std::string code(code_of(replies.front().text));
  std::string text = command.front() + " on redis " + pool_->options.url + ": " + printable(replies.front().text);
  if (const std::string_view advice = cure(code); !advice.empty()) text.append("; ").append(advice);
  throw RedisError(classify(code), code, text);
}

}  // namespace oncemark::redis
