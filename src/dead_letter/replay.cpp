#include <oncemark/dead_letter/replay.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <span>

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/dead_letter/envelope.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/parked.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/names.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/writer.hpp>

#include "dead_letter/job_lock.hpp"
#include "dead_letter/job_rows.hpp"
#include "dead_letter/passage.hpp"
#include "dead_letter/selection.hpp"
#include "dead_letter/token_bucket.hpp"
#include "dead_letter/topic_order.hpp"

namespace oncemark::dead_letter {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kPage = 10'000;                         // ids looked up at a time
constexpr std::size_t kBytesTogether = std::size_t{1} << 20;  // of payloads, from which on a transaction is closed
constexpr std::size_t kPlannedGroups = 20;
constexpr std::chrono::seconds kLockWait{1};  // the server may notice late that the last holder died
constexpr milliseconds kLongestWait{1'000};   // between two looks at the lock
constexpr milliseconds kTellEvery{10'000};    // one line about an outage
constexpr Backoff kOutage{.initial = milliseconds(50), .factor = 2.0, .cap = milliseconds(2'000), .jitter = 0.5};

/// Somebody else has moved or ended the job.
struct Overtaken {};

void audit(mysql::Transaction& tx, const ReplayJob& job, const Letter& letter, const std::string& outcome) {
  tx.execute(
      "INSERT INTO replay_audit (job_id, letter_id, consumer, identity, life, action, outcome, operator, reason, at) "
      "VALUES (NULLIF(?, 0), ?, ?, ?, ?, 'replay', ?, ?, ?, UTC_TIMESTAMP(6))",
      job.id, letter.id, letter.consumer, letter.message.business_key, letter.message.life, outcome, job.operator_name,
      job.reason);
}

/// The next life's record, in failed_message (where the state `retrying` always has it) and on its way out.
void send_next_life(mysql::Transaction& tx, const ReplayOrder& order, const ReplayJob& job, const Letter& letter) {
  const Message& message = letter.message;
  const Time now = ledger::database_now(tx);
  const Envelope envelope{.group = letter.group,
                          .life = message.life + 1,
                          .attempt = 0,
                          .first_failed_at = letter.first_failed_at,
                          .error_class = letter.error_class,
                          .error_text = letter.error_text,
                          .stage = letter.stage};
  ledger::keep_failed_message(tx, letter.consumer, message,
                              {.group = letter.group,
                               .error = {.error_class = letter.error_class, .text = letter.error_text},
                               .now = now,
                               .due = now,
                               .first_failed_at = letter.first_failed_at});
  Headers headers = retry_headers(message, envelope, now);
  if (job.id != 0) headers.set(names::kReplayId, std::to_string(job.id));
  send_on(tx, message,
          {.consumer = letter.consumer,
           .relay = order.relay,
           .purpose = retry_purpose(letter.consumer, message, envelope.life, envelope.attempt),
           .topic = order.topics.retry_topic(letter.group, message.topic),
           .headers = std::move(headers)});
}

std::string now_is(const std::optional<ledger::Standing>& found, std::uint32_t life) {
  if (!found) return "skipped:no state row";
  if (found->life != life) return "skipped:life " + std::to_string(found->life);
  return "skipped:" + std::string(ledger::to_string(found->state));
}

/// Between our reading and our lock: roll back and look again.
Error changed(const Letter& letter) {
  return {ErrorKind::transient, "letter " + std::to_string(letter.id) + " was changed by somebody else"};
}

/// One letter, in the caller's transaction. Locks its state row before anything else.
Replayed settle(mysql::Transaction& tx, const ReplayOrder& order, const ReplayJob& job, const Letter& letter) {
  if (letter.state != LetterState::dead) return {.outcome = "skipped:" + std::string(to_string(letter.state))};
  if (letter.message.payload.is_null() && letter.message.headers.contains(names::kRecordLeftOut)) {
    // Replaying it would hand a tombstone to the handler.
    throw PermanentError("letter " + std::to_string(letter.id) + " is a pointer to record " +
                         letter.message.origin.str() + ", which was too large to be stored; send that record again");
  }
  const std::string& key = letter.message.business_key;
  const auto standing = ledger::lock_standing(tx, letter.consumer, key);
  if (standing && standing->state == ledger::State::dead && standing->life == letter.message.life &&
      ledger::is_in_sequence(tx, letter.consumer, key)) {
    // It stopped its key: it goes on there, before what waits behind it. Nothing is sent.
    if (!mark_replaying(tx, letter.id)) throw changed(letter);
    (void)ledger::revive_in_place(tx, letter.consumer, key, letter.message.life);
    return {.is_replayed = true, .outcome = "replayed"};
  }
  const auto revival = ledger::revive(tx, letter.consumer, letter.message.business_key, letter.message.life);
  if (!revival.is_revived) return {.outcome = now_is(revival.found, letter.message.life)};
  if (!mark_replaying(tx, letter.id)) throw changed(letter);
  send_next_life(tx, order, job, letter);
  return {.is_replayed = true, .outcome = "replayed"};
}

}  // namespace

struct Replay::State {
  State(mysql::Pool& pool_to_use, ReplayOptions chosen) : pool(pool_to_use), options(chosen) {}

  void take_lock(const std::string& consumer) {
    lock.emplace(pool, consumer);
    if (!lock->take(kLockWait)) refuse_second_run(consumer);
  }

  [[noreturn]] void refuse_second_run(const std::string& consumer) {
    const auto running = pool.transact([&](mysql::Transaction& tx) { return running_job(tx, consumer); });
    if (!running) {
      throw JobRunningError({.consumer = consumer},
                            "another process is just starting or ending a replay of consumer " + consumer);
    }
    throw JobRunningError(
        *running, "a replay of consumer " + consumer + " is running already: job " + std::to_string(running->id) +
                      " of " + printable(running->operator_name) + ", since " + format_rfc3339(running->created_at) +
                      ", " + std::to_string(running->replayed + running->skipped) + " of " +
                      std::to_string(running->selected) + " letters done; wait for it, or stop it where it runs");
  }

  /// What is still to be done, by the job's own frozen selection.
  [[nodiscard]] Selection remaining() const {
    Selection rest = order.selection;
    rest.after_id = std::max(rest.after_id, job.checkpoint);
    return rest;
  }

  /// The truth about the job after a failure: a commit may have taken effect that looked lost.
  void reload() {
    const std::uint64_t refused = job.refused;
    const auto stored = pool.transact([&](mysql::Transaction& tx) { return lock_job(tx, job.id); });
    if (!stored || stored->job.state != "running") throw Overtaken{};
    job = stored->job;
    job.refused = refused;
  }

  /// Runs `work` until it succeeds. False when a stop was asked for while the database was away; throws when it was
  /// away for longer than our patience. `work` may have taken effect before it failed.
  template <typename Work>
  [[nodiscard]] bool insist(std::stop_token stop, Work&& work) {
    steady_clock::time_point failing_since;
    steady_clock::time_point told_at;
    for (int failures = 0;;) {
      try {
        if (failures > 0) reload();
        if (!lock->keep()) refuse_second_run(job.consumer);
        work();
        return true;
      } catch (const Error& error) {
        if (!error.retryable()) throw;
        const auto now = steady_clock::now();
        if (++failures == 1) failing_since = now;
        if (now - failing_since >= options.patience) {
          throw UnavailableError("replay job " + std::to_string(job.id) + " gives up after letter " +
                                 std::to_string(job.checkpoint) + "; it can be resumed: " + error.what());
        }
        if (failures == 1 || now - told_at >= kTellEvery) {
          told_at = now;
          log(LogLevel::warn, "replay is waiting for the database",
              {{"job", job.id}, {"failures", failures}, {"error", error.error_class()}, {"text", error.what()}});
        }
      }
      if (!wait_for(stop, delay_after(kOutage, failures, random_token()))) return false;
    }
  }

  /// Waits until the rate allows one more letter. False when stopped.
  [[nodiscard]] bool await_turn(std::stop_token stop, TokenBucket& bucket) {
    for (;;) {
      if (stop.stop_requested()) return false;
      const auto wait = bucket.take(steady_clock::now());
      if (wait == wait.zero()) return true;
      if (!wait_for(stop, std::min(std::chrono::ceil<milliseconds>(wait), kLongestWait))) return false;
      if (!insist(stop, [] {})) return false;  // keeps the lock
    }
  }

  /// The first of these letters, as many as fit into one transaction; how many that were. What is shared is the commit.
  std::size_t replay_together(std::span<const std::uint64_t> ids) {
    if (job.checkpoint >= ids.front()) return 1;  // done by a commit that was in doubt
    const std::size_t wanted = order.rate > 0 ? 1 : std::min(options.together, ids.size());
    try {
      const Done done = pool.transact([&](mysql::Transaction& tx) { return replay_in(tx, ids.first(wanted)); });
      job.checkpoint = ids[done.letters - 1];
      job.replayed += done.replayed;
      job.skipped += done.letters - done.replayed;
      ONCEMARK_FAIL_POINT("replay.after_commit");
      return done.letters;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::permanent) throw;
      if (wanted > 1) return replay_together(ids.first(1));  // one of them is to blame: find out by itself
      refuse(ids.front(), error);
      ONCEMARK_FAIL_POINT("replay.after_commit");
      return 1;
    }
  }

  struct Done {
    std::size_t letters = 0;
    std::size_t replayed = 0;
  };
  Done replay_in(mysql::Transaction& tx, std::span<const std::uint64_t> ids) {
    Done done;
    std::size_t bytes = 0;
    for (const std::uint64_t id : ids) {
      const auto letter = find_letter(tx, id);
      const Replayed settled = letter ? settle(tx, order, job, *letter) : Replayed{.outcome = "skipped:deleted"};
      if (letter) audit(tx, job, *letter, settled.outcome);
      ++done.letters;
      if (settled.is_replayed) ++done.replayed;
      if (letter) bytes += letter->message.payload.size();
      if (bytes > kBytesTogether) break;
    }
    if (!advance_job(tx, job, ids[done.letters - 1], done.replayed, done.letters - done.replayed)) throw Overtaken{};
    ONCEMARK_FAIL_POINT("replay.before_commit");
    return done;
  }

  /// A letter whose next record can never be stored stays dead and must not hold up the others.
  void refuse(std::uint64_t letter_id, const Error& error) {
    log(LogLevel::error, "a letter cannot be replayed",
        {{"job", job.id}, {"letter", letter_id}, {"error", error.error_class()}, {"text", error.what()}});
    pool.transact([&](mysql::Transaction& tx) {
      for (const Letter& letter : find_letters(tx, {.id = letter_id, .state = std::nullopt}, 1, Detail::summary)) {
        audit(tx, job, letter, "refused");
      }
      if (!advance_job(tx, job, letter_id, 0, 1)) throw Overtaken{};
    });
    job.checkpoint = letter_id;
    ++job.skipped;
    ++job.refused;
  }

  /// False when stopped.
  [[nodiscard]] bool work_through(std::stop_token stop, const std::function<void(const ReplayJob&)>& progress) {
    TokenBucket bucket(order.rate, steady_clock::now());
    for (;;) {
      std::vector<std::uint64_t> ids;
      const auto look_up = [&] {
        ids = pool.transact([&](mysql::Transaction& tx) { return find_letter_ids(tx, remaining(), kPage); });
      };
      if (stop.stop_requested() || !insist(stop, look_up)) return false;
      if (ids.empty()) return true;
      for (std::span<const std::uint64_t> left(ids); !left.empty();) {
        if (!await_turn(stop, bucket)) return false;
        std::size_t done = 0;
        if (!insist(stop, [&] { done = replay_together(left); })) return false;
        left = left.subspan(done);
        if (progress) progress(job);
      }
    }
  }

  void end(std::string_view state) {
    pool.transact([&](mysql::Transaction& tx) { end_job(tx, job.id, state); });
    show_as_stored();
  }

  void show_as_stored() {
    const std::uint64_t refused = job.refused;
    const auto stored = pool.transact([&](mysql::Transaction& tx) { return lock_job(tx, job.id); });
    if (stored) job = stored->job;
    job.refused = refused;
  }

  /// Best effort: a job that stays `running` without its lock counts as interrupted, and can be resumed as well.
  void end_as_stopped() noexcept {
    try {
      end("stopped");
    } catch (...) {
      log(LogLevel::warn, "the replay job could not be marked as stopped; it can be resumed nevertheless",
          {{"job", job.id}, {"text", summarize_current_exception().text}});
      job.state = "interrupted";
    }
  }

  mysql::Pool& pool;
  ReplayOptions options;
  std::optional<JobLock> lock;
  ReplayOrder order;
  ReplayJob job;
};

void ReplayOptions::validate() const {
  if (together >= 1 && together <= 1'000) return;
  throw MisuseError("ReplayOptions::together is " + std::to_string(together) + "; allowed: 1 to 1,000");
}

Replay::Replay(mysql::Pool& pool, ReplayOptions options) {
  options.validate();
  state_ = std::make_unique<State>(pool, options);
}

Replay::~Replay() = default;

ReplayPlan Replay::plan(const ReplayOrder& order) {
  check_order(order);
  return state_->pool.transact([&](mysql::Transaction& tx) {
    Selection selection = order.selection;
    selection.state = LetterState::dead;
    ReplayPlan plan{.extent = extent_of(tx, selection, order.limit)};
    selection.last_id = plan.extent.last_id;
    plan.groups = letter_groups(tx, selection, kPlannedGroups);

    std::map<std::string, std::uint64_t> targets;
    const Condition condition = condition_of(selection);
    for (const mysql::Row& row : tx.query_with(
             "SELECT chosen.origin_group, chosen.origin_topic, COUNT(*), COUNT(p.seq) FROM (SELECT consumer, identity, "
             "origin_group, origin_topic FROM dead_letter" +
                 condition.sql +
                 ") AS chosen LEFT JOIN parked_message p ON p.consumer = chosen.consumer AND p.message_key = "
                 "chosen.identity GROUP BY chosen.origin_group, chosen.origin_topic",
             condition.params)) {
      const auto in_place = row.get<std::uint64_t>(3);
      const std::uint64_t sent = row.get<std::uint64_t>(2) - in_place;
      plan.in_place += in_place;
      if (sent > 0) targets[order.topics.retry_topic(row.get<std::string>(0), row.get<std::string>(1))] += sent;
    }
    for (const auto& [topic, letters] : targets) plan.targets.push_back({.topic = topic, .letters = letters});
    return plan;
  });
}

ReplayJob Replay::start(const ReplayOrder& order) {
  check_order(order);
  State& state = *state_;
  state.take_lock(*order.selection.consumer);
  const auto stored = state.pool.transact([&](mysql::Transaction& tx) {
    // Nobody else holds the lock, so a job that is marked running belongs to a process that died.
    while (const auto left = running_job(tx, *order.selection.consumer)) end_job(tx, left->id, "stopped");
    Selection selection = order.selection;
    selection.state = LetterState::dead;
    return lock_job(tx, insert_job(tx, order, extent_of(tx, selection, order.limit)));
  });
  state.job = stored->job;
  state.order = stored->order;
  return state.job;
}

ReplayJob Replay::resume(std::uint64_t job_id, std::optional<double> rate) {
  State& state = *state_;
  const auto find = [&] {
    const auto found = state.pool.transact([&](mysql::Transaction& tx) { return lock_job(tx, job_id); });
    if (!found) throw MisuseError("there is no replay job " + std::to_string(job_id) + "; see `dlq-replay jobs`");
    if (found->job.state == "cancelled") {
      throw MisuseError("replay job " + std::to_string(job_id) + " was cancelled; start a new one");
    }
    return *found;
  };
  StoredJob stored = find();
  if (stored.job.state != "done") {
    state.take_lock(stored.job.consumer);
    stored = find();  // whoever held the lock until now may have moved it
  }
  if (rate) stored.order.rate = stored.job.rate = *rate;
  check_order(stored.order);
  if (stored.job.state != "done") {
    state.pool.transact([&](mysql::Transaction& tx) {
      tx.execute("UPDATE replay_job SET state = 'running', rate = ?, updated_at = UTC_TIMESTAMP(6) WHERE id = ?",
                 stored.order.rate, job_id);
    });
    stored.job.state = "running";
  }
  state.job = stored.job;
  state.order = stored.order;
  return state.job;
}

ReplayJob Replay::run(std::stop_token stop, const std::function<void(const ReplayJob&)>& progress) {
  State& state = *state_;
  if (state.job.state != "running") return state.job;
  try {
    if (state.work_through(stop, progress)) {
      state.end("done");
    } else {
      state.end_as_stopped();
    }
  } catch (const Overtaken&) {
    state.show_as_stored();
  } catch (const JobRunningError&) {
    throw;
  } catch (...) {
    state.end_as_stopped();
    state.lock.reset();
    throw;
  }
  state.lock.reset();
  return state.job;
}

Replayed replay_letter(mysql::Transaction& tx, std::uint64_t letter_id, const retry::TopicNames& topics,
                       const std::string& relay, const std::string& operator_name, const std::string& reason) {
  const auto letter = find_letter(tx, letter_id);
  if (!letter) return {.outcome = "skipped:deleted"};
  const ReplayJob no_job{.operator_name = operator_name, .reason = reason};
  const Replayed replayed = settle(tx, {.relay = relay, .topics = topics}, no_job, *letter);
  audit(tx, no_job, *letter, replayed.outcome);
  return replayed;
}

std::vector<ReplayJob> replay_jobs(mysql::Pool& pool, const std::optional<std::string>& consumer, std::size_t limit) {
  return pool.transact([&](mysql::Transaction& tx) {
    std::string sql = "SELECT " + std::string(kJobColumns) + ", selection FROM replay_job";
    std::vector<mysql::Param> params;
    if (consumer) {
      outbox::check_name("consumer", *consumer);
      sql += " WHERE consumer = ?";
      params.emplace_back(*consumer);
    }
    sql += " ORDER BY id DESC LIMIT ?";
    params.emplace_back(limit);
    std::vector<ReplayJob> jobs;
    for (const mysql::Row& row : tx.query_with(sql, params)) {
      ReplayJob& job = jobs.emplace_back(read_job(row));
      if (job.consumer.empty()) job.topic = decode_topic_order(row.get<std::string>("selection")).first.topic;
      if (job.state != "running") continue;
      const std::string scope = job.consumer.empty() ? job_scope(job.topic) : job.consumer;
      const mysql::Row lock = tx.query("SELECT IS_USED_LOCK(?)", job_lock_name(pool, scope)).at(0);
      if (lock.is_null(0)) job.state = "interrupted";
    }
    return jobs;
  });
}

}  // namespace oncemark::dead_letter
