#include <oncemark/dead_letter/router.hpp>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <numeric>
#include <thread>

#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/dead_letter/envelope.hpp>
#include <oncemark/dead_letter/store.hpp>
#include <oncemark/ledger/parked.hpp>
#include <oncemark/ledger/suspects.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/observe/metric_names.hpp>
#include <oncemark/outbox/shards.hpp>
#include <oncemark/outbox/writer.hpp>

#include "dead_letter/passage.hpp"

namespace oncemark::dead_letter {
namespace {

using consume::Failure;
using consume::Routed;

// What the columns of failed_message and dead_letter hold.
constexpr std::size_t kMaxErrorClass = 255;
constexpr std::size_t kMaxErrorText = 1'024;
// Failures in one transaction, which is closed by so many bytes of payloads.
constexpr std::size_t kMaxTogether = 64;
constexpr std::size_t kBytesTogether = std::size_t{1} << 20;

/// Where a failed message stands to the order of its key.
enum class Place {
  free,   ///< it keeps none
  fresh,  ///< its key has no sequence: it heads one
  head,   ///< it heads one already
};

/// A failure, and what is done about it.
struct Case {
  const Failure& failure;
  const Message& message;  // as it is written down: its business key names the state row
  ErrorSummary error;
  retry::Decision decision;
  Place place = Place::free;
  std::string order_key = {};  // unless it is free
  bool joins = false;  // fresh, but its key has been parked meanwhile: it waits for its turn, whatever was decided
};

/// A message that stops its key has met a sequence.
struct Occupied {};

/// One case on its way through one transaction.
class Routing {
 public:
  /// `now` is the time of the transaction, where it is known already.
  Routing(const RouterOptions& options, const Case& routed, std::optional<Time> now = std::nullopt)
      : options_(options), case_(routed), known_now_(now) {}

  /// All but what is done to the key's sequence.
  Routed run(mysql::Transaction& tx) {
    const Failure& failure = case_.failure;
    const Message& message = case_.message;
    const auto standing = case_.place == Place::head ? ledger::fail_head(tx, failure.consumer, message, next_state())
                                                     : ledger::fail(tx, failure.consumer, message, next_state());
    if (message.suspect_tries > 0) ledger::clear_suspects(tx, failure.consumer, std::span(&message.read_at, 1));
    if (!standing) return Routed::settled;
    if (ledger::is_pointer(message)) whole_ = ledger::whole_of(tx, failure.consumer, message);

    envelope_ = {.group = std::string(failure.group),
                 .life = standing->life,
                 .attempt = standing->attempt,
                 .error_class = std::string(truncate_utf8(case_.error.error_class, kMaxErrorClass)),
                 .error_text = std::string(truncate_utf8(case_.error.text, kMaxErrorText)),
                 .stage = std::string(to_string(failure.stage))};
    now_ = known_now_ ? *known_now_ : ledger::database_now(tx);
    if (next_state() == ledger::State::parked) {
      last_step_ = LastStep::park;
      return Routed::parked;
    }
    switch (case_.decision.action) {
      case retry::Action::retry_later:
        retry(tx, now_ + case_.decision.delay);
        return Routed::retrying;
      case retry::Action::discard:
        audit_discard(tx, give_up(tx, LetterState::discarded));
        last_step_ = LastStep::let_key_go_on;
        return Routed::discarded;
      case retry::Action::dead_letter:
      case retry::Action::retry_here:  // needs no transaction
        break;
    }
    const Letter letter = give_up(tx, LetterState::dead);
    send_on(tx, this->message(),
            {.consumer = failure.consumer,
             .relay = options_.relay,
             .purpose = dead_letter_purpose(failure.consumer, message, envelope_.life),
             .topic = letter.dlq_topic,
             .headers = dead_letter_headers(this->message(), envelope_,
                                            options_.spring_headers ? Families::kafka_and_spring : Families::kafka)});
    last_step_ = options_.retries.on_dead == retry::OnDead::stop_key ? LastStep::stop_key : LastStep::let_key_go_on;
    return Routed::dead;
  }

  /// After run(), of this case and of all others in the transaction: whoever holds a sequence waits for nothing else.
  void end(mysql::Transaction& tx) {
    switch (last_step_) {
      case LastStep::none:
        return;
      case LastStep::park:
        return park(tx, case_.joins ? now_ : now_ + case_.decision.delay);
      case LastStep::stop_key:
        return stop_key(tx);
      case LastStep::let_key_go_on:
        return let_key_go_on(tx);
    }
  }

 private:
  enum class LastStep { none, park, stop_key, let_key_go_on };

  [[nodiscard]] ledger::State next_state() const {
    if (case_.joins) return ledger::State::parked;
    if (case_.decision.action == retry::Action::retry_later) {
      return case_.place == Place::free ? ledger::State::retrying : ledger::State::parked;
    }
    return case_.decision.action == retry::Action::discard ? ledger::State::discarded : ledger::State::dead;
  }

  void retry(mysql::Transaction& tx, Time due) {
    const Message& message = this->message();
    envelope_.first_failed_at =
        ledger::keep_failed_message(tx, case_.failure.consumer, message,
                                    {.group = envelope_.group,
                                     .error = {.error_class = envelope_.error_class, .text = envelope_.error_text},
                                     .now = now_,
                                     .due = due});
    send_on(tx, message,
            {.consumer = case_.failure.consumer,
             .relay = options_.relay,
             .purpose = retry_purpose(case_.failure.consumer, message, envelope_.life, envelope_.attempt),
             .topic = options_.topics.retry_topic(envelope_.group, message.topic),
             .headers = retry_headers(message, envelope_, due),
             .due = due});
  }

  [[nodiscard]] ledger::ParkedFailure parked_failure() const {
    return {.group = envelope_.group,
            .error = {.error_class = envelope_.error_class, .text = envelope_.error_text},
            .now = now_};
  }

  void park(mysql::Transaction& tx, Time due) {
    if (case_.place == Place::head) {
      ledger::schedule_head(tx, case_.failure.consumer, case_.order_key, message(), parked_failure(), due);
    } else {
      (void)ledger::begin_sequence(tx, case_.failure.consumer, case_.order_key, message(), parked_failure(), due);
    }
  }

  /// Dead: its key waits until a person replays it in its place, discards it or releases the key.
  void stop_key(mysql::Transaction& tx) {
    if (case_.place == Place::head) {
      ledger::stop_key(tx, case_.failure.consumer, case_.order_key, message(), parked_failure());
    } else if (case_.place == Place::fresh && !ledger::begin_sequence(tx, case_.failure.consumer, case_.order_key,
                                                                      message(), parked_failure(), std::nullopt)) {
      throw Occupied{};
    }
  }

  void let_key_go_on(mysql::Transaction& tx) {
    if (case_.place == Place::head) {
      (void)ledger::leave_sequence(tx, case_.failure.consumer, case_.message.business_key);
    }
  }

  /// The end of a life, with the whole message in dead_letter.
  Letter give_up(mysql::Transaction& tx, LetterState state) {
    const Message& message = this->message();
    const std::string_view consumer = case_.failure.consumer;
    // A record of a source topic fails for the first time.
    std::optional<ledger::FirstFailure> first;
    if (case_.place == Place::head) {
      first = ledger::parked_first_failure(tx, consumer, message.business_key);
    } else if (message.from_retry_topic) {
      first = ledger::drop_failed_message(tx, consumer, message.business_key);
    }
    envelope_.first_failed_at = first ? first->at : now_;
    return keep_letter(tx, message,
                       {.consumer = consumer,
                        .state = state,
                        .envelope = envelope_,
                        .first = first,
                        .topics = options_.topics,
                        .died_at = now_});
  }

  void audit_discard(mysql::Transaction& tx, const Letter& letter) {
    tx.execute(
        "INSERT INTO replay_audit (job_id, letter_id, consumer, identity, life, action, outcome, operator, reason, at) "
        "SELECT NULL, id, consumer, identity, life, 'discard', 'discarded', 'retry policy', ?, UTC_TIMESTAMP(6) "
        "FROM dead_letter WHERE consumer = ? AND identity = ? AND life = ?",
        case_.decision.reason, letter.consumer, letter.message.business_key, letter.message.life);
  }

  /// The record as its handler had it.
  [[nodiscard]] const Message& message() const { return whole_ ? *whole_ : case_.message; }

  const RouterOptions& options_;
  const Case& case_;
  std::optional<Message> whole_;  // of a record that came as a pointer
  Envelope envelope_;
  std::optional<Time> known_now_;
  Time now_{};
  LastStep last_step_ = LastStep::none;
};

/// In one transaction of its own. A transaction that found another's settlement writes nothing; committing it is as
/// good as rolling it back.
Routed route_once(mysql::Pool& pool, const RouterOptions& options, const Case& routed) {
  Routed end = Routed::settled;
  try {
    end = pool.transact([&](mysql::Transaction& tx) {
      Routing routing(options, routed);
      const Routed result = routing.run(tx);
      routing.end(tx);
      tx.flush();
      ONCEMARK_FAIL_POINT("router.before_commit");
      return result;
    });
  } catch (const Occupied&) {
    Case joining = routed;
    joining.joins = true;
    return route_once(pool, options, joining);
  }
  ONCEMARK_FAIL_POINT("router.after_commit");
  return end;
}

/// How long ago the message first failed, by the database's clock; in a replayed life, how long ago it was replayed.
std::chrono::milliseconds age_of(mysql::Transaction& tx, std::string_view consumer, const Message& message,
                                 Place place) {
  if (place == Place::head && message.life == 1) {
    const auto first = ledger::parked_first_failure(tx, consumer, message.business_key);
    if (!first) return {};
    return std::chrono::duration_cast<std::chrono::milliseconds>(ledger::database_now(tx) - first->at);
  }
  if (!message.from_retry_topic && place != Place::head) return {};  // this is its first failure
  const std::string_view key = message.business_key;
  const auto age = message.life > 1
                       ? tx.query_row(
                             "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(a.at), UTC_TIMESTAMP(6)) DIV 1000 "
                             "FROM dead_letter l JOIN replay_audit a ON a.letter_id = l.id "
                             "WHERE l.consumer = ? AND l.identity = ? AND l.life = ? AND a.outcome = 'replayed'",
                             consumer, key, message.life - 1)
                       : tx.query_row(
                             "SELECT TIMESTAMPDIFF(MICROSECOND, first_failed_at, UTC_TIMESTAMP(6)) DIV 1000 "
                             "FROM failed_message WHERE consumer = ? AND message_key = ?",
                             consumer, key);
  if (!age || age->is_null(0)) return {};
  return std::chrono::milliseconds(age->get<std::int64_t>(0));
}

/// The record that made the row of a message's key.
struct FirstUse {
  bool is_this_record = false;  // delivered again, after what counts as its contents was configured anew
  std::string record = {};      // orders/3@991, or nothing when there is no row any more
};
FirstUse first_use_of(mysql::Transaction& tx, std::string_view consumer, const Message& message) {
  const auto row = tx.query_row(
      "SELECT origin_topic, origin_partition, origin_offset FROM consumed_message "
      "WHERE consumer = ? AND message_key = ?",
      consumer, message.business_key);
  if (!row) return {};
  const Position first{
      .topic = row->get<std::string>(0), .partition = row->get<std::int32_t>(1), .offset = row->get<std::int64_t>(2)};
  return {.is_this_record = first == message.origin, .record = first.str()};
}

std::string_view name_of(Routed routed) {
  switch (routed) {
    case Routed::retrying:
      return "retrying";
    case Routed::parked:
      return "parked";
    case Routed::dead:
      return "dead";
    case Routed::discarded:
      return "discarded";
    case Routed::settled:
      return "settled";
    case Routed::again:
      return "again";
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

consume::KeyOrder Router::key_order() const {
  return {.is_kept = options_.retries.order == retry::Order::by_key,
          .max_per_key = options_.retries.max_parked_per_key,
          .max_total = options_.retries.max_parked,
          .lease = options_.retries.head_lease};
}

namespace {

/// What never reached its handler keeps no order: nothing of it can take effect before a person has looked at it.
Place place_of(const Failure& failure, const retry::RetryOptions& retries) {
  if (failure.sequence) return Place::head;
  const bool is_kept = retries.order == retry::Order::by_key && !failure.message.from_retry_topic &&
                       failure.stage == consume::Stage::handler && failure.error.error_class != "older_than_horizon" &&
                       ledger::order_key_of(failure.message);
  return is_kept ? Place::fresh : Place::free;
}

std::string order_key_of(const Failure& failure, Place place) {
  if (place == Place::free) return {};
  return failure.sequence ? std::string(*failure.sequence) : *ledger::order_key_of(failure.message);
}

}  // namespace

retry::Decision Router::decide(const Failure& failure) {
  retry::FailureFacts facts{.error = failure.error,
                            .topic = failure.message.topic,
                            .failed = static_cast<int>(failure.message.attempt),
                            .tried_here = failure.tried_here,
                            .is_repeatable = failure.stage == consume::Stage::handler};
  if (options_.retries.needs_age() && facts.is_repeatable) {
    facts.age = pool_.transact([&](mysql::Transaction& tx) {
      return age_of(tx, failure.consumer, failure.message, place_of(failure, options_.retries));
    });
  }
  return retry::decide(options_.retries, facts, random_token());
}

Routed Router::route(const Failure& failure) {
  const retry::Decision decision = decide(failure);
  if (decision.action == retry::Action::retry_here) return Routed::again;
  const Routed routed = failure.stage == consume::Stage::key ? route_without_key(failure, decision)
                                                             : route(failure, failure.message, failure.error, decision);
  report(failure, decision, routed);
  return routed;
}

std::vector<consume::Route> Router::route_all(std::span<const Failure> failures) {
  std::vector<consume::Route> routes;
  while (!failures.empty()) {
    std::size_t bytes = 0;
    const auto end =
        std::ranges::find_if(failures.first(std::min(failures.size(), kMaxTogether)), [&](const Failure& failure) {
          const bool is_full = bytes > kBytesTogether;
          bytes += failure.message.payload.size();
          return is_full;
        });
    const auto part = failures.first(static_cast<std::size_t>(end - failures.begin()));
    auto together = part.size() > 1 ? route_together(part) : std::nullopt;
    std::ranges::move(together ? *together : FailureSink::route_all(part), std::back_inserter(routes));
    failures = failures.subspan(part.size());
  }
  return routes;
}

/// Nothing when they cannot go together, or did not: then each by itself shows whose fault that is, and a commit that
/// was in doubt is met again by each of them.
std::optional<std::vector<consume::Route>> Router::route_together(std::span<const Failure> failures) {
  std::vector<consume::Route> routes(failures.size(), {.routed = Routed::again});
  std::vector<retry::Decision> decisions;
  std::vector<Case> cases;  // of those that need a transaction
  std::vector<std::size_t> places;
  try {
    for (const Failure& failure : failures) {
      if (failure.stage == consume::Stage::key) return std::nullopt;
      decisions.push_back(decide(failure));
      if (decisions.back().action == retry::Action::retry_here) continue;
      const Place place = place_of(failure, options_.retries);
      cases.push_back({.failure = failure,
                       .message = failure.message,
                       .error = failure.error,
                       .decision = decisions.back(),
                       .place = place,
                       .order_key = order_key_of(failure, place)});
      places.push_back(decisions.size() - 1);
    }
    // Key order is lock order.
    const auto sorted_by = [&](auto key) {
      std::vector<std::size_t> order(cases.size());
      std::iota(order.begin(), order.end(), 0);
      std::ranges::stable_sort(order, {}, key);
      return order;
    };
    const auto by_state_row =
        sorted_by([&](std::size_t i) -> const std::string& { return cases[i].message.business_key; });
    const auto by_sequence = sorted_by([&](std::size_t i) -> const std::string& { return cases[i].order_key; });
    pool_.transact([&](mysql::Transaction& tx) {
      const Time now = ledger::database_now(tx);
      std::vector<Routing> routings;
      for (const Case& routed : cases) routings.emplace_back(options_, routed, now);
      for (const std::size_t i : by_state_row) routes[places[i]].routed = routings[i].run(tx);
      for (const std::size_t i : by_sequence) routings[i].end(tx);
      tx.flush();
      ONCEMARK_FAIL_POINT("router.before_commit");
    });
    ONCEMARK_FAIL_POINT("router.after_commit");
  } catch (const Error& error) {
    log(LogLevel::debug, "failures could not be routed together; each goes by itself",
        {{"consumer", failures.front().consumer}, {"error", error.error_class()}, {"text", error.what()}});
    return std::nullopt;
  } catch (const Occupied&) {
    return std::nullopt;
  }
  for (const std::size_t i : places) report(failures[i], decisions[i], routes[i].routed);
  return routes;
}

/// Keyed by its coordinates, so that the row of the key that it may share with another message stays as it is.
Routed Router::route_without_key(const Failure& failure, const retry::Decision& decision) {
  Message message = failure.message;
  ErrorSummary error = failure.error;
  message.business_key = coordinates_identity(message.origin, message.origin_timestamp);
  if (message.business_key != failure.message.business_key) {
    const FirstUse first =
        pool_.transact([&](mysql::Transaction& tx) { return first_use_of(tx, failure.consumer, failure.message); });
    if (first.is_this_record) return Routed::settled;
    if (!first.record.empty()) error.text += "; the first one was " + first.record;
  }
  return route(failure, message, error, decision);
}

Routed Router::route(const Failure& failure, const Message& message, const ErrorSummary& error,
                     const retry::Decision& decision) {
  const Place place = place_of(failure, options_.retries);
  const std::string order_key = order_key_of(failure, place);
  try {
    return route_once(pool_, options_,
                      {.failure = failure,
                       .message = message,
                       .error = error,
                       .decision = decision,
                       .place = place,
                       .order_key = order_key});
  } catch (const mysql::MysqlError& refusal) {
    if (refusal.kind() != ErrorKind::permanent) throw;
    // The record itself cannot be stored (larger than max_allowed_packet, say). A pointer to it can: a letter with
    // the coordinates and the reason, without key, payload and headers. It is marked, so that no replay takes it
    // for the record.
    const std::string size = std::to_string(message.payload.size());
    Message pointer = message;
    pointer.key = nullptr;
    pointer.payload = nullptr;
    pointer.content_hash = content_hash(message);
    pointer.headers = {{std::string(names::kRecordLeftOut), size}};
    ErrorSummary shortened = error;
    shortened.text =
        "record left out of this letter (" + size + " bytes; " + refusal.what() + "); it failed with: " + error.text;
    retry::Decision given_up = decision;
    if (given_up.action != retry::Action::discard) given_up.action = retry::Action::dead_letter;
    return route_once(pool_, options_,
                      {.failure = failure,
                       .message = pointer,
                       .error = shortened,
                       .decision = given_up,
                       .place = place,
                       .order_key = order_key});
  }
}

void Router::report(const Failure& failure, const retry::Decision& decision, Routed routed) {
  metrics_.count(metric::kRouted, {{"consumer", std::string(failure.consumer)}, {"to", std::string(name_of(routed))}},
                 1);
  if (routed != Routed::dead && routed != Routed::discarded) return;
  log(LogLevel::warn, routed == Routed::dead ? "message dead-lettered" : "message discarded",
      {{"consumer", failure.consumer},
       {"message_id", failure.message.id},
       {"record", failure.message.origin.str()},
       {"attempts", failure.message.attempt},
       {"why", decision.reason},
       {"error", failure.error.error_class},
       {"text", failure.error.text}});
}

}  // namespace oncemark::dead_letter
