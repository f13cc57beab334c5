#pragma once

#include <array>
#include <cstdlib>
#include <list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace oncemark::testing {

/// Stands between a client and a server of this machine, and replaces one text in what the client says by another one
/// that is no longer; blanks fill it up.
class RewritingProxy {
 public:
  RewritingProxy(const std::string& server_url, std::string text, std::string by)
      : server_port_(std::atoi(server_url.substr(server_url.rfind(':') + 1).c_str())),
        text_(std::move(text)),
        by_(std::move(by)) {
    if (by_.size() > text_.size()) throw std::invalid_argument("the replacement is longer");
    by_.resize(text_.size(), ' ');
    sockaddr_in address = local(0);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 8) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("the proxy cannot listen");
    }
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { accept_all(); });
  }
  RewritingProxy(const RewritingProxy&) = delete;
  RewritingProxy& operator=(const RewritingProxy&) = delete;
  ~RewritingProxy() {
    ::shutdown(listener_, SHUT_RDWR);
    accepting_.join();
    for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
    for (std::thread& pump : pumps_) pump.join();
    for (const int socket : sockets_) ::close(socket);
    ::close(listener_);
  }

  [[nodiscard]] std::string url() const { return "tcp://127.0.0.1:" + std::to_string(port_); }

 private:
  static sockaddr_in local(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  void accept_all() {
    for (;;) {
      const int client = ::accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_in address = local(server_port_);
      const bool is_there = ::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
      sockets_.insert(sockets_.end(), {client, server});
      if (!is_there) ::shutdown(client, SHUT_RDWR);
      pumps_.emplace_back([this, client, server] { pump(client, server, true); });
      pumps_.emplace_back([this, client, server] { pump(server, client, false); });
    }
  }

  void pump(int from, int to, bool rewrites) {
    std::array<char, 65'536> buffer{};
    for (;;) {
      const ssize_t got = ::recv(from, buffer.data(), buffer.size(), 0);
      if (got <= 0) break;
      std::string chunk(buffer.data(), static_cast<std::size_t>(got));
      if (rewrites) {
        for (std::size_t at = 0; (at = chunk.find(text_, at)) != std::string::npos;) chunk.replace(at, by_.size(), by_);
      }
      for (std::string_view left = chunk; !left.empty();) {
        const ssize_t sent = ::send(to, left.data(), left.size(), MSG_NOSIGNAL);
        if (sent <= 0) break;
        left.remove_prefix(static_cast<std::size_t>(sent));
      }
    }
    ::shutdown(to, SHUT_WR);
  }

  int server_port_;
  std::string text_;
  std::string by_;
  int listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int port_ = 0;
  std::list<int> sockets_;        // of the accepting thread until it has ended
  std::list<std::thread> pumps_;  // likewise
  std::thread accepting_;
};

}  // namespace oncemark::testing
