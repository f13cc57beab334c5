#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <oncemark/dead_letter/foreign.hpp>
#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/message/ports.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::dead_letter {

/// What to replay from a dead-letter topic that anybody wrote, and where to.
struct TopicOrder {
  std::string topic = {};                 // the dead-letter topic
  std::string to = {};                    // where all records go · empty: each to the origin that its headers name
  std::vector<std::string> allowed = {};  // origins that records may be sent to · headers are foreign bytes
  std::uint64_t max_replays = 2;          // a record that was replayed so often before stays where it is · ≥ 1
  double rate = 0;                        // records a second · 0: no limit
  std::string operator_name = {};         // at most 255 bytes
  std::string reason = {};                // at most 1,024 bytes

  /// Throws MisuseError naming the field.
  void validate() const;
};

/// How far a partition has been worked through; `end` was frozen when the job began.
struct TopicProgress {
  std::int32_t partition = 0;
  std::int64_t next = 0;
  std::int64_t end = 0;
  bool operator==(const TopicProgress&) const = default;
};

/// Where one record goes, or why it stays.
struct TopicRoute {
  std::string topic = {};
  std::string stays_because = {};  // empty: it goes
};
/// Shape:   a letter of ours goes nowhere without TopicOrder::to: its state is in the tables, where its message is dead,
///          so that every copy would be dropped as one. Use Replay for those.
[[nodiscard]] TopicRoute route_of(const TopicOrder& order, const Provenance& provenance);

/// The record as it goes out: key, payload and headers as before its death; om-replay-id and om-replays added.
[[nodiscard]] OutgoingRecord replayed_record(const Record& record, const Provenance& provenance, std::string topic,
                                             std::uint64_t job);

/// The job of a replay from a topic, in `replay_job`: its order, and how far it is. Sending is the caller's.
///
/// Shape:   ReplayJob::consumer is empty, ReplayJob::topic the dead-letter topic; selected, replayed and skipped count
///          records, checkpoint those that are settled. The order and the progress lie in `selection`.
/// Threads: one object, one thread; one running job per dead-letter topic at a time.
/// Errors:  JobRunningError; MisuseError for an order or a job that cannot be run; MysqlError.
/// Crash:   between the broker's acks and advance(): the records since the last advance() are sent again.
class TopicReplay final {
 public:
  explicit TopicReplay(mysql::Pool& pool);
  ~TopicReplay();
  TopicReplay(const TopicReplay&) = delete;
  TopicReplay& operator=(const TopicReplay&) = delete;

  void start(const TopicOrder& order, const std::vector<TopicProgress>& extent);
  void resume(std::uint64_t job_id);
  /// Everything before `progress` is settled: acked, or left where it is. False when somebody paused or cancelled the
  /// job meanwhile: job() then says so, and the records since the last advance() may be sent again.
  [[nodiscard]] bool advance(const std::vector<TopicProgress>& progress, std::uint64_t replayed, std::uint64_t skipped);
  /// "done" or "stopped".
  void end(const std::string& state);

  [[nodiscard]] const TopicOrder& order() const noexcept;
  [[nodiscard]] const std::vector<TopicProgress>& progress() const noexcept;
  [[nodiscard]] const ReplayJob& job() const noexcept;

  /// Whether the job reads a topic, and not the table of letters.
  [[nodiscard]] static bool is_topic_job(mysql::Pool& pool, std::uint64_t job_id);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::dead_letter
