#include <oncemark/outbox/relay.hpp>

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include <oncemark/core/clock.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/shards.hpp>
#include <oncemark/outbox/writer.hpp>

#include "outbox/dispatch.hpp"
#include "outbox/relay_rows.hpp"
#include "outbox/verdict.hpp"
#include "outbox/window.hpp"

namespace oncemark::outbox {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPingAfter{600};  // the server drops the lease after 2 s of silence
// Ids that one poll takes up: it passes over the index entries of what was marked a moment ago, so that few polls are
// better than many.
constexpr std::size_t kBatchesAhead = 8;
constexpr std::size_t kMaxAhead = 20'000;

SteadyTime steady_now() noexcept { return std::chrono::steady_clock::now(); }

milliseconds until(SteadyTime time) {
  return std::max(std::chrono::ceil<milliseconds>(time - steady_now()), milliseconds::zero());
}

void require(bool is_allowed, const char* field, const std::string& value, const char* range) {
  if (is_allowed) return;
  throw MisuseError("RelayOptions::" + std::string(field) + " is " + value + "; allowed: " + range);
}

std::string text(milliseconds time) { return std::to_string(time.count()) + " ms"; }

}  // namespace

void RelayOptions::validate() const {
  check_name("RelayOptions::name", name);
  require(batch >= 1 && batch <= 10'000, "batch", std::to_string(batch), "1 to 10,000");
  require(poll_interval.count() > 0, "poll_interval", text(poll_interval), "above 0 ms");
  require(max_poll_interval >= poll_interval, "max_poll_interval", text(max_poll_interval), "not below poll_interval");
  require(report_timeout.count() > 0, "report_timeout", text(report_timeout), "above 0 ms");
  require(max_attempts >= 1 && max_attempts <= 1'000, "max_attempts", std::to_string(max_attempts), "1 to 1,000");
  backoff.validate();
}

struct Relay::State {
  State(mysql::Pool& db, Sink& sink, RelayOptions relay_options, Metrics& metrics)
      : pool(db),
        options(std::move(relay_options)),
        lease(db, options.name),
        rows(db, options.name),
        window(rows, std::min(kBatchesAhead * options.batch, kMaxAhead)),
        dispatch(db, rows, sink, options, metrics, counts,
                 {.keep_alive = [this] { keep_lease(); },
                  .more = [this](const Flight& flight, Flow flow) { return find_more(flight, flow); }}),
        verdict(options.name, window, dispatch),
        interval(options.poll_interval) {}

  milliseconds work(const std::stop_token& stop) noexcept;
  void round(const std::stop_token& stop);
  void hold_shards();
  void keep_lease();
  bool is_still_ours();
  std::optional<std::vector<std::uint64_t>> find_more(const Flight& flight, Flow flow);
  void give_up_round() noexcept;

  mysql::Pool& pool;
  const RelayOptions options;
  LiveCounts counts;
  ShardLease lease;
  RelayRows rows;
  Window window;
  Dispatch dispatch;
  Verdict verdict;

  bool is_schema_checked = false;
  bool has_lease = false;  // its connection is in use, even if no shard was free
  bool must_take = false;  // the lease is to be taken anew as soon as nothing is in flight
  std::vector<int> shards;
  std::atomic<bool> is_nudged{false};
  SteadyTime next_poll{};
  SteadyTime next_look{};     // within a round
  bool is_page_full = false;  // the last look found as much as it takes up
  milliseconds interval;      // to the next poll after one that finds nothing
  std::optional<Loop> loop;   // last: its thread uses all of the above
};

// Returns the time until there is something to do: the next poll, or the next sign of life for the lease.
milliseconds Relay::State::work(const std::stop_token& stop) noexcept {
  if (is_nudged.exchange(false) && !verdict.is_in_trouble()) {
    next_poll = {};
    interval = options.poll_interval;
  }
  try {
    round(stop);
    if (!verdict.is_in_trouble()) verdict.over();
  } catch (...) {
    give_up_round();
  }
  const milliseconds poll = until(next_poll);
  return has_lease ? std::min(poll, std::max(kPingAfter - lease.silent_for(), milliseconds::zero())) : poll;
}

// Acks of an earlier round come first: nothing is sent while it is not written down what was.
void Relay::State::round(const std::stop_token& stop) {
  if (!is_schema_checked) {
    mysql::require_schema(pool);
    is_schema_checked = true;
  }
  dispatch.settle();
  hold_shards();
  if (shards.empty()) {
    next_poll = steady_now() + kPingAfter;
    return;
  }
  if (steady_now() < next_poll) return;
  std::vector<std::uint64_t> ids = window.next(shards);
  if (ids.empty()) {
    verdict.is_well();
    next_poll = steady_now() + interval;
    interval = std::min(2 * interval, options.max_poll_interval);
    return;
  }
  next_poll = {};
  interval = options.poll_interval;
  if (!is_still_ours()) return;
  is_page_full = ids.size() >= window.size();
  next_look = steady_now() + options.poll_interval;
  if (!verdict.judge(dispatch.run(std::move(ids), stop))) next_poll = verdict.next_try();
}

// Within a round: at once after a full page and when nudged, else as often as an idle relay polls. A nudge that comes
// while rows are read is not lost: it leads to another look.
std::optional<std::vector<std::uint64_t>> Relay::State::find_more(const Flight& flight, Flow flow) {
  keep_lease();
  if (must_take && flow == Flow::usual) return std::nullopt;
  if (!is_nudged.exchange(false) && !is_page_full && steady_now() < next_look) return std::vector<std::uint64_t>{};
  std::vector<std::uint64_t> ids = window.more(shards, flight);
  is_page_full = ids.size() >= window.size();
  next_look = steady_now() + options.poll_interval;
  return ids;
}

// A poll over very many rows that wait can outlast the lease. Giving up the round for it would repeat that for ever.
bool Relay::State::is_still_ours() {
  const std::vector<int> polled = shards;
  try {
    keep_lease();
  } catch (const mysql::MysqlError&) {
    has_lease = false;
    hold_shards();
  }
  return shards == polled;
}

// Nothing is in flight when this is called.
void Relay::State::hold_shards() {
  if (!has_lease) must_take = true;
  keep_lease();
  if (!must_take) return;
  const std::vector<int>& held = lease.take();
  must_take = false;
  has_lease = true;
  if (held == shards) return;
  if (held.size() != shards.size()) {
    log(LogLevel::info, "shards of the outbox relay have changed hands",
        {{"relay", options.name}, {"held", held.size()}});
  }
  shards = held;
  counts.shards = static_cast<int>(shards.size());
  window.forget_waiting();
  next_poll = {};
}

void Relay::State::keep_lease() {
  if (has_lease && lease.silent_for() >= kPingAfter && lease.keep()) must_take = true;
}

// Without the lease another relay may send what was in flight.
void Relay::State::give_up_round() noexcept {
  verdict.give_up();
  lease.release();
  has_lease = false;
  shards.clear();
  counts.shards = 0;
  next_poll = verdict.next_try();
}

Relay::Relay(mysql::Pool& pool, Sink& sink, RelayOptions options, Metrics& metrics) {
  options.validate();
  state_ = std::make_unique<State>(pool, sink, std::move(options), metrics);
  state_->loop.emplace([state = state_.get()](const std::stop_token& stop) { return state->work(stop); });
}

Relay::~Relay() { stop(); }

void Relay::nudge() {
  state_->is_nudged = true;
  state_->loop->nudge();
}

void Relay::stop() {
  state_->loop->stop();
  state_->lease.release();
  state_->counts.shards = 0;
}

RelayCounts Relay::counts() const {
  const LiveCounts& counts = state_->counts;
  return {.sent = counts.sent, .refused = counts.refused, .dead = counts.dead, .shards = counts.shards};
}

}  // namespace oncemark::outbox
