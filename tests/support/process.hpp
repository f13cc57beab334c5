#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace oncemark::testing {

/// How a process ended, and what it wrote.
struct Ended {
  int code = -1;  // exit code; 128 + the signal that ended it
  std::string out;
  std::string err;
};

/// A program that runs beside the test.
class Process {
 public:
  struct Options {
    std::vector<std::string> arguments;                   // the program's path first
    std::map<std::string, std::string> environment = {};  // beside that of the test without ONCEMARK_…
    bool has_terminal = false;  // input, output and messages are a terminal; `out` then holds both streams
    std::filesystem::path folder = "/";
  };

  explicit Process(Options options) {
    if (options.has_terminal) {
      int terminal = -1;
      winsize size{.ws_row = 24, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
      if (::openpty(&input_, &terminal, nullptr, nullptr, &size) != 0) throw std::runtime_error("no terminal");
      start(options, {terminal, terminal, terminal});
      readers_[0] = std::thread([this] { collect(input_, out_); });
      return;
    }
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    std::array<int, 2> err{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0 ||
        ::pipe2(err.data(), O_CLOEXEC) != 0) {
      throw std::runtime_error("no pipe");
    }
    start(options, {in[0], out[1], err[1]});
    input_ = in[1];
    readers_[0] = std::thread([this, from = out[0]] { collect(from, out_), ::close(from); });
    readers_[1] = std::thread([this, from = err[0]] { collect(from, err_), ::close(from); });
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (!has_ended_) {
      send(SIGKILL);
      (void)wait();
    }
    ::close(input_);
  }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  void send(int signal) const { ::kill(pid_, signal); }
  void type(const std::string& text) const {
    if (::write(input_, text.data(), text.size()) < 0) throw std::runtime_error("cannot write to the process");
  }
  [[nodiscard]] std::string out() const { return copy(out_); }
  [[nodiscard]] std::string err() const { return copy(err_); }
  [[nodiscard]] bool is_running() const {
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info_, WEXITED | WNOHANG | WNOWAIT) == 0 && info_.si_pid == 0;
  }

  /// Waits for its end; a process that takes longer than a minute is killed.
  Ended wait() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    int status = 0;
    while (::waitpid(pid_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) send(SIGKILL);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    has_ended_ = true;
    for (std::thread& reader : readers_) {
      if (reader.joinable()) reader.join();
    }
    return {.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), .out = out_, .err = err_};
  }

 private:
  void start(const Options& options, const std::array<int, 3>& streams) {
    std::vector<std::string> environment;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      if (!std::string_view(*entry).starts_with("ONCEMARK_")) environment.emplace_back(*entry);
    }
    for (const auto& [name, value] : options.environment) environment.push_back(name + "=" + value);
    const auto pointers = [](const std::vector<std::string>& texts) {
      std::vector<char*> all;
      for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));
      all.push_back(nullptr);
      return all;
    };
    const auto arguments = pointers(options.arguments);
    const auto variables = pointers(environment);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setsid();
      for (int i = 0; i < 3; ++i) ::dup2(streams[static_cast<std::size_t>(i)], i);
      if (::chdir(options.folder.c_str()) == 0) ::execve(arguments[0], arguments.data(), variables.data());
      ::_exit(127);
    }
    for (const int stream : std::array<int, 3>(streams)) {
      if (::fcntl(stream, F_GETFD) != -1) ::close(stream);
    }
    if (pid_ < 0) throw std::runtime_error("no process");
  }

  // A terminal whose other side is closed ends with an error instead of an end of file.
  void collect(int from, std::string& into) {
    std::array<char, 65'536> buffer{};
    for (;;) {
      const ssize_t got = ::read(from, buffer.data(), buffer.size());
      if (got <= 0) return;
      const std::lock_guard lock(mutex_);
      into.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }

  std::string copy(const std::string& text) const {
    const std::lock_guard lock(mutex_);
    return text;
  }

  pid_t pid_ = -1;
  int input_ = -1;
  bool has_ended_ = false;
  mutable siginfo_t info_{};
  mutable std::mutex mutex_;
  std::string out_;  // guarded by mutex_ until the end
  std::string err_;  // guarded by mutex_ until the end
  std::array<std::thread, 2> readers_;
};

#ifdef ONCEMARK_PROGRAM  // of tests of programs only
/// The program under test, by one of the names that it is called by.
inline std::string program(const std::string& name = "oncemark") {
  return (std::filesystem::path(ONCEMARK_PROGRAM).parent_path() / name).string();
}
#endif

/// Runs it to its end, with nothing on its input.
inline Ended run(std::vector<std::string> arguments, std::map<std::string, std::string> environment = {}) {
  Process process({.arguments = std::move(arguments), .environment = std::move(environment)});
  return process.wait();
}

}  // namespace oncemark::testing
