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

/// Who replays, and why: written beside every letter that is touched.
struct ReplayOrder {
  Selection selection = {};          // `consumer` is required; `state` counts as dead, whatever it says
  std::uint64_t limit = UINT64_MAX;  // at most so many letters, oldest first
  double rate = 0;                   // letters a second · 0: no limit · at most 1,000,000
  std::string operator_name = {};    // at most 255 bytes
  std::string reason = {};           // at most 1,024 bytes
  std::string relay = {};            // who sends the rows · default: the relay named like the consumer
  retry::TopicNames topics = {};
};

/// What an order would do, as things stand.
struct ReplayPlan {
  struct Target {
    std::string topic = {};
    std::uint64_t letters = 0;
  };
  Extent extent = {};                    // with last_id put into the order's selection, start() takes just these
  std::vector<Target> targets = {};      // where to
  std::uint64_t in_place = 0;            // of the letters: sent nowhere, they stopped their keys and go on there
  std::vector<LetterGroup> groups = {};  // what failed alike, the largest first; at most 20
};

/// A replay as it stands in `replay_job`.
struct ReplayJob {
  std::uint64_t id = 0;
  std::string consumer = {};  // empty: it reads a topic
  std::string topic = {};     // the dead-letter topic that it reads, if it does
  std::string state = {};     // running, stopped, done, cancelled; from replay_jobs() also interrupted
  std::uint64_t selected = 0;
  std::uint64_t replayed = 0;
  std::uint64_t skipped = 0;  // no longer dead when their turn came, or refused
  std::uint64_t refused = 0;  // of those skipped by this object: could not be replayed; why is in the log and the audit
  std::uint64_t checkpoint = 0;  // letters up to this id are settled
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
  /// Letters that share a transaction, where no rate is asked for, and as long as they are small · fewer commits against
  /// locks that are held for longer · 1 to 1,000
  std::size_t together = 32;

  /// Throws MisuseError naming the field.
  void validate() const;
};

/// Replays dead letters: each starts its next life and goes to the failed group's own retry topic.
///
/// Shape:   start() freezes the selection (no letter that dies later is taken) and writes the job; run() works
///          through it in id order: for a few letters one transaction with their state rows (dead → retrying, life + 1),
///          letters (→ replaying), failed_message, outbox rows, audit rows and the job's checkpoint. A letter that
///          is no longer dead is skipped and audited as such; so is one whose new record can never be stored.
///          A letter whose message stopped its key (RetryOptions::order by_key) goes back to work in its place there,
///          and everything behind it follows in order; nothing is sent.
/// Threads: one object, one thread; one running job per consumer at a time, by a named lock of the server's.
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

  /// What start() would select. Writes and locks nothing.
  [[nodiscard]] ReplayPlan plan(const ReplayOrder& order);
  [[nodiscard]] ReplayJob start(const ReplayOrder& order);
  /// An interrupted job, with its frozen selection; a new rate may be given. One that is done comes back as it is.
  [[nodiscard]] ReplayJob resume(std::uint64_t job_id, std::optional<double> rate);
  /// Works until done or stopped, reporting after every transaction. Returns the job as it then stands. A stop takes
  /// effect after the transaction in flight, also in the middle of a wait.
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

/// The jobs of a consumer, or of all, newest first. One that is marked running while nobody holds its lock is
/// `interrupted`: its process died, and resume() goes on with it.
[[nodiscard]] std::vector<ReplayJob> replay_jobs(mysql::Pool& pool, const std::optional<std::string>& consumer,
                                                 std::size_t limit);

}  // namespace oncemark::dead_letter
