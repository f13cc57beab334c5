#include <oncemark/kafka/consumer.hpp>

#include <syslog.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include <oncemark/core/error.hpp>

#include "kafka/admin_client.hpp"
#include "kafka/config.hpp"
#include "kafka/failure.hpp"
#include "kafka/handles.hpp"
#include "kafka/membership.hpp"
#include "kafka/needed_topics.hpp"
#include "kafka/partitions.hpp"
#include "kafka/record.hpp"
#include "kafka/retire.hpp"

namespace oncemark::kafka {
namespace {

using std::chrono::milliseconds;
using Steady = std::chrono::steady_clock;

constexpr milliseconds kTakeBound{50};      // for taking what is there, after the first record
constexpr milliseconds kCloseBound{5'000};  // without the listener's own time
constexpr milliseconds kRetireBound{1'000};
constexpr milliseconds kDoubtBound{1'000};
constexpr milliseconds kDoubtPause{2'000};

int ms(milliseconds time) { return static_cast<int>(std::max<milliseconds::rep>(time.count(), 0)); }

std::string text_of(const rd_kafka_message_t& event) {
  const char* text = rd_kafka_message_errstr(&event);
  return printable(text ? text : rd_kafka_err2str(event.err), 512);
}

std::string topic_of(const rd_kafka_message_t& event) { return event.rkt ? rd_kafka_topic_name(event.rkt) : ""; }

}  // namespace

struct Consumer::State {
  explicit State(ConsumerOptions options_);

  void require_open() const;
  void handle(const rd_kafka_message_t& event);
  [[noreturn]] void stop_for_good();
  void check_doubtful_topics();
  void serve_group(milliseconds wait);
  void take_what_is_there(milliseconds wait, std::size_t max);
  void leave_group();

  const ConsumerOptions options;
  std::unique_ptr<Membership> membership;
  ClientHandle client;
  QueueHandle records;  // closed before the client
  bool subscribed = false;
  std::set<std::string> doubtful;  // source topics that librdkafka says are unknown
  Steady::time_point next_check{};
};

Consumer::State::State(ConsumerOptions options_) : options(std::move(options_)) {
  auto place = std::make_unique<Membership>(options);
  ConfHandle conf = consumer_conf(options);
  place->attach_to(conf.get());
  client = make_client(RD_KAFKA_CONSUMER, std::move(conf), *place);
  records.reset(rd_kafka_queue_new(client.get()));
  place->set_client(client.get());
  place->set_records(records.get());
  membership = std::move(place);
}

void Consumer::State::require_open() const {
  if (!client) throw MisuseError("consumer " + options.group + " was closed");
  if (!subscribed) throw MisuseError("consumer " + options.group + " is not subscribed; call subscribe() first");
}

// The group's events have a queue of their own, so that they are served while no record is taken.
void Consumer::State::serve_group(milliseconds wait) {
  while (const auto event = MessageHandle(rd_kafka_consumer_poll(client.get(), ms(wait)))) {
    if (event->err) {
      handle(*event);
    } else {
      membership->read().push_back(to_record(*event));  // of a partition that could not be led to our queue
    }
    wait = milliseconds(0);
  }
}

// Records that came before an error are handed over first; the error follows at the next poll.
void Consumer::State::take_what_is_there(milliseconds wait, std::size_t max) {
  auto until = Steady::time_point::max();
  std::vector<Record>& read = membership->read();
  while (read.size() < max) {
    const MessageHandle message(
        rd_kafka_consume_queue(records.get(), until == Steady::time_point::max() ? ms(wait) : 0));
    if (!message) return;
    if (until == Steady::time_point::max()) until = Steady::now() + kTakeBound;
    if (message->err) {
      handle(*message);
    } else {
      read.push_back(to_record(*message));
    }
    if (Steady::now() >= until) return;
  }
}

void Consumer::State::handle(const rd_kafka_message_t& event) {
  const std::string topic = topic_of(event);
  switch (event.err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
      return;
    case RD_KAFKA_RESP_ERR__FATAL:
      stop_for_good();
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
      log(LogLevel::warn,
          "the consumer did not poll for longer than max_poll_interval and was put out of its group; it joins again",
          {{"group", options.group}, {"text", text_of(event)}});
      return;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
      if (std::find(options.topics.begin(), options.topics.end(), topic) != options.topics.end()) {
        doubtful.insert(topic);
      }
      membership->write(LOG_WARNING, "UNKNOWN", text_of(event));
      return;
    default:
      break;
  }
  const ErrorKind kind = classify(event.err);
  if (kind == ErrorKind::permanent && event.partition >= 0 && event.rkt) {
    membership->read_again({topic, event.partition, event.offset}, event.err, text_of(event));
  } else if (kind == ErrorKind::misuse) {
    throw failure("group " + options.group + ": " + text_of(event), event.err);
  } else {
    membership->write(LOG_WARNING, rd_kafka_err2name(event.err), text_of(event));
  }
}

void Consumer::State::stop_for_good() {
  std::array<char, 512> text{};
  const rd_kafka_resp_err_t code = rd_kafka_fatal_error(client.get(), text.data(), text.size());
  throw KafkaError(ErrorKind::misuse, code, rd_kafka_err2name(code), true,
                   "consumer " + options.group + " cannot go on: " + text.data() + ": " + describe_code(code));
}

// One broker that has not heard of a topic yet is no proof; a second question is.
void Consumer::State::check_doubtful_topics() {
  if (doubtful.empty() || Steady::now() < next_check) return;
  try {
    AdminClient admin(options.brokers, options.properties, options.password_file);
    for (auto topic = doubtful.begin(); topic != doubtful.end(); topic = doubtful.erase(topic)) {
      if (!admin.describe(*topic, kDoubtBound)) throw missing_source(options, *topic);
    }
  } catch (const KafkaError& error) {
    if (!error.retryable()) throw;
    next_check = Steady::now() + kDoubtPause;
  }
}

// rd_kafka_consumer_close() has no bound, so its parts are used instead. Callbacks are served by consuming:
// rd_kafka_queue_poll_callback() aborts the process when it meets a record that was fetched meanwhile.
void Consumer::State::leave_group() {
  const QueueHandle events(rd_kafka_queue_new(client.get()));
  const ErrorHandle refused(rd_kafka_consumer_close_queue(client.get(), events.get()));
  auto until = Steady::now() + kCloseBound;
  while (!refused && !rd_kafka_consumer_closed(client.get()) && Steady::now() < until) {
    const std::size_t before = membership->rebalances();
    const MessageHandle unwanted(rd_kafka_consume_queue(events.get(), 10));
    if (membership->rebalances() != before) until = Steady::now() + kCloseBound;
  }
  membership->lose_all();  // does nothing when all went well
}

Consumer::Consumer(ConsumerOptions options) : state_(std::make_unique<State>(std::move(options))) {}

Consumer::~Consumer() {
  if (!state_->client) return;
  state_->membership->set_listener(nullptr);  // it may be gone already
  try {
    close();
  } catch (...) {
    log(LogLevel::warn, "closing a consumer failed",
        {{"group", state_->options.group}, {"error", summarize_current_exception().text}});
  }
}

const std::string& Consumer::group() const { return state_->options.group; }

const std::vector<std::string>& Consumer::topics() const { return state_->options.topics; }

void Consumer::subscribe(const std::vector<TopicNeed>& needs, RebalanceListener& listener) {
  State& state = *state_;
  if (!state.client || state.subscribed) {
    throw MisuseError("consumer " + state.options.group + " can be subscribed once only");
  }
  AdminClient admin(state.options.brokers, state.options.properties, state.options.password_file);
  prepare_topics(admin, state.options, needs);

  std::set<std::string> names(state.options.topics.begin(), state.options.topics.end());
  for (const TopicNeed& need : needs) {
    if (need.subscribe) names.insert(need.topic);
  }
  std::vector<TopicPartition> subscription;
  for (const std::string& name : names) subscription.push_back({name, RD_KAFKA_PARTITION_UA});

  state.membership->set_listener(&listener);
  rd_kafka_poll_set_consumer(state.client.get());
  if (const auto error = rd_kafka_subscribe(state.client.get(), to_native(subscription).get())) {
    throw failure("subscribing group " + state.options.group, error);
  }
  state.subscribed = true;
}

std::vector<Record> Consumer::poll(milliseconds wait, std::size_t max) {
  State& state = *state_;
  state.require_open();
  state.membership->throw_kept_error();
  state.check_doubtful_topics();
  state.membership->retry_pending();
  try {
    state.serve_group(max == 0 ? wait : milliseconds(0));
    state.membership->lead_to_records();
    if (max > 0) state.take_what_is_there(wait, max);
  } catch (...) {
    state.membership->keep_error(std::current_exception());
  }
  if (state.membership->read().empty()) state.membership->throw_kept_error();
  return std::exchange(state.membership->read(), {});
}

void Consumer::commit(const std::vector<Position>& next) {
  state_->require_open();
  state_->membership->commit(next);
}

void Consumer::close() {
  State& state = *state_;
  if (!state.client) return;
  if (state.subscribed) state.leave_group();
  std::exception_ptr error;
  try {
    state.membership->throw_kept_error();
  } catch (...) {
    error = std::current_exception();
  }
  state.membership->set_listener(nullptr);
  state.records.reset();
  retire(std::move(state.client), std::move(state.membership), kRetireBound);
  if (error) std::rethrow_exception(error);
}

}  // namespace oncemark::kafka
