#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <oncemark/consume/sequences.hpp>
#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/dead_letter/router.hpp>
#include <oncemark/dead_letter/waiting.hpp>
#include <oncemark/inbox/dedup.hpp>
#include <oncemark/message/codec.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/testing/crash_points.hpp>

namespace oncemark::testing {

/// One thing that happens while the order of keys is kept. The numbers choose among what there is at that moment, so
/// that every sequence of steps can be played, and any of them left out.
struct OrderedStep {
  enum Kind : unsigned {
    deliver,    // records of the source, from any that was reached before: `which` the first, `how` their number
    drive,      // a driver takes heads that are due, and runs them and what waits behind
    route,      // a failure that was held back is routed: its process was paused, and is a zombie by now
    pass_time,  // until every lease is over
    replay,     // all dead letters; only where they are replayed in their places
    skip,
    kinds
  };
  Kind kind = deliver;
  unsigned which = 0;
  unsigned how = 0;
  unsigned outcome = 0;  // of handlers, one digit each: done, done, done, error, error, error for good
  unsigned crash = 0;    // where the process dies: nowhere mostly

  friend std::ostream& operator<<(std::ostream& out, const OrderedStep& step) {
    static constexpr std::array kNames{"deliver", "drive", "route", "pass_time", "replay", "skip"};
    return out << kNames.at(step.kind) << '(' << step.which << ", " << step.how << ", " << step.outcome << ", "
               << step.crash << ')';
  }
};

/// Plays steps on the library's own handler, sequences, router and replay, and looks at the tables after each of them:
/// effects once and in the order of their key, sequences and state rows that say the same.
///
/// Shape:   two keys with four messages each on one partition. Their tables must be empty at first; `effect`
///          (message_id) is there, in the order in which its rows came.
/// Errors:  std::runtime_error that says what is wrong.
class OrderedSchedule {
 public:
  OrderedSchedule(mysql::Pool& pool, retry::OnDead on_dead)
      : pool_(pool),
        on_dead_(on_dead),
        router_(pool, {.retries = {.delays = {std::chrono::milliseconds(1), std::chrono::milliseconds(1)},
                                   .order = retry::Order::by_key,
                                   .on_dead = on_dead}}),
        handler_(pool, {.consumer = "shipping", .effects = Effects::transaction},
                 [this](const Message& message, mysql::Transaction& tx) { run(message, tx); }),
        sequences_(*handler_.sequences()) {
    sequences_.set_mode(consume::Sequences::Mode::keep, router_.key_order(), "g");
    for (int i = 0; i < kMessages; ++i) {
      Record record;
      record.position = {"orders", 0, i};
      record.timestamp = SystemClock().now();
      record.key = record.payload = std::string(1, i % 2 == 0 ? 'a' : 'b');
      record.headers.append(std::string(names::kMessageId), id_of(i));
      source_.push_back(decode_source_record(record));
    }
  }

  void take(const OrderedStep& step) {
    outcomes_.clear();
    digits_ = step.outcome;
    switch (step.kind) {
      case OrderedStep::deliver:
        deliver(step);
        break;
      case OrderedStep::drive:
        drive(step);
        break;
      case OrderedStep::route:
        route_one_held_back(step);
        break;
      case OrderedStep::pass_time:
        pool_.transact([](mysql::Transaction& tx) {
          tx.execute("UPDATE parked_key SET due_at = UTC_TIMESTAMP(6) WHERE due_at IS NOT NULL");
        });
        break;
      case OrderedStep::replay:
        if (on_dead_ == retry::OnDead::stop_key) replay();
        break;
      case OrderedStep::skip:
        pool_.transact([&](mysql::Transaction& tx) {
          (void)dead_letter::skip(tx, "shipping", id_of(static_cast<int>(step.which % kMessages)),
                                  {.operator_name = "ann", .reason = "by hand"});
        });
        break;
      case OrderedStep::kinds:
        break;
    }
    check();
  }

  /// The faults are over: what was read comes again, leases end, and handlers succeed. Then each message must have come
  /// to an end, and no key waits.
  void finish() {
    while (!held_back_.empty()) take({.kind = OrderedStep::route});
    for (int round = 0; next_ < source_.size(); ++round) {
      require(round < 50, "a partition does not get on");
      take({.kind = OrderedStep::deliver, .which = static_cast<unsigned>(next_), .how = 3});
      work_off();
    }
    take({.kind = OrderedStep::replay});
    work_off();
    require(count("SELECT COUNT(*) FROM parked_key") == 0, "a key waits for ever");
    for (int i = 0; i < kMessages; ++i) {
      const auto state = states().find(id_of(i));
      require(state != states().end(), id_of(i) + " was lost");
      const bool may_be_dead = on_dead_ == retry::OnDead::continue_key;
      require(state->second == "done" || state->second == "discarded" || (may_be_dead && state->second == "dead"),
              id_of(i) + " ended as " + state->second);
    }
  }

 private:
  static constexpr int kMessages = 8;
  struct HeldBack {
    Message message;
    ErrorSummary error;
    std::optional<std::string> sequence;
  };

  static std::string id_of(int i) { return std::string(1, i % 2 == 0 ? 'a' : 'b') + std::to_string(i / 2); }
  static void require(bool holds, const std::string& what) {
    if (!holds) throw std::runtime_error(what);
  }

  void run(const Message& message, mysql::Transaction& tx) {
    tx.execute("INSERT INTO effect (message_id) VALUES (?)", message.id);
    const auto [outcome, is_new] = outcomes_.try_emplace(message.id, digits_ % 6);
    if (is_new) digits_ /= 6;
    if (outcome->second == 5) throw PermanentError("never");
    if (outcome->second >= 3) throw std::runtime_error("not yet");
  }

  /// Nowhere in half of the steps or more.
  static std::string crash_of(const OrderedStep& step, std::initializer_list<const char*> points) {
    const std::size_t nowhere = 12 - points.size();
    const std::size_t point = step.crash % 12;
    return point < nowhere ? "" : *(points.begin() + (point - nowhere));
  }

  void deliver(const OrderedStep& step) {
    const std::size_t first = step.which % (next_ + 1);
    const std::size_t count = std::min<std::size_t>(1 + step.how % 4, source_.size() - first);
    if (count == 0) return;
    std::vector<Message> group(source_.begin() + static_cast<std::ptrdiff_t>(first),
                               source_.begin() + static_cast<std::ptrdiff_t>(first + count));
    std::vector<const Message*> pointers;
    for (Message& message : group) {
      handler_.identify(message);
      pointers.push_back(&message);
    }
    const std::string crash = crash_of(step, {"dedup.after_claim", "dedup.after_commit", "parking.before_commit",
                                              "parking.after_commit", "router.before_commit", "router.after_commit"});
    std::optional<CrashAt> fault;
    if (!crash.empty()) fault.emplace(crash);
    consume::Handled handled;
    try {
      handled = handler_.handle(pointers);
    } catch (const Error&) {
      if (crash.empty()) throw;
      return;
    }
    const bool dies_later = crash.starts_with("router");
    if (!crash.empty() && !dies_later) return;  // whatever it knew is gone
    require(!handled.failure, "a group failed as a whole");
    std::vector<HeldBack> failures;
    std::size_t settled = 0;
    for (; settled < handled.messages.size(); ++settled) {
      const consume::Settled& one = handled.messages[settled];
      if (one.failure) {
        failures.push_back({.message = group[settled], .error = summary_of(one.failure), .sequence = {}});
      } else if (one.outcome == consume::Outcome::unsettled) {
        break;
      }
    }
    const bool is_held_back = step.how % 16 == 15;
    if (is_held_back && !failures.empty()) {
      std::ranges::move(failures, std::back_inserter(held_back_));
      return;
    }
    if (route(failures, step.how / 4 % 2 == 0)) next_ = std::max(next_, first + settled);
  }

  void drive(const OrderedStep& step) {
    std::vector<consume::Sequences::Due> due = sequences_.next_due(10);
    std::erase_if(due, [](const auto& head) { return head.wait.count() > 0; });
    if (due.empty()) return;
    if (step.how % 2 == 0) due = {due[step.which % due.size()]};
    const std::string crash = crash_of(step, {"parked.after_take", "parked.after_handler", "parked.after_commit",
                                              "router.before_commit", "router.after_commit"});
    std::optional<CrashAt> fault;
    if (!crash.empty()) fault.emplace(crash);
    std::vector<HeldBack> failures;
    try {
      for (consume::Sequences::Taken& taken : sequences_.take(due)) {
        if (step.how % 7 == 6) return;  // the process dies with it in hand
        if (auto failure = drain(taken, 1 + step.how % 3, !crash.empty())) failures.push_back(std::move(*failure));
        if (crash.starts_with("parked")) return;
      }
    } catch (const Error&) {
      if (crash.empty()) throw;
      return;
    }
    if (step.how % 16 == 15) {
      std::ranges::move(failures, std::back_inserter(held_back_));
    } else {
      (void)route(failures, step.how / 2 % 2 == 0);
    }
  }

  /// As the driver does; the failure of a head, which is to be routed.
  std::optional<HeldBack> drain(consume::Sequences::Taken& taken, std::size_t most, bool may_die) {
    for (int groups = 0; groups < 4; ++groups) {
      consume::Sequences::Drained drained = sequences_.drain(taken, most);
      if (drained.failure) {
        require(may_die || most > 1, "a group of one failed as a whole");
        if (may_die) return std::nullopt;
        most = 1;
        continue;
      }
      if (drained.head) {
        return HeldBack{.message = std::move(*drained.head),
                        .error = summary_of(drained.cause.failure),
                        .sequence = taken.order_key};
      }
      if (drained.is_over) return std::nullopt;
      taken.head_key = drained.head_key;
    }
    require(sequences_.put_back(taken, std::chrono::milliseconds(0)) || may_die, "a head could not be given back");
    return std::nullopt;
  }

  /// False: the process died of it.
  bool route(const std::vector<HeldBack>& failures, bool together) {
    std::vector<consume::Failure> all;
    for (const HeldBack& failure : failures) {
      all.push_back({.message = failure.message, .consumer = "shipping", .group = "g", .error = failure.error});
      if (failure.sequence) all.back().sequence = *failure.sequence;
    }
    const auto routes = together ? router_.route_all(all) : router_.consume::FailureSink::route_all(all);
    return std::ranges::none_of(routes, [](const consume::Route& one) { return one.failure != nullptr; });
  }
  void route_one_held_back(const OrderedStep& step) {
    if (held_back_.empty()) return;
    const auto chosen = held_back_.begin() + static_cast<std::ptrdiff_t>(step.which % held_back_.size());
    const std::vector<HeldBack> failure{std::move(*chosen)};
    held_back_.erase(chosen);
    require(route(failure, false), failure.front().message.id + " was not routed");
  }
  static ErrorSummary summary_of(const std::exception_ptr& failure) {
    try {
      std::rethrow_exception(failure);
    } catch (...) {
      return summarize_current_exception();
    }
  }

  void replay() {
    dead_letter::Replay replay(pool_);
    (void)replay.start({.selection = {.consumer = "shipping"},
                        .max_replays = UINT32_MAX,
                        .operator_name = "ann",
                        .reason = "fixed"});
    (void)replay.run({}, {});
  }

  /// Drivers work until nothing is due.
  void work_off() {
    for (int round = 0; round < 50; ++round) {
      take({.kind = OrderedStep::pass_time});
      if (sequences_.next_due(1).empty()) return;
      take({.kind = OrderedStep::drive, .how = 1});
    }
    throw std::runtime_error("sequences are not worked off");
  }

  // ---- The tables ----

  std::int64_t count(const std::string& sql) {
    return pool_.transact([&](mysql::Transaction& tx) { return tx.query_row(sql).value().get<std::int64_t>(0); });
  }
  [[nodiscard]] const std::map<std::string, std::string>& states() const { return states_; }

  void check() {
    std::map<std::string, int> effects;
    std::map<char, std::string> last;
    states_.clear();
    pool_.transact([&](mysql::Transaction& tx) {
      for (const mysql::Row& row : tx.query("SELECT message_key, state FROM consumed_message")) {
        states_[row.get<std::string>(0)] = row.get<std::string>(1);
      }
      for (const mysql::Row& row : tx.query("SELECT message_id FROM effect ORDER BY rowid")) {
        const auto id = row.get<std::string>(0);
        require(++effects[id] == 1, id + " took effect twice");
        require(std::exchange(last[id[0]], id) < id, id + " took effect after a later one of its key");
      }
    });
    for (const auto& [id, state] : states_) {
      require(state == "done" || state == "parked" || state == "dead" || state == "discarded", id + " is " + state);
      require(effects.contains(id) == (state == "done"),
              id + " is " + state + (effects.contains(id) ? " with" : " without") + " an effect");
    }
    for (const auto& [id, times] : effects) require(states_.contains(id), id + " took effect and has no mark");
    const auto expect_none = [&](const char* what, const std::string& sql) { require(count(sql) == 0, what); };
    expect_none("a message is parked in no sequence",
                "SELECT COUNT(*) FROM consumed_message c LEFT JOIN parked_message p ON p.message_key = c.message_key "
                "WHERE c.state = 'parked' AND p.seq IS NULL");
    expect_none("a message is in a sequence and not parked",
                "SELECT COUNT(*) FROM parked_message p JOIN consumed_message c ON c.message_key = p.message_key "
                "LEFT JOIN parked_key k ON k.order_key = p.order_key WHERE k.depth IS NULL OR NOT (c.state = 'parked' "
                "OR (c.state = 'dead' AND k.head_key = p.message_key AND k.due_at IS NULL))");
    expect_none("parked_key disagrees with its sequence",
                "SELECT COUNT(*) FROM parked_key k LEFT JOIN (SELECT order_key, COUNT(*) AS n, MIN(seq) AS first FROM "
                "parked_message GROUP BY order_key) AS s ON s.order_key = k.order_key LEFT JOIN parked_message h ON "
                "h.order_key = k.order_key AND h.seq = s.first WHERE s.n IS NULL OR s.n <> k.depth OR h.message_key <> "
                "k.head_key");
    expect_none("a sequence is out of order",
                "SELECT COUNT(*) FROM parked_message p JOIN parked_message q ON q.order_key = p.order_key "
                "WHERE p.seq < q.seq AND p.message_key > q.message_key");
    expect_none("a dead message has no letter",
                "SELECT COUNT(*) FROM consumed_message c LEFT JOIN dead_letter l ON l.identity = c.message_key AND "
                "l.life = c.life AND l.state = 'dead' WHERE c.state = 'dead' AND l.id IS NULL");
    expect_none(
        "a message has two letters in one life",
        "SELECT COUNT(*) FROM (SELECT identity FROM dead_letter GROUP BY identity, life HAVING COUNT(*) > 1) AS d");
    expect_none("a message that keeps its order was sent to the retry topic",
                "SELECT COUNT(*) FROM outbox_message WHERE purpose LIKE 'retry:%'");
  }

  mysql::Pool& pool_;
  const retry::OnDead on_dead_;
  dead_letter::Router router_;
  inbox::Dedup handler_;
  consume::Sequences& sequences_;
  std::vector<Message> source_;
  std::size_t next_ = 0;  // what was read before is settled
  std::vector<HeldBack> held_back_;
  std::map<std::string, unsigned> outcomes_;
  unsigned digits_ = 0;
  std::map<std::string, std::string> states_;
};

}  // namespace oncemark::testing
