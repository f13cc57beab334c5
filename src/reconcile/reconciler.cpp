#include <oncemark/reconcile/reconciler.hpp>

#include <algorithm>
#include <future>
#include <map>
#include <numeric>
#include <set>

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>
#include <oncemark/outbox/writer.hpp>

#include "reconcile/drill.hpp"
#include "reconcile/grid.hpp"
#include "reconcile/sieve.hpp"
#include "reconcile/standings.hpp"

namespace oncemark::reconcile {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr Backoff kTrouble{.initial = seconds(1), .factor = 2.0, .cap = seconds(60), .jitter = 0.2};
constexpr int kLogged = 10;  // differences that a round of run() names in the log

const Buckets* buckets_of(const Digest& digest, const std::string& topic) {
  const auto found = digest.topics.find(topic);
  return found == digest.topics.end() ? nullptr : &found->second;
}

/// One comparison.
class Round {
 public:
  Round(mysql::Pool& pool, const ReconcileOptions& options, const Reconciler::Visit& visit, std::stop_token stop)
      : pool_(pool), options_(options), stop_(std::move(stop)), sieve_(pool, options, report_, visit) {}

  Report look() {
    pool_.transact([&](mysql::Transaction& tx) {
      report_.at = ledger::database_now(tx);
      report_.grid = make_grid(tx, options_, report_.at);
    });
    choose_consumers();
    if (sieve_.wants(Kind::unsettled) || sieve_.wants(Kind::unexpected) || sieve_.wants(Kind::conflict)) compare();
    if (options_.consumers.empty()) find_unsent(pool_, options_, sieve_);
    for (const std::string& consumer : consumers_) {
      if (sieve_.wants(Kind::unsettled) || sieve_.wants(Kind::replayed)) {
        find_overdue_retries(pool_, options_, consumer, sieve_);
        find_stuck_sequences(pool_, options_, consumer, sieve_);
      }
      find_letters(pool_, options_, consumer, sieve_);
      if (stop_.stop_requested()) throw UnavailableError("the reconciliation was stopped");
    }
    sieve_.flush();
    return std::move(report_);
  }

 private:
  void choose_consumers() {
    const auto is_chosen = [&](const std::string& name) {
      return options_.consumers.empty() || std::ranges::find(options_.consumers, name) != options_.consumers.end();
    };
    std::set<std::string> all;
    for (std::string& name : known_consumers(pool_)) all.insert(std::move(name));
    for (const Pair& pair : options_.pairs) all.insert(pair.consumer);
    all.insert(options_.consumers.begin(), options_.consumers.end());
    std::ranges::copy_if(all, std::back_inserter(consumers_), is_chosen);
  }

  void compare() {
    // Both sides at once: the one thread waits for the server as the other does.
    std::stop_source stopping;
    const std::stop_callback pass_on(stop_, [&] { stopping.request_stop(); });
    auto reading = std::async(std::launch::async,
                              [&] { return digest_sent(pool_, report_.grid, options_.topics, stopping.get_token()); });
    std::optional<Digest> sent;
    std::set<std::string> consumed;
    try {
      for (const std::string& consumer : consumers_) {
        const Digest settled = digest_settled(pool_, consumer, report_.grid, options_.topics, stop_);
        if (!sent) sent = reading.get();
        compare(consumer, *sent, settled, consumed);
      }
    } catch (...) {
      stopping.request_stop();
      throw;
    }
    if (!sent) sent = reading.get();
    for (const auto& [topic, buckets] : sent->topics) {
      if (consumed.contains(topic) || !options_.consumers.empty()) continue;
      report_.compared.push_back({.pair = {.topic = topic}, .sent = sent->count(topic), .is_compared = false});
    }
  }

  void compare(const std::string& consumer, const Digest& sent, const Digest& settled,
               std::set<std::string>& consumed) {
    std::set<std::string> topics;
    for (const auto& [topic, buckets] : settled.topics) topics.insert(topic);
    for (const Pair& pair : options_.pairs) {
      if (pair.consumer == consumer) topics.insert(pair.topic);
    }
    if (!options_.consumers.empty()) topics.insert(options_.topics.begin(), options_.topics.end());
    topics.erase("");  // what was discarded by hand before it came
    const auto first = first_buckets(pool_, consumer, report_.grid);
    Drill drill(pool_, options_, report_.at, sieve_);
    for (const std::string& topic : topics) {
      consumed.insert(topic);
      Compared compared{.pair = {.consumer = consumer, .topic = topic},
                        .sent = sent.count(topic),
                        .settled = settled.count(topic),
                        .buckets = report_.grid.buckets()};
      compared.is_compared = compared.sent > 0 || is_named(compared.pair);
      if (compared.is_compared) {
        const auto from = first.find(topic);
        const auto differ = differing(buckets_of(sent, topic), buckets_of(settled, topic), report_.grid,
                                      from == first.end() ? 0 : from->second, options_.contents);
        compared.differing = static_cast<std::uint32_t>(differ.size());
        drill.look(compared.pair, sent, settled, differ);
      }
      report_.compared.push_back(std::move(compared));
    }
  }

  [[nodiscard]] bool is_named(const Pair& pair) const {
    if (std::ranges::find(options_.pairs, pair) != options_.pairs.end()) return true;
    return std::ranges::find(options_.topics, pair.topic) != options_.topics.end();
  }

  mysql::Pool& pool_;
  const ReconcileOptions& options_;
  std::stop_token stop_;
  Report report_;
  Sieve sieve_;
  std::vector<std::string> consumers_;
};

}  // namespace

void ReconcileOptions::validate() const {
  const auto require = [](const char* field, std::int64_t value, std::int64_t least, std::int64_t most_of_it) {
    if (value >= least && value <= most_of_it) return;
    throw ConfigError(field, "ReconcileOptions::" + std::string(field) + " is " + std::to_string(value) +
                                 "; allowed: " + std::to_string(least) + " to " + std::to_string(most_of_it));
  };
  for (const std::string& name : consumers) outbox::check_name("ReconcileOptions::consumers", name);
  for (const std::string& topic : topics) outbox::check_topic(topic);
  for (const Pair& pair : pairs) {
    outbox::check_name("ReconcileOptions::pairs", pair.consumer);
    outbox::check_topic(pair.topic);
  }
  require("sla", sla.count(), 1, 30 * 86'400);
  require("span", span.count(), sla.count() + 120, 366 * 86'400);
  require("most", static_cast<std::int64_t>(most), 1, 1'000'000);
  require("interval", interval.count(), 10, 7 * 86'400);
}

std::uint64_t Report::total() const noexcept { return std::accumulate(found.begin(), found.end(), std::uint64_t{0}); }

Reconciler::Reconciler(mysql::Pool& pool, ReconcileOptions options, Metrics& metrics)
    : pool_(pool), options_(std::move(options)), metrics_(metrics) {
  options_.validate();
}

Report Reconciler::look(const Visit& visit, std::stop_token stop) {
  Report report = Round(pool_, options_, visit, std::move(stop)).look();
  for (int i = 0; i < kKinds; ++i) {
    const auto kind = static_cast<Kind>(i);
    metrics_.gauge(metric::kDifferences, {{"kind", std::string(to_string(kind))}},
                   static_cast<double>(report.count(kind)));
  }
  metrics_.gauge(metric::kReconciledAt, {}, std::chrono::duration<double>(report.at.time_since_epoch()).count());
  return report;
}

void Reconciler::run(std::stop_token stop) {
  int failures = 0;
  std::chrono::milliseconds wait{0};
  while (wait_for(stop, wait)) {
    wait = options_.interval;
    try {
      int logged = 0;
      const Report report = look(
          [&](const Finding& finding) {
            if (++logged > kLogged) return;
            log(LogLevel::warn, "a message is not as it should be",
                {{"difference", to_string(finding.kind)},
                 {"scope", finding.scope},
                 {"topic", finding.topic},
                 {"business_key", finding.business_key},
                 {"message_id", finding.message_id},
                 {"standing", finding.standing}});
          },
          stop);
      log(report.total() > 0 ? LogLevel::warn : LogLevel::info, "reconciled",
          {{"differences", report.total()}, {"waived", report.waived}, {"pairs", report.compared.size()}});
      failures = 0;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::misuse) throw;
      if (stop.stop_requested()) return;
      log(LogLevel::warn, "the reconciliation failed; it is tried again later",
          {{"failures", ++failures}, {"error", error.error_class()}, {"text", error.what()}});
      wait = delay_after(kTrouble, failures, random_token());
    }
  }
}

}  // namespace oncemark::reconcile
