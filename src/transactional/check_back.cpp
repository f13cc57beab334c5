#include <oncemark/transactional/check_back.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>
#include <oncemark/outbox/writer.hpp>

#include "transactional/delivery_round.hpp"
#include "transactional/half_record.hpp"
#include "transactional/rows.hpp"
#include "transactional/waiting_room.hpp"

namespace oncemark::transactional {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kRound = 256;  // half messages looked at together
constexpr std::size_t kPollRecords = 500;
constexpr milliseconds kPollWait{100};
constexpr milliseconds kCommitEvery{1'000};
constexpr milliseconds kParkedEvery{2'000};
constexpr milliseconds kPurgeEvery{60'000};
constexpr std::size_t kPurgeStep = 1'000;
constexpr milliseconds kEarlyEvery{1'000};
constexpr milliseconds kWorkFor{2'000};   // at a time: then the group is served again
constexpr milliseconds kTryAgain{1'000};  // what the broker did not answer for
constexpr Backoff kTrouble{.initial = milliseconds(500), .factor = 2.0, .cap = milliseconds(10'000), .jitter = 0.2};
constexpr std::chrono::hours kLeastRetention{24};  // of the half topic: how long a check-back may be away

void require(bool holds, const char* field, const std::string& value, const char* range) {
  if (holds) return;
  throw MisuseError("CheckBackOptions::" + std::string(field) + " is " + value + "; allowed: " + range);
}

std::string text(milliseconds time) { return std::to_string(time.count()) + " ms"; }

std::optional<std::int64_t> number(const std::map<std::string, std::string>& settings, const std::string& name) {
  const auto found = settings.find(name);
  if (found == settings.end()) return std::nullopt;
  std::int64_t value = 0;
  const char* const end = found->second.data() + found->second.size();
  const auto [stopped_at, error] = std::from_chars(found->second.data(), end, value);
  if (error != std::errc{} || stopped_at != end) return std::nullopt;
  return value;
}

// A half message must outlive every check of it and a coordinator that is away; and its row must outlive the half
// message, so that one that is read again is not taken for new.
void check_topic_settings(const std::map<std::string, std::string>& settings, const CheckBackOptions& options) {
  const std::string topic = half_topic(options.sender);
  const auto policy = settings.find("cleanup.policy");
  if (policy != settings.end() && policy->second != "delete") {
    throw MisuseError("topic " + topic + " has cleanup.policy=" + policy->second +
                      ", which may remove half messages before their outcome is known; set cleanup.policy=delete");
  }
  if (const auto bytes = number(settings, "retention.bytes"); bytes && *bytes >= 0) {
    throw MisuseError("topic " + topic + " has retention.bytes=" + std::to_string(*bytes) +
                      ", which may remove half messages before their outcome is known; set retention.bytes=-1");
  }
  const auto kept = number(settings, "retention.ms");
  if (!kept) return;  // the settings may not be seen
  const milliseconds checks = options.interval * options.max_checks;
  const milliseconds least = std::max<milliseconds>(kLeastRetention, 2 * checks);
  if (*kept >= 0 && milliseconds(*kept) < least) {
    throw MisuseError("topic " + topic + " keeps half messages for " + std::to_string(*kept) +
                      " ms only, and may lose them before their outcome is known; set retention.ms to " +
                      std::to_string(least.count()) + " at least");
  }
  if (*kept < 0 || milliseconds(*kept) >= options.keep_rows) {
    throw MisuseError("CheckBackOptions::keep_rows is " + std::to_string(options.keep_rows.count()) + " h, but topic " +
                      topic + " keeps half messages for " +
                      (*kept < 0 ? "ever" : std::to_string(*kept / 3'600'000) + " h") +
                      ": one that is read again would have no row any more; raise keep_rows, or lower retention.ms");
  }
}

}  // namespace

void CheckBackOptions::validate() const {
  outbox::check_name("CheckBackOptions::sender", sender);
  require(interval.count() >= 1 && interval <= std::chrono::hours(24), "interval", text(interval), "1 ms to 1 day");
  require(max_checks >= 1 && max_checks <= 1'000, "max_checks", std::to_string(max_checks), "1 to 1,000");
  require(max_waiting >= 1'000, "max_waiting", std::to_string(max_waiting), "1,000 or more");
  require(max_waiting_bytes >= (1u << 20), "max_waiting_bytes", std::to_string(max_waiting_bytes), "1 MiB or more");
  require(keep_rows.count() >= 24, "keep_rows", std::to_string(keep_rows.count()) + " h", "24 h or more");
  require(report_timeout.count() > 0, "report_timeout", text(report_timeout), "above 0 ms");
}

class CheckBack::Engine final : public RebalanceListener {
 public:
  Engine(mysql::Pool& pool, Source& source, Sink& sink, CheckBackOptions options, Check check, Metrics& metrics)
      : pool_(pool),
        source_(source),
        sink_(sink),
        options_(std::move(options)),
        check_(std::move(check)),
        metrics_(metrics),
        rows_(pool, options_.sender),
        clock_(pool) {}

  void run(const std::stop_token& stop);
  [[nodiscard]] CheckBackCounts counts() const {
    return {.settled = settled_,
            .sent = sent_,
            .rolled_back = rolled_back_,
            .running = running_,
            .unknown = unknown_,
            .parked = parked_};
  }

  void assigned(const std::vector<TopicPartition>& partitions) override;
  void revoked(const std::vector<TopicPartition>& partitions, bool lost) override;

 private:
  /// Guests of one round, by what is to be done with them; those that are left after an error go back.
  struct Round {
    std::vector<Guest> undecided = {};
    std::vector<Guest> to_send = {};
    std::vector<Guest> again = {};
    std::vector<Guest> to_park = {};
  };

  [[nodiscard]] bool is_full() const;
  void accept(std::vector<Record> records);
  void work();
  void look_early();
  void round(std::vector<Guest> guests);
  void decide(Round& round);
  void ask(Guest guest, Round& round);
  void told_nothing(Guest guest, std::string reason, Round& round);
  void send(Round& round);
  void append_again(Round& round);
  void park(Round& round);
  void settle(const Guest& guest);
  void put_back(std::vector<Guest>& guests);
  void send_parked();
  void commit();
  void note(std::string_view finding, std::size_t count = 1);

  mysql::Pool& pool_;
  Source& source_;
  Sink& sink_;
  const CheckBackOptions options_;
  const Check check_;
  Metrics& metrics_;
  const TransactionRows rows_;
  DatabaseClock clock_;
  WaitingRoom room_;
  bool has_first_partition_ = false;  // whoever has it does what is to be done once
  bool is_schema_checked_ = false;
  int failures_ = 0;  // rounds in a row that the database or the client refused
  SteadyTime next_work_{};
  SteadyTime next_commit_{};
  SteadyTime next_early_{};
  SteadyTime next_parked_{};
  SteadyTime next_purge_{};
  std::atomic<std::uint64_t> settled_{0};
  std::atomic<std::uint64_t> sent_{0};
  std::atomic<std::uint64_t> rolled_back_{0};
  std::atomic<std::uint64_t> running_{0};
  std::atomic<std::uint64_t> unknown_{0};
  std::atomic<std::uint64_t> parked_{0};
};

void CheckBack::Engine::run(const std::stop_token& stop) {
  source_.subscribe({}, *this);
  while (!stop.stop_requested()) {
    accept(source_.poll(kPollWait, is_full() ? 0 : kPollRecords));
    if (std::chrono::steady_clock::now() < next_work_) continue;
    try {
      work();
      failures_ = 0;
    } catch (const Error& error) {
      if (!error.retryable()) throw;
      ++failures_;
      log(LogLevel::error, "the check-back cannot work; half messages wait, and it tries again",
          {{"sender", options_.sender}, {"error", error.error_class()}, {"text", error.what()}});
      next_work_ = std::chrono::steady_clock::now() + delay_after(kTrouble, failures_, random_token());
    }
  }
  source_.close();
}

void CheckBack::Engine::assigned(const std::vector<TopicPartition>& partitions) {
  for (const TopicPartition& partition : partitions) has_first_partition_ |= partition.partition == 0;
}

void CheckBack::Engine::revoked(const std::vector<TopicPartition>& partitions, bool lost) {
  if (!lost) commit();
  for (const TopicPartition& partition : partitions) {
    room_.drop(partition);
    if (partition.partition == 0) has_first_partition_ = false;
  }
}

bool CheckBack::Engine::is_full() const {
  return room_.size() >= options_.max_waiting || room_.bytes() >= options_.max_waiting_bytes;
}

void CheckBack::Engine::accept(std::vector<Record> records) {
  for (Record& record : records) {
    Guest guest{.read_at = record.position, .bytes = sizeof(Guest) + record.key.size() + record.payload.size()};
    for (const Header& header : record.headers) guest.bytes += header.name.size() + header.value.size();
    try {
      guest.half = read_half(record);
    } catch (const PermanentError& error) {
      // Somebody else's record, kept for a person: there is nothing to ask, and nowhere to send it.
      guest.half = {.message = {.id = coordinates_identity(record.position, record.timestamp),
                                .payload = std::move(record.payload),
                                .headers = std::move(record.headers),
                                .event_time = record.timestamp,
                                .since = record.timestamp},
                    .reason = error.what()};
    }
    room_.add(std::move(guest));
  }
}

void CheckBack::Engine::work() {
  if (!is_schema_checked_) {
    mysql::require_schema(pool_);
    is_schema_checked_ = true;
  }
  const SteadyTime until = std::chrono::steady_clock::now() + kWorkFor;
  while (std::chrono::steady_clock::now() < until) {
    std::vector<Guest> due = room_.take_due(clock_.now(), kRound);
    if (due.empty()) break;
    round(std::move(due));
  }
  const SteadyTime now = std::chrono::steady_clock::now();
  if (is_full() && now >= next_early_) {
    look_early();
    next_early_ = now + kEarlyEvery;
  }
  if (has_first_partition_ && now >= next_parked_) {
    send_parked();
    next_parked_ = now + kParkedEvery;
  }
  if (has_first_partition_ && now >= next_purge_) {
    if (rows_.purge(options_.keep_rows, kPurgeStep) < kPurgeStep) next_purge_ = now + kPurgeEvery;
  }
  if (now >= next_commit_) {
    commit();
    next_commit_ = now + kCommitEvery;
  }
}

// In a healthy run nearly all are settled long before they are due: those need not fill the memory.
void CheckBack::Engine::look_early() {
  std::vector<Guest> first = room_.take_first(options_.max_waiting);
  for (std::size_t begin = 0; begin < first.size(); begin += kRound) {
    const std::size_t end = std::min(begin + kRound, first.size());
    std::vector<std::string> ids;
    for (std::size_t i = begin; i < end; ++i) ids.push_back(first[i].half.message.id);
    std::unordered_map<std::string, RowState> states;
    try {
      states = rows_.states(ids);
    } catch (...) {
      for (std::size_t i = begin; i < first.size(); ++i) {
        const Time due = first[i].half.due;
        room_.put_back(std::move(first[i]), due);
      }
      throw;
    }
    for (std::size_t i = begin; i < end; ++i) {
      const auto state = states.find(first[i].half.message.id);
      if (state != states.end() && state->second != RowState::committed) {
        settle(first[i]);
        continue;
      }
      const Time due = first[i].half.due;
      room_.put_back(std::move(first[i]), due);
    }
  }
}

void CheckBack::Engine::round(std::vector<Guest> guests) {
  Round round{.undecided = std::move(guests)};
  try {
    decide(round);
    send(round);
    append_again(round);
    park(round);
  } catch (...) {
    for (std::vector<Guest>* left : {&round.undecided, &round.to_send, &round.again, &round.to_park}) put_back(*left);
    throw;
  }
}

// What a plain read finds settled stays so. A committed one may be sent by its producer just now, as a copy.
void CheckBack::Engine::decide(Round& round) {
  std::vector<std::string> ids;
  for (const Guest& guest : round.undecided) ids.push_back(guest.half.message.id);
  const auto states = rows_.states(ids);
  while (!round.undecided.empty()) {
    const Half& half = round.undecided.back().half;
    const auto state = states.find(half.message.id);
    Finding finding = Finding::settled;
    if (half.message.topic.empty()) {
      finding = Finding::committed;  // cannot be read: goes to a person below
    } else if (state != states.end()) {
      finding = state->second == RowState::committed ? Finding::committed : Finding::settled;
    } else if (half.knows == Knows::row) {
      finding = rows_.find_out(half.message.id);
    } else {
      Guest guest = std::move(round.undecided.back());
      round.undecided.pop_back();
      ask(std::move(guest), round);
      continue;
    }
    Guest guest = std::move(round.undecided.back());
    round.undecided.pop_back();
    if (guest.half.message.topic.empty()) {
      round.to_park.push_back(std::move(guest));
    } else if (finding == Finding::committed) {
      round.to_send.push_back(std::move(guest));
    } else if (finding == Finding::running) {
      ++running_;
      note("running");
      round.again.push_back(std::move(guest));
    } else {
      if (finding == Finding::rolled_back) {
        ++rolled_back_;
        note("rolled_back");
      }
      settle(guest);
    }
  }
}

// Errors of the database end the round; the user's own count as an answer.
void CheckBack::Engine::ask(Guest guest, Round& round) {
  if (!check_) {
    return told_nothing(std::move(guest), "no row in local_transaction, and the check-back has no Check to ask", round);
  }
  Outcome outcome = Outcome::unknown;
  std::string reason = "the Check answered that it does not know";
  try {
    outcome = check_(guest.half.message);
  } catch (...) {
    const ErrorSummary error = summarize_current_exception();
    if (error.is_infrastructure) outcome = Outcome::running;
    reason = "the Check failed: " + error.error_class + ": " + error.text;
  }
  switch (outcome) {
    case Outcome::committed:
      round.to_send.push_back(std::move(guest));
      return;
    case Outcome::rolled_back:
      round.undecided.push_back(std::move(guest));  // until it is written down
      rows_.roll_back(round.undecided.back().half.message.id);
      settle(round.undecided.back());
      round.undecided.pop_back();
      ++rolled_back_;
      note("rolled_back");
      return;
    case Outcome::running:
      ++running_;
      note("running");
      guest.half.reason = std::move(reason);
      round.again.push_back(std::move(guest));
      return;
    case Outcome::unknown:
      told_nothing(std::move(guest), std::move(reason), round);
  }
}

void CheckBack::Engine::told_nothing(Guest guest, std::string reason, Round& round) {
  ++unknown_;
  note("unknown");
  ++guest.half.message.checks;
  guest.half.reason = std::move(reason);
  const bool is_last = guest.half.message.checks >= static_cast<std::uint32_t>(options_.max_checks);
  (is_last ? round.to_park : round.again).push_back(std::move(guest));
}

void CheckBack::Engine::send(Round& round) {
  if (round.to_send.empty()) return;
  std::vector<OutgoingRecord> records;
  for (const Guest& guest : round.to_send) records.push_back(to_message_record(guest.half.message));
  const std::vector<Delivered> results = deliver(sink_, records, options_.report_timeout);
  ONCEMARK_FAIL_POINT("checkback.after_send");

  std::vector<Guest> all = std::exchange(round.to_send, {});
  std::vector<std::string> ids;
  std::vector<Guest> failed;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (results[i].status == DeliveryStatus::acked) {
      ids.push_back(all[i].half.message.id);
      round.to_send.push_back(std::move(all[i]));  // until it is written down
    } else if (results[i].status == DeliveryStatus::refused) {
      log(LogLevel::error, "the broker refuses a committed message; it is tried again, and then left to a person",
          {{"sender", options_.sender}, {"id", all[i].half.message.id}, {"text", results[i].error}});
      told_nothing(std::move(all[i]), results[i].error, round);
    } else {
      all[i].half.reason = results[i].error;
      failed.push_back(std::move(all[i]));
    }
  }
  put_back(failed);
  rows_.mark_sent(ids);
  sent_ += ids.size();
  note("sent", ids.size());
  for (const Guest& guest : round.to_send) settle(guest);
  round.to_send.clear();
}

void CheckBack::Engine::append_again(Round& round) {
  if (round.again.empty()) return;
  const Time due = clock_.now() + options_.interval;
  std::vector<OutgoingRecord> records;
  for (Guest& guest : round.again) {
    Half half = guest.half;
    half.due = due;
    records.push_back(to_half_record(half, options_.sender));
  }
  const std::vector<Delivered> results = deliver(sink_, records, options_.report_timeout);
  ONCEMARK_FAIL_POINT("checkback.after_append");

  std::vector<Guest> failed;
  for (std::size_t i = 0; i < round.again.size(); ++i) {
    if (results[i].status == DeliveryStatus::acked) {
      room_.finish(round.again[i]);
      continue;
    }
    log(LogLevel::warn, "a half message cannot be appended again; it stays in memory, and is tried again",
        {{"sender", options_.sender}, {"id", round.again[i].half.message.id}, {"text", results[i].error}});
    failed.push_back(std::move(round.again[i]));
  }
  round.again.clear();
  put_back(failed);
}

void CheckBack::Engine::park(Round& round) {
  while (!round.to_park.empty()) {
    const Half& half = round.to_park.back().half;
    rows_.park(half);
    ONCEMARK_FAIL_POINT("checkback.after_park");
    log(LogLevel::error, "nobody can tell what became of a half message: a person decides, see `oncemark half list`",
        {{"sender", options_.sender}, {"id", half.message.id}, {"checks", half.message.checks}, {"text", half.reason}});
    ++parked_;
    metrics_.count(metric::kHalfParked, {{"sender", options_.sender}}, 1);
    room_.finish(round.to_park.back());
    round.to_park.pop_back();
  }
}

void CheckBack::Engine::settle(const Guest& guest) {
  ++settled_;
  room_.finish(guest);
}

void CheckBack::Engine::put_back(std::vector<Guest>& guests) {
  if (guests.empty()) return;
  const Time due = clock_.estimate() + kTryAgain;
  for (Guest& guest : guests) room_.put_back(std::move(guest), due);
  guests.clear();
}

// Those that a person has settled. A few at a time: each is one that somebody has looked at.
void CheckBack::Engine::send_parked() {
  for (const Half& half : rows_.to_send(kRound)) {
    const Delivered result = deliver(sink_, {to_message_record(half.message)}, options_.report_timeout).front();
    if (result.status == DeliveryStatus::acked) {
      rows_.unpark(half.message.id);
      ++sent_;
      note("sent");
    } else if (result.status == DeliveryStatus::refused) {
      rows_.park_again(half.message.id, result.error);
      log(LogLevel::error, "the broker refuses a message that a person has settled: it is parked again",
          {{"sender", options_.sender}, {"id", half.message.id}, {"text", result.error}});
    } else {
      return;
    }
  }
}

// Positions are progress hints: what is not committed now is read again, and found settled.
void CheckBack::Engine::commit() {
  const std::vector<Position> positions = room_.take_committable();
  if (positions.empty()) return;
  try {
    source_.commit(positions);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::misuse) throw;
    log(LogLevel::warn, "positions of half messages could not be committed; a restart would read them again",
        {{"sender", options_.sender}, {"text", error.what()}});
  }
}

void CheckBack::Engine::note(std::string_view finding, std::size_t count) {
  if (count == 0) return;
  metrics_.count(metric::kHalfChecks, {{"sender", options_.sender}, {"finding", std::string(finding)}},
                 static_cast<double>(count));
}

CheckBack::CheckBack(mysql::Pool& pool, Source& source, Sink& sink,
                     const std::map<std::string, std::string>& half_topic_settings, CheckBackOptions options,
                     Check check, Metrics& metrics) {
  options.validate();
  check_topic_settings(half_topic_settings, options);
  const std::string topic = half_topic(options.sender);
  if (source.topics() != std::vector<std::string>{topic}) {
    throw MisuseError("the check-back of " + options.sender + " reads topic " + topic +
                      " and no other: give its consumer .topics = {\"" + topic + "\"}");
  }
  engine_ = std::make_unique<Engine>(pool, source, sink, std::move(options), std::move(check), metrics);
}

CheckBack::~CheckBack() = default;

void CheckBack::run(std::stop_token stop) { engine_->run(stop); }

CheckBackCounts CheckBack::counts() const { return engine_->counts(); }

}  // namespace oncemark::transactional
