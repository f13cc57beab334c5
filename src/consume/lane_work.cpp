#include "consume/lane_work.hpp"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

namespace oncemark::consume {

LaneWork::LaneWork(Handler& handler, FailureSink& failures, std::string group, const RunnerOptions& options,
                   Assignments& assignments, Metrics& metrics, std::function<void(std::exception_ptr)> on_fatal)
    : handler_(handler),
      failures_(failures),
      group_(std::move(group)),
      options_(options),
      assignments_(assignments),
      metrics_(metrics),
      on_fatal_(std::move(on_fatal)),
      sizes_(options.workers, GroupSize(options.max_group)) {}

void LaneWork::run(std::size_t lane, std::vector<LaneItem> items, std::stop_token stop) {
  std::vector<Message> messages;
  std::size_t next = 0;
  int tries = 0;  // of the message at `next`, in place
  while (next < items.size()) {
    if (must_give_up(items[next], stop)) {
      assignments_.abandon(items[next++]);
      continue;
    }
    if (items[next].error) {
      const bool routed = route(items[next], items[next].stage, *items[next].error, stop);
      if (!routed) assignments_.abandon(items[next]);
      ++next;
      continue;
    }
    // A message that is tried again in place is tried alone: only then is its failure its own.
    const std::size_t limit = tries > 0 ? 1 : sizes_[lane].limit();
    messages.clear();
    for (std::size_t i = next; i < items.size() && !items[i].error && messages.size() < limit; ++i) {
      messages.push_back(items[i].message);
    }
    const std::vector<Settled> results = handle(sizes_[lane], messages);

    for (const Settled& result : results) {
      const Next then = handle_one(items[next], result, tries, stop);
      if (then == Next::again) break;
      if (then == Next::give_up) assignments_.abandon(items[next]);
      tries = 0;
      ++next;
    }
  }
}

std::vector<Settled> LaneWork::handle(GroupSize& size, std::span<const Message> group) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Settled> results = handler_.handle(group);
  if (std::ranges::any_of(results, [](const Settled& settled) { return settled.failure != nullptr; })) {
    size.failed();
  } else {
    size.succeeded(results.size(), std::chrono::steady_clock::now() - begin);
  }
  return results;
}

LaneWork::Next LaneWork::handle_one(LaneItem& item, const Settled& settled, int& tries, const std::stop_token& stop) {
  if (!settled.failure) {
    const bool is_done = settled.outcome == Outcome::done;
    settle(item, is_done ? counters_.done : counters_.duplicates, is_done ? "done" : "duplicate");
    return Next::settled;
  }
  ErrorSummary error;
  try {
    std::rethrow_exception(settled.failure);
  } catch (...) {
    error = summarize_current_exception();
  }
  if (error.kind == ErrorKind::misuse) {
    on_fatal_(settled.failure);
    return Next::give_up;
  }
  if (error.is_infrastructure) {
    ++tries;
    // While the store answers a probe, it is this message that keeps failing (it outlasts wait_timeout, it locks
    // itself out): then it must not be tried for ever.
    const bool costs_an_attempt = tries >= options_.in_place_tries && handler_.is_reachable();
    if (!costs_an_attempt) return pause(item, error, tries, stop) ? Next::again : Next::give_up;
  }
  return route(item, Stage::handler, error, stop) ? Next::settled : Next::give_up;
}

bool LaneWork::route(const LaneItem& item, Stage stage, const ErrorSummary& error, const std::stop_token& stop) {
  for (int tries = 1;; ++tries) {
    std::exception_ptr failure;
    ErrorSummary trouble;
    try {
      switch (failures_.route({.message = item.message,
                               .consumer = handler_.consumer(),
                               .group = group_,
                               .stage = stage,
                               .error = error})) {
        case Routed::retrying:
          settle(item, counters_.retrying, "retrying");
          break;
        case Routed::dead:
          settle(item, counters_.dead, "dead");
          break;
        case Routed::settled:
          settle(item, counters_.settled_elsewhere, "settled_elsewhere");
          break;
      }
      return true;
    } catch (...) {
      failure = std::current_exception();
      trouble = summarize_current_exception();
    }
    if (trouble.kind == ErrorKind::misuse) {
      on_fatal_(failure);
      return false;
    }
    if (!pause(item, trouble, tries, stop)) return false;
  }
}

bool LaneWork::pause(const LaneItem& item, const ErrorSummary& error, int tries, const std::stop_token& stop) {
  counters_.in_place_retries.fetch_add(1, std::memory_order_relaxed);
  metrics_.count(metric::kInPlaceRetries, {{"consumer", handler_.consumer()}, {"error", error.error_class}}, 1);
  // A lost race for a lock is everyday; only when it goes on is it worth a person's attention.
  log(tries < options_.in_place_tries ? LogLevel::debug : LogLevel::warn, "trying again in place",
      {{"consumer", handler_.consumer()},
       {"record", item.message.read_at.str()},
       {"tries", tries},
       {"error", error.error_class},
       {"text", error.text}});
  constexpr std::chrono::milliseconds kSlice{100};
  auto left = delay_after(options_.in_place, tries, random_token());
  while (left.count() > 0) {
    if (must_give_up(item, stop)) return false;
    const auto slice = std::min(left, kSlice);
    if (!wait_for(stop, slice)) return false;
    left -= slice;
  }
  return !must_give_up(item, stop);
}

bool LaneWork::must_give_up(const LaneItem& item, const std::stop_token& stop) const {
  return stop.stop_requested() || assignments_.is_draining(item);
}

void LaneWork::settle(const LaneItem& item, std::atomic<std::uint64_t>& counter, const char* outcome) {
  counter.fetch_add(1, std::memory_order_relaxed);
  metrics_.count(metric::kConsumed, {{"consumer", handler_.consumer()}, {"outcome", outcome}}, 1);
  assignments_.finish(item);
}

RunnerCounts LaneWork::counts() const {
  const auto read = [](const std::atomic<std::uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
  return {.done = read(counters_.done),
          .duplicates = read(counters_.duplicates),
          .retrying = read(counters_.retrying),
          .dead = read(counters_.dead),
          .settled_elsewhere = read(counters_.settled_elsewhere),
          .in_place_retries = read(counters_.in_place_retries)};
}

}  // namespace oncemark::consume
