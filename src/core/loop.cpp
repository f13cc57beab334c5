#include <oncemark/core/loop.hpp>

#include <algorithm>
#include <utility>

namespace oncemark {
namespace {

// Longer waits would overflow the clock's nanoseconds.
constexpr std::chrono::milliseconds kLongestWait = std::chrono::hours{24 * 365};

}  // namespace

Loop::Loop(Work work) : work_(std::move(work)) {
  thread_ = std::jthread([this](std::stop_token stop) { run(std::move(stop)); });
}

Loop::~Loop() { stop(); }

void Loop::nudge() {
  {
    const std::lock_guard lock(mutex_);
    nudged_ = true;
  }
  wake_.notify_one();
}

void Loop::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Loop::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    const std::chrono::milliseconds pause = std::min(work_(stop), kLongestWait);
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, pause, [this] { return nudged_; });
    nudged_ = false;
  }
}

bool wait_for(std::stop_token stop, std::chrono::milliseconds time) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, std::min(time, kLongestWait), [] { return false; });
  return !stop.stop_requested();
}

}  // namespace oncemark
