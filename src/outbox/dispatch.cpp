#include "outbox/dispatch.hpp"

#include <algorithm>
#include <map>
#include <thread>
#include <unordered_set>
#include <utility>

#include <oncemark/core/clock.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

#include "core/mutants.hpp"
#include "outbox/shorten.hpp"

namespace oncemark::outbox {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kWaitAtOnce{100};
constexpr milliseconds kPatienceWhenStopping{2'000};
// What one statement reads at most, about: payloads may be large, and the client holds the whole answer in memory.
constexpr std::size_t kBytesPerRead = 8u << 20;
constexpr std::size_t kFirstRowsPerRead = 64;
constexpr std::size_t kMaxRowsPerRead = 1'024;
constexpr std::size_t kBatchesInFlight = 4;
// A round ends after so long, so that the lease can be renewed; one that has not ended by then is held up by some rows.
constexpr milliseconds kRoundTime{2'500};
constexpr milliseconds kDrainBy{3'500};
constexpr milliseconds kSlice{1};
constexpr milliseconds kSlowSlice{20};  // where nothing was answered lately
constexpr milliseconds kMarkWithin{10};
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

Dispatch::Dispatch(mysql::Pool& pool, RelayRows& rows, Sink& sink, const RelayOptions& options, Metrics& metrics,
                   LiveCounts& counts, Surroundings around)
    : rows_(rows),
      sink_(sink),
      options_(options),
      metrics_(metrics),
      counts_(counts),
      around_(std::move(around)),
      rows_per_read_(kFirstRowsPerRead),
      reader_(pool, options.name),
      marker_(pool, options.name) {}

Round Dispatch::run(std::vector<std::uint64_t> ids, const std::stop_token& stop) {
  flight_.clear();
  todo_.assign(ids.rbegin(), ids.rend());
  handed_over_ = 0;
  acked_ = 0;
  began_ = reported_ = steady_now();
  send_all(stop);
  stop_reading();
  // Those that held up others have had most of their time already.
  const bool is_held_up = age() >= kDrainBy && flight_.is_sound();
  const milliseconds rest = std::max(options_.report_timeout - age(), options_.report_timeout / 5);
  collect(is_held_up ? rest : options_.report_timeout, stop);
  settle();
  if (flight_.open() > 0 || flight_.has(Answer::failed)) discard();
  Round round;
  if (!stop.stop_requested()) resolve(round, stop);
  settle();
  round.acked = acked_;
  return round;
}

milliseconds Dispatch::age() const { return std::chrono::duration_cast<milliseconds>(steady_now() - began_); }

// How long rows are handed over in one round, at most: what was handed over last has the rest of the time-out.
milliseconds Dispatch::longest() const { return options_.report_timeout * 4 / 5; }

// Until there is nothing left to do, something is not as it should be, or the round is over.
void Dispatch::send_all(const std::stop_token& stop) {
  while (!stop.stop_requested() && flight_.is_sound()) {
    if (todo_.empty() && !reading_.valid() && !find_more()) return;
    const bool is_full = flight_.size() >= kBatchesInFlight * options_.batch;
    if (is_full && age() >= longest()) return;
    if (is_full || (todo_.empty() && !reading_.valid())) {
      wait_a_little();
      continue;
    }
    if (!hand_over_part(stop)) return;
    ONCEMARK_FAIL_POINT("relay.after_send");
    take_reports(milliseconds::zero());
    mark_some();
  }
}

// Takes up what else is to be sent. False when the round is over: nothing is left, or its time is up. A round that
// cannot end because nobody answers for some rows goes on with the others.
bool Dispatch::find_more() {
  const milliseconds so_far = age();
  const bool is_held_up = so_far >= kDrainBy && flight_.open() > 0;
  if (so_far >= longest() || (so_far >= kRoundTime && !is_held_up)) {
    return so_far < std::min(longest(), kDrainBy) && flight_.open() > 0;
  }
  const auto found = around_.more(flight_, is_held_up ? Flow::held_up : Flow::usual);
  if (!found) return false;
  todo_.assign(found->rbegin(), found->rend());
  return !todo_.empty() || flight_.size() > 0;
}

// Rows that were refused before go alone: in company they would have others refused with them. False when the sink has
// taken nothing for so long that the rest is left for another round.
bool Dispatch::hand_over_part(const std::stop_token& stop) {
  for (const OutboxRow& row : next_part()) {
    const bool goes_alone = row.attempts > 0 || !row.defect.empty();
    if (!goes_alone && !send(row, stop)) return false;
    flight_.add({.id = row.id,
                 .key = row.key,
                 .answer = goes_alone ? Answer::refused : Answer::none,
                 .error = {},
                 .refusal = {}});
    if (!goes_alone) ++handed_over_;
    if (!goes_alone && has_mutant("relay_mark_before_ack")) {
      owed_since_ = owed_.empty() ? steady_now() : owed_since_;
      owed_.push_back(row.id);
    }
  }
  return true;
}

// The part behind it is read meanwhile.
std::vector<OutboxRow> Dispatch::next_part() {
  const auto read = [](RelayRows& rows, const std::vector<std::uint64_t>& ids) {
    const SteadyTime asked = steady_now();
    Part part{.rows = rows.read(ids)};
    part.took = steady_now() - asked;
    return part;
  };
  Part part;
  if (reading_.valid()) {
    await_reading();
    part = reading_.get();
  } else {
    around_.keep_alive();
    part = read(rows_, take_ids());
  }
  adapt_reads(part);
  if (!todo_.empty()) {
    reading_ = std::async(std::launch::async, [this, read, ids = take_ids()] { return read(reader_, ids); });
  }
  return std::move(part.rows);
}

std::vector<std::uint64_t> Dispatch::take_ids() {
  const std::size_t count = std::min({rows_per_read_, options_.batch, todo_.size()});
  std::vector<std::uint64_t> ids(todo_.rbegin(), todo_.rbegin() + static_cast<std::ptrdiff_t>(count));
  todo_.resize(todo_.size() - count);
  return ids;
}

// False when the sink has taken nothing for so long that the rest is left for another round.
bool Dispatch::send(const OutboxRow& row, const std::stop_token& stop) {
  std::optional<Deadline> deadline;
  for (;;) {
    around_.keep_alive();
    if (sink_.send(row.record, row.id) == Sent::accepted) return true;
    if (!deadline) deadline.emplace(options_.report_timeout, stop);
    if (take_reports(kWaitAtOnce) == 0 && deadline->has_passed()) return false;
    mark_some();
  }
}

// Within the memory that the answer may take, and within the silence that the lease may bear.
void Dispatch::adapt_reads(const Part& part) {
  if (part.rows.empty()) return;
  std::size_t bytes = 1;
  for (const OutboxRow& row : part.rows) bytes += row.record.payload.size();
  const std::size_t fitting = std::min(kBytesPerRead * part.rows.size() / bytes, 4 * rows_per_read_);
  const std::size_t bearable = part.took > kSlowRead ? rows_per_read_ / 2 : kMaxRowsPerRead;
  rows_per_read_ = std::clamp<std::size_t>(std::min(fitting, bearable), 1, kMaxRowsPerRead);
}

// What it was to find is found again by the next round.
void Dispatch::stop_reading() {
  todo_.clear();
  if (!reading_.valid()) return;
  await_reading();
  reading_ = {};
}

// The lease is kept meanwhile.
void Dispatch::await_reading() {
  while (reading_.wait_for(kSlice) != std::future_status::ready) {
    around_.keep_alive();
    take_reports(milliseconds::zero());
    mark_some();
  }
}

void Dispatch::wait_a_little() {
  around_.keep_alive();
  if (flight_.open() > 0) {
    take_reports(steady_now() - reported_ < kSlowSlice ? kSlice : kSlowSlice);
  } else if (marking_.valid()) {
    marking_.wait_for(kSlice);
  } else {
    std::this_thread::sleep_for(kSlice);
  }
  mark_some();
}

void Dispatch::collect(milliseconds patience, const std::stop_token& stop) {
  Deadline deadline(patience, stop);
  while (flight_.open() > 0 && !deadline.has_passed()) {
    take_reports(kWaitAtOnce);
    around_.keep_alive();
    mark_some();
  }
}

std::size_t Dispatch::take_reports(milliseconds wait) {
  const std::vector<Delivery> reports = sink_.deliveries(wait);
  if (!reports.empty()) reported_ = steady_now();
  for (const Delivery& report : reports) {
    if (!flight_.apply(report)) continue;
    if (owed_.empty()) owed_since_ = steady_now();
    owed_.push_back(report.token);
    ++acked_;
  }
  return reports.size();
}

// One statement at a time, when it is worth it or has waited long enough.
void Dispatch::mark_some() {
  if (marking_.valid()) {
    if (marking_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
    finish_marking();
  }
  if (owed_.size() >= options_.batch || (!owed_.empty() && steady_now() - owed_since_ >= kMarkWithin)) start_marking();
}

void Dispatch::start_marking() {
  ONCEMARK_FAIL_POINT("relay.after_ack");
  const auto rest = owed_.begin() + static_cast<std::ptrdiff_t>(std::min(options_.batch, owed_.size()));
  std::sort(owed_.begin(), rest);
  marked_.assign(owed_.begin(), rest);
  owed_.erase(owed_.begin(), rest);
  marking_ = std::async(std::launch::async, [this] {
    if (options_.sent_rows == SentRows::removed) {
      marker_.remove(marked_);
    } else {
      marker_.mark_sent(marked_);
    }
  });
}

void Dispatch::finish_marking() {
  const std::vector<std::uint64_t> ids = std::exchange(marked_, {});
  try {
    marking_.get();
  } catch (...) {
    if (owed_.empty()) owed_since_ = steady_now();
    owed_.insert(owed_.end(), ids.begin(), ids.end());
    throw;
  }
  flight_.remove(ids);
  if (!silences_.empty()) {
    for (const std::uint64_t id : ids) silences_.erase(id);
  }
  counts_.sent += ids.size();
  metrics_.count(metric::kRelaySent, {{"relay", options_.name}}, static_cast<double>(ids.size()));
  ONCEMARK_FAIL_POINT("relay.after_mark");
}

void Dispatch::settle() {
  while (marking_.valid() || !owed_.empty()) {
    if (!marking_.valid()) start_marking();
    while (marking_.wait_for(kSlice) != std::future_status::ready) around_.keep_alive();
    finish_marking();
  }
}

// In id order, the first row of each key that was not acked decides for the key: what lies behind it stays pending.
void Dispatch::resolve(Round& round, const std::stop_token& stop) {
  std::unordered_set<std::uint64_t> closed;
  bool is_answering = !flight_.has(Answer::failed) || acked_ > 0;
  for (FlightRow* const found : flight_.rows()) {
    FlightRow& row = *found;
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
  collect(options_.report_timeout, stop);
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
  todo_.clear();
  reading_ = {};  // waits for it
  flight_.give_up("no delivery report within " + std::to_string(options_.report_timeout.count()) +
                  " ms; is the partition without a leader?");
  sink_.discard();
}

}  // namespace oncemark::outbox
