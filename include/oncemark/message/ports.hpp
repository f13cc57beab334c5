#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <oncemark/message/message.hpp>

namespace oncemark {

/// A record on its way out.
struct OutgoingRecord {
  std::string topic = {};
  Bytes key = {};
  Bytes payload = {};
  Headers headers = {};
};

enum class Sent {
  accepted,    ///< a delivery report with this token will follow
  queue_full,  ///< nothing was taken; collect deliveries and try again
};

enum class DeliveryStatus {
  acked,    ///< the broker has it, durably
  refused,  ///< the broker or the client refuses this record as it is (too large, unknown topic, not authorised…)
  failed,   ///< anything else: time-out, purge, broker or fatal client error; the record may or may not be there
};

/// What a refusal is about.
enum class Refusal {
  record,     ///< this record, as it is
  too_large,  ///< its size: a smaller one would be taken
  topic,      ///< its topic, which is missing or forbidden: the record will do once that is repaired
};

struct Delivery {
  std::uint64_t token = 0;
  DeliveryStatus status = DeliveryStatus::failed;
  std::string error = {};             // empty when acked: names the native code and the cure
  Refusal refusal = Refusal::record;  // of one that was refused
};

/// Where records are sent to. One owner at a time: reports go to whoever asks for them.
///
/// Threads: one thread at a time, except that different Sinks are independent.
/// Errors:  KafkaError{misuse} for settings that can never work. Refusals and outages are values.
/// Crash:   what was accepted but not yet reported may or may not be on the topic.
class Sink {
 public:
  virtual ~Sink() = default;
  /// Hands a record over without waiting. A record refused by the client itself is reported like any other.
  [[nodiscard]] virtual Sent send(const OutgoingRecord& record, std::uint64_t token) = 0;
  /// The reports that have come in, waiting at most `wait` for the first one.
  [[nodiscard]] virtual std::vector<Delivery> deliveries(std::chrono::milliseconds wait) = 0;
  /// Gives up everything that is in flight and starts afresh; no report for it will come any more.
  virtual void discard() = 0;
};

/// Told about partitions, on the thread that polls, inside poll().
class RebalanceListener {
 public:
  virtual ~RebalanceListener() = default;
  virtual void assigned(const std::vector<TopicPartition>& partitions) = 0;
  /// Called before the partitions are let go; the listener may still commit, unless `lost`.
  virtual void revoked(const std::vector<TopicPartition>& partitions, bool lost) = 0;
};

/// A topic that must exist before the source is read.
struct TopicNeed {
  std::string topic = {};
  std::string like = {};   // the source: created with as many partitions, the same retention, and room for our headers
  bool subscribe = false;  // the consumer reads it too
};

/// Where records come from.
///
/// Threads: one thread polls, and the same one commits.
/// Errors:  KafkaError: unavailable when the brokers cannot be reached for good, misuse for settings, permanent for
///          an offset that points outside the log. A poll that finds nothing returns an empty vector.
class Source {
 public:
  virtual ~Source() = default;
  [[nodiscard]] virtual const std::string& group() const = 0;
  /// The topics the user named.
  [[nodiscard]] virtual const std::vector<std::string>& topics() const = 0;
  /// Creates or checks the needed topics, then joins the group.
  virtual void subscribe(const std::vector<TopicNeed>& needs, RebalanceListener& listener) = 0;
  /// At most `max` records, waiting at most `wait` for the first. With `max` 0 none is taken, and what was fetched
  /// ahead stays where it is: the member keeps its place in the group while its reader has no room.
  [[nodiscard]] virtual std::vector<Record> poll(std::chrono::milliseconds wait, std::size_t max) = 0;
  /// Commits, synchronously, the next offset to read of each partition.
  virtual void commit(const std::vector<Position>& next) = 0;
  /// Leaves the group; the listener sees its partitions revoked.
  virtual void close() = 0;
};

}  // namespace oncemark
