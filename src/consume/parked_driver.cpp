#include "consume/parked_driver.hpp"

#include <algorithm>
#include <functional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <oncemark/core/id.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

namespace oncemark::consume {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kPolled = 600;       // heads looked at a time
constexpr std::size_t kMaxAtOnce = 8;      // heads taken in one transaction
constexpr std::size_t kFirstGroup = 8;     // messages of a sequence in one transaction, its head included
constexpr std::size_t kMaxGroup = 32;      // the same, at most
constexpr milliseconds kGroupTarget{20};   // a transaction that is longer makes the next one smaller
constexpr milliseconds kRoundTarget{100};  // heads in hand longer than this are too many
constexpr milliseconds kSlice{200};        // then other heads have their turn
constexpr milliseconds kLongestSleep{1'000};
constexpr milliseconds kWhileHeld{50};
constexpr milliseconds kOthersHaveThem{20};
constexpr milliseconds kCountEvery{1'000};
constexpr std::chrono::hours kUntilNudged{1};
constexpr std::uint32_t kTriesAlone = 3;
constexpr std::uint32_t kTriesCrashLoop = 4;
constexpr int kLooksAtALockedHead = 10;
constexpr std::size_t kMaxTroubles = 10'000;
constexpr Backoff kAfterLostRace{.initial = milliseconds(2), .factor = 2.0, .cap = milliseconds(50), .jitter = 1.0};

ErrorSummary summarize(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (...) {
    return summarize_current_exception();
  }
}

}  // namespace

ParkedDriver::ParkedDriver(Sequences& sequences, const std::string& consumer, FailureSink& failures, std::string group,
                           const RunnerOptions& options, LaneWork& work, Metrics& metrics, Ties ties)
    : sequences_(sequences),
      consumer_(consumer),
      failures_(failures),
      group_(std::move(group)),
      options_(options),
      work_(work),
      metrics_(metrics),
      ties_(std::move(ties)),
      order_(failures.key_order()) {}

Sequences::Mode ParkedDriver::wanted_mode() {
  if (order_.is_kept) return Sequences::Mode::keep;
  try {
    if (sequences_.count().keys == 0) return Sequences::Mode::off;
  } catch (const Error& error) {
    // Not known: to look is safe, and ends by itself.
    log(LogLevel::warn, "it is not known whether messages are parked, so lanes look for them",
        {{"consumer", consumer_}, {"text", error.what()}});
  }
  return Sequences::Mode::drain;
}

void ParkedDriver::begin(Sequences::Mode mode) {
  const std::lock_guard lock(mutex_);
  if (mode_ != mode) {
    if (mode == Sequences::Mode::drain && ties_.place == 0) {
      log(LogLevel::info,
          "order of keys is not kept any more (RetryOptions::order); what is parked is worked off, in order",
          {{"consumer", consumer_}});
    }
    mode_ = mode;
    sequences_.set_mode(mode, order_, group_);
  }
  if (loop_) {
    loop_->nudge();
  } else {
    loop_ = std::make_unique<Loop>([this](const std::stop_token& stop) { return round(stop); });
  }
}

void ParkedDriver::nudge() {
  const std::lock_guard lock(mutex_);
  if (loop_) loop_->nudge();
}

void ParkedDriver::stop() {
  if (loop_) loop_->stop();
}

milliseconds ParkedDriver::round(const std::stop_token& stop) {
  try {
    const milliseconds wait = work_off(stop);
    failures_in_a_row_ = 0;
    return wait;
  } catch (...) {
    const ErrorSummary error = summarize_current_exception();
    if (error.kind == ErrorKind::misuse) {
      ties_.on_fatal(std::current_exception());
      return kUntilNudged;
    }
    // The lanes find out about an outage by themselves, and hold us too.
    log(LogLevel::debug, "parked messages could not be worked off; it is tried again",
        {{"consumer", consumer_}, {"error", error.error_class}, {"text", error.text}});
    return delay_after(error.is_contention ? kAfterLostRace : options_.in_place, ++failures_in_a_row_, random_token());
  }
}

milliseconds ParkedDriver::work_off(const std::stop_token& stop) {
  give_back_again();
  if (ties_.is_held()) return kWhileHeld;
  if (steady_clock::now() - counted_at_ >= kCountEvery && !count()) return kUntilNudged;
  std::vector<Sequences::Due> heads = sequences_.next_due(kPolled);
  const auto later = std::ranges::find_if(heads, [](const Sequences::Due& head) { return head.wait.count() > 0; });
  const milliseconds longest = unreturned_.empty() ? kLongestSleep : kOthersHaveThem;
  const milliseconds until_next =
      later == heads.end() ? longest : std::min(longest, std::chrono::ceil<milliseconds>(later->wait));
  heads.erase(later, heads.end());
  if (heads.empty()) return until_next;
  std::minstd_rand random(static_cast<std::minstd_rand::result_type>(random_token()));
  // Other instances look at the same ones, too.
  std::ranges::shuffle(heads, random);
  // The drivers of an instance share them out: to meet at a head costs more than it seems. And where not all can have
  // their turn at once, those come first that most wait behind. Now and then one takes any: those of a driver whose
  // handler is slow do not wait for it, and those that little waits behind have their turn, too.
  if (random() % 4 != 0) {
    const auto others = std::ranges::stable_partition(heads, [&](const Sequences::Due& head) {
      return std::hash<std::string>()(head.order_key) % ties_.drivers == ties_.place;
    });
    if (others.begin() != heads.begin()) heads.erase(others.begin(), others.end());
    std::ranges::stable_sort(heads, std::ranges::greater(), &Sequences::Due::depth);
  }
  // One that processes may have died of is taken alone: a try must not count against its neighbours. And others take
  // some meanwhile, so that what is left of these is looked at anew.
  const auto suspect = std::ranges::find_if(heads, [](const Sequences::Due& head) { return head.tries > 0; });
  const auto sound = static_cast<std::size_t>(suspect - heads.begin());
  const auto taking = std::span(heads).first(std::clamp<std::size_t>(std::min(at_once_, sound), 1, heads.size()));
  return drive(taking, stop) ? milliseconds(0) : std::min(kOthersHaveThem, until_next);
}

bool ParkedDriver::count() {
  const Sequences::Counts counts = sequences_.count();
  counted_at_ = steady_clock::now();
  const auto gauge = [&](std::string_view name, std::uint64_t value) {
    metrics_.gauge(name, {{"consumer", consumer_}}, static_cast<double>(value));
  };
  if (ties_.place == 0) {
    gauge(metric::kParkedMessages, counts.messages);
    gauge(metric::kParkedKeys, counts.keys);
    gauge(metric::kStoppedKeys, counts.stopped);
  }
  if (ties_.place == 0 && counts.stopped > stopped_) {
    log(LogLevel::warn,
        "keys are stopped: the first message of each is dead, and what comes later of the key waits. Replay it, skip "
        "it, "
        "or release the key; see `oncemark parked list --stopped`",
        {{"consumer", consumer_}, {"stopped", counts.stopped}, {"messages_parked", counts.messages}});
  }
  stopped_ = counts.stopped;
  const std::lock_guard lock(mutex_);
  if (order_.is_kept || counts.keys > 0) return true;
  mode_ = Sequences::Mode::off;
  sequences_.set_mode(mode_, order_, group_);
  if (ties_.place != 0) return false;
  log(LogLevel::info, "nothing is parked any more; lanes do not look for it from now on", {{"consumer", consumer_}});
  return false;
}

/// False: somebody else has them.
bool ParkedDriver::drive(std::span<const Sequences::Due> heads, const std::stop_token& stop) {
  const SteadyTime begin = steady_clock::now();
  std::vector<Sequences::Taken> taken = sequences_.take(heads);
  const SteadyTime taken_at = steady_clock::now();
  std::exception_ptr failure;
  for (Sequences::Taken& head : taken) {
    // Those that would have to wait for slow ones before them are for other drivers.
    const bool is_late = &head != &taken.front() && steady_clock::now() - taken_at >= kSlice;
    if (failure || is_late || stop.stop_requested() || ties_.is_held()) {
      unreturned_.push_back({.taken = head, .due = steady_clock::now()});
      continue;
    }
    try {
      if (head.tries >= kTriesCrashLoop) {
        bury_crash_loop(head);
      } else {
        run(head, stop);
      }
    } catch (...) {
      failure = std::current_exception();
    }
  }
  route_failed();
  if (failure) std::rethrow_exception(failure);
  give_back_again();
  const bool is_quick = steady_clock::now() - begin <= kRoundTarget;
  at_once_ = is_quick ? std::min(2 * at_once_, kMaxAtOnce) : std::max<std::size_t>(1, at_once_ / 2);
  return !taken.empty();
}

void ParkedDriver::run(Sequences::Taken& taken, const std::stop_token& stop) {
  const SteadyTime begin = steady_clock::now();
  // What waits behind the head rides along, unless that would be locked for long, or processes may have died of one of
  // them: then it shows of which.
  const bool is_suspect = taken.tries > 1;
  std::size_t group = is_suspect || !is_quick_ ? 1 : kFirstGroup;
  while (!stop.stop_requested() && !ties_.is_held() && steady_clock::now() - begin < kSlice) {
    Sequences::Drained drained;
    const SteadyTime group_begin = steady_clock::now();
    {
      // Processes have died of it twice, or beside it: now it shows which.
      const Quiet::Inside inside(work_.quiet(),
                                 taken.tries >= kTriesAlone ? Quiet::Company::nobody : Quiet::Company::others);
      drained = sequences_.drain(taken, group);
    }
    is_quick_ = steady_clock::now() - group_begin <= kGroupTarget;
    if (drained.failure && group > 1) {
      group = 1;
      continue;
    }
    if (drained.failure) {
      unreturned_.push_back({.taken = taken, .due = steady_clock::now()});
      std::rethrow_exception(drained.failure);
    }
    if (drained.head) {
      taken.head_key = drained.head->business_key;
      if (summarize(drained.cause.failure).kind == ErrorKind::in_doubt) continue;  // its row knows
      head_failed(taken, *drained.head, drained.cause);
      return;
    }
    if (drained.done > 0) note_done(drained);
    if (drained.is_over) return;
    if (drained.is_locked) {
      taken.head_key = drained.head_key;
      break;
    }
    troubles_.erase(taken.head_key);
    taken.head_key = drained.head_key;
    taken.tries = 1;
    if (is_suspect) continue;
    group = is_quick_ ? std::clamp(2 * group, kFirstGroup, kMaxGroup) : std::max<std::size_t>(1, group / 2);
  }
  give_back(taken, milliseconds(0));
}

/// Otherwise nobody would run it before its lease is over.
void ParkedDriver::give_back(const Sequences::Taken& taken, milliseconds delay) {
  if (!sequences_.put_back(taken, delay)) unreturned_.push_back({.taken = taken, .due = steady_clock::now() + delay});
}

void ParkedDriver::give_back_again() {
  std::vector<Unreturned> rest;
  rest.swap(unreturned_);
  while (!rest.empty()) {
    const Unreturned one = std::move(rest.back());
    rest.pop_back();
    const auto delay = std::chrono::ceil<milliseconds>(one.due - steady_clock::now());
    try {
      give_back(one.taken, std::max(delay, milliseconds(0)));
    } catch (...) {
      unreturned_.push_back(one);
      unreturned_.insert(unreturned_.end(), rest.begin(), rest.end());
      throw;
    }
  }
}

void ParkedDriver::note_done(const Sequences::Drained& drained) {
  work_.count_unparked(drained.done);
  work_.flood().succeeded(0);
  metrics_.count(metric::kUnparked, {{"consumer", consumer_}}, static_cast<double>(drained.done));
}

void ParkedDriver::head_failed(const Sequences::Taken& taken, const Message& head, const Settled& cause) {
  const ErrorSummary error = summarize(cause.failure);
  if (error.kind == ErrorKind::misuse) {
    ties_.on_fatal(cause.failure);
    return;
  }
  if (troubles_.size() > kMaxTroubles) troubles_.clear();
  Trouble& trouble = troubles_[head.business_key];
  if (error.is_infrastructure && !work_.costs_an_attempt(trouble.tries, trouble.first_try, error, /*may_open=*/false)) {
    metrics_.count(metric::kInPlaceRetries, {{"consumer", consumer_}, {"error", error.error_class}}, 1);
    give_back(taken, delay_after(error.is_contention ? kAfterLostRace : options_.in_place, std::max(1, trouble.tries),
                                 random_token()));
    return;
  }
  if (work_.flood().is_open()) {
    give_back(taken, options_.in_place.cap);
    return;
  }
  failed_.push_back({.taken = taken, .head = head, .error = error});
}

/// All heads in hand that have failed.
void ParkedDriver::route_failed() {
  std::vector<Failed> failed;
  failed.swap(failed_);
  if (failed.empty()) return;
  std::vector<Failure> failures;
  for (const Failed& one : failed) {
    failures.push_back({.message = one.head,
                        .consumer = consumer_,
                        .group = group_,
                        .stage = Stage::handler,
                        .error = one.error,
                        .tried_here = troubles_[one.head.business_key].tried_here,
                        .sequence = one.taken.order_key});
  }
  const std::vector<Route> routes = failures_.route_all(failures);
  std::exception_ptr failure;
  for (std::size_t i = 0; i < routes.size(); ++i) {
    const Sequences::Taken& taken = failed[i].taken;
    Trouble& trouble = troubles_[failed[i].head.business_key];
    if (routes[i].failure) {
      // Nothing was recorded, or it is not known: it is due again, and its row tells.
      failure = routes[i].failure;
      unreturned_.push_back(
          {.taken = taken,
           .due = steady_clock::now() + delay_after(options_.in_place, ++trouble.tries, random_token())});
    } else if (routes[i].routed == Routed::again) {
      give_back(taken, delay_after(options_.in_place, ++trouble.tried_here, random_token()));
    } else {
      work_.count_head(routes[i].routed);
      troubles_.erase(failed[i].head.business_key);
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// It was taken three times, the last time with nothing beside it, and each time the process ended.
void ParkedDriver::bury_crash_loop(const Sequences::Taken& taken) {
  auto head = sequences_.look_at_head(taken);
  // Another may have its row locked just now, as when it finds out that it came too late.
  for (int looks = 1; !head && looks < kLooksAtALockedHead; ++looks) {
    std::this_thread::sleep_for(kOthersHaveThem);
    head = sequences_.look_at_head(taken);
  }
  if (!head) return;  // once its lease is over it is looked at again
  failed_.push_back(
      {.taken = taken,
       .head = std::move(*head),
       .error = {.error_class = "crash_loop",
                 .text = "the process ended " + std::to_string(taken.tries - 1) +
                         " times in a row with this message in hand, the last time with nothing else; it was not "
                         "handled again",
                 .kind = ErrorKind::permanent}});
}

}  // namespace oncemark::consume
