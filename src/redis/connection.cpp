#include "redis/connection.hpp"

#include <array>
#include <cerrno>
#include <system_error>

#include <poll.h>
#include <sys/socket.h>

#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/redis/errors.hpp>

#include "core/secret_file.hpp"
#include "redis/reply.hpp"

namespace oncemark::redis {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

timeval to_timeval(milliseconds time) {
  timeval value{};
  value.tv_sec = time.count() / 1'000;
  value.tv_usec = time.count() % 1'000 * 1'000;
  return value;
}

std::string errno_text(int code) { return std::generic_category().message(code) + " (" + std::to_string(code) + ")"; }

std::string format(std::span<const Command> commands) {
  std::string bytes;
  for (const Command& command : commands) {
    bytes += '*' + std::to_string(command.size()) + "\r\n";
    for (const std::string& word : command) {
      bytes += '$' + std::to_string(word.size()) + "\r\n";
      bytes += word;
      bytes += "\r\n";
    }
  }
  return bytes;
}

// Commands are named, their words are not: they may be keys or passwords.
std::string describe(std::span<const Command> commands) {
  if (commands.empty() || commands.front().empty()) return "nothing";
  const std::string& name = commands.front().front();
  if (commands.size() > 1) return std::to_string(commands.size()) + " commands from " + name + " on";
  const std::size_t words = commands.front().size() - 1;
  return words < 2 ? name : name + " with " + std::to_string(words) + " words";
}

}  // namespace

Connection::Connection(const ClientOptions& options) : options_(&options) {
  const auto deadline = steady_clock::now() + options.connect_timeout;
  connect();
  log_in(deadline);
}

void Connection::connect() {
  tried_ = "connecting";
  timeout_ = options_->connect_timeout;
  option_ = "connect_timeout";
  const timeval timeout = to_timeval(timeout_);
  const std::string& url = options_->url;
  if (url.starts_with("unix://")) {
    context_.reset(redisConnectUnixWithTimeout(url.c_str() + 7, timeout));
  } else {
    const std::size_t colon = url.rfind(':');
    std::string host = url.substr(6, colon - 6);
    if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
    context_.reset(redisConnectWithTimeout(host.c_str(), std::stoi(url.substr(colon + 1)), timeout));
  }
  const int code = errno;
  if (!context_) throw std::bad_alloc();
  if (context_->err == 0) return;
  if (context_->err == REDIS_ERR_IO && (code == ETIMEDOUT || code == EAGAIN || code == EINPROGRESS)) {
    fail("timeout", "timed out after " + std::to_string(timeout_.count()) + " ms", cure("connection"));
  }
  fail("connection", context_->err == REDIS_ERR_IO ? errno_text(code) : printable(context_->errstr, 128));
}

void Connection::log_in(Deadline deadline) {
  const std::string password =
      options_->password_file.empty() ? options_->password : read_secret_file("password_file", options_->password_file);
  std::vector<Command> commands;
  if (!options_->user.empty()) {
    commands.push_back({"AUTH", options_->user, password});
  } else if (!password.empty()) {
    commands.push_back({"AUTH", password});
  }
  if (options_->database != 0) commands.push_back({"SELECT", std::to_string(options_->database)});
  commands.push_back({"PING"});  // shows a server that asks for a password when there is none
  tried_ = "logging in";
  const std::vector<Reply> replies = talk(commands, deadline);
  for (std::size_t i = 0; i < replies.size(); ++i) {
    if (replies[i].kind != Reply::Kind::error) continue;
    const std::string& command = commands[i].front();
    const std::string code(code_of(replies[i].text));
    tried_ = "logging in with " + command;
    if (command == "SELECT" && code == "ERR") {
      throw RedisError(ErrorKind::misuse, code,
                       tried_ + " on redis " + options_->url + ": " + printable(replies[i].text) +
                           "; check database, and `databases` of the server");
    }
    if (command == "AUTH" && code == "ERR") {
      throw RedisError(ErrorKind::misuse, code,
                       tried_ + " on redis " + options_->url +
                           ": the server refuses the command; check that it has a password set, and is of version 6 "
                           "or newer if user is set");
    }
    // After a refused AUTH everything else is refused too: the first error is the one to tell.
    if (command == "PING" && code == "NOPERM") continue;  // a user with few rights, but logged in
    fail(code, command == "AUTH" ? code : printable(replies[i].text));
  }
  timeout_ = options_->command_timeout;
  option_ = "command_timeout";
}

std::vector<Reply> Connection::exchange(std::span<const Command> commands, Deadline deadline) {
  tried_ = describe(commands);
  return talk(commands, deadline);
}

std::vector<Reply> Connection::talk(std::span<const Command> commands, Deadline deadline) {
  send(format(commands), deadline);
  std::vector<Reply> replies;
  replies.reserve(commands.size());
  while (replies.size() < commands.size()) replies.push_back(receive(deadline));
  return replies;
}

void Connection::send(const std::string& bytes, Deadline deadline) {
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t now = ::send(context_->fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (now >= 0) {
      sent += static_cast<std::size_t>(now);
    } else if (errno == EAGAIN) {
      await(POLLOUT, deadline);
    } else if (errno == EPIPE || errno == ECONNRESET) {
      fail("closed", "the server has closed the connection");
    } else if (errno != EINTR) {
      fail("connection", errno_text(errno));
    }
  }
}

Reply Connection::receive(Deadline deadline) {
  std::array<char, 16'384> buffer;
  for (;;) {
    void* parsed = nullptr;
    if (redisReaderGetReply(context_->reader, &parsed) != REDIS_OK) {
      fail("protocol", "the answer is not in Redis's protocol");
    }
    if (parsed != nullptr) return read_reply(*NativeReply(static_cast<redisReply*>(parsed)));
    const ssize_t got = ::recv(context_->fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) {
      redisReaderFeed(context_->reader, buffer.data(), static_cast<std::size_t>(got));
    } else if (got == 0 || errno == ECONNRESET) {
      fail("closed", "the server has closed the connection");
    } else if (errno == EAGAIN) {
      await(POLLIN, deadline);
    } else if (errno != EINTR) {
      fail("connection", errno_text(errno));
    }
  }
}

void Connection::await(short event, Deadline deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
  pollfd socket{.fd = context_->fd, .events = event, .revents = 0};
  if (left.count() > 0 && ::poll(&socket, 1, static_cast<int>(left.count())) != 0)
    return;  // errors show in the next call
  fail("timeout", "timed out after " + std::to_string(timeout_.count()) + " ms",
       std::string("raise ClientOptions::") + option_ + ", or see what holds the server up (SLOWLOG GET)");
}

bool Connection::is_usable() const noexcept {
  pollfd socket{.fd = context_->fd, .events = POLLIN, .revents = 0};
  return ::poll(&socket, 1, 0) == 0;
}

void Connection::fail(std::string_view code, const std::string& what, std::string_view advice) const {
  std::string text = tried_ + " on redis " + options_->url + ": " + what;
  if (advice.empty()) advice = cure(code);
  if (!advice.empty()) text.append("; ").append(advice);
  throw RedisError(classify(code), std::string(code), text);
}

}  // namespace oncemark::redis
