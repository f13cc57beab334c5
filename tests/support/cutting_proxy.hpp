#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace oncemark::testing {

/// A way to the database that breaks: connections through it are cut at some of the COMMITs and prepared statements that
/// a client sends, in turn before the server has seen it and before the client has its answer.
///
/// Threads: cut_every() and cuts() from any; a thread of its own for each connection.
/// Errors:  std::runtime_error when there is no port.
class CuttingProxy final {
 public:
  /// `url`: tcp://127.0.0.1:PORT.
  explicit CuttingProxy(const std::string& url)
      : target_(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)))) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in here = address(0);
    socklen_t size = sizeof here;
    if (listener_ < 0 || ::bind(listener_, as_any(here), size) != 0 || ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, as_any(here), &size) != 0) {
      throw std::runtime_error("no port for a proxy");
    }
    port_ = ntohs(here.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~CuttingProxy() {
    is_ending_ = true;
    acceptor_.join();
    for (std::thread& link : links_) link.join();
    ::close(listener_);
  }
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;

  [[nodiscard]] std::string url() const { return "tcp://127.0.0.1:" + std::to_string(port_); }
  /// From now on; 0: never again.
  void cut_every(std::uint64_t requests) { every_ = requests; }
  [[nodiscard]] std::uint64_t cuts() const { return cuts_; }

 private:
  static constexpr int kLook = 20;  // milliseconds until a thread sees that it is to end

  static sockaddr_in address(std::uint16_t port) {
    sockaddr_in there{};
    there.sin_family = AF_INET;
    there.sin_port = htons(port);
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return there;
  }
  static sockaddr* as_any(sockaddr_in& one) { return reinterpret_cast<sockaddr*>(&one); }
  static bool is_readable(int socket) {
    pollfd one{.fd = socket, .events = POLLIN, .revents = 0};
    return ::poll(&one, 1, kLook) > 0;
  }
  /// The beginning of a packet: three bytes of length, a number, the command.
  static bool may_be_cut(std::string_view packet) {
    if (packet.size() < 5 || packet[3] != 0) return false;
    return packet[4] == '\x17' || packet.substr(4).starts_with(
                                      "\x03"
                                      "COMMIT");
  }

  void accept_all() {
    while (!is_ending_) {
      if (!is_readable(listener_)) continue;
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) continue;
      links_.emplace_back([this, client] { carry(client); });
    }
  }

  void carry(int client) {
    const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in there = address(target_);
    if (::connect(server, as_any(there), sizeof there) == 0) {
      while (!is_ending_ && carry_once(client, server)) {
      }
    }
    ::close(client);
    ::close(server);
  }

  /// False when the link is to end.
  bool carry_once(int client, int server) {
    std::array<pollfd, 2> both{pollfd{client, POLLIN, 0}, pollfd{server, POLLIN, 0}};
    if (::poll(both.data(), both.size(), kLook) <= 0) return true;
    std::array<char, 65'536> buffer;
    for (std::size_t i = 0; i < both.size(); ++i) {
      if (both[i].revents == 0) continue;
      const ssize_t got = ::recv(both[i].fd, buffer.data(), buffer.size(), 0);
      if (got <= 0) return false;
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
      const std::uint64_t every = every_;
      const bool is_cut = i == 0 && every > 0 && may_be_cut(bytes) && ++requests_ % every == 0;
      if (is_cut && cuts_++ % 2 == 0) return false;
      if (::send(both[1 - i].fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != got || is_cut) return false;
    }
    return true;
  }

  const std::uint16_t target_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> is_ending_{false};
  std::atomic<std::uint64_t> every_{0};
  std::atomic<std::uint64_t> requests_{0};
  std::atomic<std::uint64_t> cuts_{0};
  std::vector<std::thread> links_;  // of the acceptor, and of the destructor when that has ended
  std::thread acceptor_;
};

}  // namespace oncemark::testing
