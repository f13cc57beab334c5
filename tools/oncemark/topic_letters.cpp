#include "topic_letters.hpp"

#include <algorithm>
#include <charconv>
#include <deque>
#include <iostream>
#include <map>

#include <oncemark/core/error.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/core/signals.hpp>
#include <oncemark/dead_letter/topic_replay.hpp>
#include <oncemark/kafka/producer.hpp>
#include <oncemark/observe/log.hpp>

#include "confirm.hpp"
#include "dlq.hpp"
#include "messages.hpp"
#include "output.hpp"
#include "topic_source.hpp"

namespace oncemark::tools {
namespace {

using dead_letter::Provenance;
using dead_letter::TopicOrder;
using dead_letter::TopicProgress;
using dead_letter::TopicReplay;
using dead_letter::TopicRoute;
using namespace std::chrono_literals;

constexpr std::size_t kBatch = 500;             // records between two looks at the job's row
constexpr auto kAckBound = 30s;                 // for the broker's answers to one batch
constexpr std::uint64_t kReadForPlan = 10'000;  // records of which a plan tells where they would go

std::string records_text(std::uint64_t count) { return grouped(count) + (count == 1 ? " record" : " records"); }

std::uint64_t size_of(const std::vector<kafka::LogRange>& ranges) {
  std::uint64_t records = 0;
  for (const kafka::LogRange& range : ranges) {
    if (!range.is_done()) records += static_cast<std::uint64_t>(range.end - range.next);
  }
  return records;
}

std::string known(const std::optional<std::string>& text, std::size_t limit = 100) {
  return text ? printable(*text, limit) : "-";
}

std::string origin_text(const Provenance& found) {
  if (!found.topic) return "-";
  std::string text = printable(*found.topic);
  if (found.partition) text += "/" + std::to_string(*found.partition);
  if (found.offset) text += "@" + std::to_string(*found.offset);
  return text;
}

Json record_json(const Record& record, const Provenance& found) {
  Json json{{"topic", record.position.topic},
            {"partition", record.position.partition},
            {"offset", record.position.offset},
            {"timestamp", to_json(record.timestamp)}};
  json.update(provenance_json(found));
  return json;
}

std::vector<TopicProgress> progress_of(const std::vector<kafka::LogRange>& ranges) {
  std::vector<TopicProgress> progress;
  for (const kafka::LogRange& range : ranges) {
    progress.push_back({.partition = range.partition.partition, .next = range.next, .end = range.end});
  }
  return progress;
}

Position parse_reference(const std::string& topic, const std::string& reference) {
  Position position{.topic = topic, .partition = -1, .offset = -1};
  const std::size_t slash = std::min(reference.find('/'), reference.size());
  const char* const begin = reference.data();
  const auto partition = std::from_chars(begin, begin + slash, position.partition);
  const char* const end = begin + reference.size();
  const auto offset = std::from_chars(begin + std::min(slash + 1, reference.size()), end, position.offset);
  if (partition.ec != std::errc{} || offset.ec != std::errc{} || offset.ptr != end || position.partition < 0 ||
      position.offset < 0) {
    throw UsageError("\"" + printable(reference, 60) + "\" is no record of a topic; expected PARTITION/OFFSET");
  }
  return position;
}

/// One `dlq-replay run --from-topic`, from the flags to the summary.
class TopicRunner {
 public:
  TopicRunner(const Globals& globals, const TopicRun& run)
      : globals_(globals), run_(run), letters_(globals), source_(letters_.settings), job_(*letters_.pool) {}

  int perform() {
    try {
      const int code = replay();
      summarise(code, {});
      return code;
    } catch (...) {
      const Failure failure = failure_of_current_exception();
      summarise(failure.exit_code, failure.text);
      if (job_.job().id == 0) throw;
      report_current_exception();
      say("Resume: " + resume_command());
      return failure.exit_code;
    }
  }

 private:
  int replay() {
    if (run_.resume) {
      job_.resume(*run_.resume);
      if (job_.job().state == "done") {
        say("Job " + std::to_string(job_.job().id) + " is done already.");
        return kDone;
      }
    } else if (const auto code = start()) {
      return *code;
    }
    return work();
  }

  /// An exit code when there is nothing to work through.
  std::optional<int> start() {
    TopicOrder order{.topic = run_.from.topic,
                     .to = run_.from.to,
                     .allowed = run_.from.allowed,
                     .max_replays = run_.max_replays,
                     .rate = run_.rate,
                     .operator_name = run_.operator_name,
                     .reason = run_.reason};
    order.validate();
    std::vector<kafka::LogRange> ranges = source_.ranges(order.topic, run_.from.partitions);
    if (run_.limit) cut(ranges, *run_.limit);
    planned_ = size_of(ranges);
    if (planned_ == 0) {
      say("The topic holds no records; nothing to do.");
      return run_.fail_if_empty ? kNothing : kDone;
    }
    show_plan(order, ranges);
    if (run_.dry_run) return kDone;
    require_confirmation({.verb = "replay",
                          .doing = "replaying",
                          .things = records_text(planned_),
                          .name = order.topic,
                          .what_name = "topic",
                          .is_narrowed = run_.limit.has_value() || !run_.from.partitions.empty(),
                          .count = planned_,
                          .yes = run_.yes,
                          .confirm = run_.confirm});
    job_.start(order, progress_of(ranges));
    return std::nullopt;
  }

  /// The first `limit` offsets: partition by partition, the oldest of each first.
  static void cut(std::vector<kafka::LogRange>& ranges, std::uint64_t limit) {
    std::uint64_t left = limit;
    for (kafka::LogRange& range : ranges) {
      const auto size = static_cast<std::uint64_t>(std::max<std::int64_t>(range.end - range.next, 0));
      const std::uint64_t taken = std::min(size, left);
      range.end = range.next + static_cast<std::int64_t>(taken);
      left -= taken;
    }
  }

  // ---- The plan ----

  void show_plan(const TopicOrder& order, const std::vector<kafka::LogRange>& ranges) {
    std::map<std::string, std::uint64_t> targets;
    std::map<std::string, std::uint64_t> staying;
    std::uint64_t read = 0;
    kafka::LogReader reader = source_.reader(ranges);
    while (!reader.is_done() && read < kReadForPlan) {
      for (const Record& record : reader.read(500ms, kBatch)) {
        const TopicRoute route = route_of(order, dead_letter::provenance_of(record));
        ++(route.stays_because.empty() ? targets[route.topic] : staying[route.stays_because]);
        ++read;
      }
    }
    if (globals_.json) {
      print_json({{"event", "plan"},
                  {"topic", order.topic},
                  {"records", planned_},
                  {"read", read},
                  {"targets", targets},
                  {"staying", staying}});
      return;
    }
    std::string text = "Plan: replay " + records_text(planned_) + " of topic " + order.topic + " in " +
                       std::to_string(ranges.size()) + (ranges.size() == 1 ? " partition" : " partitions") + "\n";
    for (const auto& [topic, count] : targets)
      text += "  to     " + printable(topic, 249) + "  (" + grouped(count) + ")\n";
    for (const auto& [reason, count] : staying) text += "  stay   " + grouped(count) + ": " + reason + "\n";
    if (read < planned_) text += "  (counted: the first " + grouped(read) + " that were read)\n";
    (run_.dry_run ? std::cout : std::cerr) << text << std::flush;
    if (staying.contains("origin not allowed")) say("Origins are taken from headers only with --allow TOPIC.");
    if (staying.contains("a letter of oncemark")) {
      say("Letters of oncemark are replayed from the database: dlq-replay run --consumer NAME");
    }
  }

  // ---- The work ----

  int work() {
    const StopOnSignal signals;
    kafka::Producer out(letters_.settings.kafka);
    std::vector<kafka::LogRange> ranges;
    for (const TopicProgress& p : job_.progress()) {
      ranges.push_back({.partition = {job_.order().topic, p.partition}, .next = p.next, .end = p.end});
    }
    skip_what_is_gone(ranges);
    kafka::LogReader reader = source_.reader(ranges);
    const double rate = job_.order().rate;
    const std::size_t batch =
        rate > 0 ? std::clamp<std::size_t>(static_cast<std::size_t>(rate / 10), 1, kBatch) : kBatch;
    while (!reader.is_done()) {
      if (signals.token().stop_requested()) {
        job_.end("stopped");
        return 128 + signals.signal();
      }
      const std::vector<Record> records = reader.read(500ms, batch);
      replay_batch(out, records);
      if (!job_.advance(progress_of(reader.ranges()), replayed_, skipped_)) return kPartly;  // ended by somebody else
      replayed_ = skipped_ = 0;
      if (rate > 0 && !records.empty()) {
        const std::chrono::duration<double> pause(static_cast<double>(records.size()) / rate);
        (void)wait_for(signals.token(), std::chrono::ceil<std::chrono::milliseconds>(pause));
      }
    }
    job_.end("done");
    return job_.job().skipped > 0 ? kPartly : kDone;
  }

  /// Retention may have taken records since the extent was frozen.
  void skip_what_is_gone(std::vector<kafka::LogRange>& ranges) {
    for (kafka::LogRange& range : ranges) {
      if (range.is_done()) continue;
      const std::int64_t first = source_.ranges(range.partition.topic, {range.partition.partition}).front().next;
      if (first <= range.next) continue;
      say("warning: " + std::to_string(std::min(first, range.end) - range.next) + " records of partition " +
          std::to_string(range.partition.partition) + " are gone from the topic since the job began");
      range.next = std::min(first, range.end);
    }
  }

  void replay_batch(kafka::Producer& out, const std::vector<Record>& records) {
    std::vector<OutgoingRecord> sending;
    for (const Record& record : records) {
      Provenance found = dead_letter::provenance_of(record);
      const TopicRoute route = route_of(job_.order(), found);
      if (!route.stays_because.empty()) {
        stays(record, route.stays_because);
        continue;
      }
      if (!found.is_pointer) {
        sending.push_back(replayed_record(record, found, route.topic, job_.job().id));
      } else if (auto whole = source_.behind(found)) {
        found.family = dead_letter::Family::none;  // what it points to is the record before its death
        sending.push_back(replayed_record(*whole, found, route.topic, job_.job().id));
      } else {
        stays(record, "a pointer to a record that is gone");
      }
    }
    send(out, sending);
    replayed_ += sending.size() - refused_;
    skipped_ += std::exchange(refused_, 0);
  }

  void stays(const Record& record, const std::string& why) {
    ++skipped_;
    if (reasons_[why]++ == 0) say("warning: " + record.position.str() + " stays where it is: " + why);
  }

  /// All of them are acked, or refused for what they are, when this returns.
  void send(kafka::Producer& out, const std::vector<OutgoingRecord>& records) {
    std::size_t open = 0;
    const auto until = std::chrono::steady_clock::now() + kAckBound;
    const auto collect = [&] {
      for (const Delivery& delivery : out.deliveries(100ms)) {
        --open;
        settle(records[delivery.token], delivery);
      }
      if (open > 0 && std::chrono::steady_clock::now() > until) {
        throw UnavailableError("the broker has not acked " + records_text(open) + "; what it has may be sent again");
      }
    };
    for (std::size_t i = 0; i < records.size(); ++i) {
      while (out.send(records[i], i) == Sent::queue_full) collect();
      ++open;
    }
    while (open > 0) collect();
  }

  void settle(const OutgoingRecord& record, const Delivery& delivery) {
    if (delivery.status == DeliveryStatus::acked) return;
    if (delivery.status == DeliveryStatus::failed) throw UnavailableError("sending to " + delivery.error);
    if (delivery.refusal == Refusal::topic) throw MisuseError("sending to " + delivery.error);
    ++refused_;
    if (reasons_["refused by the broker"]++ == 0) say("warning: " + record.topic + " refused: " + delivery.error);
  }

  // ---- The summary ----

  void summarise(int code, const std::string& error) {
    const dead_letter::ReplayJob& job = job_.job();
    if (globals_.json) {
      Json summary{{"event", "summary"},
                   {"exit_code", code},
                   {"job", job.id == 0 ? Json() : Json(job.id)},
                   {"state", job.id == 0 ? Json() : Json(job.state)},
                   {"selected", job.id == 0 ? planned_ : job.selected},
                   {"replayed", job.replayed},
                   {"skipped", job.skipped},
                   {"skipped_by_this_run", reasons_}};
      if (!error.empty()) summary["error"] = error;
      if (job.id != 0 && job.state != "done") summary["resume"] = resume_command();
      print_json(summary);
      return;
    }
    if (job.id == 0 || !error.empty()) return;
    std::cout << (job.state == "done" ? "Done: " : "Stopped: ") << grouped(job.replayed) << " of "
              << records_text(job.selected) << " replayed, " << grouped(job.skipped) << " stay.  Job " << job.id
              << ".\n";
    for (const auto& [reason, count] : reasons_) std::cout << "  " << grouped(count) << " stay: " << reason << '\n';
    if (job.state != "done") std::cout << "Resume: " << resume_command() << '\n';
    std::cout.flush();
  }

  [[nodiscard]] std::string resume_command() const {
    return "dlq-replay resume " + std::to_string(job_.job().id) +
           (globals_.config.empty() ? "" : " --config " + globals_.config);
  }

  const Globals& globals_;
  const TopicRun& run_;
  Letters letters_;
  TopicSource source_;
  TopicReplay job_;
  std::uint64_t planned_ = 0;
  std::uint64_t replayed_ = 0;  // of the batch in work
  std::uint64_t skipped_ = 0;
  std::uint64_t refused_ = 0;
  std::map<std::string, std::uint64_t> reasons_;
};

}  // namespace

void FromTopicFlags::add_to(CLI::App& verb) {
  const std::string group = "A topic instead of the table";
  verb.add_option("--from-topic", topic, "work on this dead-letter topic, whoever wrote it")
      ->type_name("TOPIC")
      ->group(group);
  verb.add_option("--partition", partitions, "only this partition of it; may be given several times")
      ->type_name("N")
      ->group(group)
      ->allow_extra_args(false);
}

void FromTopicFlags::add_targets_to(CLI::App& verb) {
  const std::string group = "A topic instead of the table";
  verb.add_option("--to", to, "send all records there")->type_name("TOPIC")->group(group);
  verb.add_option("--allow", allowed, "send records there whose headers name it as origin; may be given several times")
      ->type_name("TOPIC")
      ->group(group)
      ->allow_extra_args(false);
}

int list_of_topic(const Globals& globals, const FromTopicFlags& from, std::uint64_t limit) {
  const config::Settings settings = globals.settings();
  log_as_messages();
  const TopicSource source(settings);
  std::vector<kafka::LogRange> ranges = source.ranges(from.topic, from.partitions);
  for (kafka::LogRange& range : ranges) {
    range.next = std::max(range.next, range.end - static_cast<std::int64_t>(limit));
  }
  kafka::LogReader reader = source.reader(std::move(ranges));
  std::deque<Record> newest;
  while (!reader.is_done()) {
    for (Record& record : reader.read(500ms, kBatch)) {
      record.payload = record.payload.is_null() ? Bytes(nullptr) : Bytes("");  // not shown, and may be large
      newest.push_back(std::move(record));
    }
  }
  std::ranges::stable_sort(newest, {}, &Record::timestamp);
  if (newest.size() > limit) newest.erase(newest.begin(), newest.end() - static_cast<std::ptrdiff_t>(limit));
  std::ranges::stable_sort(newest, [](const Record& a, const Record& b) { return a.position < b.position; });

  Table table({{"RECORD"},
               {"DIED AT"},
               {"FAMILY"},
               {"ORIGIN"},
               {"GROUP"},
               {"ATTEMPTS", Table::Align::right},
               {"REPLAYS", Table::Align::right},
               {"KEY", Table::Align::left, 40},
               {"ERROR", Table::Align::left, 100}});
  for (const Record& record : newest) {
    const Provenance found = dead_letter::provenance_of(record);
    if (globals.json) print_json(record_json(record, found));
    table.add({std::to_string(record.position.partition) + "/" + std::to_string(record.position.offset),
               short_time(record.timestamp), std::string(to_string(found.family)), origin_text(found),
               known(found.group), found.attempts ? std::to_string(*found.attempts) : "-",
               found.replays ? std::to_string(*found.replays) : "-",
               record.key.is_null() ? "null" : std::string(record.key.view()),
               known(found.error_class) + ": " + known(found.error_text)});
  }
  if (!globals.json) std::cout << table.str();
  if (newest.empty()) say("The topic holds no records.");
  return kDone;
}

int show_of_topic(const Globals& globals, const FromTopicFlags& from, const std::string& reference,
                  std::size_t payload_limit, bool raw) {
  const Position position = parse_reference(from.topic, reference);
  const config::Settings settings = globals.settings();
  log_as_messages();
  const TopicSource source(settings);
  const auto record = source.find(position);
  if (!record) throw UsageError("there is no record " + position.str() + " (any more)");
  const Provenance found = dead_letter::provenance_of(*record);
  const auto whole = found.is_pointer ? source.behind(found) : std::nullopt;
  const Record& content = whole ? *whole : *record;
  if (found.is_pointer && !whole) say("warning: it is a pointer, and the record that it points to is gone");
  if (raw) {
    std::cout << content.payload.view();
    return kDone;
  }
  if (globals.json) {
    Json json = record_json(*record, found);
    json["headers"] = to_json(record->headers);
    json["key"] = to_json(content.key);
    json["payload"] = to_json(content.payload);
    print_json(json);
    return kDone;
  }
  std::cout << "Record " << position.str() << ", written " << short_time(record->timestamp) << "\n"
            << "  family   " << to_string(found.family) << "\n  origin   " << origin_text(found) << "\n  group    "
            << known(found.group) << "\n  error    " << known(found.error_class) << ": "
            << known(found.error_text, 1'000) << '\n';
  for (const std::string& name : found.unreadable) std::cout << "  cannot be read: " << printable(name) << '\n';
  if (whole) std::cout << "  a pointer; below is the record that it points to\n";
  print_record(content.key, content.payload, record->headers, payload_limit);
  return kDone;
}

int replay_topic(const Globals& globals, const TopicRun& run) { return TopicRunner(globals, run).perform(); }

}  // namespace oncemark::tools
