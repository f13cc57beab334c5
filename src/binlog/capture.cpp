#include <oncemark/binlog/capture.hpp>

#include <atomic>
#include <mutex>
#include <set>
#include <utility>

#include <oncemark/binlog/errors.hpp>
#include <oncemark/core/backoff.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/shards.hpp>
#include <oncemark/outbox/writer.hpp>

#include "binlog/change_reader.hpp"
#include "binlog/checkpoint.hpp"
#include "binlog/condition.hpp"
#include "binlog/line.hpp"
#include "outbox/trouble_log.hpp"

namespace oncemark::binlog {
namespace {

using std::chrono::milliseconds;

const std::string kLeasePrefix = "capture.";
constexpr milliseconds kPingAfter{600};
constexpr milliseconds kStandBy{1'000};
constexpr milliseconds kSlice{1};
constexpr milliseconds kIdleWait{100};
constexpr milliseconds kPublishEvery{100};
constexpr std::chrono::seconds kLeaseIdle{2};
constexpr std::size_t kRowsPerPump = 256;
constexpr Backoff kTrouble{.initial = milliseconds(250), .factor = 2.0, .cap = milliseconds(10'000), .jitter = 0.2};

SteadyTime steady_now() noexcept { return std::chrono::steady_clock::now(); }

// Without it nobody knows what the columns of a row were called when it was written.
void require_metadata(mysql::Session& session) {
  const mysql::Rows rows = session.query("SELECT @@global.binlog_row_metadata", {});
  const std::string metadata = rows.empty() ? std::string() : rows.front().get<std::string>(0);
  if (metadata == "FULL") return;
  throw BinlogError(Trouble::unsupported, "binlog_row_metadata is " + metadata + "; a capture needs it to be FULL");
}

[[noreturn]] void refuse(const std::string& why) { throw MisuseError("CaptureOptions::" + why); }

}  // namespace

void CaptureOptions::validate() const {
  outbox::check_name("CaptureOptions::name", name);
  if (name.size() > 90) refuse("name has " + std::to_string(name.size()) + " characters; allowed: 1 to 90");
  if (tables.empty()) refuse("tables is empty; name at least one");
  if (batch < 1 || batch > 10'000) refuse("batch is " + std::to_string(batch) + "; allowed: 1 to 10,000");
  if (report_timeout.count() <= 0) refuse("report_timeout must be above 0 ms");
  std::set<std::string> seen;
  for (const CapturedTable& table : tables) {
    if (table.table.empty() || !seen.insert(table.table).second) {
      refuse("tables names \"" + printable(table.table, 64) + "\" twice, or not at all");
    }
    outbox::check_topic(table.topic);
    for (const std::string& condition : table.where) (void)Condition(condition);
  }
}

struct Capture::State {
  State(mysql::Pool& db, Sink& sink, CaptureOptions capture_options)
      : pool(db),
        options(std::move(capture_options)),
        name(kLeasePrefix + options.name),
        lease(db, name, kLeaseIdle, outbox::Share::all),
        line(db, sink,
             {.name = name,
              .relay = {},
              .batch = options.batch,
              .report_timeout = options.report_timeout,
              .sent_rows = outbox::SentRows::kept,
              .lost = Lost::held},
             Metrics::none(), counts, [this] { keep_lease(); }),
        trouble(name, "capture"),
        ignores_checkpoint(options.from_now) {}

  milliseconds work(const std::stop_token& stop) noexcept;
  bool hold_shards();
  void keep_lease();
  void open();
  void close() noexcept;
  void stream(const std::stop_token& stop);
  bool take(Chunk chunk, const std::stop_token& stop);
  void publish();

  mysql::Pool& pool;
  const CaptureOptions options;
  const std::string name;  // of lease and checkpoint
  outbox::LiveCounts counts;
  std::atomic<std::uint64_t> filtered{0};
  std::atomic<bool> is_reading{false};
  outbox::ShardLease lease;
  Line line;
  outbox::TroubleLog trouble;
  bool ignores_checkpoint;
  bool is_schema_checked = false;
  bool has_lease = false;
  bool must_take = false;
  int troubles = 0;
  std::optional<ChangeReader> reader;
  std::optional<Feed> feed;  // its thread uses the reader
  SteadyTime next_publish{};

  mutable std::mutex mutex;
  Place place;                         // guarded by mutex
  std::optional<std::string> failure;  // guarded by mutex
  std::optional<Loop> loop;            // last: its thread uses all of the above
};

milliseconds Capture::State::work(const std::stop_token& stop) noexcept {
  {
    const std::lock_guard lock(mutex);
    if (failure) return std::chrono::hours(1);
  }
  try {
    if (!is_schema_checked) mysql::require_schema(pool);
    is_schema_checked = true;
    if (!hold_shards()) return kStandBy;
    if (!feed) open();
    stream(stop);
    trouble.over();
    troubles = 0;
    return milliseconds::zero();
  } catch (const BinlogError& error) {
    log(LogLevel::error,
        "the capture has ended: it passes over nothing; start it from the present end to go on without what lies "
        "before",
        {{"capture", options.name}, {"error", error.error_class()}, {"text", error.what()}});
    close();
    const std::lock_guard lock(mutex);
    failure = error.what();
    return std::chrono::hours(1);
  } catch (...) {
    const ErrorSummary error = summarize_current_exception();
    trouble.say(error.error_class, error.text);
    close();
    return delay_after(kTrouble, ++troubles, random_token());
  }
}

bool Capture::State::hold_shards() {
  if (!has_lease) must_take = true;
  keep_lease();
  if (!must_take) return true;
  has_lease = lease.take().size() == static_cast<std::size_t>(outbox::kShards);
  must_take = false;
  if (!has_lease) close();
  return has_lease;
}

void Capture::State::keep_lease() {
  if (has_lease && lease.silent_for() >= kPingAfter && lease.keep()) must_take = true;
}

void Capture::State::open() {
  ServerFacts facts;
  Place from;
  {
    const mysql::Pool::Lease connection = pool.acquire();
    facts = ask_server(*connection);
    require_metadata(*connection);
    const auto checkpoint = load_checkpoint(*connection, name);
    if (checkpoint && !ignores_checkpoint) {
      from = *checkpoint;
    } else {
      from = ask_end(*connection, facts);
      save_checkpoint(*connection, name, from);
      ignores_checkpoint = false;
    }
    connection->control("COMMIT");
  }
  line.start_from({.file = from.file, .position = from.position, .gtids = GtidSet::parse(facts.flavor, from.gtids)});
  reader.emplace(pool, options, facts.flavor, filtered);
  feed.emplace(pool.options(), facts, from,
               FeedHooks{.wants = [this](std::string_view schema,
                                         std::string_view table) { return reader->wants(schema, table); },
                         .read = [this](const RowsEvent& event, const GroupReader& group,
                                        const FeedHooks::Push& push) { reader->read(event, group, push); },
                         .needs_scan = [this](const Query& query) { return reader->check(query); }},
               FeedOptions{.name = name, .stream = {.server_id = options.server_id}});
  is_reading = true;
  publish();
  log(LogLevel::info, "capturing changes",
      {{"capture", options.name}, {"from", from.gtids.empty() ? to_string(from) : from.gtids}});
}

void Capture::State::close() noexcept {
  is_reading = false;
  feed.reset();
  try {
    line.discard();
  } catch (...) {
    const ErrorSummary error = summarize_current_exception();
    trouble.say(error.error_class, error.text);
  }
  lease.release();
  has_lease = false;
}

void Capture::State::stream(const std::stop_token& stop) {
  while (!stop.stop_requested() && !must_take && line.is_sound()) {
    keep_lease();
    line.pump(line.has_room() ? milliseconds::zero() : kSlice);
    if (steady_now() >= next_publish) publish();
    if (!line.has_room()) continue;
    for (Chunk& chunk : feed->next(line.is_empty() ? kIdleWait : kSlice, options.batch)) {
      if (!take(std::move(chunk), stop)) break;
      ONCEMARK_FAIL_POINT("binlog.after_send");
    }
  }
  const std::string error = line.is_sound() ? std::string() : line.error();
  if (!line.drain(stop) || stop.stop_requested()) return;
  throw UnavailableError("capture " + options.name + " is held up by a change that the broker does not take: " +
                         (error.empty() ? line.error() : error));
}

// False when the sink takes no more; nothing may follow then.
bool Capture::State::take(Chunk chunk, const std::stop_token& stop) {
  if (chunk.needs_scan) {
    throw BinlogError(Trouble::unsupported,
                      "captured rows were changed by an XA transaction, or by one that was rolled back in part; the "
                      "binlog does not tell which of them are true");
  }
  std::size_t taken = 0;
  for (outbox::OutboxRow& row : chunk.rows) {
    if (!line.send(std::move(row), stop)) return false;
    if (++taken % kRowsPerPump != 0) continue;
    keep_lease();
    line.pump(milliseconds::zero());
  }
  if (chunk.is_at_end) line.end_at(std::move(chunk.file), chunk.position, std::move(chunk.gtids));
  return true;
}

void Capture::State::publish() {
  next_publish = steady_now() + kPublishEvery;
  const std::lock_guard lock(mutex);
  place = line.settled().place();
}

Capture::Capture(mysql::Pool& pool, Sink& sink, CaptureOptions options) {
  options.validate();
  state_ = std::make_unique<State>(pool, sink, std::move(options));
  state_->loop.emplace([state = state_.get()](const std::stop_token& stop) { return state->work(stop); });
}

Capture::~Capture() { stop(); }

void Capture::stop() {
  state_->loop->stop();
  state_->close();
}

CaptureCounts Capture::counts() const {
  const std::lock_guard lock(state_->mutex);
  return {.sent = state_->counts.sent,
          .filtered = state_->filtered,
          .place = state_->place,
          .is_reading = state_->is_reading};
}

std::optional<std::string> Capture::failure() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failure;
}

CaptureStatus ask_capture(mysql::Pool& pool, const std::string& name) {
  outbox::check_name("CaptureOptions::name", name);
  const std::string lease = kLeasePrefix + name;
  CaptureStatus status{.running = outbox::live_relays(pool, lease)};
  const mysql::Pool::Lease connection = pool.acquire();
  status.place = load_checkpoint(*connection, lease);
  status.moved_at = checkpoint_moved_at(*connection, lease);
  status.end = ask_end(*connection, ask_server(*connection));
  connection->control("ROLLBACK");
  return status;
}

}  // namespace oncemark::binlog
