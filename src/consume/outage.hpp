#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>

#include <oncemark/consume/handler.hpp>
#include <oncemark/core/backoff.hpp>
#include <oncemark/core/loop.hpp>

namespace oncemark::consume {

/// The time while the store that handlers need does not answer: work is held, and a thread of its own asks until the
/// store is back. Nobody's attempt is counted meanwhile.
///
/// Threads: begin() and is_on() from any thread; `hold` runs on the caller of begin() and on the asking thread.
/// Errors:  none.
class Outage {
 public:
  Outage(Handler& handler, Backoff backoff, std::function<void(bool is_on)> hold);

  /// The store was found not to answer. Does nothing while an outage is on.
  void begin();
  [[nodiscard]] bool is_on() const noexcept { return is_on_.load(std::memory_order_acquire); }

 private:
  std::chrono::milliseconds ask();

  Handler& handler_;
  Backoff backoff_;
  std::function<void(bool)> hold_;
  std::mutex mutex_;  // is_on_ and the hold change together
  std::atomic<bool> is_on_{false};
  int tries_ = 0;       // of the asking thread
  SteadyTime began_{};  // of the asking thread
  Loop loop_;           // last: it uses what is above
};

}  // namespace oncemark::consume
