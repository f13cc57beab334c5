#include "outbox/courier.hpp"

#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/observe/log.hpp>

namespace oncemark::outbox {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kNothingToDo = std::chrono::hours(1);
constexpr milliseconds kWaitForReports{1};  // what comes meanwhile is to be handed over soon
constexpr milliseconds kQueueIsFull{5};
constexpr milliseconds kLastReports{2'000};

SteadyTime now() noexcept { return std::chrono::steady_clock::now(); }

}  // namespace

Courier::Courier(Sink& sink, std::string name, milliseconds report_timeout, std::size_t max_open)
    : sink_(sink), name_(std::move(name)), report_timeout_(report_timeout), max_open_(max_open) {
  loop_.emplace([this](const std::stop_token&) { return work(); });
}

Courier::~Courier() { stop(); }

bool Courier::submit(OutgoingRecord record, Done done) {
  {
    const std::lock_guard lock(mutex_);
    if (is_stopped_ || open_count_ >= max_open_) return false;
    ++open_count_;
    waiting_.push_back({std::move(record), std::move(done)});
  }
  loop_->nudge();
  return true;
}

void Courier::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(is_stopped_, true)) return;
  }
  loop_->stop();
  for (const auto until = now() + kLastReports; now() < until;) {
    (void)work();
    if (in_flight_.empty() && taken_.empty()) return;
  }
  give_up("the process, or this part of it, ends");
}

milliseconds Courier::work() noexcept {
  try {
    hand_over();
    take_reports();
    if (!order_.empty() && now() - in_flight_.at(order_.front()).since > report_timeout_) {
      log(LogLevel::error, "the broker does not answer; what was sent directly counts as not sent",
          {{"sender", name_}, {"in_flight", in_flight_.size()}});
      sink_.discard();
      give_up("no report within " + std::to_string(report_timeout_.count()) + " ms");
    }
  } catch (...) {
    const ErrorSummary error = summarize_current_exception();
    log(LogLevel::error, "a record cannot be handed to the broker's client",
        {{"sender", name_}, {"error", error.error_class}, {"text", error.text}});
    give_up(error.text);
  }
  if (!taken_.empty()) return kQueueIsFull;
  return in_flight_.empty() ? kNothingToDo : milliseconds::zero();
}

void Courier::hand_over() {
  {
    const std::lock_guard lock(mutex_);
    while (!waiting_.empty()) {
      taken_.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }
  while (!taken_.empty()) {
    const std::uint64_t token = next_token_;
    if (sink_.send(taken_.front().record, token) == Sent::queue_full) return;
    ++next_token_;
    in_flight_.emplace(token, Open{std::move(taken_.front().done), now()});
    order_.push_back(token);
    taken_.pop_front();
  }
}

void Courier::take_reports() {
  if (in_flight_.empty()) return;
  std::size_t reported = 0;
  for (const Delivery& delivery : sink_.deliveries(kWaitForReports)) {
    const auto found = in_flight_.find(delivery.token);
    if (found == in_flight_.end()) continue;
    const Done done = std::move(found->second.done);
    in_flight_.erase(found);
    ++reported;
    done(delivery);
  }
  while (!order_.empty() && !in_flight_.contains(order_.front())) order_.pop_front();
  const std::lock_guard lock(mutex_);
  open_count_ -= reported;
}

// What was not handed over yet goes the same way: nobody knows how long the trouble lasts.
void Courier::give_up(const std::string& why) noexcept {
  auto open = std::exchange(in_flight_, {});
  auto taken = std::exchange(taken_, {});
  order_.clear();
  {
    const std::lock_guard lock(mutex_);
    open_count_ -= open.size() + taken.size();
  }
  for (auto& [token, entry] : open) entry.done({.token = token, .status = DeliveryStatus::failed, .error = why});
  for (Waiting& entry : taken) entry.done({.token = 0, .status = DeliveryStatus::failed, .error = why});
}

}  // namespace oncemark::outbox
