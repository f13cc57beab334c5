#include <oncemark/consume/runner.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <oncemark/consume/key_lanes.hpp>
#include <oncemark/core/clock.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

#include "consume/assignments.hpp"
#include "consume/lane_work.hpp"
#include "consume/outage.hpp"
#include "consume/parked_driver.hpp"
#include "core/mutants.hpp"

namespace oncemark::consume {
namespace {

constexpr std::chrono::milliseconds kPollWait{100};
constexpr std::size_t kPollRecords = 500;
constexpr std::chrono::milliseconds kDrainSlice{50};
// So many records in flight are a window, if not everything has been read before. Noting is paid for by these only; and
// a process that dies again and again further on still comes further by so many each time.
constexpr std::size_t kWindow = 1'000;

void require(bool holds, const char* field, const std::string& value, const char* range) {
  if (holds) return;
  throw ConfigError(std::string("RunnerOptions::") + field,
                    std::string("RunnerOptions::") + field + " is " + value + "; it must be " + range);
}

std::size_t size_of(const Record& record) {
  std::size_t bytes = sizeof(LaneItem) + record.key.size() + record.payload.size();
  for (const Header& header : record.headers) bytes += header.name.size() + header.value.size();
  return bytes;
}

}  // namespace

void RunnerOptions::validate() const {
  require(workers >= 1 && workers <= 256, "workers", std::to_string(workers), "1 to 256");
  require(max_group >= 1 && max_group <= 1'000, "max_group", std::to_string(max_group), "1 to 1,000");
  require(min_group >= 1 && min_group <= max_group, "min_group", std::to_string(min_group), "1 to max_group");
  require(max_in_flight >= workers, "max_in_flight", std::to_string(max_in_flight), "at least the number of workers");
  require(max_in_flight_bytes >= (1u << 20), "max_in_flight_bytes", std::to_string(max_in_flight_bytes),
          "at least 1 MiB");
  require(commit_interval.count() > 0, "commit_interval", std::to_string(commit_interval.count()), "above 0 ms");
  require(drain_timeout.count() >= 0, "drain_timeout", std::to_string(drain_timeout.count()), "0 ms or more");
  require(in_place_tries >= 1 && in_place_tries <= 1'000, "in_place_tries", std::to_string(in_place_tries),
          "1 to 1,000");
  require(start_timeout.count() >= 0, "start_timeout", std::to_string(start_timeout.count()), "0 ms or more");
  require(drivers >= 1 && drivers <= 64, "drivers", std::to_string(drivers), "1 to 64");
  in_place.validate();
  breaker.validate();
}

/// One run of the runner: the thread that polls, and what the lanes share with it.
class Runner::Engine final : public RebalanceListener {
 public:
  Engine(Source& source, Handler& handler, FailureSink& failures, RunnerOptions options, Metrics& metrics)
      : source_(source),
        handler_(handler),
        failures_(failures),
        options_(std::move(options)),
        metrics_(metrics),
        work_(
            handler, failures, source.group(), options_, assignments_, metrics,
            [this](std::exception_ptr error) { fail(std::move(error)); }, [this] { outage_->begin(); },
            [this](bool is_open) { hold(kFlood, is_open); }, [this] { lanes_->let_one_through(); }) {
    options_.validate();
  }

  void run(std::stop_token stop);
  [[nodiscard]] RunnerCounts counts() const;

  void assigned(const std::vector<TopicPartition>& partitions) override;
  void revoked(const std::vector<TopicPartition>& partitions, bool lost) override;

 private:
  [[nodiscard]] std::optional<std::vector<TopicNeed>> prepare(const std::stop_token& stop);
  enum Holder : std::size_t { kOutage, kFlood, kHolders };
  void hold(Holder holder, bool is_held);
  void poll_until_stopped(const std::stop_token& stop);
  [[nodiscard]] bool has_room();
  void accept(std::vector<Record> records);
  [[nodiscard]] std::optional<LaneItem> accept(Record record);
  [[nodiscard]] bool is_foreign(const Record& record) const;
  [[nodiscard]] LaneItem read(Record record) const;
  void commit(const std::vector<Position>& positions);
  void fail(std::exception_ptr error);
  [[nodiscard]] std::exception_ptr fatal_error() const;

  Source& source_;
  Handler& handler_;
  FailureSink& failures_;
  RunnerOptions options_;
  Metrics& metrics_;

  Assignments assignments_;
  LaneWork work_;
  std::map<std::string, std::string> retry_topics_;  // retry topic → its source topic
  std::unique_ptr<KeyLanes> lanes_;
  std::unique_ptr<Outage> outage_;                      // while run() runs; it holds the lanes
  std::vector<std::unique_ptr<ParkedDriver>> drivers_;  // none: the handler keeps no order
  bool is_full_ = false;
  std::mutex hold_mutex_;
  std::array<bool, kHolders> holds_{};  // guarded by hold_mutex_
  std::atomic<bool> is_held_{false};
  std::atomic<std::uint64_t> foreign_{0};

  mutable std::mutex mutex_;
  std::exception_ptr fatal_;  // guarded by mutex_
  std::atomic<bool> has_failed_{false};
};

/// The first contact with the store: one that starts together with us, or is away for a moment, is waited for. Nothing
/// when the stop came first.
std::optional<std::vector<TopicNeed>> Runner::Engine::prepare(const std::stop_token& stop) {
  const auto until = std::chrono::steady_clock::now() + options_.start_timeout;
  std::mutex mutex;
  std::condition_variable_any stopped;
  for (int failures = 1; !stop.stop_requested(); ++failures) {
    try {
      handler_.prepare();
      handler_.check_topics(source_.topics());
      return failures_.prepare(handler_.consumer(), source_.group(), source_.topics());
    } catch (const Error& error) {
      if (!error.retryable() || std::chrono::steady_clock::now() >= until) throw;
      log(LogLevel::warn, "the database does not answer; the consumer starts when it does",
          {{"consumer", handler_.consumer()}, {"failures", failures}, {"text", error.what()}});
    }
    std::unique_lock lock(mutex);
    stopped.wait_for(lock, stop, delay_after(options_.in_place, failures, random_token()), [] { return false; });
  }
  return std::nullopt;
}

void Runner::Engine::run(std::stop_token stop) {
  const auto prepared = prepare(stop);
  if (!prepared) return;
  const std::vector<TopicNeed>& needs = *prepared;
  for (const TopicNeed& need : needs) {
    if (need.subscribe) retry_topics_.emplace(need.topic, need.like);
  }
  lanes_ = std::make_unique<KeyLanes>(
      options_.workers, [this](std::size_t worker) { return work_.limit(worker); },
      [this](std::uint64_t lane) { return work_.is_slow(lane); },
      [this](std::size_t worker, LaneItems items, const std::stop_token& worker_stop) {
        return work_.run(worker, std::move(items), worker_stop);
      });
  outage_ = std::make_unique<Outage>(handler_, options_.in_place, [this](bool is_on) { hold(kOutage, is_on); });
  if (Sequences* const sequences = handler_.sequences()) {
    for (std::size_t i = 0; i < options_.drivers; ++i) {
      drivers_.push_back(std::make_unique<ParkedDriver>(
          *sequences, handler_.consumer(), failures_, source_.group(), options_, work_, metrics_,
          ParkedDriver::Ties{.is_held = [this] { return is_held_.load(std::memory_order_acquire); },
                             .on_fatal = [this](std::exception_ptr error) { fail(std::move(error)); },
                             .place = i,
                             .drivers = options_.drivers}));
    }
    work_.when_parked([this] {
      for (const auto& driver : drivers_) driver->nudge();
    });
  } else if (failures_.key_order().is_kept) {
    throw MisuseError("RetryOptions::order is by_key, but the handler of consumer " + handler_.consumer() +
                      " cannot park messages: use inbox::Dedup or inbox::BatchDedup with a mysql::Pool");
  }
  try {
    source_.subscribe(needs, *this);
    poll_until_stopped(stop);
  } catch (...) {
    fail(std::current_exception());
  }
  try {
    source_.close();  // revokes: lanes drain, positions are committed
  } catch (...) {
    fail(std::current_exception());
  }
  for (const auto& driver : drivers_) driver->stop();
  lanes_->stop();
  work_.stop();
  if (const auto error = fatal_error()) std::rethrow_exception(error);
}

void Runner::Engine::hold(Holder holder, bool is_held) {
  const std::lock_guard lock(hold_mutex_);
  holds_[holder] = is_held;
  is_held_.store(std::ranges::any_of(holds_, std::identity()), std::memory_order_release);
  lanes_->hold(is_held_.load(std::memory_order_relaxed));
}

void Runner::Engine::poll_until_stopped(const std::stop_token& stop) {
  auto next_commit = std::chrono::steady_clock::now() + options_.commit_interval;
  while (!stop.stop_requested() && !has_failed_.load(std::memory_order_acquire)) {
    const bool may_read = has_room();
    if (!may_read || assignments_.in_flight() >= kWindow) assignments_.close_windows(/*is_full=*/true);
    accept(source_.poll(kPollWait, may_read ? kPollRecords : 0));
    const auto now = std::chrono::steady_clock::now();
    if (now < next_commit && !assignments_.has_settled_window()) continue;
    next_commit = now + options_.commit_interval;
    assignments_.close_windows(/*is_full=*/false);
    commit(assignments_.take_committable());
    assignments_.end_windows();
    metrics_.gauge(metric::kInFlight, {{"consumer", handler_.consumer()}},
                   static_cast<double>(assignments_.in_flight()));
  }
}

/// Whether more records may be read. Once full, it is full until a quarter of the room is free again.
bool Runner::Engine::has_room() {
  const auto exceeds = [this](std::size_t quarters) {
    return assignments_.in_flight() >= options_.max_in_flight / 4 * quarters ||
           assignments_.in_flight_bytes() >= options_.max_in_flight_bytes / 4 * quarters;
  };
  is_full_ = exceeds(is_full_ ? 3 : 4) || (work_.is_holding() && assignments_.widest() >= options_.max_in_flight);
  return !is_full_;
}

void Runner::Engine::accept(std::vector<Record> records) {
  LaneItems items;
  for (Record& record : records) {
    if (auto item = accept(std::move(record))) items.push_back(std::move(*item));
  }
  work_.settle_known(items);
  lanes_->push(std::move(items));
}

/// Nothing, when the record is not for a lane.
std::optional<LaneItem> Runner::Engine::accept(Record record) {
  if (has_failed_.load(std::memory_order_acquire)) return std::nullopt;  // not started, so not settled
  const std::size_t bytes = size_of(record);
  auto partition = assignments_.start(record.position, bytes);
  if (!partition) return std::nullopt;  // revoked inside this very poll; its next owner reads it
  const auto leave = [&](Position position, void (Assignments::*how)(LaneItems&)) {
    LaneItems left(1);
    left.front().message.read_at = std::move(position);
    left.front().partition = std::move(partition);
    left.front().bytes = bytes;
    (assignments_.*how)(left);
  };
  if (is_foreign(record)) {
    foreign_.fetch_add(1, std::memory_order_relaxed);
    leave(std::move(record.position), &Assignments::finish);
    return std::nullopt;
  }
  Position position = record.position;
  try {
    LaneItem item = read(std::move(record));
    item.partition = std::move(partition);
    item.bytes = bytes;
    return item;
  } catch (...) {
    leave(std::move(position), &Assignments::abandon);
    fail(std::current_exception());
    return std::nullopt;
  }
}

/// Two groups can share a retry topic by an unlucky choice of names: "a" + "b.c" and "a.b" + "c". Such a record is
/// the other group's to handle.
bool Runner::Engine::is_foreign(const Record& record) const {
  if (!retry_topics_.contains(record.position.topic)) return false;
  const std::string_view owner = origin_group(record);
  return !owner.empty() && owner != source_.group();
}

/// Decodes a record. What cannot be decoded or has no key becomes an item that only has to be routed, keyed by its
/// coordinates; misuse is thrown.
LaneItem Runner::Engine::read(Record record) const {
  LaneItem item;
  const auto retry_topic = retry_topics_.find(record.position.topic);
  const bool is_retry = retry_topic != retry_topics_.end();
  bool is_decoded = false;
  try {
    item.message = is_retry ? decode_retry_record(record) : decode_source_record(record);
    is_decoded = true;
    handler_.identify(item.message);
    return item;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::misuse) throw;
    item.error = summarize_current_exception();
    item.error->kind = ErrorKind::permanent;
  } catch (...) {  // a key_from function of the user's
    item.error = summarize_current_exception();
    item.error->kind = ErrorKind::permanent;
  }
  item.stage = is_decoded ? Stage::key : Stage::decode;
  if (!is_decoded) {
    item.message = Message{.key = std::move(record.key),
                           .payload = std::move(record.payload),
                           .headers = std::move(record.headers),
                           .event_time = record.timestamp,
                           .origin = record.position,
                           .origin_timestamp = record.timestamp,
                           .read_at = record.position,
                           .has_id = false};
    item.message.topic = is_retry ? retry_topic->second : record.position.topic;
    item.message.id = coordinates_identity(record.position, record.timestamp);
  }
  item.message.business_key = coordinates_identity(item.message.origin, item.message.origin_timestamp);
  return item;
}

void Runner::Engine::commit(const std::vector<Position>& positions) {
  if (positions.empty()) return;
  ONCEMARK_FAIL_POINT("runner.before_offset_commit");
  try {
    source_.commit(positions);
  } catch (const Error& error) {
    // Positions are progress hints: what is not committed now is read again, and found done.
    if (error.kind() == ErrorKind::misuse) throw;
    log(LogLevel::warn, "positions could not be committed; a restart would read these records again",
        {{"consumer", handler_.consumer()}, {"text", error.what()}});
  }
  ONCEMARK_FAIL_POINT("runner.after_offset_commit");
}

void Runner::Engine::assigned(const std::vector<TopicPartition>& partitions) {
  assignments_.assign(partitions);
  if (!drivers_.empty()) {
    const Sequences::Mode mode = drivers_.front()->wanted_mode();
    if (mode != Sequences::Mode::off) {
      for (const auto& driver : drivers_) driver->begin(mode);
    }
  }
  log(LogLevel::info, "partitions assigned",
      {{"consumer", handler_.consumer()}, {"group", source_.group()}, {"partitions", partitions.size()}});
}

void Runner::Engine::revoked(const std::vector<TopicPartition>& partitions, bool lost) {
  assignments_.start_draining(partitions);
  const std::set<TopicPartition> leaving(partitions.begin(), partitions.end());
  const auto deadline = std::chrono::steady_clock::now() + options_.drain_timeout;
  while (!has_mutant("no_drain_on_revoke")) {
    LaneItems unwanted = lanes_->take_back(
        [&](const LaneItem& item) { return leaving.contains(item.message.read_at.topic_partition()); });
    work_.abandon(unwanted);
    // A worker may just have given something back that rests now: look again now and then.
    if (assignments_.wait_until_idle(partitions, kDrainSlice)) break;
    if (std::chrono::steady_clock::now() < deadline) continue;
    log(LogLevel::warn,
        "handlers were still running when the drain time-out came; the next owner waits for their claims",
        {{"consumer", handler_.consumer()}, {"drain_timeout_ms", options_.drain_timeout.count()}});
    break;
  }
  if (!lost) commit(assignments_.take_committable(partitions));
  assignments_.remove(partitions);
  log(LogLevel::info, lost ? "partitions lost" : "partitions revoked",
      {{"consumer", handler_.consumer()}, {"group", source_.group()}, {"partitions", partitions.size()}});
}

void Runner::Engine::fail(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (!fatal_) fatal_ = std::move(error);
  has_failed_.store(true, std::memory_order_release);
}

std::exception_ptr Runner::Engine::fatal_error() const {
  const std::lock_guard lock(mutex_);
  return fatal_;
}

RunnerCounts Runner::Engine::counts() const {
  RunnerCounts counts = work_.counts();
  counts.foreign = foreign_.load(std::memory_order_relaxed);
  return counts;
}

Runner::Runner(Source& source, Handler& handler, FailureSink& failures, RunnerOptions options, Metrics& metrics)
    : engine_(std::make_unique<Engine>(source, handler, failures, std::move(options), metrics)) {}

Runner::~Runner() = default;

void Runner::run(std::stop_token stop) { engine_->run(std::move(stop)); }

RunnerCounts Runner::counts() const { return engine_->counts(); }

}  // namespace oncemark::consume
