#include <oncemark/outbox/direct.hpp>

#include <atomic>
#include <utility>

#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>

#include "outbox/courier.hpp"
#include "outbox/gathered.hpp"
#include "outbox/id_list.hpp"

namespace oncemark::outbox {
namespace {

using std::chrono::milliseconds;

void require(bool holds, const char* field, const std::string& value, const char* range) {
  if (holds) return;
  throw MisuseError("DirectOptions::" + std::string(field) + " is " + value + "; allowed: " + range);
}

std::string text(milliseconds time) { return std::to_string(time.count()) + " ms"; }

// As the relay makes it of the row.
OutgoingRecord record_of(const Draft& draft) {
  OutgoingRecord record{.topic = draft.topic, .key = draft.key, .payload = draft.payload, .headers = draft.headers};
  record.headers.set(names::kMessageId, draft.id);
  record.headers.set(names::kEventTime, format_rfc3339(*draft.event_time));
  return record;
}

}  // namespace

void DirectOptions::validate() const {
  require(grace >= milliseconds(100) && grace <= std::chrono::hours(1), "grace", text(grace), "100 ms to 1 hour");
  require(max_open >= 1 && max_open <= 1'000'000, "max_open", std::to_string(max_open), "1 to 1,000,000");
  require(report_timeout.count() > 0, "report_timeout", text(report_timeout), "above 0 ms");
}

struct DirectSend::State {
  State(mysql::Pool& db, Sink& sink, DirectOptions chosen, Metrics& counters)
      : pool(db),
        options(std::move(chosen)),
        metrics(counters),
        sent_ids("rows that were sent directly cannot be marked; the relay sends them once more", options.grace / 20,
                 [this](const std::vector<std::string>& ids) { mark(ids); }),
        courier(sink, "direct", options.report_timeout, options.max_open) {}

  void hand_over(const Draft& draft);
  void mark(const std::vector<std::string>& ids);

  mysql::Pool& pool;
  const DirectOptions options;
  Metrics& metrics;
  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> left{0};
  Gathered sent_ids;
  Courier courier;  // last: its thread uses all of the above
};

void DirectSend::State::hand_over(const Draft& draft) {
  const bool is_taken =
      courier.submit(record_of(draft), [this, id = draft.id, relay = draft.relay](const Delivery& report) {
        if (report.status != DeliveryStatus::acked) {
          ++left;
          log(LogLevel::debug, "a row could not be sent directly; the relay sends it",
              {{"id", id}, {"text", report.error}});
          return;
        }
        ONCEMARK_FAIL_POINT("direct.after_ack");
        ++sent;
        metrics.count(metric::kDirectSent, {{"relay", relay}}, 1);
        sent_ids.add(id);
      });
  if (!is_taken) ++left;
}

// A row that the relay has marked, or removed, meanwhile stays as it is.
void DirectSend::State::mark(const std::vector<std::string>& ids) {
  std::vector<mysql::Param> params;
  const std::string list = id_list(ids, params);
  const std::string sql = options.sent_rows == SentRows::removed
                              ? "DELETE FROM outbox_message WHERE message_id IN " + list + " AND purpose = ''"
                              : "UPDATE outbox_message FORCE INDEX (once) SET status = 'sent', sent_at = "
                                "UTC_TIMESTAMP(6), last_error = NULL "
                                "WHERE message_id IN " +
                                    list + " AND purpose = '' AND status <> 'sent'";
  pool.transact([&](mysql::Transaction& tx) { tx.execute_with(sql, params); });
}

DirectSend::DirectSend(mysql::Pool& pool, Sink& sink, DirectOptions options, Metrics& metrics) {
  options.validate();
  state_ = std::make_unique<State>(pool, sink, std::move(options), metrics);
}

DirectSend::~DirectSend() = default;

std::string DirectSend::append(mysql::Transaction& tx, const Draft& draft) {
  if (draft.delay.count() > 0) return outbox::append(tx, draft);
  if (!draft.key.is_null()) {
    const std::string id = outbox::append(tx, draft);
    if (state_->options.nudge) tx.after_commit(state_->options.nudge);
    return id;
  }
  Draft direct = draft;
  const Time now = SystemClock().now();
  if (direct.id.empty()) direct.id = MessageId::generate(now).str();
  if (!direct.event_time) direct.event_time = now;
  direct.delay = state_->options.grace;
  outbox::append(tx, direct);
  tx.after_commit([state = state_.get(), direct] { state->hand_over(direct); });
  return direct.id;
}

DirectCounts DirectSend::counts() const { return {.sent = state_->sent, .left = state_->left}; }

}  // namespace oncemark::outbox
