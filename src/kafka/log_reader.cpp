#include <oncemark/kafka/log_reader.hpp>

#include <algorithm>
#include <map>

#include "kafka/admin_client.hpp"
#include "kafka/config.hpp"
#include "kafka/failure.hpp"
#include "kafka/partitions.hpp"
#include "kafka/record.hpp"
#include "kafka/retire.hpp"

namespace oncemark::kafka {
namespace {

using std::chrono::milliseconds;
using Steady = std::chrono::steady_clock;

constexpr milliseconds kTakeBound{50};  // for taking what is there, after the first record
constexpr milliseconds kSilenceBound{30'000};
constexpr milliseconds kAskBound{10'000};
constexpr milliseconds kRetireBound{1'000};

int ms(milliseconds time) { return static_cast<int>(std::max<milliseconds::rep>(time.count(), 0)); }

ConfHandle reader_conf(const std::string& brokers, const Properties& properties, const std::string& password_file) {
  ConfHandle conf = observer_conf(brokers, properties, password_file);
  set_property(conf.get(), "isolation.level", "read_committed");
  set_property(conf.get(), "enable.partition.eof", "true");
  set_property(conf.get(), "auto.offset.reset", "error");
  set_property(conf.get(), "check.crcs", "true");
  return conf;
}

}  // namespace

struct LogReader::State {
  State(const std::string& brokers, std::vector<LogRange> ranges_, const Properties& properties,
        const std::string& password_file);
  ~State();

  void start(const LogRange& range);
  void handle(const rd_kafka_message_t& event);
  [[nodiscard]] LogRange* range_of(const rd_kafka_message_t& event);

  std::vector<LogRange> ranges;
  std::unique_ptr<ClientLog> log;
  ClientHandle client;
  QueueHandle queue;
  std::map<std::string, TopicHandle> topics;
  std::vector<TopicPartition> started;
  Steady::time_point heard_at = Steady::now();
};

LogReader::State::State(const std::string& brokers, std::vector<LogRange> ranges_, const Properties& properties,
                        const std::string& password_file)
    : ranges(std::move(ranges_)), log(std::make_unique<ClientLog>("log reader")) {
  client = make_client(RD_KAFKA_CONSUMER, reader_conf(brokers, properties, password_file), *log);
  queue.reset(rd_kafka_queue_new(client.get()));
  for (const LogRange& range : ranges) {
    if (!range.is_done()) start(range);
  }
}

LogReader::State::~State() {
  for (const TopicPartition& partition : started) {
    rd_kafka_consume_stop(topics.at(partition.topic).get(), partition.partition);
  }
  topics.clear();
  queue.reset();
  retire(std::move(client), std::move(log), kRetireBound);
}

void LogReader::State::start(const LogRange& range) {
  TopicHandle& topic = topics[range.partition.topic];
  if (!topic) topic.reset(rd_kafka_topic_new(client.get(), range.partition.topic.c_str(), nullptr));
  if (!topic) throw failure("reading " + name_of(range.partition), rd_kafka_last_error());
  if (rd_kafka_consume_start_queue(topic.get(), range.partition.partition, range.next, queue.get()) != 0) {
    throw failure("reading " + name_of(range.partition), rd_kafka_last_error());
  }
  started.push_back(range.partition);
}

LogRange* LogReader::State::range_of(const rd_kafka_message_t& event) {
  if (event.rkt == nullptr) return nullptr;
  const std::string topic = rd_kafka_topic_name(event.rkt);
  const auto found = std::find_if(ranges.begin(), ranges.end(), [&](const LogRange& range) {
    return range.partition.partition == event.partition && range.partition.topic == topic;
  });
  return found == ranges.end() ? nullptr : &*found;
}

// Outages are the client's own business, as long as they end.
void LogReader::State::handle(const rd_kafka_message_t& event) {
  LogRange* const range = range_of(event);
  if (event.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    if (range != nullptr) range->next = range->end;
    return;
  }
  const ErrorKind kind = classify(event.err);
  if (kind != ErrorKind::permanent && kind != ErrorKind::misuse) return;
  const std::string where = range != nullptr ? name_of(range->partition) + " at offset " + std::to_string(range->next)
                                             : std::string("a topic");
  const char* said = rd_kafka_message_errstr(&event);
  throw failure("reading " + where + (said ? ": " + printable(said, 300) : ""), event.err);
}

LogReader::LogReader(const std::string& brokers, std::vector<LogRange> ranges, const Properties& properties,
                     const std::string& password_file)
    : state_(std::make_unique<State>(brokers, std::move(ranges), properties, password_file)) {}

LogReader::~LogReader() = default;

std::vector<Record> LogReader::read(milliseconds wait, std::size_t max) {
  State& state = *state_;
  std::vector<Record> records;
  auto until = Steady::now() + wait;
  while (records.size() < max && !is_done()) {
    const auto rest = std::chrono::ceil<milliseconds>(until - Steady::now());
    const MessageHandle message(rd_kafka_consume_queue(state.queue.get(), ms(rest)));
    if (!message) break;
    state.heard_at = Steady::now();
    if (message->err) {
      state.handle(*message);
      continue;
    }
    LogRange* const range = state.range_of(*message);
    if (range == nullptr || range->is_done()) continue;  // behind the end, fetched meanwhile
    if (message->offset < range->end) {
      if (records.empty()) until = std::min(until, Steady::now() + kTakeBound);
      records.push_back(to_record(*message));
    }
    range->next = message->offset + 1;
  }
  if (records.empty() && !is_done() && Steady::now() - state.heard_at > kSilenceBound) {
    throw failure("nothing was read for " + std::to_string(kSilenceBound.count()) + " ms; " + state.log->last_failure(),
                  RD_KAFKA_RESP_ERR__TIMED_OUT);
  }
  return records;
}

const std::vector<LogRange>& LogReader::ranges() const noexcept { return state_->ranges; }

bool LogReader::is_done() const noexcept { return std::ranges::all_of(state_->ranges, &LogRange::is_done); }

std::vector<LogRange> ranges_of(const std::string& brokers, const std::string& topic,
                                const std::vector<std::int32_t>& partitions, const Properties& properties,
                                const std::string& password_file) {
  AdminClient admin(brokers, properties, password_file);
  const auto found = admin.describe(topic, kAskBound);
  if (!found) throw failure("topic " + topic, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  std::vector<std::int32_t> wanted = partitions;
  for (std::int32_t p = 0; wanted.size() < static_cast<std::size_t>(found->partitions) && partitions.empty(); ++p) {
    wanted.push_back(p);
  }
  std::vector<LogRange> ranges;
  for (const std::int32_t partition : wanted) {
    if (partition < 0 || partition >= found->partitions) {
      throw failure("partition " + std::to_string(partition) + " of topic " + topic + ", which has " +
                        std::to_string(found->partitions),
                    RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
    }
    const Watermarks ends = admin.watermarks({topic, partition}, kAskBound);
    ranges.push_back({.partition = {topic, partition}, .next = ends.low, .end = ends.high});
  }
  return ranges;
}

}  // namespace oncemark::kafka
