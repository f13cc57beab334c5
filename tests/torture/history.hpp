#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

namespace oncemark::torture {

/// What a process did, one line each: "TIME WHAT", the time in microseconds of the machine's monotonic clock.
///
/// Shape:   one write() a line to a file that only grows: a line is whole or not there, and those before a SIGKILL stay.
/// Threads: any.
class History {
 public:
  explicit History(const std::string& path)
      : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
    if (file_ < 0) throw std::runtime_error("cannot write " + path);
  }
  ~History() { ::close(file_); }
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  void note(std::string_view what) const {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    std::string line = std::to_string(now.tv_sec * 1'000'000 + now.tv_nsec / 1'000);
    line.append(" ").append(what).append("\n");
    // A history that misses something proves nothing.
    if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) ::_exit(3);
  }

 private:
  int file_;
};

}  // namespace oncemark::torture
