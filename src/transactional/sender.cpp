#include <oncemark/transactional/sender.hpp>

#include <atomic>
#include <future>
#include <mutex>
#include <optional>
#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/mysql/migration.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

#include "outbox/courier.hpp"
#include "outbox/gathered.hpp"
#include "transactional/half_record.hpp"
#include "transactional/rows.hpp"

namespace oncemark::transactional {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kMarkEvery{100};  // far below first_check, at which the mark saves sending once more

void require(bool holds, const char* field, const std::string& value, const char* range) {
  if (holds) return;
  throw MisuseError("SenderOptions::" + std::string(field) + " is " + value + "; allowed: " + range);
}

std::string text(milliseconds time) { return std::to_string(time.count()) + " ms"; }

void check(const outbox::Draft& draft) {
  outbox::check_draft(draft);
  if (draft.delay.count() != 0 || draft.relay != outbox::kMainRelay || !draft.business_key.empty()) {
    throw PermanentError("draft for " + draft.topic +
                         ": delay, relay and business_key are for the outbox; a transactional message has none");
  }
}

}  // namespace

void SenderOptions::validate() const {
  outbox::check_name("SenderOptions::name", name);
  require(first_check.count() >= 1 && first_check <= std::chrono::hours(6), "first_check", text(first_check),
          "1 ms to 6 hours");
  require(half_timeout.count() > 0, "half_timeout", text(half_timeout), "above 0 ms");
  require(start_within > first_check && start_within <= std::chrono::hours(12), "start_within", text(start_within),
          "above first_check, at most 12 hours");
  require(max_open >= 1 && max_open <= 1'000'000, "max_open", std::to_string(max_open), "1 to 1,000,000");
}

struct Sender::State {
  State(mysql::Pool& db, Sink& sink, SenderOptions chosen, Metrics& counters)
      : pool(db),
        options(std::move(chosen)),
        metrics(counters),
        rows(db, options.name),
        clock(db),
        sent_ids("messages that were sent cannot be marked; the check-back sends them once more", kMarkEvery,
                 [this](const std::vector<std::string>& ids) { rows.mark_sent(ids); }),
        courier(sink, options.name, options.half_timeout, options.max_open) {}

  HalfMessage put_half(const outbox::Draft& draft, Knows knows);
  void await_ack(const HalfMessage& message, OutgoingRecord record);
  void send_message(const HalfMessage& message);
  Time database_time();

  mysql::Pool& pool;
  const SenderOptions options;
  Metrics& metrics;
  const TransactionRows rows;
  std::mutex clock_mutex;
  DatabaseClock clock;  // guarded by clock_mutex
  std::atomic<bool> is_schema_checked{false};
  std::atomic<std::uint64_t> halves{0};
  std::atomic<std::uint64_t> sent{0};
  outbox::Gathered sent_ids;
  outbox::Courier courier;  // last: its thread uses all of the above
};

Time Sender::State::database_time() {
  const std::lock_guard lock(clock_mutex);
  return clock.now();
}

HalfMessage Sender::State::put_half(const outbox::Draft& draft, Knows knows) {
  check(draft);
  if (!is_schema_checked.exchange(true)) {
    try {
      mysql::require_schema(pool);
    } catch (...) {
      is_schema_checked = false;
      throw;
    }
  }
  const Time now = database_time();
  Half half{.message = {.id = draft.id.empty() ? MessageId::generate(now).str() : draft.id,
                        .topic = draft.topic,
                        .key = draft.key,
                        .payload = draft.payload,
                        .headers = draft.headers,
                        .event_time = draft.event_time.value_or(now),
                        .since = now},
            .knows = knows,
            .due = now + options.first_check};
  await_ack(half.message, to_half_record(half, options.name));
  ++halves;
  metrics.count(metric::kHalves, {{"sender", options.name}}, 1);
  ONCEMARK_FAIL_POINT("half.after_ack");
  return std::move(half.message);
}

// The promise is shared with the courier, which may report when nobody waits any more.
void Sender::State::await_ack(const HalfMessage& message, OutgoingRecord record) {
  const std::string tried = "half message " + printable(message.id, 100) + " for topic " + message.topic;
  const std::string half = record.topic;
  const auto report = std::make_shared<std::promise<Delivery>>();
  auto answer = report->get_future();
  if (!courier.submit(std::move(record), [report](const Delivery& delivery) { report->set_value(delivery); })) {
    throw UnavailableError(tried + ": " + std::to_string(options.max_open) +
                           " records wait for the broker already; it is away, or max_open is too low");
  }
  if (answer.wait_for(options.half_timeout) != std::future_status::ready) {
    throw UnavailableError(tried + ": no ack from " + half + " within " + text(options.half_timeout) +
                           "; nothing has happened. Check the broker, or raise half_timeout");
  }
  const Delivery delivery = answer.get();
  if (delivery.status == DeliveryStatus::acked) return;
  const std::string what = tried + ": " + half + " does not take it: " + delivery.error;
  if (delivery.status == DeliveryStatus::failed) throw UnavailableError(what);
  if (delivery.refusal == Refusal::topic)
    throw MisuseError(what + "; create the topic, or grant the right to write it");
  throw PermanentError(what);
}

// Whatever becomes of it, the row says that it was committed: the check-back goes on from there.
void Sender::State::send_message(const HalfMessage& message) {
  const bool is_taken = courier.submit(
      to_message_record(message), [this, id = message.id, topic = message.topic](const Delivery& report) {
        if (report.status != DeliveryStatus::acked) {
          log(LogLevel::warn, "a committed message could not be sent; its check-back sends it",
              {{"sender", options.name}, {"id", id}, {"topic", topic}, {"text", report.error}});
          return;
        }
        ONCEMARK_FAIL_POINT("half.after_send");
        ++sent;
        sent_ids.add(id);
      });
  if (is_taken) return;
  log(LogLevel::warn, "too many records wait for the broker: the check-back sends a committed message",
      {{"sender", options.name}, {"id", message.id}});
}

Sender::Sender(mysql::Pool& pool, Sink& sink, SenderOptions options, Metrics& metrics) {
  options.validate();
  state_ = std::make_unique<State>(pool, sink, std::move(options), metrics);
}

Sender::~Sender() = default;

std::string Sender::send(const outbox::Draft& draft, const std::function<void(mysql::Transaction&)>& work) {
  const HalfMessage message = state_->put_half(draft, Knows::row);
  const Time begin_before = message.since + state_->options.start_within;
  state_->pool.transact([&](mysql::Transaction& tx) {
    state_->rows.begin(tx, message.id, begin_before);
    work(tx);
    ONCEMARK_FAIL_POINT("half.before_commit");
  });
  ONCEMARK_FAIL_POINT("half.after_commit");
  state_->send_message(message);
  return message.id;
}

HalfMessage Sender::prepare(const outbox::Draft& draft) { return state_->put_half(draft, Knows::check); }

void Sender::commit(const HalfMessage& half) { state_->send_message(half); }

void Sender::roll_back(const HalfMessage& half) {
  try {
    state_->rows.roll_back(half.id);
  } catch (const Error& error) {
    log(LogLevel::info, "a rollback cannot be noted; the check-back asks about the message",
        {{"sender", state_->options.name}, {"id", half.id}, {"text", error.what()}});
  }
}

SenderCounts Sender::counts() const { return {.halves = state_->halves, .sent = state_->sent}; }

}  // namespace oncemark::transactional
