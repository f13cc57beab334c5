#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace oncemark::redis {

/// How to reach a Redis server.
struct ClientOptions {
  std::string url = "tcp://127.0.0.1:6379";        // tcp://host:port, or unix:///path of a socket
  std::string user = {};                           // ACL user (Redis 6) · empty is the server's default user
  std::string password = {};                       // in memory only; prefer password_file
  std::string password_file = {};                  // file with the password, one line · overrides password
  int database = 0;                                // number of the database · 0 to 65,535
  std::size_t size = 8;                            // connections at most · 1 to 1,000
  std::chrono::milliseconds connect_timeout{100};  // for connecting and logging in; looking up a host name comes on top
                                                   // · 1 to 60,000 ms
  std::chrono::milliseconds command_timeout{10};   // for all answers to one command or pipeline · low keeps an ailing
                                                   // server out of the way, high bears a slow one · 1 to 60,000 ms

  /// Throws ConfigError naming the field.
  void validate() const;
};

/// A command, word by word; words are bytes of any kind.
using Command = std::vector<std::string>;

/// What a server answers.
struct Reply {
  enum class Kind { nil, text, number, list, error };

  Kind kind = Kind::nil;
  std::string text = {};          // of a text; of an error: code and explanation
  std::int64_t number = 0;        // of a number
  std::vector<Reply> items = {};  // of a list
};

/// A bounded set of connections to one Redis server (not a cluster).
///
/// Shape:   connections are made when first needed and closed after any error; one that the server has closed meanwhile
///          is replaced before it is used. Clear text: hiredis 0.14, Debian's, has no TLS. Across a network that is not
///          yours put stunnel or spiped in between, or use a unix socket.
/// Threads: all members from any thread. Blocks for at most connect_timeout + 2 · command_timeout (and the look-up of a
///          host name). Never raises SIGPIPE.
/// Errors:  the constructor only validates. RedisError for whatever goes wrong on the way; ConfigError for a
///          password_file that cannot be read (it is read for each new connection). Nothing is sent twice.
class Client final {
 public:
  explicit Client(ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Sends one command. An error that the server answers with is thrown.
  Reply command(const Command& command);
  /// Sends all of them in one go and returns as many answers, in order. An error that the server answers one of them
  /// with is a value, Reply::Kind::error.
  std::vector<Reply> pipeline(std::span<const Command> commands);

  [[nodiscard]] const ClientOptions& options() const noexcept;

 private:
  struct Pool;
  std::unique_ptr<Pool> pool_;
};

}  // namespace oncemark::redis
