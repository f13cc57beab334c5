#include <oncemark/binlog/relay.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include <oncemark/binlog/errors.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/shards.hpp>

#include "binlog/checkpoint.hpp"
#include "binlog/feed.hpp"
#include "binlog/line.hpp"
#include "binlog/outbox_reader.hpp"
#include "outbox/dispatch.hpp"
#include "outbox/relay_rows.hpp"
#include "outbox/verdict.hpp"
#include "outbox/window.hpp"

namespace oncemark::binlog {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPingAfter{600};     // the server drops the lease after 2 s of silence
constexpr milliseconds kStandBy{1'000};     // between two tries to get all shards
constexpr milliseconds kLeftBehind{2'000};  // a row that is first in line for so long will not come by any more
constexpr milliseconds kSlice{1};
constexpr milliseconds kIdleWait{100};
constexpr std::size_t kMaxAhead = 8'000;
constexpr std::size_t kRowsPerPump = 256;
constexpr std::chrono::seconds kLeaseIdle{2};

SteadyTime steady_now() noexcept { return std::chrono::steady_clock::now(); }

milliseconds until(SteadyTime time) {
  return std::max(std::chrono::ceil<milliseconds>(time - steady_now()), milliseconds::zero());
}

ServerFacts facts_of(mysql::Pool& pool, Place& end) {
  const mysql::Pool::Lease connection = pool.acquire();
  ServerFacts facts = ask_server(*connection);
  check_outbox_columns(*connection);
  end = ask_end(*connection, facts);
  connection->control("ROLLBACK");
  return facts;
}

LineOptions line_options(const RelayOptions& options) {
  return {.name = options.outbox.name,
          .relay = options.outbox.name,
          .batch = options.outbox.batch,
          .report_timeout = options.outbox.report_timeout,
          .sent_rows = options.outbox.sent_rows,
          .lost = options.rows == Rows::stay ? Lost::kept : Lost::written_down};
}

void save(mysql::Pool& pool, const std::string& relay, const Place& place) {
  const mysql::Pool::Lease connection = pool.acquire();
  save_checkpoint(*connection, relay, place);
  connection->control("COMMIT");
}

}  // namespace

void RelayOptions::validate() const { outbox.validate(); }

struct Relay::State {
  State(mysql::Pool& db, Sink& to, RelayOptions relay_options, Metrics& relay_metrics)
      : pool(db),
        sink(to),
        options(std::move(relay_options)),
        metrics(relay_metrics),
        lease(db, options.outbox.name, kLeaseIdle, outbox::Share::all),
        rows(db, options.outbox.name),
        window(rows, std::min(4 * options.outbox.batch, kMaxAhead)),
        dispatch(db, rows, to, options.outbox, metrics, counts,
                 {.keep_alive = [this] { keep_lease(); },
                  .more = [this](const outbox::Flight& flight, outbox::Flow) { return find_more(flight); }}),
        line(db, to, line_options(options), metrics, counts, [this] { keep_lease(); }),
        verdict(options.outbox.name, window, dispatch) {}

  milliseconds work(const std::stop_token& stop) noexcept;
  void round(const std::stop_token& stop);
  bool hold_shards();
  void keep_lease();
  bool is_still_ours();
  void open();
  void close() noexcept;
  void stream(const std::stop_token& stop);
  void take(Chunk chunk, const std::stop_token& stop);
  void leave_out_what_is_sent(std::vector<Chunk>& chunks);
  void look();
  bool scan(const std::stop_token& stop);
  std::optional<std::vector<std::uint64_t>> find_more(const outbox::Flight& flight);
  void gap(const BinlogError& error);
  void give_up_round() noexcept;
  void publish_place();

  mysql::Pool& pool;
  Sink& sink;
  const RelayOptions options;
  Metrics& metrics;
  outbox::LiveCounts counts;
  std::atomic<std::uint64_t> scans{0};
  std::atomic<std::uint64_t> gaps{0};
  outbox::ShardLease lease;
  outbox::RelayRows rows;
  outbox::Window window;
  outbox::Dispatch dispatch;
  Line line;
  outbox::Verdict verdict;

  bool is_schema_checked = false;
  bool has_lease = false;
  bool must_take = false;  // the lease is to be taken anew as soon as nothing is in flight
  bool has_said_standby = false;
  std::vector<int> shards;
  bool ignores_checkpoint = false;  // until the present end is saved in its place
  ServerFacts facts;
  std::optional<Feed> feed;
  std::optional<Place> verify_until;  // rows before it are looked up, because they may have been sent
  bool must_scan = false;
  std::uint64_t scan_up_to = 0;  // ids beyond it are not the scan's
  SteadyTime next_look{};
  std::uint64_t first_pending = 0;  // as of the last look
  SteadyTime first_since{};
  bool has_streamed = false;  // since the last look
  SteadyTime stands_by_until{};

  mutable std::mutex mutex;
  Place place;                         // guarded by mutex
  std::optional<std::string> failure;  // guarded by mutex
  std::optional<Loop> loop;            // last: its thread uses all of the above
};

milliseconds Relay::State::work(const std::stop_token& stop) noexcept {
  {
    const std::lock_guard lock(mutex);
    if (failure) return std::chrono::hours(1);
  }
  try {
    round(stop);
    if (!verdict.is_in_trouble() && has_lease) verdict.over();
  } catch (const BinlogError& error) {
    if (error.trouble() == Trouble::purged) {
      gap(error);
    } else {
      log(LogLevel::error,
          "the binlog relay has ended: it passes over nothing that it cannot read; start it from the "
          "present end to go on, its rows are then found in the table",
          {{"relay", options.outbox.name}, {"error", error.error_class()}, {"text", error.what()}});
      close();
      const std::lock_guard lock(mutex);
      failure = error.what();
      return std::chrono::hours(1);
    }
  } catch (...) {
    give_up_round();
  }
  publish_place();
  const milliseconds rest = until(std::max(verdict.next_try(), stands_by_until));
  return has_lease ? std::min(rest, std::max(kPingAfter - lease.silent_for(), milliseconds::zero())) : rest;
}

void Relay::State::publish_place() {
  const std::lock_guard lock(mutex);
  place = line.settled().place();
}

// Nothing is in flight at its start and at its end, except where stream() says so.
void Relay::State::round(const std::stop_token& stop) {
  if (!is_schema_checked) {
    mysql::require_schema(pool);
    is_schema_checked = true;
  }
  dispatch.settle();
  if (!hold_shards()) return;
  if (steady_now() < verdict.next_try()) return;
  if (!feed) open();
  if ((must_scan || verdict.is_in_trouble()) && !scan(stop)) return;
  stream(stop);
}

// All of them or none: who holds a part keeps others from their share and cannot use it.
bool Relay::State::hold_shards() {
  if (!has_lease) must_take = true;
  keep_lease();
  if (!must_take) return true;
  shards = lease.take();
  must_take = false;
  has_lease = shards.size() == static_cast<std::size_t>(outbox::kShards);
  if (has_lease) {
    counts.shards = outbox::kShards;
    if (std::exchange(has_said_standby, false)) {
      log(LogLevel::info, "the binlog relay takes over", {{"relay", options.outbox.name}});
    }
    return true;
  }
  close();
  stands_by_until = steady_now() + kStandBy;
  if (!std::exchange(has_said_standby, true)) {
    log(LogLevel::warn, "another relay of this name is at work; the binlog relay stands by until it is gone",
        {{"relay", options.outbox.name}});
  }
  return false;
}

void Relay::State::keep_lease() {
  if (has_lease && lease.silent_for() >= kPingAfter && lease.keep()) must_take = true;
}

// A look over very many rows can outlast the lease. Giving up for it would repeat that for ever.
bool Relay::State::is_still_ours() {
  try {
    keep_lease();
    return true;
  } catch (const mysql::MysqlError&) {
    has_lease = false;
    return hold_shards();
  }
}

// Keys that wait are learnt before the first row is sent.
void Relay::State::open() {
  Place end;
  facts = facts_of(pool, end);
  std::optional<Place> from;
  if (!ignores_checkpoint) {
    const mysql::Pool::Lease connection = pool.acquire();
    from = load_checkpoint(*connection, options.outbox.name);
    connection->control("ROLLBACK");
  }
  if (!from || from->is_empty()) {
    must_scan = true;
    from = end;
    save(pool, options.outbox.name, end);
    ignores_checkpoint = false;
  }
  GtidSet gtids(facts.flavor);
  try {
    gtids = GtidSet::parse(facts.flavor, from->gtids);
  } catch (const BinlogError& error) {
    throw BinlogError(Trouble::purged, "the checkpoint is not of this kind of server: " + std::string(error.what()));
  }
  if (!facts.has_gtids) from->gtids.clear();
  line.start_from({.file = from->file, .position = from->position, .gtids = gtids});
  if (options.rows == Rows::stay) verify_until = end;
  (void)window.glance(shards);
  feed.emplace(pool.options(), facts, *from, outbox_hooks(pool.options().schema, options.outbox.name, options.rows),
               FeedOptions{.name = options.outbox.name, .stream = {.server_id = options.server_id}});
  first_pending = 0;
  next_look = steady_now() + options.outbox.max_poll_interval;
  log(LogLevel::info, "reading the binlog",
      {{"relay", options.outbox.name}, {"from", from->gtids.empty() ? to_string(*from) : from->gtids}});
}

void Relay::State::close() noexcept {
  feed.reset();
  try {
    line.discard();
  } catch (...) {
    const ErrorSummary error = summarize_current_exception();
    verdict.say(error.error_class, error.text);
  }
  lease.release();
  has_lease = false;
  shards.clear();
  counts.shards = 0;
}

void Relay::State::stream(const std::stop_token& stop) {
  while (!stop.stop_requested() && !must_take && line.is_sound()) {
    keep_lease();
    line.pump(line.has_room() ? milliseconds::zero() : kSlice);
    if (steady_now() >= next_look) look();
    if (must_scan) break;
    if (!line.has_room()) continue;
    std::vector<Chunk> chunks = feed->next(line.is_empty() ? kIdleWait : kSlice, options.outbox.batch);
    if (verify_until) leave_out_what_is_sent(chunks);
    for (Chunk& chunk : chunks) {
      take(std::move(chunk), stop);
      ONCEMARK_FAIL_POINT("binlog.after_send");
    }
  }
  if (line.drain(stop)) must_scan = true;
}

void Relay::State::take(Chunk chunk, const std::stop_token& stop) {
  has_streamed = true;
  if (chunk.needs_scan || chunk.settles_xa) must_scan = true;
  std::size_t taken = 0;
  for (outbox::OutboxRow& row : chunk.rows) {
    if (options.rows == Rows::pass && row.is_failure) continue;  // it stays in the table
    if (line.is_sound() && row.defect.empty() && !window.is_closed(row.key)) {
      line.send(std::move(row), stop);
    } else {
      line.leave(std::move(row));
    }
    if (++taken % kRowsPerPump == 0) {
      keep_lease();
      line.pump(milliseconds::zero());
    }
  }
  if (chunk.is_at_end) line.end_at(std::move(chunk.file), chunk.position, std::move(chunk.gtids));
}

// One look-up for all of them: most transactions have a row or two.
void Relay::State::leave_out_what_is_sent(std::vector<Chunk>& chunks) {
  std::vector<std::uint64_t> ids;
  auto end = chunks.begin();
  while (end != chunks.end() && verify_until) {
    for (const outbox::OutboxRow& row : end->rows) ids.push_back(row.id);
    if (has_reached(end->file, end->position, *verify_until)) verify_until.reset();
    ++end;
  }
  if (ids.empty()) return;
  const std::vector<std::uint64_t> pending = rows.still_pending(ids);
  auto next = pending.begin();
  for (auto chunk = chunks.begin(); chunk != end; ++chunk) {
    std::erase_if(chunk->rows, [&](const outbox::OutboxRow& row) {
      if (next == pending.end() || *next != row.id) return true;
      ++next;
      return false;
    });
  }
}

// Rows that the binlog has nothing to say about any more: those that have become due, and those that were left.
void Relay::State::look() {
  const SteadyTime now = steady_now();
  next_look = now + options.outbox.max_poll_interval;
  publish_place();
  const outbox::Window::Glance glance = window.glance(shards);
  const bool is_same =
      glance.first_pending != 0 && glance.first_pending == std::exchange(first_pending, glance.first_pending);
  if (!is_same) first_since = now;
  const bool is_idle = !std::exchange(has_streamed, false) && line.is_empty();
  if (glance.is_any_due || (is_same && (is_idle || now - first_since >= kLeftBehind))) must_scan = true;
}

// Rounds as a polling relay makes them, until it finds nothing to send of what was there when it began: what comes later
// is the binlog's, or a scan would not end while rows keep coming. What it sends is in the binlog too. False when the
// relay cannot go on for now.
bool Relay::State::scan(const std::stop_token& stop) {
  ++scans;
  scan_up_to = rows.highest_id();
  while (!stop.stop_requested()) {
    if (must_take && !hold_shards()) return false;
    std::vector<std::uint64_t> ids = window.next(shards);
    std::erase_if(ids, [&](std::uint64_t id) { return id > scan_up_to; });
    if (ids.empty()) break;
    if (!is_still_ours()) return false;
    if (!verdict.judge(dispatch.run(std::move(ids), stop))) return false;
  }
  verdict.is_well();
  must_scan = false;
  first_pending = 0;
  if (options.rows == Rows::pass) return true;
  const mysql::Pool::Lease connection = pool.acquire();
  verify_until = ask_end(*connection, facts);
  connection->control("ROLLBACK");
  return true;
}

std::optional<std::vector<std::uint64_t>> Relay::State::find_more(const outbox::Flight& flight) {
  keep_lease();
  if (must_take) return std::nullopt;
  std::vector<std::uint64_t> ids = window.more(shards, flight);
  std::erase_if(ids, [&](std::uint64_t id) { return id > scan_up_to; });
  return ids;
}

// What the log had is in the table too, unless rows only pass through it.
void Relay::State::gap(const BinlogError& error) {
  ++gaps;
  log(LogLevel::error,
      options.rows == Rows::stay
          ? "the binlog between the checkpoint and now is gone; the relay goes on from its present end, and sends what "
            "is unsent from the table"
          : "the binlog between the checkpoint and now is gone, and with it every message in it: rows that only pass "
            "through the table are nowhere else; the relay goes on from its present end",
      {{"relay", options.outbox.name}, {"text", error.what()}});
  feed.reset();
  try {
    line.discard();
  } catch (...) {
    give_up_round();
  }
  ignores_checkpoint = true;
  must_scan = true;
}

void Relay::State::give_up_round() noexcept {
  verdict.give_up();
  close();
}

Relay::Relay(mysql::Pool& pool, Sink& sink, RelayOptions options, Metrics& metrics) {
  options.validate();
  state_ = std::make_unique<State>(pool, sink, std::move(options), metrics);
  state_->ignores_checkpoint = state_->options.start == Start::now;
  state_->loop.emplace([state = state_.get()](const std::stop_token& stop) { return state->work(stop); });
}

Relay::~Relay() { stop(); }

void Relay::stop() {
  state_->loop->stop();
  state_->close();
}

RelayCounts Relay::counts() const {
  const std::lock_guard lock(state_->mutex);
  const outbox::LiveCounts& counts = state_->counts;
  return {.sent = counts.sent,
          .refused = counts.refused,
          .dead = counts.dead,
          .scans = state_->scans,
          .gaps = state_->gaps,
          .shards = counts.shards,
          .place = state_->place};
}

std::optional<std::string> Relay::failure() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failure;
}

Place set_checkpoint_now(mysql::Pool& pool, const std::string& relay) {
  Place end;
  (void)facts_of(pool, end);
  save(pool, relay, end);
  return end;
}

}  // namespace oncemark::binlog
