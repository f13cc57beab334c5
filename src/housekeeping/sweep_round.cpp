#include "housekeeping/sweep_round.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <span>
#include <string_view>
#include <utility>

#include <oncemark/core/faults.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/housekeeping/partitions.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/horizon.hpp>
#include <oncemark/ledger/suspects.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/mysql/transaction.hpp>

#include "housekeeping/partition_rows.hpp"

namespace oncemark::housekeeping {
namespace {

using mysql::Param;

// A walk that finds nothing to remove writes down where it is only now and then.
constexpr int kSaveEvery = 50;
constexpr int kContentionTries = 3;
constexpr std::size_t kMarksPerDelete = 256;
constexpr std::chrono::hours kClocksDiffer{24};  // a producer's clock may be ahead
constexpr std::chrono::hours kDropLate{24};      // a partition that could have been dropped so long ago is swept

// By the database's clock, so that all programs agree.
constexpr std::string_view kCutOff = "UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND";

std::int64_t microseconds(std::chrono::seconds age) { return std::chrono::microseconds(age).count(); }

/// "?, ?, …" over a power of two of placeholders, so that there are few texts to prepare; the last one is repeated.
template <typename Value>
std::string bind_list(std::vector<Param>& params, const std::vector<Value>& values) {
  std::string text;
  for (std::size_t i = 0; i < std::bit_ceil(values.size()); ++i) {
    text += i == 0 ? "?" : ", ?";
    params.emplace_back(values[std::min(i, values.size() - 1)]);
  }
  return text;
}

}  // namespace

template <typename Work>
auto SweepRound::in_transaction(Work&& work) {
  for (int tries = 1;; ++tries) {
    try {
      mysql::UnitOfWork unit(connection_);
      auto result = work(unit.tx());
      if (mode_ == Mode::remove) unit.commit();
      return result;
    } catch (const mysql::MysqlError& error) {
      if (!error.is_contention() || tries == kContentionTries) throw;
    }
  }
}

bool SweepRound::pause() const { return wait_for(stop_, options_.pause); }

SweepCounts SweepRound::run() {
  // Outgoing rows and letters first: a mark is kept as long as they are.
  for (const std::string& relay : names("outbox_message", "relay")) sweep_outbox(relay);
  if (options_.letters.count() > 0) {
    for (const std::string& consumer : names("dead_letter", "consumer")) {
      for (const char* state : {"replayed", "resolved", "archived", "discarded"}) sweep_letters(consumer, state);
    }
  }
  sweep_suspects();
  plan_marks();
  for (const std::string& consumer : names("consumed_message", "consumer")) sweep_marks(consumer);
  return counts_;
}

std::vector<std::string> SweepRound::names(const std::string& table, const std::string& column) {
  // From name to name by the index, instead of DISTINCT, which may read the whole of it.
  const std::string sql = "SELECT MIN(" + column + ") FROM " + table + " WHERE " + column + " > ?";
  std::vector<std::string> found;
  std::string last;
  for (;;) {
    const auto next = in_transaction(
        [&](mysql::Transaction& tx) { return tx.query_row(sql, last)->get<std::optional<std::string>>(0); });
    if (!next) return found;
    found.push_back(last = *next);
  }
}

// ---- Marks ----

void SweepRound::plan_marks() {
  const Time now =
      in_transaction([](mysql::Transaction& tx) { return tx.query_row("SELECT UTC_TIMESTAMP(6)")->get<Time>(0); });
  // Most keys are time-ordered ids, and most of those are young: the walk jumps over them. A key of another kind that
  // happens to lie there is only found later, when the range has moved on.
  young_ = {.from = first_key_of(now - options_.marks), .to = first_key_of(now + kClocksDiffer)};
  // Plain marks in a partition that can soon be dropped are not worth deleting, unless nobody drops it.
  const std::vector<Partition> partitions = read_partitions(connection_);
  for (const Partition& partition : partitions) {
    if (!partition.before) continue;
    const bool is_overdue = *partition.before < now - options_.marks - kDropLate;
    if (is_overdue) left_to_drop_.from = first_key_of(*partition.before);
    left_to_drop_.to = first_key_of(*partition.before);
  }
}

void SweepRound::sweep_marks(const std::string& consumer) {
  // A former round may have ended half-way: go on from there, then do the first half.
  const std::string start = progress_of(consumer);
  std::string after = start;
  bool has_wrapped = start.empty();
  for (int steps = 1; !stop_.stop_requested(); ++steps) {
    Step step = in_transaction([&](mysql::Transaction& tx) {
      Step taken = step_marks(tx, consumer, after);
      const bool is_worth_saving = taken.removed > 0 || taken.is_last || steps % kSaveEvery == 1;
      if (mode_ == Mode::remove && is_worth_saving) {
        save_progress(tx, consumer, taken.is_last ? std::string_view() : std::string_view(taken.last));
      }
      if (taken.removed > 0) ONCEMARK_FAIL_POINT("sweeper.before_commit");
      return taken;
    });
    if (step.removed > 0 && mode_ == Mode::remove) ONCEMARK_FAIL_POINT("sweeper.after_commit");
    counts_.marks_seen += step.seen;
    counts_.marks += step.removed;
    after = std::move(step.last);
    if (step.is_last) {
      if (has_wrapped) return;
      has_wrapped = true;
      after.clear();
    } else if (has_wrapped && !start.empty() && after >= start) {
      return;
    }
    if (!pause()) return;
  }
}

SweepRound::Step SweepRound::step_marks(mysql::Transaction& tx, const std::string& consumer, const std::string& after) {
  // A mark that leaves before the letter or the outgoing rows of its message would let a copy start a first life again
  // under names that are taken. Only messages that failed have such: the others are plain.
  static const std::string kSql =
      "SELECT m.message_key, m.state IN ('done', 'discarded') AND m.consumed_at < " + std::string(kCutOff) +
      " AND m.event_time < " + std::string(kCutOff) +
      " AND IF(m.state = 'done' AND m.life = 1 AND m.attempt = 0, NOT (m.message_key >= ? AND m.message_key < ?), NOT ("
      "EXISTS (SELECT 1 FROM dead_letter l WHERE l.consumer = m.consumer AND l.identity = m.message_key) OR "
      "EXISTS (SELECT 1 FROM outbox_message o WHERE o.message_id = m.message_id AND "
      "o.purpose > '' AND LOCATE(CONCAT(':', m.consumer, ':'), o.purpose) > 0))) AS is_old "
      "FROM consumed_message m WHERE m.consumer = ? AND m.message_key > ? AND m.message_key < ? "
      "ORDER BY m.message_key LIMIT ?";
  static const std::string kAboveAll(513, '\xff');
  const std::int64_t age = microseconds(options_.marks);
  const bool is_below = after < young_.from;
  Step step{.last = is_below || after >= young_.to ? after : young_.to};
  std::vector<std::string> old;
  for (const mysql::Row& row : tx.query(kSql, age, age, left_to_drop_.from, left_to_drop_.to, consumer, step.last,
                                        is_below ? young_.from : kAboveAll, options_.batch)) {
    ++step.seen;
    step.last = row.get<std::string>(0);
    if (row.get<bool>(1)) old.push_back(step.last);
  }
  if (step.seen < options_.batch) {
    step.is_last = !is_below;
    step.last = young_.to;
  }
  step.removed = mode_ == Mode::count ? old.size() : remove_marks(tx, consumer, old);
  return step;
}

std::uint64_t SweepRound::remove_marks(mysql::Transaction& tx, const std::string& consumer,
                                       const std::vector<std::string>& keys) {
  if (keys.empty()) return 0;
  const std::int64_t age = microseconds(options_.marks);
  std::vector<Param> params{consumer};
  const std::string list = bind_list(params, keys);
  params.emplace_back(age);
  params.emplace_back(age);
  // What a consumer holds at this moment is left for the next round: neither waits for the other.
  const mysql::Rows locked = tx.query_with(
      "SELECT message_key, origin_topic, origin_partition, event_time FROM consumed_message FORCE INDEX (PRIMARY) "
      "WHERE consumer = ? AND message_key IN (" +
          list + ") AND state IN ('done', 'discarded') AND consumed_at < " + std::string(kCutOff) +
          " AND event_time < " + std::string(kCutOff) + " FOR UPDATE SKIP LOCKED",
      params);
  if (locked.empty()) return 0;

  std::vector<std::string> own;
  std::vector<ledger::Purged> marks;
  for (const mysql::Row& row : locked) {
    own.push_back(row.get<std::string>(0));
    marks.push_back(
        {.topic = row.get<std::string>(1), .partition = row.get<std::int32_t>(2), .event_time = row.get<Time>(3)});
  }
  ledger::raise_horizon(tx, consumer, marks);
  ONCEMARK_FAIL_POINT("sweeper.after_horizon");
  // Key by key: for a list of keys MySQL scans a small table, and waits for what others hold.
  const std::vector<std::string_view> keys_of_own(own.begin(), own.end());
  for (std::span<const std::string_view> left = keys_of_own; !left.empty();) {
    const std::size_t part = std::min(left.size(), kMarksPerDelete);
    ledger::give_back(tx, consumer, left.first(part));
    left = left.subspan(part);
  }
  return own.size();
}

std::string SweepRound::progress_of(const std::string& consumer) {
  if (mode_ == Mode::count) return {};
  return in_transaction([&](mysql::Transaction& tx) {
    const auto row = tx.query_row("SELECT position FROM sweep_progress WHERE task = 'marks' AND scope = ?", consumer);
    const std::string position = row ? row->get<std::string>(0) : std::string();
    save_progress(tx, consumer, position);  // before the first mark goes, consumers can see the retention
    return position;
  });
}

void SweepRound::save_progress(mysql::Transaction& tx, const std::string& consumer, std::string_view position) {
  tx.execute(
      "INSERT INTO sweep_progress (task, scope, position, retention, updated_at) "
      "VALUES ('marks', ?, ?, ?, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE position = VALUES(position), "
      "retention = VALUES(retention), updated_at = VALUES(updated_at)",
      consumer, position, options_.marks.count());
}

// ---- Outbox rows ----

void SweepRound::sweep_outbox(const std::string& relay) {
  // Nothing is sent before it is there, and rows are there in the order of their ids, about: the walk ends where it
  // meets a young one.
  const std::string sql = "SELECT id, created_at < " + std::string(kCutOff) + ", sent_at < " + std::string(kCutOff) +
                          " FROM outbox_message FORCE INDEX (to_send) WHERE relay = ? AND status = 'sent' AND id > ? "
                          "ORDER BY id LIMIT ?";
  const std::int64_t age = microseconds(options_.outbox);
  struct OutboxStep {
    std::uint64_t seen = 0;
    std::uint64_t removed = 0;
    std::uint64_t last_id = 0;
    bool is_over = false;
  } step;
  do {
    step = in_transaction([&, last = step](mysql::Transaction& tx) {
      OutboxStep taken{.last_id = last.last_id};
      std::vector<std::uint64_t> ids;
      for (const mysql::Row& row : tx.query(sql, age, age, relay, last.last_id, options_.batch)) {
        ++taken.seen;
        taken.last_id = row.get<std::uint64_t>(0);
        taken.is_over = !row.get<bool>(1);
        if (row.get<bool>(2)) ids.push_back(taken.last_id);
      }
      taken.removed = ids.size();
      if (mode_ == Mode::count || ids.empty()) return taken;
      std::vector<Param> params;
      const std::string list = bind_list(params, ids);
      params.emplace_back(age);
      taken.removed = tx.execute_with("DELETE o FROM outbox_message AS o FORCE INDEX (PRIMARY) WHERE o.id IN (" + list +
                                          ") AND o.status = 'sent' AND o.sent_at < " + std::string(kCutOff),
                                      params);
      return taken;
    });
    counts_.outbox_rows += step.removed;
  } while (step.seen == options_.batch && !step.is_over && pause());
}

// ---- Letters ----

void SweepRound::sweep_letters(const std::string& consumer, std::string_view state) {
  const std::string old =
      " FROM dead_letter FORCE INDEX (by_age) WHERE consumer = ? AND state = ? AND died_at < " + std::string(kCutOff);
  const std::int64_t age = microseconds(options_.letters);
  if (mode_ == Mode::count) {
    counts_.letters += in_transaction([&](mysql::Transaction& tx) {
      return tx.query_row("SELECT COUNT(*)" + old, consumer, state, age)->get<std::uint64_t>(0);
    });
    return;
  }
  std::size_t seen = 0;
  do {
    counts_.letters += in_transaction([&](mysql::Transaction& tx) -> std::uint64_t {
      std::vector<std::uint64_t> ids;
      for (const mysql::Row& row : tx.query("SELECT id" + old + " LIMIT ?", consumer, state, age, options_.batch)) {
        ids.push_back(row.get<std::uint64_t>(0));
      }
      seen = ids.size();
      if (ids.empty()) return 0;
      std::vector<Param> params;
      const std::string list = bind_list(params, ids);
      params.emplace_back(state);
      return tx.execute_with(
          "DELETE l FROM dead_letter AS l FORCE INDEX (handle) WHERE l.id IN (" + list + ") AND l.state = ?", params);
    });
  } while (seen == options_.batch && pause());
}

// ---- Suspects ----

void SweepRound::sweep_suspects() {
  if (mode_ == Mode::count) {
    counts_.suspects = in_transaction([](mysql::Transaction& tx) { return ledger::count_stale_suspects(tx); });
    return;
  }
  std::uint64_t removed = 0;
  do {
    removed = in_transaction([&](mysql::Transaction& tx) { return ledger::remove_stale_suspects(tx, options_.batch); });
    counts_.suspects += removed;
  } while (removed == options_.batch && pause());
}

}  // namespace oncemark::housekeeping
