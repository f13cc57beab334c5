#include <oncemark/core/signals.hpp>

#include <atomic>
#include <csignal>
#include <thread>

#include <unistd.h>

#include <oncemark/core/error.hpp>

namespace oncemark {
namespace {

class OnlyOne final {
 public:
  OnlyOne() {
    if (exists_.exchange(true)) {
      throw MisuseError("a StopOnSignal exists already; one per process takes the signals, so pass its token on");
    }
  }
  ~OnlyOne() { exists_ = false; }
  OnlyOne(const OnlyOne&) = delete;
  OnlyOne& operator=(const OnlyOne&) = delete;

 private:
  static inline std::atomic<bool> exists_{false};
};

class BlockedSignals final {
 public:
  BlockedSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

  [[nodiscard]] const sigset_t& set() const { return signals_; }

 private:
  sigset_t signals_{};
  sigset_t before_{};
};

}  // namespace

struct StopOnSignal::State {
  State() : waiter([this] { wait(); }) {}

  ~State() {
    closing = true;
    // Sent to the waiter alone: it wakes nobody else, and is gone with that thread.
    pthread_kill(waiter.native_handle(), SIGTERM);
    waiter.join();
  }

  void wait() {
    for (;;) {
      siginfo_t info{};
      const int number = sigwaitinfo(&blocked.set(), &info);
      if (number < 0) continue;  // EINTR: a debugger, or another signal's handler
      if (closing) {
        // Somebody else's comes too late for us: it is left to whoever handles signals next.
        if (info.si_pid != ::getpid()) ::kill(::getpid(), number);
        return;
      }
      if (signal.exchange(number) != 0) ::_exit(128 + number);
      source.request_stop();
    }
  }

  OnlyOne only_one;
  BlockedSignals blocked;
  std::stop_source source;
  std::atomic<int> signal{0};
  std::atomic<bool> closing{false};
  std::thread waiter;
};

StopOnSignal::StopOnSignal() : state_(std::make_unique<State>()) {}

StopOnSignal::~StopOnSignal() = default;

std::stop_token StopOnSignal::token() const noexcept { return state_->source.get_token(); }

int StopOnSignal::signal() const noexcept { return state_->signal; }

}  // namespace oncemark
