#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace oncemark {

struct TopicPartition {
  std::string topic = {};
  std::int32_t partition = 0;
  auto operator<=>(const TopicPartition&) const = default;
};

/// Where a record lies, or (as a committed position) the next one to read.
struct Position {
  std::string topic = {};
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  auto operator<=>(const Position&) const = default;

  [[nodiscard]] TopicPartition topic_partition() const { return {topic, partition}; }
  /// orders/3@991: the form used in logs, errors and on the command line.
  [[nodiscard]] std::string str() const;
};

}  // namespace oncemark
