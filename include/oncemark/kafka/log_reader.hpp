#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <oncemark/kafka/settings.hpp>
#include <oncemark/message/message.hpp>

namespace oncemark::kafka {

/// A piece of a partition: from `next` up to, and without, `end`.
struct LogRange {
  TopicPartition partition = {};
  std::int64_t next = 0;
  std::int64_t end = 0;
  [[nodiscard]] bool is_done() const noexcept { return next >= end; }
};

/// Reads ranges of a topic's log, in no group: nothing is committed, nobody is rebalanced.
///
/// Shape:   offsets may have gaps (compaction, transaction markers). Records of open or aborted transactions are not
///          seen. A range is done when its end has been reached, or the partition's end before it.
/// Threads: one.
/// Errors:  the constructor throws ConfigError and KafkaError; read() throws KafkaError: permanent when the log does not
///          hold the next offset any more, misuse for rights and a topic that is gone, unavailable when nothing has
///          come for 30 s although something is there.
class LogReader final {
 public:
  LogReader(const std::string& brokers, std::vector<LogRange> ranges, const Properties& properties = {},
            const std::string& password_file = {});
  ~LogReader();
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  /// At most `max` records, waiting at most `wait` for the first; per partition in the order of the log. Empty when
  /// nothing came, or all ranges are done.
  [[nodiscard]] std::vector<Record> read(std::chrono::milliseconds wait, std::size_t max);
  /// How far each range has been read.
  [[nodiscard]] const std::vector<LogRange>& ranges() const noexcept;
  [[nodiscard]] bool is_done() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What a topic holds now: a range for each partition, or for those that are named.
///
/// Errors:  KafkaError; misuse for a topic or partition that does not exist.
[[nodiscard]] std::vector<LogRange> ranges_of(const std::string& brokers, const std::string& topic,
                                              const std::vector<std::int32_t>& partitions = {},
                                              const Properties& properties = {}, const std::string& password_file = {});

}  // namespace oncemark::kafka
