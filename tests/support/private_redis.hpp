#pragma once

#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <oncemark/core/id.hpp>
#include <oncemark/redis/client.hpp>

#include "support/eventually.hpp"
#include "support/stack.hpp"

namespace oncemark::testing {

/// A Redis server of one test, which may stop, kill, fill and flush it. It listens on a unix socket only and keeps
/// nothing.
class PrivateRedis {
 public:
  explicit PrivateRedis(std::vector<std::string> settings = {}) : settings_(std::move(settings)) {
    std::filesystem::create_directory(folder_);
    start();
  }
  PrivateRedis(const PrivateRedis&) = delete;
  PrivateRedis& operator=(const PrivateRedis&) = delete;
  ~PrivateRedis() {
    kill();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  [[nodiscard]] redis::ClientOptions options() const {
    return {.url = "unix://" + socket(),
            .connect_timeout = std::chrono::seconds(2),
            .command_timeout = std::chrono::seconds(2)};
  }

  void start() {
    const std::string program = Stack::directory() / "redis-server";
    std::vector<std::string> arguments{program,  "--port", "0",     "--unixsocket", socket(),
                                       "--save", "",       "--dir", folder_};
    arguments.insert(arguments.end(), settings_.begin(), settings_.end());
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    std::filesystem::remove(socket());
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int nowhere = ::open("/dev/null", O_RDWR);
      for (int stream = 0; stream < 3; ++stream) ::dup2(nowhere, stream);
      ::execv(program.c_str(), pointers.data());
      ::_exit(127);
    }
    redis::Client client(options());
    if (!eventually(std::chrono::seconds(20), [&] { return answers(client); })) {
      throw std::runtime_error("the private Redis does not start");
    }
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  /// Stops it without closing anything: it looks alive and never answers.
  void hang() const { ::kill(pid_, SIGSTOP); }
  void go_on() const { ::kill(pid_, SIGCONT); }

 private:
  [[nodiscard]] std::string socket() const { return folder_ / "redis.sock"; }
  static bool answers(redis::Client& client) {
    try {
      (void)client.command({"PING"});
      return true;
    } catch (const std::exception& error) {
      return std::string(error.what()).find("NOAUTH") != std::string::npos;  // it does, to others
    }
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("om-redis-" + std::to_string(random_token()));
  std::vector<std::string> settings_;
  pid_t pid_ = 0;
};

}  // namespace oncemark::testing
