#include "outbox/dispatch.hpp"

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include <oncemark/core/clock.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

#include "outbox/shorten.hpp"

namespace oncemark::outbox {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kWaitAtOnce{100};
constexpr milliseconds kPatienceWhenStopping{2'000};
// What one statement reads at most, about: payloads may be large, and the client holds the whole answer in memory.
constexpr std::size_t kBytesPerRead = 8u << 20;
constexpr std::size_t kFirstRowsPerRead = 32;
constexpr std::size_t kMaxRowsPerRead = 256;
constexpr milliseconds kSlowRead{400};
constexpr std::size_t kMaxSilences = 100'000;

SteadyTime steady_now() noexcept { return std::chrono::steady_clock::now(); }

/// A wait that ends after a time, or soon when the relay is asked to stop.
class Deadline {
 public:
  Deadline(milliseconds time, const std::stop_token& stop) : at_(steady_now() + time), stop_(stop) {}

  [[nodiscard]] bool has_passed() {
    if (stop_.stop_requested() && !is_stopping_) {
      is_stopping_ = true;
      at_ = std::min(at_, steady_now() + kPatienceWhenStopping);
    }
    return steady_now() >= at_;
  }

 private:
  SteadyTime at_;
  const std::stop_token& stop_;
  bool is_stopping_ = false;
};

}  // namespace

Dispatch::Dispatch(RelayRows& rows, Sink& sink, const RelayOptions& options, Metrics& metrics, LiveCounts& counts,
                   std::function<void()> keep_alive)
    : rows_(rows),
      sink_(sink),
      options_(options),
      metrics_(metrics),
      counts_(counts),
      keep_alive_(std::move(keep_alive)),
      rows_per_read_(kFirstRowsPerRead) {}

Round Dispatch::run(const std::vector<std::uint64_t>& ids, const std::stop_token& stop) {
  flight_.clear();
  handed_over_ = 0;
  acked_ = 0;
  hand_over(ids, stop);
  ONCEMARK_FAIL_POINT("relay.after_send");
  collect(stop);
  settle();
  if (flight_.open() > 0 || flight_.has(Answer::failed)) discard();
  Round round;
  if (!stop.stop_requested()) resolve(round, stop);
  settle();
  round.acked = acked_;
  return round;
}

// Rows that were refused before go alone from the start: in company they would have others refused with them.
void Dispatch::hand_over(const std::vector<std::uint64_t>& ids, const std::stop_token& stop) {
  for (std::size_t begin = 0; begin < ids.size() && !stop.stop_requested();) {
    const std::size_t end = std::min(begin + rows_per_read_, ids.size());
    keep_alive_();
    const SteadyTime asked = steady_now();
    const auto part =
        rows_.read({ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end)});
    adapt_reads(part, steady_now() - asked);
    for (const OutboxRow& row : part) {
      if (row.attempts > 0 || !row.defect.empty()) {
        flight_.add({.id = row.id, .key = row.key, .answer = Answer::refused, .error = {}, .refusal = {}});
        continue;
      }
      if (!send(row, stop)) return;
      flight_.add({.id = row.id, .key = row.key, .answer = Answer::none, .error = {}, .refusal = {}});
      ++handed_over_;
    }
    begin = end;
  }
}

// False when the sink has taken nothing for so long that the rest is left for another round.
bool Dispatch::send(const OutboxRow& row, const std::stop_token& stop) {
  Deadline deadline(options_.report_timeout, stop);
  for (;;) {
    keep_alive_();
    if (sink_.send(row.record, row.id) == Sent::accepted) return true;
    if (take_reports(kWaitAtOnce) == 0 && deadline.has_passed()) return false;
  }
}

// Within the memory that the answer may take, and within the silence that the lease may bear.
void Dispatch::adapt_reads(const std::vector<OutboxRow>& rows, std::chrono::nanoseconds took) {
  if (rows.empty()) return;
  std::size_t bytes = 1;
  for (const OutboxRow& row : rows) bytes += row.record.payload.size();
  const std::size_t fitting = std::min(kBytesPerRead * rows.size() / bytes, 2 * rows_per_read_);
  const std::size_t bearable = took > kSlowRead ? rows_per_read_ / 2 : kMaxRowsPerRead;
  rows_per_read_ = std::clamp<std::size_t>(std::min(fitting, bearable), 1, kMaxRowsPerRead);
}

void Dispatch::collect(const std::stop_token& stop) {
  Deadline deadline(options_.report_timeout, stop);
  while (flight_.open() > 0 && !deadline.has_passed()) {
    take_reports(kWaitAtOnce);
    keep_alive_();
  }
}

std::size_t Dispatch::take_reports(milliseconds wait) {
  const std::vector<Delivery> reports = sink_.deliveries(wait);
  for (const Delivery& report : reports) {
    if (!flight_.apply(report)) continue;
    owed_.push_back(report.token);
    ++acked_;
  }
  return reports.size();
}

void Dispatch::settle() {
  if (owed_.empty()) return;
  ONCEMARK_FAIL_POINT("relay.after_ack");
  rows_.mark_sent(owed_);
  if (!silences_.empty()) {
    for (const std::uint64_t id : owed_) silences_.erase(id);
  }
  counts_.sent += owed_.size();
  metrics_.count(metric::kRelaySent, {{"relay", options_.name}}, static_cast<double>(owed_.size()));
  owed_.clear();
  ONCEMARK_FAIL_POINT("relay.after_mark");
}

// In id order, the first row of each key that was not acked decides for the key: what lies behind it stays pending.
void Dispatch::resolve(Round& round, const std::stop_token& stop) {
  std::unordered_set<std::uint64_t> closed;
  bool is_answering = !flight_.has(Answer::failed) || acked_ > 0;
  for (FlightRow& row : flight_.rows()) {
    if (row.answer == Answer::acked || (row.key && closed.contains(*row.key))) continue;
    if (row.answer == Answer::refused && is_answering && !stop.stop_requested()) {
      try_alone(row, stop);
      if (row.answer == Answer::acked) continue;
      is_answering = row.answer != Answer::failed;
    }
    if (row.key) closed.insert(*row.key);
    if (row.answer == Answer::failed) {
      if (round.silent.empty()) round.error = row.error;
      round.silent.push_back({.id = row.id, .shard = 0, .key = row.key});
    }
  }
}

// Nothing else is in flight. A row that somebody has settled in the meantime is as good as acked.
void Dispatch::try_alone(FlightRow& row, const std::stop_token& stop) {
  std::vector<OutboxRow> found = rows_.read({row.id});
  if (found.empty()) {
    row.answer = Answer::acked;
    return;
  }
  OutboxRow& fresh = found.front();
  const bool was_alone = handed_over_ == 1 && fresh.attempts == 0;
  if (!fresh.defect.empty()) {
    row.error = fresh.defect;
    row.refusal = Refusal::record;
  } else if (!was_alone && !send_alone(row, fresh, stop)) {
    return;
  }
  try_smaller(row, fresh, stop);
  if (row.answer == Answer::refused) hold_against(fresh, row);
}

// False when the sink took nothing; the row is then left for another round.
bool Dispatch::send_alone(FlightRow& row, const OutboxRow& fresh, const std::stop_token& stop) {
  if (!send(fresh, stop)) return false;
  flight_.reopen(row);
  collect(stop);
  if (flight_.open() > 0) discard();
  return true;
}

// The limit is the topic's and may change at any time, so it is learnt from the refusal and not asked for.
void Dispatch::try_smaller(FlightRow& row, OutboxRow& fresh, const std::stop_token& stop) {
  if (!fresh.is_failure) return;
  for (const Form form : {Form::trimmed, Form::pointer}) {
    if (row.answer != Answer::refused || row.refusal != Refusal::too_large) return;
    const std::string error = row.error;
    shorten(fresh.record, form);
    if (!send_alone(row, fresh, stop)) return;
    if (row.answer != Answer::acked) continue;
    log(LogLevel::warn,
        form == Form::trimmed
            ? "a failed record was too large for its topic with our headers; it was sent with less error text"
            : "a failed record is too large for its topic; a pointer without its payload was sent, the record is in "
              "the database",
        {{"relay", options_.name},
         {"row", fresh.id},
         {"message_id", fresh.message_id},
         {"topic", fresh.record.topic},
         {"error", error}});
  }
}

// A topic that is missing or forbidden, or whose limit not even a pointer keeps to, says nothing about the record: it
// waits for as long as that lasts.
void Dispatch::wait_for_topic(const OutboxRow& row, const std::string& error) {
  if (silences_.size() > kMaxSilences) silences_.clear();
  const int refusals = ++silences_[row.id];
  rows_.mark_failing({row.id}, delay_after(options_.backoff, refusals, random_token()), error,
                     RelayRows::Attempt::not_counted);
  log(refusals == 1 ? LogLevel::warn : LogLevel::debug,
      "the topic of a failed record is not to be had; the record is safe in the database and waits for it",
      {{"relay", options_.name},
       {"row", row.id},
       {"message_id", row.message_id},
       {"topic", row.record.topic},
       {"error", error}});
}

void Dispatch::hold_against(const OutboxRow& row, const FlightRow& answer) {
  const std::string& error = answer.error;
  if (row.is_failure && answer.refusal != Refusal::record) {
    wait_for_topic(row, error);
    return;
  }
  const int attempts = row.attempts + 1;
  const LogLevel level = attempts == 1 ? LogLevel::warn : LogLevel::debug;
  const std::string number = std::to_string(row.id);
  ++counts_.refused;
  metrics_.count(metric::kRelayRefused, {{"relay", options_.name}}, 1);
  silences_.erase(row.id);
  if (attempts < options_.max_attempts) {
    rows_.mark_failing({row.id}, delay_after(options_.backoff, attempts, random_token()), error,
                       RelayRows::Attempt::counted);
    log(level, "the broker refused an outbox row; its key waits until the row is tried again",
        {{"relay", options_.name},
         {"row", number},
         {"message_id", row.message_id},
         {"topic", row.record.topic},
         {"attempts", attempts},
         {"error", error}});
    return;
  }
  rows_.mark_dead(row.id, error);
  ++counts_.dead;
  metrics_.count(metric::kRelayDead, {{"relay", options_.name}}, 1);
  log(LogLevel::error, "an outbox row is dead: the broker refused it too often; later rows of its key go on",
      {{"relay", options_.name},
       {"row", number},
       {"message_id", row.message_id},
       {"topic", row.record.topic},
       {"attempts", attempts},
       {"error", error}});
}

void Dispatch::back_off(const std::vector<RowKey>& rows, const std::string& error) {
  if (rows.empty()) return;
  if (silences_.size() > kMaxSilences) silences_.clear();
  std::map<int, std::vector<std::uint64_t>> by_silences;
  for (const RowKey& row : rows) by_silences[++silences_[row.id]].push_back(row.id);
  for (const auto& [silences, ids] : by_silences) {
    rows_.mark_failing(ids, delay_after(options_.backoff, silences, random_token()), error,
                       RelayRows::Attempt::not_counted);
  }
  log(LogLevel::warn, "no answer for some outbox rows while others got through; their keys wait",
      {{"relay", options_.name}, {"keys", rows.size()}, {"first_row", rows.front().id}, {"error", error}});
}

void Dispatch::discard() {
  flight_.give_up("no delivery report within " + std::to_string(options_.report_timeout.count()) +
                  " ms; is the partition without a leader?");
  sink_.discard();
}

}  // namespace oncemark::outbox
