#pragma once

#include <chrono>

#include <oncemark/dead_letter/replay.hpp>

namespace oncemark::tools {

/// How a running replay tells how far it is: a line that is rewritten on a terminal, a line every 5 s elsewhere, or
/// JSON events.
class Progress {
 public:
  enum class Form { animated, lines, json };
  Progress(Form form, const dead_letter::ReplayJob& at_start);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(const dead_letter::ReplayJob& job);
  [[nodiscard]] std::chrono::milliseconds elapsed() const;

 private:
  void draw(const dead_letter::ReplayJob& job);
  double rate_now(std::uint64_t done_now);

  Form form_;
  std::uint64_t done_before_;  // at measured_at_
  double rate_ = -1;           // letters a second, lately; below 0: not measured yet
  std::chrono::steady_clock::time_point began_;
  std::chrono::steady_clock::time_point measured_at_;
  std::chrono::steady_clock::time_point drawn_at_{};
};

}  // namespace oncemark::tools
