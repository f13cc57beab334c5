#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

namespace oncemark {

/// A background thread that does a piece of work, waits as long as that work says, and does it again until stopped.
///
/// Shape:   `work(stop)` returns how long to wait before the next round; zero means at once.
/// Threads: nudge() from any thread cuts the present wait short and is remembered during work. The destructor asks
///          for a stop and joins: it takes as long as the round that is running.
/// Errors:  an exception out of `work` ends the process by std::terminate; work handles its own.
class Loop {
 public:
  using Work = std::function<std::chrono::milliseconds(std::stop_token)>;
  explicit Loop(Work work);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void nudge();
  /// Asks for a stop and waits for the thread.
  void stop();

 private:
  void run(std::stop_token stop);

  Work work_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool nudged_ = false;  // guarded by mutex_
  std::jthread thread_;
};

/// Waits for `time` or until a stop is asked for, whichever is first. Returns false when stopped.
bool wait_for(std::stop_token stop, std::chrono::milliseconds time);

}  // namespace oncemark
