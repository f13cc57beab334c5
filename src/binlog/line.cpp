#include "binlog/line.hpp"

#include <algorithm>
#include <utility>

#include <oncemark/core/faults.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>
#include <oncemark/outbox/table.hpp>

#include "binlog/checkpoint.hpp"

namespace oncemark::binlog {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kBatchesInFlight = 4;
constexpr std::size_t kMostPlaces = 50'000;
constexpr milliseconds kWait{100};
constexpr milliseconds kSlice{1};
constexpr milliseconds kMarkWithin{10};
constexpr milliseconds kSaveWithin{100};       // where rows pass, and there is nothing to mark
constexpr milliseconds kSaveWhenIdle{60'000};  // a checkpoint is itself a transaction in the binlog
constexpr milliseconds kPatienceWhenStopping{2'000};

SteadyTime steady_now() noexcept { return std::chrono::steady_clock::now(); }

}  // namespace

Line::Line(mysql::Pool& pool, Sink& sink, LineOptions options, Metrics& metrics, outbox::LiveCounts& counts,
           std::function<void()> keep_alive)
    : sink_(sink),
      options_(std::move(options)),
      metrics_(metrics),
      counts_(counts),
      keep_alive_(std::move(keep_alive)),
      marker_(pool, options_.name) {}

void Line::start_from(Progress progress) {
  progress_ = std::move(progress);
  has_moved_ = true;
  saved_ = {};
}

bool Line::has_room() const noexcept {
  return rows_ < kBatchesInFlight * options_.batch && entries_.size() < kMostPlaces &&
         owed_.size() < kBatchesInFlight * options_.batch;
}

bool Line::send(outbox::OutboxRow row, const std::stop_token& stop) {
  const std::uint64_t token = first_ + entries_.size();
  SteadyTime give_up = steady_now() + options_.report_timeout;
  while (sink_.send(row.record, token) == Sent::queue_full) {
    keep_alive_();
    if (take_reports(kWait) > 0) give_up = steady_now() + options_.report_timeout;
    if (stop.stop_requested() || steady_now() >= give_up || !is_sound_) {
      if (std::exchange(is_sound_, false)) error_ = "the producer takes no more: is the broker away?";
      leave(std::move(row));
      return false;
    }
  }
  ++in_flight_;
  add(std::move(row), State::in_flight);
  return true;
}

void Line::leave(outbox::OutboxRow row) { add(std::move(row), State::left); }

void Line::add(outbox::OutboxRow row, State state) {
  ++rows_;
  entries_.push_back({.state = state, .id = row.id, .row = nullptr, .end = nullptr});
  if (options_.lost == Lost::written_down) entries_.back().row = std::make_unique<outbox::OutboxRow>(std::move(row));
}

void Line::end_at(std::string file, std::uint64_t position, GtidSet gtids) {
  entries_.push_back({.state = State::place, .id = 0, .row = nullptr, .end = nullptr});
  entries_.back().end =
      std::make_unique<Progress>(Progress{.file = std::move(file), .position = position, .gtids = std::move(gtids)});
}

void Line::pump(milliseconds wait) {
  take_reports(in_flight_ > 0 ? wait : milliseconds::zero());
  advance();
  mark_some();
}

std::size_t Line::take_reports(milliseconds wait) {
  const std::vector<Delivery> reports = sink_.deliveries(wait);
  for (const Delivery& report : reports) {
    if (report.token < first_ || report.token - first_ >= entries_.size()) continue;
    Entry& entry = entries_[report.token - first_];
    if (entry.state != State::in_flight) continue;
    --in_flight_;
    entry.state = report.status == DeliveryStatus::acked ? State::acked : State::left;
    if (entry.state == State::left && std::exchange(is_sound_, false)) error_ = report.error;
  }
  return reports.size();
}

void Line::advance() {
  while (!entries_.empty() && entries_.front().state != State::in_flight) {
    Entry& entry = entries_.front();
    if (entry.state == State::left && options_.lost == Lost::held) return;
    if (entry.state == State::place) {
      progress_.file = std::move(entry.end->file);
      progress_.position = entry.end->position;
      progress_.gtids.add(entry.end->gtids);
      has_moved_ = true;
    } else {
      --rows_;
      if (owed_.empty() && unwritten_.empty()) owed_since_ = steady_now();
      if (entry.state == State::acked) {
        owed_.push_back(entry.id);
      } else if (options_.lost == Lost::written_down) {
        unwritten_.push_back(std::move(*entry.row));
      }
    }
    entries_.pop_front();
    ++first_;
  }
}

bool Line::is_worth_marking() const {
  const SteadyTime now = steady_now();
  if (!owed_.empty() || !unwritten_.empty()) {
    const milliseconds within = options_.lost != Lost::kept ? kSaveWithin : kMarkWithin;
    return owed_.size() >= options_.batch || now - owed_since_ >= within;
  }
  return has_moved_ && now - saved_ >= kSaveWhenIdle;
}

void Line::mark_some() {
  if (marking_.valid()) {
    if (marking_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
    finish_marking();
  }
  if (is_worth_marking()) start_marking();
}

// Everything that is owed, with the place that all of it lies before.
void Line::start_marking() {
  ONCEMARK_FAIL_POINT("binlog.after_ack");
  std::vector<std::uint64_t> ids = std::exchange(owed_, {});
  const std::size_t sent = ids.size();
  if (options_.lost != Lost::kept) ids.clear();
  std::sort(ids.begin(), ids.end());
  has_moved_ = false;
  saved_ = steady_now();
  marking_ = std::async(std::launch::async, [this, sent, ids = std::move(ids), place = progress_.place(),
                                             rows = std::exchange(unwritten_, {})] {
    marker_.settle_with(ids, options_.sent_rows, [&](mysql::Session& session) {
      write_down(session, rows);
      save_checkpoint(session, options_.name, place);
      ONCEMARK_FAIL_POINT("binlog.before_commit");
    });
    ONCEMARK_FAIL_POINT("binlog.after_commit");
    counts_.sent += sent;
    metrics_.count(metric::kRelaySent, {{"relay", options_.name}}, static_cast<double>(sent));
  });
}

void Line::finish_marking() { marking_.get(); }

// They wait, due at once: in the binlog, where they come by again, a waiting row is left to the table.
void Line::write_down(mysql::Session& session, const std::vector<outbox::OutboxRow>& rows) const {
  for (const outbox::OutboxRow& row : rows) {
    Headers headers = row.record.headers;
    const std::string event_time(headers.text(names::kEventTime).value_or(""));
    headers.remove(names::kMessageId);
    headers.remove(names::kEventTime);
    const std::string encoded = row.defect.empty() ? encode_headers(headers) : "?";  // refused as it was
    const std::vector<mysql::Param> params{
        row.message_id,     options_.relay, outbox::shard_of(row.record.key, row.message_id),
        row.record.topic,   row.record.key, event_time.empty() ? SystemClock().now() : parse_rfc3339(event_time),
        row.record.payload, encoded};
    session.execute(
        "INSERT INTO outbox_message (message_id, purpose, relay, shard, topic, message_key, event_time, payload, "
        "headers, status, available_at, created_at, sent_at) VALUES (?, '', ?, ?, ?, ?, ?, ?, ?, 'waiting', "
        "UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE message_id = message_id",
        params);
  }
}

void Line::settle() {
  while (marking_.valid() || !owed_.empty() || !unwritten_.empty()) {
    if (!marking_.valid()) start_marking();
    while (marking_.wait_for(kSlice) != std::future_status::ready) keep_alive_();
    finish_marking();
  }
}

bool Line::drain(const std::stop_token& stop) {
  SteadyTime give_up = steady_now() + options_.report_timeout;
  bool is_stopping = false;
  while (in_flight_ > 0 && steady_now() < give_up) {
    if (stop.stop_requested() && !std::exchange(is_stopping, true)) {
      give_up = std::min(give_up, steady_now() + kPatienceWhenStopping);
    }
    keep_alive_();
    pump(kWait);
  }
  if (in_flight_ > 0) {
    sink_.discard();
    if (std::exchange(is_sound_, false)) error_ = "no delivery report in time; is the partition without a leader?";
    for (Entry& entry : entries_) {
      if (entry.state == State::in_flight) entry.state = State::left;
    }
    in_flight_ = 0;
  }
  advance();
  settle();
  return !std::exchange(is_sound_, true);
}

void Line::discard() {
  if (in_flight_ > 0) sink_.discard();
  first_ += entries_.size();
  entries_.clear();
  in_flight_ = rows_ = 0;
  is_sound_ = true;
  has_moved_ = false;
  owed_.clear();
  unwritten_.clear();
  if (!marking_.valid()) return;
  try {
    marking_.get();  // has happened or not; the rows are looked up before they are sent again
  } catch (const std::exception& error) {
    log(LogLevel::debug, "what was being marked is given up", {{"relay", options_.name}, {"error", error.what()}});
  }
}

}  // namespace oncemark::binlog
