#include <oncemark/kafka/producer.hpp>

#include <array>
#include <exception>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include <oncemark/core/error.hpp>

#include "kafka/client_log.hpp"
#include "kafka/config.hpp"
#include "kafka/failure.hpp"
#include "kafka/record.hpp"
#include "kafka/retire.hpp"

namespace oncemark::kafka {
namespace {

using std::chrono::milliseconds;
using Steady = std::chrono::steady_clock;

static_assert(sizeof(void*) >= sizeof(std::uint64_t), "tokens travel as a record's opaque");

constexpr milliseconds kRetireBound{1'000};
constexpr milliseconds kAskAgain{1'000};

Delivery make_delivery(std::uint64_t token, int code, const char* topic) {
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return {token, DeliveryStatus::acked, {}};
  const auto status = is_about_the_record(code) ? DeliveryStatus::refused : DeliveryStatus::failed;
  return {token, status, "topic " + printable(topic) + ": " + describe_code(code), refusal_of(code)};
}

/// The reports of one client: those of its predecessors can never get in.
struct Reports final : ClientLog {
  using ClientLog::ClientLog;
  std::vector<Delivery> deliveries;
  std::exception_ptr error;
};

void on_report(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) noexcept {
  auto& reports = *static_cast<Reports*>(static_cast<ClientLog*>(opaque));
  try {
    const auto token = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(message->_private));
    reports.deliveries.push_back(make_delivery(token, message->err, rd_kafka_topic_name(message->rkt)));
  } catch (...) {  // out of memory
    reports.error = std::current_exception();
  }
}

}  // namespace

struct Producer::State {
  explicit State(ProducerOptions options_) : options(std::move(options_)) { build(); }
  ~State() { drop(); }

  void build();
  void drop() noexcept;
  void end_after_fatal_error();
  [[nodiscard]] rd_kafka_resp_err_t produce(const OutgoingRecord& record, std::uint64_t token);
  void ask_about(const std::string& topic);
  void ask_about_new_topics();
  [[nodiscard]] bool nothing_in_flight() const { return !client || rd_kafka_outq_len(client.get()) == 0; }

  const ProducerOptions options;
  std::unique_ptr<Reports> reports;
  ClientHandle client;                // none after discard() and after a fatal error; the next send makes one
  bool ended = false;                 // by a fatal error; what was in flight is being reported
  std::vector<Delivery> own_reports;  // of records that the client itself refused
  std::map<std::string, Steady::time_point> asked_about;
  std::set<std::string, std::less<>> topics;  // that this client was given records for
  std::vector<std::string> not_asked_about;   // those of them
};

void Producer::State::build() {
  auto fresh = std::make_unique<Reports>("producer");
  ConfHandle conf = producer_conf(options);
  rd_kafka_conf_set_dr_msg_cb(conf.get(), &on_report);
  client = make_client(RD_KAFKA_PRODUCER, std::move(conf), *fresh);
  reports = std::move(fresh);
  ended = false;
}

void Producer::State::drop() noexcept {
  if (!client) return;
  rd_kafka_purge(client.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
  retire(std::move(client), std::move(reports), kRetireBound);
  asked_about.clear();
  topics.clear();
  not_asked_about.clear();
}

// The client takes nothing more; everything in it comes back as a report (purged), and then it can go.
void Producer::State::end_after_fatal_error() {
  if (!client || ended) return;
  std::array<char, 512> text{};
  const rd_kafka_resp_err_t code = rd_kafka_fatal_error(client.get(), text.data(), text.size());
  if (!code) return;
  log(LogLevel::warn, "the Kafka producer met a fatal error; it is made anew, what was in flight is sent again",
      {{"error", rd_kafka_err2name(code)}, {"text", text.data()}, {"in_flight", rd_kafka_outq_len(client.get())}});
  rd_kafka_purge(client.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
  ended = true;
}

rd_kafka_resp_err_t Producer::State::produce(const OutgoingRecord& record, std::uint64_t token) {
  if (!is_topic_name(record.topic)) return RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
  if (topics.insert(record.topic).second) not_asked_about.push_back(record.topic);
  HeadersHandle headers = to_native(record.headers);
  // Bytes hands out no pointer for null and one for empty: that is how librdkafka tells them apart.
  void* payload = const_cast<char*>(record.payload.data());  // copied, never written to
  const rd_kafka_resp_err_t error =
      rd_kafka_producev(client.get(), RD_KAFKA_V_TOPIC(record.topic.c_str()), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                        RD_KAFKA_V_KEY(record.key.data(), record.key.size()),
                        RD_KAFKA_V_VALUE(payload, record.payload.size()), RD_KAFKA_V_HEADERS(headers.get()),
                        RD_KAFKA_V_OPAQUE(reinterpret_cast<void*>(static_cast<std::uintptr_t>(token))), RD_KAFKA_V_END);
  if (!error) static_cast<void>(headers.release());  // now the message's
  return error;
}

// A topic that was unknown stays so for the client until it looks again, which it does every five minutes.
void Producer::State::ask_about(const std::string& topic) {
  const auto now = Steady::now();
  const auto [asked, first] = asked_about.try_emplace(topic, now);
  if (!first && now - asked->second < kAskAgain) return;
  asked->second = now;
  const TopicHandle handle(rd_kafka_topic_new(client.get(), topic.c_str(), nullptr));
  const rd_kafka_metadata_t* answer = nullptr;
  if (handle && !rd_kafka_metadata(client.get(), 0, handle.get(), &answer, 0)) rd_kafka_metadata_destroy(answer);
}

// Where no broker is connected yet, the client forgets to ask, and remembers a second later.
void Producer::State::ask_about_new_topics() {
  std::erase_if(not_asked_about, [&](const std::string& topic) {
    const TopicHandle handle(rd_kafka_topic_new(client.get(), topic.c_str(), nullptr));
    const rd_kafka_metadata_t* answer = nullptr;
    const auto error = handle ? rd_kafka_metadata(client.get(), 0, handle.get(), &answer, 0) : rd_kafka_last_error();
    if (!error) rd_kafka_metadata_destroy(answer);
    return error != RD_KAFKA_RESP_ERR__TRANSPORT;
  });
}

Producer::Producer(ProducerOptions options) : state_(std::make_unique<State>(std::move(options))) {}

Producer::~Producer() = default;

Sent Producer::send(const OutgoingRecord& record, std::uint64_t token) {
  State& state = *state_;
  if (state.ended && state.nothing_in_flight()) {
    auto rest = std::exchange(state.reports->deliveries, {});
    state.own_reports.insert(state.own_reports.end(), rest.begin(), rest.end());
    state.drop();
  }
  if (!state.client) state.build();
  if (state.ended) return Sent::queue_full;

  const rd_kafka_resp_err_t error = state.produce(record, token);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return Sent::accepted;
  if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) return Sent::queue_full;
  if (error == RD_KAFKA_RESP_ERR__FATAL) {
    state.end_after_fatal_error();
    return Sent::queue_full;
  }
  state.own_reports.push_back(make_delivery(token, error, record.topic.c_str()));
  if (classify(error) == ErrorKind::misuse && is_topic_name(record.topic)) state.ask_about(record.topic);
  return Sent::accepted;
}

std::vector<Delivery> Producer::deliveries(milliseconds wait) {
  State& state = *state_;
  std::vector<Delivery> result = std::exchange(state.own_reports, {});
  if (!state.client) return result;
  const auto until = Steady::now() + wait;
  while (true) {
    if (!state.not_asked_about.empty()) state.ask_about_new_topics();
    const auto rest = std::chrono::ceil<milliseconds>(until - Steady::now());
    const bool must_wait = result.empty() && !state.nothing_in_flight() && rest > milliseconds(0);
    rd_kafka_poll(state.client.get(), must_wait ? static_cast<int>(rest.count()) : 0);
    state.end_after_fatal_error();
    if (state.reports->error) std::rethrow_exception(std::exchange(state.reports->error, nullptr));
    auto fresh = std::exchange(state.reports->deliveries, {});
    if (result.empty()) {
      result = std::move(fresh);
    } else {
      result.insert(result.end(), fresh.begin(), fresh.end());
    }
    if (!result.empty() || !must_wait) return result;
  }
}

void Producer::discard() {
  state_->own_reports.clear();
  state_->drop();
}

}  // namespace oncemark::kafka
