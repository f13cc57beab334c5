#pragma once

#include <memory>
#include <stop_token>

namespace oncemark {

/// Turns SIGINT and SIGTERM into a stop request for as long as it lives.
///
/// Shape:   the first signal asks for a clean stop; a second one ends the process at once (exit code 128 + signal).
/// Threads: construct before other threads start (the signals are blocked in the constructing thread and in all that
///          it starts later, and awaited by a thread of its own). One at a time per process.
/// Errors:  MisuseError when a second one is constructed.
class StopOnSignal {
 public:
  StopOnSignal();
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

  [[nodiscard]] std::stop_token token() const noexcept;
  /// The signal that arrived, or 0.
  [[nodiscard]] int signal() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark
