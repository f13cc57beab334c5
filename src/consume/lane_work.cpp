#include "consume/lane_work.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include <oncemark/core/id.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

namespace oncemark::consume {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A handler that locks itself out loses every race; one that meets others does not lose for as long as this.
constexpr std::chrono::seconds kLongestRace{30};
// A lost race is over when its winner commits, which takes some milliseconds.
constexpr Backoff kAfterLostRace{.initial = milliseconds(2), .factor = 2.0, .cap = milliseconds(50), .jitter = 1.0};
// What a probe has shown holds for so long, so that many failures at once are not as many connections.
constexpr milliseconds kProbeHolds{200};

constexpr std::array<const char*, 6> kEndingNames{"done", "duplicate", "retrying",
                                                  "dead", "discarded", "settled_elsewhere"};

void append(LaneItems& to, LaneItems from) { to.splice(to.end(), from); }

LaneItems take_first(LaneItems& items) {
  LaneItems first;
  first.splice(first.end(), items, items.begin());
  return first;
}

ErrorSummary summarize(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (...) {
    return summarize_current_exception();
  }
}

}  // namespace

LaneWork::LaneWork(Handler& handler, FailureSink& failures, std::string group, const RunnerOptions& options,
                   Assignments& assignments, Metrics& metrics, std::function<void(std::exception_ptr)> on_fatal,
                   std::function<void()> on_outage)
    : handler_(handler),
      failures_(failures),
      group_(std::move(group)),
      options_(options),
      assignments_(assignments),
      metrics_(metrics),
      on_fatal_(std::move(on_fatal)),
      on_outage_(std::move(on_outage)),
      workers_(options.workers, Worker{.size = GroupSize(options.max_group)}) {}

LaneItems LaneWork::run(std::size_t worker, LaneItems items, const std::stop_token& stop) {
  give_up(items, stop);
  if (items.empty()) return {};
  LaneItems left = items.front().error ? route(std::move(items)) : handle(workers_[worker], std::move(items));
  give_up(left, stop);
  return left;
}

LaneItems LaneWork::handle(Worker& worker, LaneItems items) {
  std::vector<const Message*> group;
  group.reserve(items.size());
  for (const LaneItem& item : items) group.push_back(&item.message);

  const auto begin = steady_clock::now();
  const Handled handled = handler_.handle(group);
  if (handled.failure) return group_failed(worker, std::move(items), handled.failure);
  worker.lost_races = 0;
  const auto took = steady_clock::now() - begin;

  LaneItems done;
  LaneItems duplicates;
  LaneItems failed;
  std::vector<Settled> failures;
  for (const Settled& settled : handled.messages) {
    note_time(items.front(), settled.took);
    LaneItems& ending = settled.failure ? failed : settled.outcome == Outcome::done ? done : duplicates;
    append(ending, take_first(items));
    if (settled.failure) failures.push_back(settled);
  }
  settle(done, kDone);
  settle(duplicates, kDuplicate);
  if (failed.empty()) {
    worker.size.succeeded(handled.messages.size(), took);
    return items;
  }
  worker.size.failed();
  LaneItems left;
  for (const Settled& failure : failures) append(left, message_failed(take_first(failed), failure));
  append(left, std::move(items));  // not tried: behind what holds them up
  return left;
}

/// Nothing of the group was settled. A lost race is answered by less at a time; when the server answers and yet
/// something else went wrong, each goes alone to show whose fault it is.
LaneItems LaneWork::group_failed(Worker& worker, LaneItems items, const std::exception_ptr& failure) {
  const ErrorSummary error = summarize(failure);
  if (error.kind == ErrorKind::misuse) {
    on_fatal_(failure);
    assignments_.abandon(items);
    return {};
  }
  worker.size.failed();
  note_retry(items.front(), error);
  if (error.is_contention) {
    const auto pause = delay_after(kAfterLostRace, ++worker.lost_races, random_token());
    for (LaneItem& item : items) item.not_before = steady_clock::now() + pause;
  } else if (!is_store_reachable()) {
    on_outage_();
  } else {
    for (LaneItem& item : items) item.is_alone = true;
  }
  return items;
}

LaneItems LaneWork::message_failed(LaneItems item, const Settled& settled) {
  ErrorSummary error = summarize(settled.failure);
  if (error.kind == ErrorKind::misuse) {
    on_fatal_(settled.failure);
    assignments_.abandon(item);
    return {};
  }
  if (error.is_infrastructure && !costs_an_attempt(item.front(), error)) return rest(std::move(item), error);
  item.front().stage = settled.stage;
  item.front().error = std::move(error);
  return route(std::move(item));
}

/// While the store answers a probe, it may be this message that keeps failing (it outlasts wait_timeout, it locks
/// itself out): then it must not be tried for ever.
bool LaneWork::costs_an_attempt(LaneItem& item, const ErrorSummary& error) {
  const SteadyTime now = steady_clock::now();
  if (!error.is_contention && !is_store_reachable()) {
    item.tries = 0;
    on_outage_();
    return false;
  }
  if (item.tries++ == 0) item.first_try = now;
  if (item.tries < options_.in_place_tries) return false;
  return !error.is_contention || now - item.first_try >= kLongestRace;
}

LaneItems LaneWork::route(LaneItems item) {
  std::exception_ptr failure;
  try {
    const LaneItem& failed = item.front();
    switch (failures_.route({.message = failed.message,
                             .consumer = handler_.consumer(),
                             .group = group_,
                             .stage = failed.stage,
                             .error = *failed.error,
                             .tried_here = failed.tried_here})) {
      case Routed::retrying:
        settle(item, kRetrying);
        break;
      case Routed::dead:
        settle(item, kDead);
        break;
      case Routed::discarded:
        settle(item, kDiscarded);
        break;
      case Routed::settled:
        settle(item, kSettledElsewhere);
        break;
      case Routed::again:
        return again(std::move(item));
    }
    return {};
  } catch (...) {
    failure = std::current_exception();
  }
  const ErrorSummary trouble = summarize(failure);
  if (trouble.kind == ErrorKind::misuse) {
    on_fatal_(failure);
    assignments_.abandon(item);
    return {};
  }
  ++item.front().tries;
  if (!trouble.is_contention && !is_store_reachable()) on_outage_();
  return rest(std::move(item), trouble);
}

/// A rule says that the message is tried again in place.
LaneItems LaneWork::again(LaneItems item) {
  LaneItem& failed = item.front();
  const ErrorSummary error = *std::exchange(failed.error, std::nullopt);
  failed.tries = ++failed.tried_here;  // the pause grows with them
  LaneItems resting = rest(std::move(item), error);
  resting.front().tries = 0;
  return resting;
}

LaneItems LaneWork::rest(LaneItems item, const ErrorSummary& error) {
  LaneItem& tired = item.front();
  note_retry(tired, error);
  const Backoff& backoff = error.is_contention ? kAfterLostRace : options_.in_place;
  tired.is_alone = true;
  tired.not_before = steady_clock::now() + delay_after(backoff, tired.tries, random_token());
  return item;
}

void LaneWork::note_time(const LaneItem& item, std::chrono::nanoseconds took) {
  if (took.count() == 0 || (took < slow_.limit() && slow_.is_empty())) return;
  slow_.note(KeyLanes::lane_of(item.message), took, steady_clock::now());
}

void LaneWork::note_retry(const LaneItem& item, const ErrorSummary& error) {
  in_place_retries_.fetch_add(1, std::memory_order_relaxed);
  metrics_.count(metric::kInPlaceRetries, {{"consumer", handler_.consumer()}, {"error", error.error_class}}, 1);
  // A lost race for a lock is everyday; only when it goes on is it worth a person's attention.
  log(item.tries < options_.in_place_tries ? LogLevel::debug : LogLevel::warn, "trying again in place",
      {{"consumer", handler_.consumer()},
       {"record", item.message.read_at.str()},
       {"tries", item.tries},
       {"error", error.error_class},
       {"text", error.text}});
}

void LaneWork::settle(LaneItems& items, Ending ending) {
  if (items.empty()) return;
  settled_[ending].fetch_add(items.size(), std::memory_order_relaxed);
  metrics_.count(metric::kConsumed, {{"consumer", handler_.consumer()}, {"outcome", kEndingNames[ending]}},
                 static_cast<double>(items.size()));
  assignments_.finish(items);
}

/// Leaves unsettled what must not be started any more: its partition is being let go, or the worker is to stop.
void LaneWork::give_up(LaneItems& items, const std::stop_token& stop) {
  LaneItems unwanted;
  for (auto item = items.begin(); item != items.end();) {
    const auto next = std::next(item);
    if (stop.stop_requested() || item->partition->is_leaving.load(std::memory_order_relaxed)) {
      unwanted.splice(unwanted.end(), items, item);
    }
    item = next;
  }
  assignments_.abandon(unwanted);
}

bool LaneWork::is_store_reachable() {
  {
    const std::lock_guard lock(probe_mutex_);
    if (reachable_at_ > SteadyTime{} && steady_clock::now() - reachable_at_ < kProbeHolds) return true;
  }
  if (!handler_.is_reachable()) return false;
  const std::lock_guard lock(probe_mutex_);
  reachable_at_ = steady_clock::now();
  return true;
}

RunnerCounts LaneWork::counts() const {
  const auto read = [](const std::atomic<std::uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
  return {.done = read(settled_[kDone]),
          .duplicates = read(settled_[kDuplicate]),
          .retrying = read(settled_[kRetrying]),
          .dead = read(settled_[kDead]),
          .discarded = read(settled_[kDiscarded]),
          .settled_elsewhere = read(settled_[kSettledElsewhere]),
          .in_place_retries = read(in_place_retries_)};
}

}  // namespace oncemark::consume
