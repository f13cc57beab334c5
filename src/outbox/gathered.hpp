#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <iterator>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <oncemark/core/error.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::outbox {

/// Message ids that many threads hand over, written down together now and then.
///
/// Shape:   `write` gets what has gathered, at most kAtOnce at a time. What it throws is logged, and the same ids are
///          tried again a few times; then they are given up: whoever looks at the rows later finds them not marked, and
///          sends them once more.
/// Threads: add() from any thread; `write` runs on this object's thread, and in its destructor.
/// Errors:  none.
class Gathered final {
 public:
  using Write = std::function<void(const std::vector<std::string>&)>;
  static constexpr std::size_t kAtOnce = 512;

  Gathered(std::string what, std::chrono::milliseconds pause, Write write)
      : what_(std::move(what)), pause_(pause), write_(std::move(write)), loop_([this](const std::stop_token&) {
          flush();
          return pause_;
        }) {}
  ~Gathered() {
    loop_.stop();
    flush();
  }
  Gathered(const Gathered&) = delete;
  Gathered& operator=(const Gathered&) = delete;

  void add(std::string id) {
    const std::lock_guard lock(mutex_);
    ids_.push_back(std::move(id));
  }

 private:
  static constexpr int kTries = 3;

  void flush() noexcept {
    for (;;) {
      std::vector<std::string> ids = take();
      if (ids.empty()) return;
      for (int tries = 1; !write(ids, tries) && tries < kTries; ++tries) {
      }
    }
  }

  std::vector<std::string> take() {
    const std::lock_guard lock(mutex_);
    const std::size_t count = std::min(ids_.size(), kAtOnce);
    std::vector<std::string> ids(std::make_move_iterator(ids_.begin()),
                                 std::make_move_iterator(ids_.begin() + static_cast<std::ptrdiff_t>(count)));
    ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(count));
    return ids;
  }

  bool write(const std::vector<std::string>& ids, int tries) noexcept {
    try {
      write_(ids);
      return true;
    } catch (...) {
      const ErrorSummary error = summarize_current_exception();
      log(tries == kTries ? LogLevel::error : LogLevel::warn, what_,
          {{"rows", ids.size()}, {"tries", tries}, {"error", error.error_class}, {"text", error.text}});
      return false;
    }
  }

  const std::string what_;
  const std::chrono::milliseconds pause_;
  const Write write_;
  std::mutex mutex_;
  std::vector<std::string> ids_;  // guarded by mutex_
  Loop loop_;                     // last: its thread uses all of the above
};

}  // namespace oncemark::outbox
