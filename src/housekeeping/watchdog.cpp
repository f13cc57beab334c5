#include <oncemark/housekeeping/watchdog.hpp>

#include <utility>
#include <vector>

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>
#include <oncemark/outbox/writer.hpp>

namespace oncemark::housekeeping {
namespace {

using dead_letter::Resend;
using std::chrono::seconds;

constexpr Backoff kTrouble{.initial = seconds(1), .factor = 2.0, .cap = seconds(60), .jitter = 0.2};
constexpr std::size_t kPage = 1'000;

std::vector<std::string> consumers(mysql::Pool& pool, const std::string& chosen) {
  if (!chosen.empty()) return {chosen};
  return pool.transact([](mysql::Transaction& tx) {
    std::vector<std::string> found;
    for (std::string last;; last = found.back()) {  // from name to name by the index
      const auto next = tx.query_row("SELECT MIN(consumer) FROM failed_message WHERE consumer > ?", last)
                            ->get<std::optional<std::string>>(0);
      if (!next) return found;
      found.push_back(*next);
    }
  });
}

/// A message that is overdue, by the order in which they are looked at.
struct Overdue {
  Time due{};
  std::string key = {};
};

std::vector<Overdue> overdue_after(mysql::Pool& pool, const std::string& consumer, const WatchdogOptions& options,
                                   const Overdue& last) {
  return pool.transact([&](mysql::Transaction& tx) {
    std::vector<Overdue> found;
    for (const mysql::Row& row :
         tx.query("SELECT due_at, message_key FROM failed_message FORCE INDEX (due) WHERE consumer = ? AND "
                  "due_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND AND due_at >= ? AND (due_at > ? OR message_key > ?) "
                  "ORDER BY due_at, message_key LIMIT ?",
                  consumer, options.overdue.count(), last.due, last.due, last.key, kPage)) {
      found.push_back({row.get<Time>(0), row.get<std::string>(1)});
    }
    return found;
  });
}

/// Calls `visit(key)` for every message that is overdue until it returns false.
template <typename Visit>
void for_each_overdue(mysql::Pool& pool, const std::string& consumer, const WatchdogOptions& options, Visit&& visit) {
  std::vector<Overdue> page;
  Overdue last;
  do {
    page = overdue_after(pool, consumer, options, last);
    for (const Overdue& one : page) {
      if (!visit(one.key)) return;
    }
    if (!page.empty()) last = page.back();
  } while (page.size() == kPage);
}

bool send_again(mysql::Pool& pool, const std::string& consumer, const std::string& key,
                const WatchdogOptions& options) {
  Resend resend = Resend::nothing;
  try {
    resend = pool.transact([&](mysql::Transaction& tx) {
      const Resend done = dead_letter::send_again(tx, options.resend, consumer, key, options.overdue);
      if (done != Resend::nothing) ONCEMARK_FAIL_POINT("watchdog.before_commit");
      return done;
    });
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::permanent) throw;
    // It must not hold up the others.
    log(LogLevel::error, "an overdue message cannot be sent again",
        {{"consumer", consumer}, {"business_key", key}, {"error", error.error_class()}, {"text", error.what()}});
  }
  if (resend == Resend::nothing) return false;
  ONCEMARK_FAIL_POINT("watchdog.after_commit");
  log(LogLevel::warn, "a message waits for a retry that is long overdue; sending it again",
      {{"consumer", consumer},
       {"business_key", key},
       {"outbox_row", resend == Resend::anew ? "was gone" : "was sent"}});
  return true;
}

}  // namespace

void WatchdogOptions::validate() const {
  const auto require = [](const char* field, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value >= least && value <= most) return;
    throw ConfigError(field, "WatchdogOptions::" + std::string(field) + " is " + std::to_string(value) +
                                 "; allowed: " + std::to_string(least) + " to " + std::to_string(most));
  };
  if (!consumer.empty()) outbox::check_name("WatchdogOptions::consumer", consumer);
  if (!resend.relay.empty()) outbox::check_name("WatchdogOptions::resend.relay", resend.relay);
  resend.topics.validate();
  require("overdue", overdue.count(), 1, 3'650 * 86'400LL);
  require("batch", static_cast<std::int64_t>(batch), 1, 100'000);
  require("interval", interval.count(), 1, 7 * 86'400);
}

Watchdog::Watchdog(mysql::Pool& pool, WatchdogOptions options, Metrics& metrics)
    : pool_(pool), options_(std::move(options)), metrics_(metrics) {
  options_.validate();
}

WatchdogCounts Watchdog::look(std::stop_token stop) {
  WatchdogCounts counts;
  for (const std::string& consumer : consumers(pool_, options_.consumer)) {
    std::uint64_t resent = 0;
    for_each_overdue(pool_, consumer, options_, [&](const std::string& key) {
      if (stop.stop_requested() || resent == options_.batch) return false;
      ++counts.overdue;
      if (send_again(pool_, consumer, key, options_)) ++resent;
      return true;
    });
    counts.resent += resent;
    if (resent > 0) metrics_.count(metric::kResent, {{"consumer", consumer}}, static_cast<double>(resent));
  }
  return counts;
}

WatchdogCounts Watchdog::count() {
  WatchdogCounts counts;
  for (const std::string& consumer : consumers(pool_, options_.consumer)) {
    for_each_overdue(pool_, consumer, options_, [&](const std::string&) { return ++counts.overdue > 0; });
  }
  return counts;
}

void Watchdog::run(std::stop_token stop) {
  int failures = 0;
  std::chrono::milliseconds wait{0};
  while (wait_for(stop, wait)) {
    wait = options_.interval;
    try {
      (void)look(stop);
      failures = 0;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::misuse) throw;
      log(LogLevel::warn, "the watchdog failed; it looks again later",
          {{"failures", ++failures}, {"error", error.error_class()}, {"text", error.what()}});
      wait = delay_after(kTrouble, failures, random_token());
    }
  }
}

}  // namespace oncemark::housekeeping
