#pragma once

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <oncemark/core/id.hpp>

#include "support/eventually.hpp"

namespace oncemark::testing {

/// The loop_worker as a child process, by the path in ONCEMARK_LOOP_WORKER; killed at the end of its life.
class Worker {
 public:
  struct Options {
    std::string schema;
    std::string user;  // with its password's file
    std::string password_file;
    std::string topic;
    std::string group;
    std::string fault = {};                   // for ONCEMARK_FAULT
    std::vector<std::string> arguments = {};  // name=value
    std::filesystem::path log = "/dev/null";  // where it writes; appended to
  };

  explicit Worker(const Options& options) : log_(options.log) {
    std::vector<std::string> texts{"loop_worker", options.schema, options.topic, options.group};
    texts.insert(texts.end(), options.arguments.begin(), options.arguments.end());
    std::vector<char*> arguments;
    for (std::string& text : texts) arguments.push_back(text.data());
    arguments.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    if (options.fault.empty()) {
      ::unsetenv("ONCEMARK_FAULT");
    } else {
      ::setenv("ONCEMARK_FAULT", options.fault.c_str(), 1);
    }
    ::setenv("ONCEMARK_MYSQL__USER", options.user.c_str(), 1);
    ::setenv("ONCEMARK_MYSQL__PASSWORD_FILE", options.password_file.c_str(), 1);
    if (log_ != "/dev/null") {
      const int file = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      ::dup2(file, 1);
      ::dup2(file, 2);
    }
    ::execv(ONCEMARK_LOOP_WORKER, arguments.data());
    ::_exit(127);
  }
  ~Worker() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void send(int signal) const {
    if (pid_ > 0) ::kill(pid_, signal);
  }
  /// Whether the process has ended; by which signal is in `signal` (0: none).
  [[nodiscard]] bool has_ended() {
    if (pid_ <= 0) return true;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
    note(status);
    return true;
  }
  [[nodiscard]] int signal() const noexcept { return signal_; }
  /// Whether the process ended by SIGKILL within `limit`.
  [[nodiscard]] bool dies_by_kill(std::chrono::milliseconds limit) {
    return eventually(limit, [&] { return has_ended(); }) && signal_ == SIGKILL;
  }
  /// Asks for a clean stop; the exit code.
  int stop() {
    send(SIGTERM);
    return wait();
  }
  /// Waits for its end; the exit code.
  int wait() {
    if (pid_ > 0) {
      int status = 0;
      ::waitpid(pid_, &status, 0);
      note(status);
    }
    return signal_ != 0 ? 128 + signal_ : code_;
  }
  /// What it has written so far.
  [[nodiscard]] std::string log() const {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
  }
  /// A number that the runner counted; read after stop().
  [[nodiscard]] int counted(const std::string& name) const {
    const std::string text = log();
    const auto at = text.rfind(' ' + name + '=');
    return at == std::string::npos ? -1 : std::stoi(text.substr(at + name.size() + 2));
  }

 private:
  void note(int status) {
    pid_ = 0;
    signal_ = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  }

  std::filesystem::path log_;
  pid_t pid_ = 0;
  int signal_ = 0;
  int code_ = 0;
};

/// A folder where tests and handlers of workers meet: see loop_worker.
class Room {
 public:
  Room() : path_(std::filesystem::temp_directory_path() / ("oncemark-room." + std::to_string(random_token()))) {
    std::filesystem::create_directory(path_);
  }
  ~Room() { std::filesystem::remove_all(path_); }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  void put(const std::string& file) const { std::ofstream(path_ / file) << ""; }
  void take(const std::string& file) const { std::filesystem::remove(path_ / file); }
  [[nodiscard]] bool has(const std::string& file) const { return std::filesystem::exists(path_ / file); }
  /// The running handler of message `id` is in its gate.
  [[nodiscard]] bool is_running(const std::string& id) const { return has("running." + id); }
  [[nodiscard]] bool is_any_running() const {
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      if (entry.path().filename().string().starts_with("running.")) return true;
    }
    return false;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace oncemark::testing
