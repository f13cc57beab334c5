#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <oncemark/consume/handler.hpp>
#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/dead_letter/resend.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/dead_letter/waiting.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/testing/crash_points.hpp>

namespace oncemark::testing {

/// One thing that happens on the failure path. The numbers choose among what there is at that moment, so that every
/// sequence of steps can be played, and any of them left out.
struct Step {
  enum Kind : unsigned {
    deliver,    // records of the source: `which` the first, `how` their number and whether failures are held back
    redeliver,  // a record of the retry topic, whenever it was sent
    route,      // a failure that was held back is routed: its process was paused, and is a zombie by now
    relay,      // an outbox row is sent; or sent and not marked; or marked, and Kafka loses it
    replay,     // all dead letters
    look,       // an operator looks at what waits, and acts on it some time later
    cancel,
    expedite,
    skip,
    watch,  // the watchdog, at one message
    kinds
  };
  Kind kind = deliver;
  unsigned which = 0;
  unsigned how = 0;
  unsigned outcome = 0;  // of handlers, one digit each: done, done, error, error for good, unwanted, the process dies
  unsigned crash = 0;    // where the process dies: nowhere mostly

  friend std::ostream& operator<<(std::ostream& out, const Step& step) {
    static constexpr std::array kNames{"deliver", "redeliver", "route",    "relay", "replay",
                                       "look",    "cancel",    "expedite", "skip",  "watch"};
    return out << kNames.at(step.kind) << '(' << step.which << ", " << step.how << ", " << step.outcome << ", "
               << step.crash << ')';
  }
};

/// What must be true of every message, told without looking at the code that makes it true: the table of transitions in
/// docs/design.md, as maps.
class FailureModel {
 public:
  struct Row {
    std::string state;
    std::uint32_t life = 1;
    std::uint32_t attempt = 0;
    bool operator==(const Row&) const = default;
  };
  using Rows = std::map<std::string, Row>;                                       // by message
  using Letters = std::map<std::pair<std::string, std::uint32_t>, std::string>;  // by message and life: the state
  using Outbox = std::map<std::pair<std::string, std::string>, bool>;            // by message and purpose: is it sent

  Rows rows;
  Letters letters;
  Outbox outbox;
  std::map<std::string, int> effects;

  /// Whether a delivery is the one that its message waits for: only then may its handler run.
  [[nodiscard]] bool fits(const Message& message) const {
    const auto row = rows.find(message.id);
    if (row == rows.end()) return true;
    return message.from_retry_topic && row->second.state == "retrying" && row->second.life == message.life &&
           row->second.attempt + 1 == message.attempt;
  }
  void done(const Message& message) {
    Row& row = rows[message.id];
    row.state = "done";
    settle_previous(message.id, row.life);
    ++effects[message.id];
  }
  void fail(const Message& message, const std::string& next) {
    Row& row = rows[message.id];
    ++row.attempt;
    row.state = next;
    if (next == "retrying") {
      outbox[{message.id, retry_purpose(row)}] = false;
    } else {
      end_life(message.id, next == "dead");
    }
  }
  void replay() {
    for (auto& [id, row] : rows) {
      if (row.state != "dead") continue;
      letters.at({id, row.life}) = "replaying";
      row = {"retrying", row.life + 1, 0};
      outbox[{id, retry_purpose(row)}] = false;
    }
  }
  [[nodiscard]] bool is_waiting(const std::string& id, std::uint32_t life, std::uint32_t attempt) const {
    const auto row = rows.find(id);
    return row != rows.end() && row->second == Row{"retrying", life, attempt};
  }
  void cancel(const std::string& id, bool as_dead) {
    Row& row = rows.at(id);
    forget_unsent(id, row);
    row.state = as_dead ? "dead" : "discarded";
    if (as_dead) {
      end_life(id, true);
    } else {
      discard_letters(id);
    }
  }
  /// False when nothing may change.
  bool skip(const std::string& id) {
    const auto [row, is_new] = rows.try_emplace(id, Row{"discarded", 1, 0});
    if (is_new) return true;
    if (row->second.state != "retrying" && row->second.state != "dead") return false;
    if (row->second.state == "retrying") forget_unsent(id, row->second);
    row->second.state = "discarded";
    discard_letters(id);
    return true;
  }
  [[nodiscard]] static std::string retry_purpose(const Row& row) {
    return "retry:shipping:" + std::to_string(row.life) + ":" + std::to_string(row.attempt);
  }

 private:
  void end_life(const std::string& id, bool is_dead) {
    const Row& row = rows.at(id);
    letters[{id, row.life}] = is_dead ? "dead" : "discarded";
    settle_previous(id, row.life);
    if (is_dead) outbox[{id, "dlq:shipping:" + std::to_string(row.life)}] = false;
  }
  void settle_previous(const std::string& id, std::uint32_t life) {
    const auto letter = letters.find({id, life - 1});
    if (letter != letters.end() && letter->second == "replaying") letter->second = "replayed";
  }
  void discard_letters(const std::string& id) {
    for (auto& [key, state] : letters) {
      if (key.first == id && (state == "dead" || state == "replaying")) state = "discarded";
    }
  }
  void forget_unsent(const std::string& id, const Row& row) {
    const auto sent = outbox.find({id, retry_purpose(row)});
    if (sent != outbox.end() && !sent->second) outbox.erase(sent);
  }
};

/// Plays steps on the library's own handler, router, replay and commands, over any database, and holds the tables
/// against the model after each of them.
///
/// Shape:   three messages with two copies each on the source topic. Their tables must be empty at first; `effect`
///          (message_id) is there.
/// Errors:  std::runtime_error that says what differs.
class FailureSchedule {
 public:
  using Effect = inbox::Effect;
  /// How a consumer is made. An ordered one is another of these, and another model.
  struct Consumer {
    std::function<std::unique_ptr<consume::Handler>(mysql::Pool&, Effect)> handler = [](mysql::Pool& pool,
                                                                                        Effect effect) {
      return std::make_unique<inbox::Dedup>(
          pool, inbox::DedupOptions{.consumer = "shipping", .effects = Effects::transaction}, std::move(effect));
    };
    dead_letter::RouterOptions routes = {
        .retries = {.delays = {std::chrono::milliseconds(1), std::chrono::milliseconds(1)},
                    .rules = {{.errors = {"std::domain_error"}, .action = retry::Action::discard}}}};
  };

  explicit FailureSchedule(mysql::Pool& pool) : FailureSchedule(pool, Consumer()) {}
  FailureSchedule(mysql::Pool& pool, const Consumer& consumer)
      : pool_(pool),
        handler_(consumer.handler(pool, [this](const Message& message, mysql::Transaction& tx) { run(message, tx); })),
        router_(pool, consumer.routes) {
    for (int copy = 0; copy < kCopies; ++copy) {
      for (int id = 0; id < kMessages; ++id) {
        Record record;
        record.position = {"orders", 0, copy * kMessages + id};
        record.timestamp = SystemClock().now();
        record.key = record.payload = "m-" + std::to_string(id);
        record.headers.append(std::string(names::kMessageId), "m-" + std::to_string(id));
        source_.push_back(decode_source_record(record));
      }
    }
  }

  void take(const Step& step) {
    switch (step.kind) {
      case Step::deliver:
        deliver(step);
        break;
      case Step::redeliver:
        if (!retries_.empty()) handle({retries_[step.which % retries_.size()]}, step);
        break;
      case Step::route:
        route_one_held_back(step);
        break;
      case Step::relay:
        relay(step);
        break;
      case Step::replay:
        replay();
        break;
      case Step::look:
        looks_ = pool_.transact(
            [](mysql::Transaction& tx) { return dead_letter::find_waiting(tx, {.consumer = "shipping"}, 100); });
        break;
      case Step::cancel:
        cancel(step);
        break;
      case Step::expedite:
        expedite(step);
        break;
      case Step::skip:
        skip(step);
        break;
      case Step::watch:
        watch(step.which);
        break;
      case Step::kinds:
        break;
    }
    compare();
  }

  /// The faults are over: every record comes once more, what is to be sent is sent, and handlers succeed. Then each
  /// message must have come to an end.
  void finish() {
    for (std::size_t i = 0; i < held_back_.size(); ++i) take({.kind = Step::route});
    for (unsigned i = 0; i < source_.size(); ++i) take({.kind = Step::deliver, .which = i});
    for (int round = 0; round < 3; ++round) {
      for (unsigned id = 0; id < kMessages; ++id) take({.kind = Step::watch, .which = id});
      while (has_unsent()) take({.kind = Step::relay});
      for (unsigned i = 0; i < retries_.size(); ++i) take({.kind = Step::redeliver, .which = i});
    }
    for (int id = 0; id < kMessages; ++id) {
      const auto row = model_.rows.find("m-" + std::to_string(id));
      require(row != model_.rows.end(), "a message was lost");
      const std::string& state = row->second.state;
      require(state == "done" || state == "dead" || state == "discarded", row->first + " ended as " + state);
      require(effects_of(row->first) == (state == "done" ? 1 : 0), row->first + " is " + state + " and has effects");
    }
    for (const auto& [key, state] : model_.letters) {
      if (state == "dead") require(dead_on_topic_.contains(key), "a letter never came to its topic");
    }
  }

 private:
  static constexpr int kMessages = 3;
  static constexpr int kCopies = 2;
  enum Outcome : unsigned { done, done_too, error, error_for_good, unwanted, dies, outcomes };
  struct Died {};  // is not caught for the message's fault
  struct HeldBack {
    Message message;
    ErrorSummary error;
  };

  static void require(bool holds, const std::string& what) {
    if (!holds) throw std::runtime_error(what);
  }

  void run(const Message& message, mysql::Transaction& tx) {
    tx.execute("INSERT INTO effect (message_id) VALUES (?)", message.id);
    switch (outcomes_.at(&message)) {
      case error:
        throw std::runtime_error("not yet");
      case error_for_good:
        throw PermanentError("never");
      case unwanted:
        throw std::domain_error("nobody wants it");
      case dies:
        throw Died();
      default:
        break;
    }
  }
  static std::string next_state(const Message& message, Outcome outcome) {
    if (outcome == unwanted) return "discarded";
    return outcome == error && message.attempt < 3 ? "retrying" : "dead";
  }

  void deliver(const Step& step) {
    std::vector<Message> group;
    const std::size_t first = step.which % source_.size();
    const std::size_t count = 1 + step.how / 2 % 3;
    for (std::size_t i = first; i < std::min(first + count, source_.size()); ++i) group.push_back(source_[i]);
    handle(std::move(group), step);
  }

  /// What a worker does with a group. One that dies does nothing more.
  void handle(std::vector<Message> group, const Step& step) {
    static constexpr std::array<const char*, 8> kCrashes{
        "", "", "", "", "", "dedup.after_claim", "dedup.after_handler", "dedup.after_commit"};
    const bool is_alone = group.size() == 1;
    // In a group the library would go on with the others, which nobody who is dead does.
    const std::string crash = is_alone ? kCrashes[step.crash % kCrashes.size()] : "";
    outcomes_.clear();
    std::vector<const Message*> pointers;
    std::vector<Outcome> wanted;
    unsigned digits = step.outcome;
    for (Message& message : group) {
      handler_->identify(message);
      Outcome outcome = static_cast<Outcome>(digits % (is_alone ? outcomes : dies));
      digits /= outcomes;
      pointers.push_back(&message);
      wanted.push_back(outcome);
      outcomes_[&message] = outcome;
    }
    std::optional<CrashAt> fault;
    if (!crash.empty()) fault.emplace(crash);
    const consume::Handled handled = handler_->handle(pointers);
    fault.reset();
    require(!handled.failure, "a group failed as a whole");
    require(handled.messages.size() == group.size(), "a group was cut");

    std::set<std::string> seen;
    std::vector<HeldBack> failures;
    std::vector<Outcome> failed_as;
    for (std::size_t i = 0; i < group.size(); ++i) {
      const Message& message = group[i];
      const consume::Settled& settled = handled.messages[i];
      const bool is_fresh = seen.insert(message.id).second && model_.fits(message);
      if (is_fresh && wanted[i] <= done_too && (crash.empty() || crash == "dedup.after_commit")) model_.done(message);
      if (!crash.empty() || (is_fresh && wanted[i] == dies)) return;  // whatever it knew is gone
      if (!is_fresh) {
        require(!settled.failure && settled.outcome == consume::Outcome::duplicate, message.id + " was handled again");
      } else if (wanted[i] <= done_too) {
        require(!settled.failure && settled.outcome == consume::Outcome::done, message.id + " was not handled");
      } else {
        require(settled.failure != nullptr, message.id + " did not fail");
        failures.push_back({.message = message, .error = summary_of(settled.failure)});
        failed_as.push_back(wanted[i]);
      }
    }
    if (step.how % 2 != 0) {
      std::ranges::move(failures, std::back_inserter(held_back_));
    } else if (failures.size() == 1) {
      route(failures.front(), failed_as.front(), step.crash / 8, true);
    } else {
      route_all(failures, failed_as);
    }
  }
  /// Those of a group, in one transaction.
  void route_all(const std::vector<HeldBack>& failures, const std::vector<Outcome>& failed_as) {
    std::vector<consume::Failure> all;
    for (const HeldBack& failure : failures) {
      all.push_back({.message = failure.message, .consumer = "shipping", .group = "g", .error = failure.error});
    }
    const auto routes = router_.route_all(all);
    require(routes.size() == failures.size(), "some of a group were not routed");
    for (std::size_t i = 0; i < failures.size(); ++i) {
      require(!routes[i].failure, failures[i].message.id + " was not routed");
      model_.fail(failures[i].message, next_state(failures[i].message, failed_as[i]));
    }
  }
  static ErrorSummary summary_of(const std::exception_ptr& failure) {
    try {
      std::rethrow_exception(failure);
    } catch (...) {
      return summarize_current_exception();
    }
  }

  void route_one_held_back(const Step& step) {
    if (held_back_.empty()) return;
    const auto chosen = held_back_.begin() + static_cast<std::ptrdiff_t>(step.which % held_back_.size());
    const HeldBack failure = std::move(*chosen);
    held_back_.erase(chosen);
    const Outcome outcome = failure.error.kind == ErrorKind::permanent         ? error_for_good
                            : failure.error.error_class == "std::domain_error" ? unwanted
                                                                               : error;
    route(failure, outcome, step.crash, false);
  }

  void route(const HeldBack& failure, Outcome outcome, unsigned crash, bool is_current) {
    static constexpr std::array<const char*, 4> kCrashes{"", "", "router.before_commit", "router.after_commit"};
    const Message& message = failure.message;
    const std::string point = kCrashes[crash % kCrashes.size()];
    const bool fits = model_.fits(message);
    require(fits || !is_current, message.id + " does not fit although its handler has just run");
    const std::string next = next_state(message, outcome);
    if (fits && point != "router.before_commit") model_.fail(message, next);
    std::optional<CrashAt> fault;
    if (!point.empty()) fault.emplace(point);
    try {
      const consume::Routed routed =
          router_.route({.message = message, .consumer = "shipping", .group = "g", .error = failure.error});
      const auto expected = !fits                ? consume::Routed::settled
                            : next == "retrying" ? consume::Routed::retrying
                            : next == "dead"     ? consume::Routed::dead
                                                 : consume::Routed::discarded;
      require(point.empty() && routed == expected, message.id + " was routed elsewhere");
    } catch (const Error& death) {
      if (point.empty()) throw;
    }
  }

  void relay(const Step& step) {
    const auto rows = pool_.transact([](mysql::Transaction& tx) {
      return tx.query(
          "SELECT id, message_id, purpose, topic, message_key, payload, headers FROM outbox_message "
          "WHERE status <> 'sent' ORDER BY id");
    });
    if (rows.empty()) return;
    const mysql::Row& row = rows[step.which % rows.size()];
    const auto id = row.get<std::string>("message_id");
    const auto purpose = row.get<std::string>("purpose");
    const bool is_lost = step.how % 6 == 5;
    const bool is_marked = step.how % 6 != 4;
    if (!is_lost) {
      Record record;
      record.position = {row.get<std::string>("topic"), 0, next_offset_++};
      record.timestamp = SystemClock().now();
      record.key = row.get<Bytes>("message_key");
      record.payload = row.get<Bytes>("payload");
      record.headers = decode_headers(row.get<std::string>("headers"));
      record.headers.set(names::kMessageId, id);
      if (purpose.starts_with("retry:")) {
        retries_.push_back(decode_retry_record(record));
      } else {
        dead_on_topic_.emplace(id, static_cast<std::uint32_t>(std::stoul(purpose.substr(purpose.rfind(':') + 1))));
      }
    } else if (purpose.starts_with("dlq:")) {
      return;  // what Kafka has acked of a letter it keeps: only retries are watched over
    }
    if (!is_marked) return;
    pool_.transact([&](mysql::Transaction& tx) {
      tx.execute("UPDATE outbox_message SET status = 'sent', sent_at = UTC_TIMESTAMP(6) WHERE id = ?",
                 row.get<std::uint64_t>("id"));
    });
    model_.outbox.at({id, purpose}) = true;
  }
  [[nodiscard]] bool has_unsent() const {
    return std::ranges::any_of(model_.outbox, [](const auto& row) { return !row.second; });
  }

  void replay() {
    dead_letter::Replay replay(pool_);
    (void)replay.start(
        {.selection = {.consumer = "shipping"}, .max_replays = UINT32_MAX, .operator_name = "ann", .reason = "fixed"});
    (void)replay.run({}, {});
    model_.replay();
  }

  /// Runs a command of an operator's; false when the process died before its commit.
  bool by_hand(unsigned crash, const std::function<void(mysql::Transaction&)>& work) {
    std::optional<CrashAt> fault;
    if (crash % 4 == 3) fault.emplace("waiting.before_commit");
    try {
      pool_.transact(work);
      return true;
    } catch (const Error&) {
      if (!fault) throw;
      return false;
    }
  }
  void cancel(const Step& step) {
    if (looks_.empty()) return;
    const dead_letter::Waiting& waiting = looks_[step.which % looks_.size()];
    const bool as_dead = step.how % 2 == 0;
    const bool fits = model_.is_waiting(waiting.business_key, waiting.life, waiting.attempt);
    bool is_done = false;
    const bool lived = by_hand(step.crash, [&](mysql::Transaction& tx) {
      const auto as = as_dead ? dead_letter::CancelAs::dead : dead_letter::CancelAs::discarded;
      is_done = dead_letter::cancel(tx, waiting, as, {}, "", hand_).is_done;
    });
    if (lived) require(is_done == fits, "cancel does something else than what the operator saw");
    if (lived && fits) model_.cancel(waiting.business_key, as_dead);
  }
  void expedite(const Step& step) {
    if (looks_.empty()) return;
    const dead_letter::Waiting& waiting = looks_[step.which % looks_.size()];
    const bool fits = model_.is_waiting(waiting.business_key, waiting.life, waiting.attempt);
    bool is_done = false;
    (void)by_hand(step.crash, [&](mysql::Transaction& tx) {
      is_done = dead_letter::hasten(tx, waiting, std::chrono::milliseconds(0), hand_).is_done;
    });
    require(fits || !is_done, "expedite touches what is not as the operator saw it");
  }
  void skip(const Step& step) {
    const std::string id = "m-" + std::to_string(step.which % kMessages);
    bool is_done = false;
    const bool lived = by_hand(
        step.crash, [&](mysql::Transaction& tx) { is_done = dead_letter::skip(tx, "shipping", id, hand_).is_done; });
    if (lived) require(is_done == model_.skip(id), "skip does something else than it should");
  }
  void watch(unsigned which) {
    const std::string id = "m-" + std::to_string(which % kMessages);
    const auto found = pool_.transact([&](mysql::Transaction& tx) {
      return dead_letter::send_again(tx, {}, "shipping", id, std::chrono::seconds(0));
    });
    if (found == dead_letter::Resend::nothing) return;
    const auto row = model_.rows.find(id);
    require(row != model_.rows.end() && row->second.state == "retrying", id + " is sent again and does not wait");
    model_.outbox[{id, FailureModel::retry_purpose(row->second)}] = false;
  }

  // ---- The tables ----

  int effects_of(const std::string& id) const {
    const auto found = model_.effects.find(id);
    return found == model_.effects.end() ? 0 : found->second;
  }
  static std::string name(const std::string& id, std::uint32_t number) { return id + "/" + std::to_string(number); }

  void compare() {
    std::set<std::string> stored;
    pool_.transact([&](mysql::Transaction& tx) {
      stored.clear();
      for (const mysql::Row& row : tx.query("SELECT message_key, state, life, attempt FROM consumed_message")) {
        stored.insert("row " + row.get<std::string>(0) + " " + row.get<std::string>(1) + " " +
                      name("life", row.get<std::uint32_t>(2)) + name(" attempt", row.get<std::uint32_t>(3)));
      }
      for (const mysql::Row& row : tx.query("SELECT message_key FROM failed_message")) {
        stored.insert("failed " + row.get<std::string>(0));
      }
      for (const mysql::Row& row : tx.query("SELECT identity, life, state FROM dead_letter")) {
        stored.insert("letter " + name(row.get<std::string>(0), row.get<std::uint32_t>(1)) + " " +
                      row.get<std::string>(2));
      }
      for (const mysql::Row& row : tx.query("SELECT message_id, purpose, status = 'sent' FROM outbox_message")) {
        stored.insert("outbox " + row.get<std::string>(0) + " " + row.get<std::string>(1) +
                      (row.get<bool>(2) ? " sent" : " unsent"));
      }
      for (const mysql::Row& row : tx.query("SELECT message_id, COUNT(*) FROM effect GROUP BY message_id")) {
        stored.insert("effects " + name(row.get<std::string>(0), row.get<std::uint32_t>(1)));
      }
    });
    std::set<std::string> wanted;
    for (const auto& [id, row] : model_.rows) {
      wanted.insert("row " + id + " " + row.state + " " + name("life", row.life) + name(" attempt", row.attempt));
      if (row.state == "retrying") wanted.insert("failed " + id);
    }
    for (const auto& [key, state] : model_.letters) {
      wanted.insert("letter " + name(key.first, key.second) + " " + state);
    }
    for (const auto& [key, is_sent] : model_.outbox) {
      wanted.insert("outbox " + key.first + " " + key.second + (is_sent ? " sent" : " unsent"));
    }
    for (const auto& [id, count] : model_.effects) {
      require(count == 1, id + " took effect " + std::to_string(count) + " times");
      wanted.insert("effects " + name(id, 1));
    }
    std::string difference;
    for (const std::string& line : wanted) {
      if (!stored.contains(line)) difference += "\n  not in the tables: " + line;
    }
    for (const std::string& line : stored) {
      if (!wanted.contains(line)) difference += "\n  only in the tables: " + line;
    }
    require(difference.empty(), "the tables are not as they should be:" + difference);
  }

  mysql::Pool& pool_;
  std::unique_ptr<consume::Handler> handler_;
  dead_letter::Router router_;
  const dead_letter::Hand hand_{.operator_name = "ann", .reason = "by hand"};
  FailureModel model_;
  std::vector<Message> source_;
  std::vector<Message> retries_;  // all that ever came to the retry topic
  std::set<std::pair<std::string, std::uint32_t>> dead_on_topic_;
  std::vector<HeldBack> held_back_;
  std::vector<dead_letter::Waiting> looks_;
  std::map<const Message*, Outcome> outcomes_;
  std::int64_t next_offset_ = 0;
};

}  // namespace oncemark::testing
