// A TCP proxy that misbehaves on command, between the workload of tools/torture and its servers.
//
// usage: torture_proxy NAME=PORT:TO_PORT...    all on 127.0.0.1; "ready" on its output when it listens
//
// Commands on its input, a line each, the name in front; each is answered by "ok":
//   NAME cut              resets the connections there are
//   NAME refuse           resets them, and every new one
//   NAME hang             passes nothing on, in neither direction, and keeps everything open
//   NAME halfopen         closes the server's side of what there is; the client's side stays open and silent
//   NAME delay MS         every chunk arrives so much later
//   NAME throttle BYTES   so many a second, in each direction
//   NAME lose-answer N    the next N COMMITs reach the server; instead of its answer the client gets a reset
//   NAME lose-request N   the next N COMMITs do not reach it
//   NAME pass             ends refuse, hang, delay and throttle
// The last two kinds are the reason for a proxy of our own: it has to know what a COMMIT looks like.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

// COM_QUERY, as one packet.
constexpr std::string_view kCommit(
    "\x07\0\0\0\x03"
    "COMMIT",
    11);

sockaddr_in local(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// Two sockets, one each way. Closed when both directions are through.
struct Pair {
  Pair(int client_socket, int server_socket) : client(client_socket), server(server_socket) {}
  ~Pair() {
    ::close(client);
    ::close(server);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  void reset() {
    is_cut = true;
    const linger at_once{1, 0};
    for (const int socket : {client, server}) {
      ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      ::shutdown(socket, SHUT_RD);  // wakes whoever reads
    }
  }

  const int client;
  const int server;
  std::atomic<bool> is_cut{false};
  std::atomic<bool> is_half_open{false};
};

class Link {
 public:
  Link(int port, int to) : to_(to), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int yes = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const sockaddr_in address = local(port);
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 256) != 0) {
      throw std::runtime_error("cannot listen on port " + std::to_string(port));
    }
    std::thread([this] { accept(); }).detach();
  }

  void command(const std::string& what, int number) {
    if (what == "cut" || what == "refuse") for_each([](Pair& pair) { pair.reset(); });
    if (what == "halfopen") for_each([](Pair& pair) { pair.is_half_open = true, ::shutdown(pair.server, SHUT_RDWR); });
    if (what == "refuse") refuses_ = true;
    if (what == "hang") hangs_ = true;
    if (what == "delay") delay_ms_ = number;
    if (what == "throttle") bytes_per_second_ = number;
    if (what == "lose-answer") answers_to_lose_ = number;
    if (what == "lose-request") requests_to_lose_ = number;
    if (what == "pass") refuses_ = hangs_ = false, delay_ms_ = bytes_per_second_ = 0;
  }

 private:
  template <typename Work>
  void for_each(Work&& work) {
    const std::lock_guard lock(mutex_);
    for (const auto& pair : pairs_) work(*pair);
  }

  void accept() {
    for (;;) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) continue;
      const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_in address = local(to_);
      auto pair = std::make_shared<Pair>(client, server);
      if (refuses_ || ::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        pair->reset();
        continue;
      }
      const int yes = 1;
      for (const int socket : {client, server}) ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      {
        const std::lock_guard lock(mutex_);
        pairs_.insert(pair);
      }
      std::thread([this, pair] { pump(pair, pair->client, pair->server, true); }).detach();
      std::thread([this, pair] { pump(pair, pair->server, pair->client, false); }).detach();
    }
  }

  void pump(const std::shared_ptr<Pair>& pair, int from, int to, bool is_upstream) {
    std::array<char, 65'536> buffer{};
    for (;;) {
      const ssize_t got = ::recv(from, buffer.data(), buffer.size(), 0);
      while (hangs_ && !pair->is_cut) std::this_thread::sleep_for(10ms);
      if (pair->is_cut || got <= 0) break;
      const auto size = static_cast<std::size_t>(got);
      if (is_upstream && std::string_view(buffer.data(), size).find(kCommit) != std::string_view::npos) {
        if (take_one(requests_to_lose_)) {
          pair->reset();
          break;
        }
        if (take_one(answers_to_lose_)) {
          pair->is_cut = true;  // the other direction passes nothing on any more
          forward(to, buffer.data(), size);
          std::this_thread::sleep_for(50ms);
          pair->reset();
          break;
        }
      }
      if (delay_ms_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms_));
      const std::size_t rate = static_cast<std::size_t>(bytes_per_second_.load());
      if (rate > 0) std::this_thread::sleep_for(1'000us * (1'000 * size / rate));
      if (!forward(to, buffer.data(), size)) break;
    }
    if (!pair->is_half_open) ::shutdown(to, SHUT_WR);
    if (pair->is_cut) pair->reset();
    // Silent for as long as the client bears it.
    if (pair->is_half_open && !is_upstream) {
      for (int i = 0; i < 3'000 && !pair->is_cut; ++i) std::this_thread::sleep_for(10ms);
      pair->reset();
    }
    const std::lock_guard lock(mutex_);
    pairs_.erase(pair);
  }

  static bool forward(int to, const char* data, std::size_t size) {
    while (size > 0) {
      const ssize_t sent = ::send(to, data, size, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      data += sent;
      size -= static_cast<std::size_t>(sent);
    }
    return true;
  }
  static bool take_one(std::atomic<int>& left) {
    int seen = left.load();
    while (seen > 0 && !left.compare_exchange_weak(seen, seen - 1)) {
    }
    return seen > 0;
  }

  const int to_;
  const int listener_;
  std::atomic<bool> refuses_{false};
  std::atomic<bool> hangs_{false};
  std::atomic<int> delay_ms_{0};
  std::atomic<int> bytes_per_second_{0};
  std::atomic<int> answers_to_lose_{0};
  std::atomic<int> requests_to_lose_{0};
  std::mutex mutex_;
  std::set<std::shared_ptr<Pair>> pairs_;  // guarded by mutex_
};

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  std::map<std::string, std::unique_ptr<Link>> links;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string text = argv[i];
      const auto equals = text.find('=');
      const auto colon = text.find(':', equals);
      links[text.substr(0, equals)] = std::make_unique<Link>(std::stoi(text.substr(equals + 1, colon - equals - 1)),
                                                             std::stoi(text.substr(colon + 1)));
    }
  } catch (const std::exception& error) {
    std::cerr << "torture_proxy: " << error.what() << '\n';
    return 1;
  }
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string name;
    std::string what;
    int number = 0;
    words >> name >> what >> number;
    const auto link = links.find(name);
    if (link != links.end()) link->second->command(what, number);
    std::cout << (link != links.end() ? "ok" : "unknown") << std::endl;
  }
  std::cout.flush();
  ::_exit(0);  // its threads wait for connections
}
