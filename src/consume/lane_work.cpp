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

// With more, looking copies up costs more than commits do; and when there are none any more, one group is so much longer.
constexpr double kMostTimes = 4;

// So often a message may be in hand when the process ends.
constexpr std::uint32_t kCrashLoopAfter = 3;

constexpr std::array<const char*, 7> kEndingNames{"done", "duplicate", "retrying",         "parked",
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

/// UnavailableError of the user's, not a client library's.
bool is_said_by_handler(const ErrorSummary& error) {
  return error.kind == ErrorKind::unavailable && error.error_class == to_string(ErrorKind::unavailable);
}

}  // namespace

LaneWork::LaneWork(Handler& handler, FailureSink& failures, std::string group, const RunnerOptions& options,
                   Assignments& assignments, Metrics& metrics, std::function<void(std::exception_ptr)> on_fatal,
                   std::function<void()> on_outage, std::function<void(bool)> hold,
                   std::function<void()> let_one_through)
    : handler_(handler),
      sequences_(handler.sequences()),
      failures_(failures),
      is_order_kept_(failures.key_order().is_kept),
      group_(std::move(group)),
      options_(options),
      assignments_(assignments),
      metrics_(metrics),
      on_fatal_(std::move(on_fatal)),
      on_outage_(std::move(on_outage)),
      workers_(options.workers, Worker{.size = GroupSize(options.max_group, GroupSize::kTarget, options.min_group)}),
      flood_(options.breaker, handler.consumer(), metrics, std::move(hold), std::move(let_one_through)) {}

/// Duplicates write nothing, so that a group may be the longer the more of it they are.
std::size_t LaneWork::limit(std::size_t number) const {
  const Worker& worker = workers_[number];
  const std::size_t limit = worker.size.limit();
  if (options_.min_group == options_.max_group) return limit;
  const double times = std::min(1 / std::max(worker.fresh_share, 0.01), kMostTimes);
  return static_cast<std::size_t>(static_cast<double>(limit) * times);
}

std::size_t LaneWork::settle_known(LaneItems& items) {
  std::vector<LaneItems::iterator> asked;
  std::vector<const Message*> messages;
  for (auto item = items.begin(); item != items.end(); ++item) {
    // In the first window of a partition a message may have been noted by a process that died: its note has to go.
    if (item->error || item->partition->is_watched.load(std::memory_order_relaxed)) continue;
    asked.push_back(item);
    messages.push_back(&item->message);
  }
  if (messages.empty()) return 0;
  const std::vector<bool> known = handler_.known_done(messages);
  LaneItems duplicates;
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (known[i]) duplicates.splice(duplicates.end(), items, asked[i]);
  }
  const std::size_t settled = duplicates.size();
  settle(duplicates, kDuplicate);
  return settled;
}

LaneItems LaneWork::run(std::size_t number, LaneItems items, const std::stop_token& stop) {
  Worker& worker = workers_[number];
  worker.shown = FloodGuard::Probe::proved_nothing;
  const bool is_probe = items.front().is_probe;
  items.front().is_probe = false;
  give_up(items, stop);
  // What was in hand when a copy of it was read may have been committed meanwhile.
  const std::size_t known = is_probe || items.size() <= 1 ? 0 : settle_known(items);
  LaneItems left;
  if (!items.empty()) {
    left = items.front().error ? route_all(std::move(items)) : handle(worker, std::move(items), known);
  }
  give_up(left, stop);
  if (is_probe) flood_.probe_ended(worker.shown);
  return left;
}

void LaneWork::note_share(Worker& worker, const Handled& handled, std::size_t known) {
  const auto duplicates = static_cast<std::size_t>(std::ranges::count_if(handled.messages, [](const Settled& settled) {
    return !settled.failure && settled.outcome == Outcome::duplicate;
  }));
  const std::size_t fresh = handled.messages.size() - duplicates;
  const double share = static_cast<double>(fresh) / static_cast<double>(handled.messages.size() + known);
  worker.fresh_share = share > worker.fresh_share ? share : (7 * worker.fresh_share + share) / 8;
}

/// `known` more of what was taken have been settled already.
LaneItems LaneWork::handle(Worker& worker, LaneItems items, std::size_t known) {
  LaneItems later;
  Handled handled;
  std::exception_ptr failure;        // of the note
  std::chrono::nanoseconds took{0};  // the group
  {
    const Quiet::Inside inside(quiet_, items.front().is_suspect ? Quiet::Company::nobody : Quiet::Company::others);
    try {
      later = note(items);
    } catch (...) {
      failure = std::current_exception();
    }
    if (items.empty()) return later;
    if (!failure && !items.front().error) {
      std::vector<const Message*> group;
      group.reserve(items.size());
      for (const LaneItem& item : items) group.push_back(&item.message);
      const auto begin = steady_clock::now();
      handled = handler_.handle(group);
      took = steady_clock::now() - begin;
    }
  }
  if (items.front().error) return route_all(std::move(items));  // a crash loop
  if (failure && items.size() == 1) return try_again(std::move(items), failure);
  if (failure) return group_failed(worker, std::move(items), failure);
  if (handled.failure) {
    LaneItems left = group_failed(worker, std::move(items), handled.failure);
    append(left, std::move(later));
    return left;
  }
  worker.lost_races = 0;
  note_share(worker, handled, known);

  LaneItems done;
  LaneItems duplicates;
  LaneItems parked;
  LaneItems unsettled;
  LaneItems failed;
  std::vector<Settled> failures;
  std::chrono::nanoseconds in_handlers{0};
  for (const Settled& settled : handled.messages) {
    note_time(items.front(), settled.took);
    in_handlers += settled.took;
    LaneItems& ending = settled.failure                         ? failed
                        : settled.outcome == Outcome::done      ? done
                        : settled.outcome == Outcome::parked    ? parked
                        : settled.outcome == Outcome::unsettled ? unsettled
                                                                : duplicates;
    append(ending, take_first(items));
    if (settled.failure) failures.push_back(settled);
  }
  count_for_flood(done, failed, failures);
  if (!done.empty()) worker.shown = FloodGuard::Probe::succeeded;
  if (!failed.empty()) worker.shown = FloodGuard::Probe::failed;
  settle(done, kDone);
  settle(duplicates, kDuplicate);
  settle(parked, kParked);
  LaneItems left;
  if (failed.empty()) {
    worker.size.succeeded(handled.messages.size(), in_handlers, took - in_handlers);
  } else {
    const ErrorSummary error = summarize(failures.front().failure);
    if (error.is_contention) {
      worker.size.lost_race();
    } else if (error.is_infrastructure || 2 * failures.size() > handled.messages.size()) {
      // Where nearly all fail, something is down, and what is tried until that shows should be little.
      worker.size.failed();
    } else {
      // A few messages that are at fault themselves say nothing about groups, but for the time that it took.
      worker.size.succeeded(handled.messages.size(), in_handlers, took - in_handlers);
    }
    LaneItems faulty;
    for (const Settled& cause : failures) append(left, message_failed(take_first(failed), cause, faulty));
    append(left, route_all(std::move(faulty)));
  }
  append(left, std::move(unsettled));  // behind what failed before them, of their key
  append(left, std::move(items));      // not tried: behind what holds them up
  append(left, std::move(later));
  return left;
}

/// While the first window of a partition lasts, what is taken in hand is noted. Returns what must not be handled now:
/// from the first that has to go alone on.
LaneItems LaneWork::note(LaneItems& items) {
  if (items.front().is_suspect) {
    if (items.front().message.suspect_tries == 0) note_alone(items.front());
    return {};
  }
  std::vector<LaneItem*> unnoted;
  std::vector<const Message*> messages;
  for (LaneItem& item : items) {
    if (item.message.suspect_tries > 0 || !item.partition->is_watched.load(std::memory_order_relaxed)) continue;
    unnoted.push_back(&item);
    messages.push_back(&item.message);
  }
  if (unnoted.empty()) return {};
  const std::vector<std::uint32_t> tries = handler_.note(messages);
  if (tries.empty()) return {};  // no watch is kept
  noted_.fetch_add(tries.size(), std::memory_order_relaxed);
  for (std::size_t i = 0; i < tries.size(); ++i) {
    unnoted[i]->message.suspect_tries = tries[i];
    if (tries[i] == 0) unnoted[i]->is_suspect = unnoted[i]->is_alone = true;
  }
  LaneItems later;
  const auto suspect = std::ranges::find_if(items, [](const LaneItem& item) { return item.is_suspect; });
  later.splice(later.end(), items, suspect, items.end());
  return later;
}

/// Nothing else is running now: if the process dies, it is this message.
void LaneWork::note_alone(LaneItem& suspect) {
  const std::uint32_t tries = handler_.note_alone(suspect.message);
  noted_.fetch_add(1, std::memory_order_relaxed);
  suspect.message.suspect_tries = tries;
  if (tries <= kCrashLoopAfter) {
    log(LogLevel::warn,
        "processes ended while this message was in hand; it is handled alone, to see whether it is to blame",
        {{"consumer", handler_.consumer()}, {"record", suspect.message.read_at.str()}, {"tries", tries}});
    return;
  }
  crash_loops_.fetch_add(1, std::memory_order_relaxed);
  suspect.error = ErrorSummary{.error_class = "crash_loop",
                               .text = "the process ended " + std::to_string(tries - 1) +
                                       " times in a row with this message in hand, the last time with nothing else; "
                                       "it was not handled again",
                               .kind = ErrorKind::permanent};
}

/// All of a group are counted before any of them is routed.
void LaneWork::count_for_flood(const LaneItems& done, const LaneItems& failed, std::span<const Settled> failures) {
  if (!done.empty()) {
    flood_.succeeded(static_cast<std::size_t>(
        std::ranges::count_if(done, [](const LaneItem& item) { return !item.message.from_retry_topic; })));
  }
  auto settled = failures.begin();
  for (const LaneItem& item : failed) {
    const Settled& result = *settled++;
    const ErrorSummary error = summarize(result.failure);
    if (error.is_infrastructure || error.kind == ErrorKind::misuse || item.message.from_retry_topic) continue;
    if (result.is_held) continue;
    // A handler that decides what becomes of its message works; a conflict of keys is no failure of a handler.
    if (error.retry_after || error.is_given_up || result.stage != Stage::handler) continue;
    const Message& message = item.message;
    (void)flood_.failed(error.error_class, message.key.is_null() ? message.business_key : message.key.view());
  }
}

/// Nothing of the group was settled. A lost race is answered by less at a time; when the server answers and yet
/// something else went wrong, each goes alone to show whose fault it is.
LaneItems LaneWork::group_failed(Worker& worker, LaneItems items, const std::exception_ptr& failure) {
  const ErrorSummary error = summarize(failure);
  if (error.kind == ErrorKind::misuse) {
    on_fatal_(failure);
    abandon(items);
    return {};
  }
  if (error.is_contention) {
    worker.size.lost_race();
  } else {
    worker.size.failed();
  }
  if (!error.is_contention) worker.shown = FloodGuard::Probe::failed;
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

/// Puts it with the `faulty` ones when it is to be routed.
LaneItems LaneWork::message_failed(LaneItems item, const Settled& settled, LaneItems& faulty) {
  ErrorSummary error = summarize(settled.failure);
  if (error.kind == ErrorKind::misuse) {
    on_fatal_(settled.failure);
    abandon(item);
    return {};
  }
  if (settled.is_held) return hold(std::move(item), error);
  LaneItem& failed = item.front();
  if (error.is_infrastructure && !costs_an_attempt(failed.tries, failed.first_try, error)) {
    return rest(std::move(item), error);
  }
  if (flood_.is_open()) return rest(std::move(item), error);
  item.front().stage = settled.stage;
  item.front().error = std::move(error);
  append(faulty, std::move(item));
  return {};
}

/// While the store answers a probe, it may be this message that keeps failing (it outlasts wait_timeout, it locks
/// itself out): then it must not be tried for ever.
bool LaneWork::costs_an_attempt(int& tries, SteadyTime& first_try, const ErrorSummary& error, bool may_open) {
  const SteadyTime now = steady_clock::now();
  if (!error.is_contention && !is_store_reachable()) {
    tries = 0;
    on_outage_();
    return false;
  }
  if (tries++ == 0) first_try = now;
  if (tries < options_.in_place_tries) return false;
  if (error.is_contention) return now - first_try >= kLongestRace;
  if (!is_said_by_handler(error) || flood_.has_succeeded_since(first_try)) return true;
  // What the handler needs is down, and not for this message only. When another one succeeds and this one then still
  // fails as often, it was for this one.
  tries = 1;
  if (may_open) flood_.open(error.error_class);
  return false;
}

LaneItems LaneWork::route_all(LaneItems items) {
  LaneItems left;
  if (flood_.is_open()) {
    while (!items.empty()) {
      LaneItems item = take_first(items);
      const ErrorSummary error = *item.front().error;
      append(left, rest(std::move(item), error));
    }
    return left;
  }
  if (is_order_kept_ && sequences_ != nullptr && sequences_->is_full()) {
    LaneItems may_go;
    while (!items.empty()) {
      LaneItems item = take_first(items);
      const ErrorSummary error = *item.front().error;
      if (item.front().message.from_retry_topic) {
        append(may_go, std::move(item));
      } else {
        append(left, hold(std::move(item), error));
      }
    }
    items.swap(may_go);
  }
  std::vector<Failure> failures;
  for (const LaneItem& failed : items) {
    failures.push_back({.message = failed.message,
                        .consumer = handler_.consumer(),
                        .group = group_,
                        .stage = failed.stage,
                        .error = *failed.error,
                        .tried_here = failed.tried_here});
  }
  if (failures.empty()) return left;
  for (const Route& route : failures_.route_all(failures)) append(left, routed(take_first(items), route));
  return left;
}

LaneItems LaneWork::routed(LaneItems item, const Route& route) {
  if (route.failure) return try_again(std::move(item), route.failure);
  if (route.routed == Routed::again) return again(std::move(item));
  settle(item, ending_of(route.routed));
  if (route.routed == Routed::parked && when_parked_) when_parked_();
  return {};
}

LaneWork::Ending LaneWork::ending_of(Routed routed) noexcept {
  switch (routed) {
    case Routed::retrying:
      return kRetrying;
    case Routed::parked:
      return kParked;
    case Routed::dead:
      return kDead;
    case Routed::discarded:
      return kDiscarded;
    case Routed::settled:
    case Routed::again:  // settles nothing
      break;
  }
  return kSettledElsewhere;
}

void LaneWork::count_head(Routed end) noexcept {
  // Parked it was before.
  if (end == Routed::dead || end == Routed::discarded) settled_[ending_of(end)].fetch_add(1, std::memory_order_relaxed);
}

/// There is no room to park it. Its key waits with it, here; when that lasts, reading stops.
LaneItems LaneWork::hold(LaneItems item, const ErrorSummary& error) {
  LaneItem& held = item.front();
  if (held.times_held++ == 0) {
    held_.fetch_add(1, std::memory_order_relaxed);
    metrics_.count(metric::kHeld, {{"consumer", handler_.consumer()}}, 1);
    log(LogLevel::warn,
        "a message cannot be parked, because its key's sequence or all of them together are full; it is tried again, "
        "and "
        "reading stops when max_in_flight records wait behind it. Look at `oncemark parked list`, and raise "
        "RetryOptions::max_parked_per_key or max_parked if there is nothing to repair",
        {{"consumer", handler_.consumer()}, {"record", held.message.read_at.str()}, {"text", error.text}});
  }
  held.not_before = steady_clock::now() + delay_after(options_.in_place, held.times_held, random_token());
  return item;
}

void LaneWork::let_go(const LaneItems& items) noexcept {
  const auto held = std::ranges::count_if(items, [](const LaneItem& item) { return item.times_held > 0; });
  if (held > 0) held_.fetch_sub(held, std::memory_order_relaxed);
}

/// It was not the handler that failed, but what we do about a message.
LaneItems LaneWork::try_again(LaneItems item, const std::exception_ptr& failure) {
  const ErrorSummary trouble = summarize(failure);
  if (trouble.kind == ErrorKind::misuse) {
    on_fatal_(failure);
    abandon(item);
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
  let_go(items);
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
  abandon(unwanted);
}

void LaneWork::abandon(LaneItems& items) {
  std::vector<const Message*> noted;
  for (const LaneItem& item : items) {
    if (item.message.suspect_tries > 0) noted.push_back(&item.message);
  }
  if (!noted.empty()) handler_.withdraw(noted);
  let_go(items);
  assignments_.abandon(items);
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
  return {.done = read(settled_[kDone]) + read(unparked_),
          .duplicates = read(settled_[kDuplicate]),
          .retrying = read(settled_[kRetrying]),
          .parked = read(settled_[kParked]),
          .unparked = read(unparked_),
          .dead = read(settled_[kDead]),
          .discarded = read(settled_[kDiscarded]),
          .settled_elsewhere = read(settled_[kSettledElsewhere]),
          .in_place_retries = read(in_place_retries_),
          .noted = read(noted_),
          .crash_loops = read(crash_loops_),
          .breaker_opened = flood_.times_opened(),
          .probes = flood_.probes()};
}

}  // namespace oncemark::consume
