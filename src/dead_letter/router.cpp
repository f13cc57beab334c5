#include <oncemark/dead_letter/router.hpp>

#include <chrono>
#include <thread>

#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/dead_letter/envelope.hpp>
#include <oncemark/dead_letter/store.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>
#include <oncemark/outbox/shards.hpp>
#include <oncemark/outbox/writer.hpp>

namespace oncemark::dead_letter {
namespace {

using consume::Failure;
using consume::Routed;

// What the columns of failed_message and dead_letter hold.
constexpr std::size_t kMaxErrorClass = 255;
constexpr std::size_t kMaxErrorText = 1'024;

/// One failure on its way through one transaction.
class Routing {
 public:
  Routing(const RouterOptions& options, const Failure& failure) : options_(options), failure_(failure) {}

  Routed run(mysql::Transaction& tx) {
    const Message& message = failure_.message;
    const auto decision =
        retry::decide(options_.retries, failure_.error.kind, static_cast<int>(message.attempt), random_token());
    const auto next = decision.retry ? ledger::State::retrying : ledger::State::dead;
    const auto standing = ledger::fail(tx, failure_.consumer, message, next);
    if (!standing) return Routed::settled;

    envelope_ = {.group = std::string(failure_.group),
                 .life = standing->life,
                 .attempt = standing->attempt,
                 .error_class = std::string(truncate_utf8(failure_.error.error_class, kMaxErrorClass)),
                 .error_text = std::string(truncate_utf8(failure_.error.text, kMaxErrorText)),
                 .stage = std::string(to_string(failure_.stage))};
    now_ = ledger::database_now(tx);
    if (decision.retry) {
      retry(tx, now_ + decision.delay);
      return Routed::retrying;
    }
    die(tx);
    return Routed::dead;
  }

 private:
  void retry(mysql::Transaction& tx, Time due) {
    const Message& message = failure_.message;
    envelope_.first_failed_at =
        ledger::keep_failed_message(tx, failure_.consumer, message,
                                    {.group = envelope_.group,
                                     .error = {.error_class = envelope_.error_class, .text = envelope_.error_text},
                                     .now = now_,
                                     .due = due});
    append(tx, retry_purpose(failure_.consumer, message, envelope_.life, envelope_.attempt),
           options_.topics.retry_topic(envelope_.group, message.topic), retry_headers(message, envelope_, due), due);
  }

  void die(mysql::Transaction& tx) {
    const Message& message = failure_.message;
    const auto first = ledger::drop_failed_message(tx, failure_.consumer, message.business_key);
    envelope_.first_failed_at = first.value_or(now_);
    const std::string topic = options_.topics.dead_letter_topic(envelope_.group, message.topic);
    Letter letter{.consumer = std::string(failure_.consumer),
                  .group = envelope_.group,
                  .dlq_topic = topic,
                  .message = message,
                  .attempts = envelope_.attempt,
                  .error_class = envelope_.error_class,
                  .error_text = envelope_.error_text,
                  .stage = envelope_.stage,
                  .fingerprint = fingerprint(envelope_.error_class, envelope_.error_text),
                  .first_failed_at = envelope_.first_failed_at,
                  .died_at = now_};
    letter.message.life = envelope_.life;
    insert_letter(tx, letter);
    ledger::settle_previous_letter(tx, failure_.consumer, message.business_key, envelope_.life);
    append(tx, dead_letter_purpose(failure_.consumer, message, envelope_.life), topic,
           dead_letter_headers(message, envelope_), std::nullopt);
  }

  void append(mysql::Transaction& tx, std::string purpose, std::string topic, Headers headers,
              std::optional<Time> due) {
    const Message& message = failure_.message;
    outbox::append_failure_row(tx, {.message_id = message.id,
                                    .purpose = std::move(purpose),
                                    .relay = options_.relay.empty() ? std::string(failure_.consumer) : options_.relay,
                                    .topic = std::move(topic),
                                    .key = message.key,
                                    .business_key = message.business_key,
                                    .payload = message.payload,
                                    .headers = std::move(headers),
                                    .event_time = message.event_time,
                                    .due = due});
  }

  const RouterOptions& options_;
  const Failure& failure_;
  Envelope envelope_;
  Time now_{};
};

/// In one transaction of its own. A transaction that found another's settlement writes nothing; committing it is as
/// good as rolling it back.
Routed route_once(mysql::Pool& pool, const RouterOptions& options, const Failure& failure) {
  const Routed routed = pool.transact([&](mysql::Transaction& tx) {
    const Routed result = Routing(options, failure).run(tx);
    ONCEMARK_FAIL_POINT("router.before_commit");
    return result;
  });
  ONCEMARK_FAIL_POINT("router.after_commit");
  return routed;
}

std::string_view name_of(Routed routed) {
  switch (routed) {
    case Routed::retrying:
      return "retrying";
    case Routed::dead:
      return "dead";
    case Routed::settled:
      return "settled";
  }
  return "unknown";
}

}  // namespace

Router::Router(mysql::Pool& pool, RouterOptions options, Metrics& metrics)
    : pool_(pool), options_(std::move(options)), metrics_(metrics) {
  options_.retries.validate();
  options_.topics.validate();
  if (!options_.relay.empty()) outbox::check_name("RouterOptions::relay", options_.relay);
}

Router::~Router() = default;

std::vector<TopicNeed> Router::prepare(const std::string& consumer, const std::string& group,
                                       const std::vector<std::string>& topics) {
  std::vector<TopicNeed> needs;
  for (const std::string& topic : topics) {
    needs.push_back({.topic = options_.topics.retry_topic(group, topic), .like = topic, .subscribe = true});
    needs.push_back({.topic = options_.topics.dead_letter_topic(group, topic), .like = topic});
  }
  // A relay of this process may have been made just before us and still be taking its seat.
  const std::string relay = options_.relay.empty() ? consumer : options_.relay;
  for (int tries = 0; outbox::live_relays(pool_, relay) == 0; ++tries) {
    if (tries == 10) {
      log(LogLevel::warn,
          "no relay is alive for this consumer's retries and dead letters; they wait in outbox_message until one is: "
          "make an outbox::Relay with this name, or run `outbox-relay run --name`",
          {{"consumer", consumer}, {"relay", relay}});
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return needs;
}

Routed Router::route(const Failure& failure) {
  Routed routed = Routed::settled;
  try {
    routed = route_once(pool_, options_, failure);
  } catch (const mysql::MysqlError& error) {
    if (error.kind() != ErrorKind::permanent) throw;
    // The record itself cannot be stored (larger than max_allowed_packet, say). A pointer to it can: a letter with
    // the coordinates and the reason, without key, payload and headers. It is marked, so that no replay takes it
    // for the record.
    Message pointer = failure.message;
    pointer.key = nullptr;
    pointer.payload = nullptr;
    pointer.headers = {{std::string(names::kRecordLeftOut), std::to_string(failure.message.payload.size())}};
    Failure shortened{.message = pointer,
                      .consumer = failure.consumer,
                      .group = failure.group,
                      .stage = failure.stage,
                      .error = failure.error};
    shortened.error.kind = ErrorKind::permanent;
    shortened.error.text = "record left out of this letter (" + std::to_string(failure.message.payload.size()) +
                           " bytes; " + error.what() + "); it failed with: " + failure.error.text;
    routed = route_once(pool_, options_, shortened);
  }
  metrics_.count(metric::kRouted, {{"consumer", std::string(failure.consumer)}, {"to", std::string(name_of(routed))}},
                 1);
  if (routed == Routed::dead) {
    log(LogLevel::warn, "message dead-lettered",
        {{"consumer", failure.consumer},
         {"message_id", failure.message.id},
         {"record", failure.message.origin.str()},
         {"attempts", failure.message.attempt},
         {"error", failure.error.error_class},
         {"text", failure.error.text}});
  }
  return routed;
}

}  // namespace oncemark::dead_letter
