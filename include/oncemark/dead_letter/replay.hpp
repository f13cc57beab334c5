#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <oncemark/core/error.hpp>
#include <oncemark/dead_letter/store.hpp>
#include <oncemark/mysql/pool.hpp>
#include <oncemark/retry/topics.hpp>

namespace oncemark::dead_letter {

/// In which order letters are replayed.
enum class Turn {
  by_death,  ///< as they died, the oldest first
  by_origin  ///< as they lay in their topics: those of one key go out in the order in which they were sent
};

/// How fast, and what makes a replay stop by itself.
struct Pace {
  double rate = 0;                                 // letters a second · 0: no limit · at most 1,000,000
  std::uint64_t burst = 0;                         // letters at once after a pause · 0: a tenth of a second's worth
  std::vector<double> ramp = {};                   // rates one after the other, instead of `rate` · the last one stays
  std::chrono::seconds ramp_every{60};             // how long each of them holds · at least 1
  std::uint64_t canary = 0;                        // replay so many, then wait for what becomes of them · 0: no canary
  std::chrono::seconds canary_wait{120};           // at most · what is not settled by then counts as failed
  std::optional<double> stop_if_failed_over = {};  // share of those replayed that fail again, from which on the job
                                                   // pauses · default: 0.1 with a canary, otherwise never · 0 to 1
  std::uint64_t in_flight = 0;  // at most so many replayed and not yet done or dead again · 0: no bound · to 10,000
};

/// Who replays, and why: written beside every letter that is touched.
struct ReplayOrder {
  Selection selection = {};          // `consumer` is required; `state` counts as dead, whatever it says
  LetterFilter filter = {};          // what a selection cannot say; empty: all that it selects
  std::string described = {};        // the filter in words, for the job's row
  std::uint64_t limit = UINT64_MAX;  // at most so many letters, oldest first
  Turn turn = Turn::by_death;
  Pace pace = {};
  std::uint32_t max_replays = 2;   // a message that was replayed so often stays dead, and the job says so · ≥ 1
  std::string operator_name = {};  // at most 255 bytes
  std::string reason = {};         // at most 1,024 bytes
  std::string relay = {};          // who sends the rows · default: the relay named like the consumer
  retry::TopicNames topics = {};
};

/// What an order would do, as things stand, and for just which letters.
struct ReplayPlan {
  struct Target {
    std::string topic = {};
    std::uint64_t letters = 0;
  };
  std::vector<std::uint64_t> letters = {};  // frozen: start() takes these, whatever is selected by then
  std::vector<Target> targets = {};         // where to
  std::uint64_t in_place = 0;               // of the letters: sent nowhere, they stopped their keys and go on there
  std::uint64_t guarded = 0;                // of the letters: replayed too often before, they stay
  std::uint64_t refused = 0;                // of the letters: there can be no topic of that name
  std::vector<LetterGroup> groups = {};     // what failed alike, the largest first; at most 20
};

/// A replay as it stands in `replay_job`.
struct ReplayJob {
  std::uint64_t id = 0;
  std::string consumer = {};  // empty: it reads a topic
  std::string topic = {};     // the dead-letter topic that it reads, if it does
  std::string state = {};     // planned, running, paused, stopped, done, cancelled; from replay_jobs() also interrupted
  std::string note = {};      // why it paused, or what it waits for
  std::uint64_t selected = 0;
  std::uint64_t replayed = 0;
  std::uint64_t skipped = 0;     // no longer dead when their turn came
  std::uint64_t guarded = 0;     // replayed too often before: they stay dead
  std::uint64_t refused = 0;     // could not be replayed; why is in the log
  std::uint64_t checkpoint = 0;  // how many of the selected are settled; of a topic: records
  double rate = 0;
  std::string operator_name = {};
  std::string reason = {};
  Time created_at{};
  Time updated_at{};
};

/// Another process runs a job for the consumer; `job` is that one, as far as it is known.
class JobRunningError final : public MisuseError {
 public:
  JobRunningError(ReplayJob job, const std::string& text) : MisuseError(text), job_(std::move(job)) {}
  [[nodiscard]] const ReplayJob& job() const noexcept { return job_; }

 private:
  ReplayJob job_;
};

struct ReplayOptions {
  /// How long the database may be away in one go before run() gives up · ≥ 0
  std::chrono::milliseconds patience{60'000};
  /// Letters that share a transaction, as far as the rate lets them pass at once and they are small · fewer commits
  /// against locks that are held for longer · 1 to 1,000
  std::size_t together = 256;

  /// Throws MisuseError naming the field.
  void validate() const;
};

/// Replays dead letters: each starts its next life and goes to the failed group's own retry topic.
///
/// Shape:   plan() freezes the selection, letter by letter; start() writes the job, or save() writes it for later; run()
///          works through it: for some letters one transaction with their state rows (dead → retrying, life + 1),
///          letters (→ replaying), failed_message, outbox rows, audit rows and the job's checkpoint. A letter that
///          is no longer dead is skipped and audited as such; so is one whose new record can never be stored, and one
///          that was replayed too often.
///          A letter whose message stopped its key (RetryOptions::order by_key) goes back to work in its place there,
///          and everything behind it follows in order; nothing is sent.
/// Threads: one object, one thread; one running job per consumer at a time, by a named lock of the server's. Others may
///          pause or cancel the job meanwhile: it ends at its next commit.
/// Errors:  JobRunningError when another process runs a job for this consumer; MisuseError for an order or a job that
///          cannot be run; MysqlError and Error{unavailable} once patience is over. The job can then be resumed.
/// Crash:   anywhere: each letter was replayed or not; resume() goes on after the checkpoint. Nothing is done twice.
/// Source:  design, section 3.
class Replay final {
 public:
  explicit Replay(mysql::Pool& pool, ReplayOptions options = {});
  ~Replay();
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  /// What start() would do. Writes and locks nothing.
  [[nodiscard]] ReplayPlan plan(const ReplayOrder& order);
  /// Writes the job without running it, for a resume() later.
  [[nodiscard]] ReplayJob save(const ReplayOrder& order, const ReplayPlan& plan);
  [[nodiscard]] ReplayJob start(const ReplayOrder& order, const ReplayPlan& plan);
  [[nodiscard]] ReplayJob start(const ReplayOrder& order) { return start(order, plan(order)); }
  /// A job that was planned, paused or interrupted, with its frozen selection; a new rate may be given, which then holds
  /// instead of a ramp. One that is done comes back as it is.
  [[nodiscard]] ReplayJob resume(std::uint64_t job_id, std::optional<double> rate);
  /// Works until done, stopped, or paused by somebody or by itself, reporting after every transaction and every second
  /// of a wait. Returns the job as it then stands. A stop takes effect after the transaction in flight, also in the
  /// middle of a wait.
  ReplayJob run(std::stop_token stop, const std::function<void(const ReplayJob&)>& progress);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What became of one letter.
struct Replayed {
  bool is_replayed = false;
  std::string outcome = {};  // for the audit: "replayed", or "skipped:" and what stands in its way
};

/// Replays one letter outside a job, for callers that have chosen it by other means.
///
/// Shape:   what Replay::run() does for each of its letters, with the audit, but without a job. `relay` empty: the one
///          named like the consumer.
/// Threads: the thread that owns `tx`. Locks the state row first.
/// Errors:  PermanentError for a letter that cannot be replayed (a pointer to a record too large to be stored); Error
///          {transient} when the letter changed under us; MysqlError.
/// Crash:   all or nothing with `tx`.
[[nodiscard]] Replayed replay_letter(mysql::Transaction& tx, std::uint64_t letter_id, const retry::TopicNames& topics,
                                     const std::string& relay, const std::string& operator_name,
                                     const std::string& reason);

/// Which jobs replay_jobs() returns.
struct JobSelection {
  std::optional<std::string> consumer = {};
  std::optional<std::uint64_t> id = {};
};
/// Jobs, newest first. One that is marked running while nobody holds its lock is `interrupted`: its process died, and
/// resume() goes on with it.
[[nodiscard]] std::vector<ReplayJob> replay_jobs(mysql::Pool& pool, const JobSelection& selection, std::size_t limit);

/// Ends a job from outside: a process that runs it stops at its next commit, at the latest after a second. Returns the
/// job as it stands afterwards.
///
/// Errors:  MisuseError when there is no such job, or it has ended.
/// Crash:   one UPDATE with its audit row.
[[nodiscard]] ReplayJob pause_job(mysql::Pool& pool, std::uint64_t job_id, const std::string& operator_name,
                                  const std::string& reason);
/// The same, for good: what was replayed stays replayed, the rest stays dead.
[[nodiscard]] ReplayJob cancel_job(mysql::Pool& pool, std::uint64_t job_id, const std::string& operator_name,
                                   const std::string& reason);

}  // namespace oncemark::dead_letter
