#include "consume/outage.hpp"

#include <utility>

#include <oncemark/core/id.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::consume {
namespace {

constexpr std::chrono::hours kUntilNudged{1};

}  // namespace

Outage::Outage(Handler& handler, Backoff backoff, std::function<void(bool)> hold)
    : handler_(handler),
      backoff_(backoff),
      hold_(std::move(hold)),
      loop_([this](const std::stop_token&) { return ask(); }) {}

void Outage::begin() {
  {
    const std::lock_guard lock(mutex_);
    if (is_on_.exchange(true, std::memory_order_acq_rel)) return;
    hold_(true);
  }
  log(LogLevel::warn, "the database does not answer; messages wait until it does, and no attempt is counted",
      {{"consumer", handler_.consumer()}});
  loop_.nudge();
}

std::chrono::milliseconds Outage::ask() {
  if (!is_on()) return kUntilNudged;
  if (tries_ == 0) began_ = std::chrono::steady_clock::now();
  if (!handler_.is_reachable()) return delay_after(backoff_, ++tries_, random_token());
  tries_ = 0;
  const auto lasted = std::chrono::steady_clock::now() - began_;
  log(LogLevel::info, "the database answers again",
      {{"consumer", handler_.consumer()},
       {"after_ms", std::chrono::duration_cast<std::chrono::milliseconds>(lasted).count()}});
  const std::lock_guard lock(mutex_);
  is_on_.store(false, std::memory_order_release);
  hold_(false);
  return kUntilNudged;
}

}  // namespace oncemark::consume
