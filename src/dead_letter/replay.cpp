#include <oncemark/dead_letter/replay.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include <oncemark/core/backoff.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/core/loop.hpp>
#include <oncemark/mysql/errors.hpp>
#include <oncemark/observe/log.hpp>
#include <oncemark/outbox/writer.hpp>

#include "dead_letter/frozen.hpp"
#include "dead_letter/job_lock.hpp"
#include "dead_letter/job_rows.hpp"
#include "dead_letter/next_life.hpp"
#include "dead_letter/outcomes.hpp"
#include "dead_letter/survey.hpp"
#include "dead_letter/token_bucket.hpp"
#include "dead_letter/topic_order.hpp"

namespace oncemark::dead_letter {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kBytesTogether = std::size_t{1} << 20;  // of records in a transaction
constexpr std::chrono::seconds kLockWait{1};                  // the server may notice late that the last holder died
constexpr milliseconds kLookEvery{1'000};                     // at the job's row, for a pause from outside
constexpr milliseconds kPollEvery{200};                       // at what becomes of replayed letters
constexpr milliseconds kJudgeEvery{2'000};                    // at how many of them fail again
constexpr std::size_t kJudged = 1'000;                        // of the last letters
constexpr std::uint64_t kFewest = 20;                         // that have ended, before a share of them means something
constexpr double kCanaryShare = 0.1;
constexpr milliseconds kTellEvery{10'000};  // one line about an outage
constexpr Backoff kOutage{.initial = milliseconds(50), .factor = 2.0, .cap = milliseconds(2'000), .jitter = 0.5};

/// Somebody else has moved or ended the job.
struct Overtaken {};
/// The job pauses by itself.
struct Pausing {
  std::string note;
};

/// Nobody else holds the lock, so a job that is marked running belongs to a process that died.
void end_left_behind(mysql::Transaction& tx, const std::string& consumer) {
  while (const auto left = running_job(tx, consumer)) end_job(tx, left->id, "stopped");
}

std::string percent(double share) { return std::to_string(std::lround(share * 100)) + " %"; }

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
                      ", " + std::to_string(running->checkpoint) + " of " + std::to_string(running->selected) +
                      " letters done; wait for it, or `dlq-replay pause " + std::to_string(running->id) + "`");
  }

  /// The truth about the job after a failure: a commit may have taken effect that looked lost.
  void reload() {
    const auto stored = pool.transact([&](mysql::Transaction& tx) { return lock_job(tx, job.id); });
    if (!stored || stored->job.state != "running") throw Overtaken{};
    job = stored->job;
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
          throw UnavailableError("replay job " + std::to_string(job.id) + " gives up after " +
                                 std::to_string(job.checkpoint) + " of " + std::to_string(job.selected) +
                                 " letters; it can be resumed: " + error.what());
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

  /// Waits, keeping the lock, and looks at the job's row now and then. False when stopped.
  [[nodiscard]] bool pause_for(std::stop_token stop, std::chrono::nanoseconds wait) {
    const auto slice = std::min(std::chrono::ceil<milliseconds>(wait), kLookEvery);
    if (!wait_for(stop, slice)) return false;
    if (steady_clock::now() - looked_at < kLookEvery) return true;
    const std::string note = job.note;
    const bool goes_on = insist(stop, [&] { reload(); });
    looked_at = steady_clock::now();
    job.note = note;
    if (goes_on && report) report(job);
    return goes_on;
  }

  /// How many letters may go now, at least one; 0 when stopped.
  [[nodiscard]] std::size_t await_turn(std::stop_token stop, std::size_t most) {
    for (;;) {
      if (stop.stop_requested()) return 0;
      const auto now = steady_clock::now();
      follow_ramp(now);
      if (const std::size_t turn = bucket.take_up_to(most, now); turn > 0) return turn;
      if (!pause_for(stop, bucket.wait())) return 0;
    }
  }

  void follow_ramp(SteadyTime now) {
    const auto& ramp = order.pace.ramp;
    if (ramp.empty()) return;
    const auto step = static_cast<std::size_t>((now - began) / order.pace.ramp_every);
    job.rate = ramp[std::min(step, ramp.size() - 1)];
    if (job.rate == ramp_rate) return;
    ramp_rate = job.rate;
    bucket.set_rate(ramp_rate);
  }

  // ---- What becomes of the letters ----

  [[nodiscard]] double limit_of_failures() const {
    return order.pace.stop_if_failed_over.value_or(order.pace.canary > 0 ? kCanaryShare : 1.0);
  }

  /// Whether the canary is all that may go yet: how many of it are left; nothing: it has passed, or there is none.
  [[nodiscard]] std::optional<std::size_t> left_of_canary() const {
    if (order.pace.canary == 0 || job.replayed > canary_until) return std::nullopt;
    return static_cast<std::size_t>(canary_until - job.replayed);
  }

  /// Who resumes a job that had paused has repaired something: the letters that failed do not count against it for
  /// ever. They are looked at once more; unless they have come right meanwhile, a new canary goes first.
  void set_canary() {
    canary_until = order.pace.canary;
    second_look = was_paused && job.replayed >= canary_until;
    if (second_look) canary_until = job.replayed;
  }

  /// Waits for the end of the canary's letters, or for as long as was said. Throws Pausing when too many failed.
  [[nodiscard]] bool await_canary(std::stop_token stop) {
    const auto until = steady_clock::now() + order.pace.canary_wait;
    Outcomes outcomes;
    for (;;) {
      const auto look = [&] {
        outcomes = pool.transact([&](mysql::Transaction& tx) { return outcomes_of(tx, job.id, order.pace.canary); });
      };
      if (!insist(stop, look)) return false;
      if (outcomes.open() == 0 || second_look || steady_clock::now() >= until) break;
      job.note = "canary: " + std::to_string(outcomes.done) + " of " + std::to_string(outcomes.letters) + " done, " +
                 std::to_string(outcomes.failed) + " failed again";
      if (report) report(job);
      if (!pause_for(stop, kPollEvery)) return false;
    }
    job.note.clear();
    const auto bad = static_cast<double>(outcomes.failed + outcomes.open());
    const bool has_failed = bad > limit_of_failures() * static_cast<double>(outcomes.letters);
    if (has_failed && std::exchange(second_look, false)) {
      canary_until = job.replayed + order.pace.canary;
      return true;
    }
    if (has_failed) {
      throw Pausing{"the canary failed: of " + std::to_string(outcomes.letters) + " letters " +
                    std::to_string(outcomes.failed) + " failed again and " + std::to_string(outcomes.open()) +
                    " were not settled in time; allowed: " + percent(limit_of_failures())};
    }
    canary_until = 0;
    return true;
  }

  /// Throws Pausing when too many of the last letters of this run have failed again.
  void judge() {
    if (limit_of_failures() >= 1 || steady_clock::now() - judged_at < kJudgeEvery) return;
    judged_at = steady_clock::now();
    const std::uint64_t most = std::min<std::uint64_t>(kJudged, job.replayed - replayed_before);
    const Outcomes outcomes = pool.transact([&](mysql::Transaction& tx) { return outcomes_of(tx, job.id, most); });
    const std::uint64_t ended = outcomes.done + outcomes.failed;
    if (ended < kFewest || static_cast<double>(outcomes.failed) <= limit_of_failures() * static_cast<double>(ended)) {
      return;
    }
    throw Pausing{"of the last " + std::to_string(ended) + " letters that have ended " +
                  std::to_string(outcomes.failed) + " failed again; allowed: " + percent(limit_of_failures())};
  }

  /// Waits until fewer than the bound are in flight; how many more may go. 0 when stopped.
  [[nodiscard]] std::size_t await_room(std::stop_token stop, std::size_t most) {
    const std::uint64_t bound = order.pace.in_flight;
    if (bound == 0) return most;
    for (;;) {
      if (flying.size() < bound) return std::min(most, static_cast<std::size_t>(bound) - flying.size());
      const auto look = [&] {
        flying = pool.transact([&](mysql::Transaction& tx) { return still_replaying(tx, flying); });
      };
      if (!insist(stop, look)) return 0;
      if (flying.size() >= bound && !pause_for(stop, kPollEvery)) return 0;
    }
  }

  // ---- The letters ----

  struct Done {
    Advance advance;
    std::vector<std::uint64_t> replayed;
  };

  /// The first of these letters, as many as fit into one transaction; how many that were. What is shared is the commit.
  std::size_t replay_together(std::span<const std::uint64_t> ids, std::uint64_t place) {
    if (job.checkpoint > place) return static_cast<std::size_t>(job.checkpoint - place);  // a commit that was in doubt
    const std::span<const std::uint64_t> tried = ids.first(std::min(ids.size(), together));
    try {
      Done done = pool.transact([&](mysql::Transaction& tx) { return replay_in(tx, tried); });
      count(done.advance);
      flying.insert(flying.end(), done.replayed.begin(), done.replayed.end());
      ONCEMARK_FAIL_POINT("replay.after_commit");
      together = std::min(together * 2, options.together);
      return done.advance.letters;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::permanent) throw;
      if (tried.size() > 1) {  // one of them is to blame: find out which
        together = tried.size() / 2;
        return replay_together(ids, place);
      }
      refuse(tried.front(), error);
      ONCEMARK_FAIL_POINT("replay.after_commit");
      return 1;
    }
  }

  void count(const Advance& done) {
    job.checkpoint += done.letters;
    job.replayed += done.replayed;
    job.skipped += done.skipped;
    job.guarded += done.guarded;
    job.refused += done.refused;
  }

  [[nodiscard]] NextLife next_life() const {
    return {.consumer = job.consumer,
            .relay = order.relay,
            .topics = order.topics,
            .max_replays = order.max_replays,
            .job_id = job.id,
            .operator_name = job.operator_name,
            .reason = job.reason};
  }

  Done replay_in(mysql::Transaction& tx, std::span<const std::uint64_t> ids) {
    const Fetched fetched = fetch_letters(tx, ids, kBytesTogether);
    const auto settled = begin_next_lives(tx, next_life(), fetched.letters);
    Done done{.advance = {.letters = fetched.ids, .skipped = fetched.ids - fetched.letters.size()}, .replayed = {}};
    for (std::size_t i = 0; i < settled.size(); ++i) {
      switch (settled[i].fate) {
        case Fate::replayed:
          ++done.advance.replayed;
          if (order.pace.in_flight > 0) done.replayed.push_back(fetched.letters[i].id);
          break;
        case Fate::skipped:
          ++done.advance.skipped;
          break;
        case Fate::guarded:
          ++done.advance.guarded;
          break;
        case Fate::refused:
          ++done.advance.refused;
          break;
      }
    }
    if (!advance_job(tx, job, done.advance)) throw Overtaken{};
    ONCEMARK_FAIL_POINT("replay.before_commit");
    return done;
  }

  /// A letter whose next record the server never takes stays dead and must not hold up the others.
  void refuse(std::uint64_t letter_id, const Error& error) {
    log(LogLevel::error, "a letter cannot be replayed",
        {{"job", job.id}, {"letter", letter_id}, {"error", error.error_class()}, {"text", error.what()}});
    const Advance refused{.letters = 1, .refused = 1};
    pool.transact([&](mysql::Transaction& tx) {
      const auto letters = find_letters(tx, {.id = letter_id, .state = std::nullopt}, 1, Detail::summary);
      audit_letters(tx, next_life(), letters,
                    std::vector<Settled>(letters.size(), {.fate = Fate::refused, .outcome = "refused"}));
      if (!advance_job(tx, job, refused)) throw Overtaken{};
    });
    count(refused);
  }

  /// False when stopped.
  [[nodiscard]] bool work_through(std::stop_token stop) {
    began = steady_clock::now();
    bucket = TokenBucket(order.pace.rate, began, static_cast<double>(order.pace.burst));
    together = options.together;
    replayed_before = job.replayed;
    set_canary();
    if (order.pace.in_flight > 0) {
      const auto look = [&] {
        flying = pool.transact([&](mysql::Transaction& tx) { return replaying_of(tx, job.id, order.pace.in_flight); });
      };
      if (!insist(stop, look)) return false;
    }
    while (job.checkpoint < job.selected) {
      std::vector<std::uint64_t> ids;
      const std::uint64_t first = job.checkpoint;
      const auto look_up = [&] {
        ids = pool.transact([&](mysql::Transaction& tx) { return read_frozen(tx, job.id, first); });
      };
      if (stop.stop_requested() || !insist(stop, look_up)) return false;
      if (ids.empty()) {
        throw MisuseError("replay job " + std::to_string(job.id) +
                          " has no frozen letters (it was started by an older version); start a new one");
      }
      if (!work_through_row(stop, ids, first)) return false;
    }
    return true;
  }

  [[nodiscard]] bool work_through_row(std::stop_token stop, std::span<const std::uint64_t> ids, std::uint64_t first) {
    while (job.checkpoint < first + ids.size()) {
      const auto left = ids.subspan(static_cast<std::size_t>(job.checkpoint - first));
      std::size_t most = std::min(left.size(), options.together);
      if (const auto canary = left_of_canary()) {
        if (*canary == 0) {
          if (!await_canary(stop)) return false;
          continue;
        }
        most = std::min(most, *canary);
      }
      if (!insist(stop, [&] { judge(); })) return false;
      most = await_room(stop, most);
      const std::size_t turn = most == 0 ? 0 : await_turn(stop, most);
      if (turn == 0) return false;
      const std::uint64_t place = job.checkpoint;
      std::size_t done = 0;
      if (!insist(stop, [&] { done = replay_together(left.first(turn), place); })) return false;
      if (done < turn) bucket.give_back(turn - done);
      if (report) report(job);
    }
    return true;
  }

  void end(std::string_view state, const std::string& note = {}) {
    pool.transact([&](mysql::Transaction& tx) { end_job(tx, job.id, state, note); });
    show_as_stored();
  }

  void show_as_stored() {
    const auto stored = pool.transact([&](mysql::Transaction& tx) { return lock_job(tx, job.id); });
    if (stored) job = stored->job;
  }

  /// Best effort: a job that stays `running` without its lock counts as interrupted, and can be resumed as well.
  void end_as(std::string_view state, const std::string& note) noexcept {
    try {
      end(state, note);
    } catch (...) {
      log(LogLevel::warn, "the end of the replay job could not be noted; it can be resumed nevertheless",
          {{"job", job.id}, {"text", summarize_current_exception().text}});
      job.state = "interrupted";
    }
  }

  mysql::Pool& pool;
  ReplayOptions options;
  std::optional<JobLock> lock;
  ReplayOrder order;
  ReplayJob job;
  std::function<void(const ReplayJob&)> report;
  TokenBucket bucket{0, SteadyTime{}};
  std::size_t together = 1;           // letters that are tried in a transaction now
  double ramp_rate = 0;               // that the bucket has been set to
  bool was_paused = false;            // before this run
  std::uint64_t replayed_before = 0;  // this run
  std::uint64_t canary_until = 0;     // replayed letters of the job
  bool second_look = false;           // at a canary that made the job pause
  std::vector<std::uint64_t> flying;  // with a bound: replayed letters that have not ended when last looked at
  SteadyTime began{};
  SteadyTime looked_at{};
  SteadyTime judged_at{};
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
  return survey(state_->pool, order);
}

ReplayJob Replay::save(const ReplayOrder& order, const ReplayPlan& plan) {
  check_order(order);
  return state_->pool.transact([&](mysql::Transaction& tx) {
    const ReplayJob job = lock_job(tx, insert_job(tx, order, plan, "planned"))->job;
    audit_job(tx, job, "plan", "planned", order.operator_name, order.reason);
    ONCEMARK_FAIL_POINT("replay.before_start");
    return job;
  });
}

ReplayJob Replay::start(const ReplayOrder& order, const ReplayPlan& plan) {
  check_order(order);
  State& state = *state_;
  state.take_lock(*order.selection.consumer);
  const auto stored = state.pool.transact([&](mysql::Transaction& tx) {
    end_left_behind(tx, *order.selection.consumer);
    auto started = lock_job(tx, insert_job(tx, order, plan, "running"));
    audit_job(tx, started->job, "run", "running", order.operator_name, order.reason);
    ONCEMARK_FAIL_POINT("replay.before_start");
    return started;
  });
  state.was_paused = false;
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
  if (rate) {
    stored.order.pace.rate = stored.job.rate = *rate;
    stored.order.pace.ramp.clear();
  }
  check_order(stored.order);
  if (stored.job.state != "done") {
    state.pool.transact([&](mysql::Transaction& tx) {
      if (stored.job.state != "running") end_left_behind(tx, stored.job.consumer);
      tx.execute(
          "UPDATE replay_job SET state = 'running', note = NULL, rate = ?, updated_at = UTC_TIMESTAMP(6) WHERE id = ?",
          stored.job.rate, job_id);
      audit_job(tx, stored.job, "resume", "running", stored.job.operator_name, stored.job.reason);
      ONCEMARK_FAIL_POINT("replay.before_start");
    });
    state.was_paused = stored.job.state == "paused";
    stored.job.state = "running";
    stored.job.note.clear();
  }
  state.job = stored.job;
  state.order = stored.order;
  return state.job;
}

ReplayJob Replay::run(std::stop_token stop, const std::function<void(const ReplayJob&)>& progress) {
  State& state = *state_;
  if (state.job.state != "running") return state.job;
  state.report = progress;
  try {
    if (state.work_through(stop)) {
      state.end("done");
    } else {
      state.end_as("stopped", {});
    }
  } catch (const Overtaken&) {
    state.show_as_stored();
  } catch (const Pausing& pausing) {
    state.end_as("paused", pausing.note);
  } catch (const JobRunningError&) {
    throw;
  } catch (...) {
    state.end_as("stopped", {});
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
  const auto settled = begin_next_lives(tx,
                                        {.consumer = letter->consumer,
                                         .relay = relay,
                                         .topics = topics,
                                         .operator_name = operator_name,
                                         .reason = reason},
                                        {&*letter, 1});
  return {.is_replayed = settled[0].fate == Fate::replayed, .outcome = settled[0].outcome};
}

}  // namespace oncemark::dead_letter
