#include "consume/flood_guard.hpp"

#include <utility>

#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

namespace oncemark::consume {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::hours kUntilNudged{1};

}  // namespace

FloodGuard::FloodGuard(const BreakerOptions& options, std::string consumer, Metrics& metrics,
                       std::function<void(bool)> hold, std::function<void()> let_one_through)
    : consumer_(std::move(consumer)),
      metrics_(metrics),
      hold_(std::move(hold)),
      let_one_through_(std::move(let_one_through)),
      breaker_(options),
      loop_([this](const std::stop_token&) { return ask(); }) {}

void FloodGuard::succeeded(std::size_t first_deliveries) {
  const SteadyTime now = steady_clock::now();
  last_success_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  if (first_deliveries == 0) return;
  const std::lock_guard lock(mutex_);
  breaker_.succeeded(first_deliveries, now);
}

bool FloodGuard::failed(std::string_view error_class, std::string_view key) {
  const std::lock_guard lock(mutex_);
  const bool was_open = breaker_.is_open();
  const bool is_open = breaker_.failed(error_class, key, steady_clock::now());
  if (is_open && !was_open) note_opened();
  return is_open;
}

void FloodGuard::open(std::string_view error_class) {
  const std::lock_guard lock(mutex_);
  if (breaker_.is_open()) return;
  breaker_.open(error_class, steady_clock::now());
  note_opened();
}

bool FloodGuard::has_succeeded_since(SteadyTime time) const noexcept {
  return last_success_.load(std::memory_order_relaxed) >= time.time_since_epoch().count();
}

void FloodGuard::probe_ended(Probe how) {
  static constexpr const char* kNames[] = {"succeeded", "failed", "proved_nothing"};
  metrics_.count(metric::kProbes, {{"consumer", consumer_}, {"outcome", kNames[static_cast<std::size_t>(how)]}}, 1);
  {
    const std::lock_guard lock(mutex_);
    const SteadyTime now = steady_clock::now();
    switch (how) {
      case Probe::succeeded:
        if (breaker_.is_open()) note_closed(now);
        breaker_.probe_succeeded(now);
        break;
      case Probe::failed:
        breaker_.probe_failed(now);
        break;
      case Probe::proved_nothing:
        breaker_.probe_was_void();
        break;
    }
  }
  loop_.nudge();
}

std::chrono::milliseconds FloodGuard::ask() {
  const std::lock_guard lock(mutex_);
  const Breaker::Turn turn = breaker_.turn(steady_clock::now());
  switch (turn.what) {
    case Breaker::Turn::What::run:
      return kUntilNudged;
    case Breaker::Turn::What::wait:
      return turn.wait;
    case Breaker::Turn::What::probe:
      probes_.fetch_add(1, std::memory_order_relaxed);
      let_one_through_();
      return kUntilNudged;
  }
  return kUntilNudged;
}

void FloodGuard::note_opened() {
  is_open_.store(true, std::memory_order_release);
  times_opened_.fetch_add(1, std::memory_order_relaxed);
  hold_(true);
  metrics_.gauge(metric::kBreakerOpen, {{"consumer", consumer_}}, 1);
  log(LogLevel::error,
      "messages of many keys fail alike, or the handler says that what it needs is down: the flow is stopped, one "
      "message at a time is tried, and nothing is dead-lettered until one succeeds. Repair what the error names; if "
      "the messages themselves are bad and shall become letters, start with RunnerOptions::breaker.keys = 0",
      {{"consumer", consumer_}, {"error", breaker_.reason()}});
  loop_.nudge();
}

void FloodGuard::note_closed(SteadyTime now) {
  is_open_.store(false, std::memory_order_release);
  hold_(false);
  metrics_.gauge(metric::kBreakerOpen, {{"consumer", consumer_}}, 0);
  log(LogLevel::info, "a message succeeded again: the flow goes on",
      {{"consumer", consumer_},
       {"error", breaker_.reason()},
       {"after_ms", std::chrono::duration_cast<std::chrono::milliseconds>(now - breaker_.opened_at()).count()}});
}

}  // namespace oncemark::consume
