#include <oncemark/mysql/late_calls.hpp>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include <oncemark/core/clock.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

namespace oncemark::mysql {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kNothingToDo = std::chrono::hours(1);

SteadyTime now() noexcept { return std::chrono::steady_clock::now(); }

void require(bool is_allowed, std::string_view field, std::uint64_t value, std::string_view range) {
  if (is_allowed) return;
  throw MisuseError("LateCallOptions::" + std::string(field) + " is " + std::to_string(value) +
                    "; allowed: " + std::string(range));
}

struct Call {
  std::string name;
  std::function<void()> work;
  int failures = 0;
};

}  // namespace

void LateCallOptions::validate() const {
  require(tries >= 1 && tries <= 1'000, "tries", static_cast<std::uint64_t>(std::max(tries, 0)), "1 to 1,000");
  require(max_waiting >= 1 && max_waiting <= 1'000'000, "max_waiting", max_waiting, "1 to 1,000,000");
  backoff.validate();
}

struct LateCalls::State {
  State(LateCallOptions chosen, Metrics& counters) : options(std::move(chosen)), metrics(counters) {}

  void attempt(Call call);
  void failed(Call call, const ErrorSummary& error);
  void give_up(const Call& call, std::string_view why);
  milliseconds work(const std::stop_token& stop);
  std::optional<Call> take_due();

  const LateCallOptions options;
  Metrics& metrics;
  mutable std::mutex mutex;
  std::multimap<SteadyTime, Call> waiting;  // guarded by mutex
  std::optional<Loop> loop;                 // last: its thread uses all of the above
};

void LateCalls::State::attempt(Call call) {
  try {
    call.work();
  } catch (...) {
    failed(std::move(call), summarize_current_exception());
  }
}

void LateCalls::State::failed(Call call, const ErrorSummary& error) {
  ++call.failures;
  metrics.count(metric::kLateCallFailures, {}, 1);
  if (call.failures >= options.tries) return give_up(call, error.error_class + ": " + error.text);
  log(call.failures == 1 ? LogLevel::warn : LogLevel::debug,
      "a call after a commit failed and is made again; the commit stands",
      {{"call", call.name}, {"failures", call.failures}, {"error", error.error_class}, {"text", error.text}});
  const auto due = now() + delay_after(options.backoff, call.failures, random_token());
  {
    const std::lock_guard lock(mutex);
    if (waiting.size() < options.max_waiting) {
      waiting.emplace(due, std::move(call));
      loop->nudge();
      return;
    }
  }
  give_up(call, "too many calls wait already");
}

void LateCalls::State::give_up(const Call& call, std::string_view why) {
  metrics.count(metric::kLateCallsGivenUp, {}, 1);
  log(LogLevel::error, "a call after a commit is given up; the commit stands, what the call was to do is not done",
      {{"call", call.name}, {"failures", call.failures}, {"text", why}});
}

std::optional<Call> LateCalls::State::take_due() {
  const std::lock_guard lock(mutex);
  if (waiting.empty() || waiting.begin()->first > now()) return std::nullopt;
  return std::move(waiting.extract(waiting.begin()).mapped());
}

// Returns the time until the next call is due.
milliseconds LateCalls::State::work(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::optional<Call> due = take_due();
    if (!due) break;
    attempt(std::move(*due));
  }
  const std::lock_guard lock(mutex);
  if (waiting.empty()) return kNothingToDo;
  return std::max(std::chrono::ceil<milliseconds>(waiting.begin()->first - now()), milliseconds::zero());
}

LateCalls::LateCalls(LateCallOptions options, Metrics& metrics) {
  options.validate();
  state_ = std::make_unique<State>(std::move(options), metrics);
  state_->loop.emplace([state = state_.get()](const std::stop_token& stop) { return state->work(stop); });
}

LateCalls::~LateCalls() {
  state_->loop->stop();
  for (const auto& [due, call] : state_->waiting) state_->give_up(call, "the process ends, or this part of it");
}

void LateCalls::after_commit(Transaction& tx, std::string name, std::function<void()> call) {
  tx.after_commit([state = state_.get(), name = std::move(name), call = std::move(call)] {
    state->attempt({.name = name, .work = call});
  });
}

std::size_t LateCalls::waiting() const {
  const std::lock_guard lock(state_->mutex);
  return state_->waiting.size();
}

}  // namespace oncemark::mysql
