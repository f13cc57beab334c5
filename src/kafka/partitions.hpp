#pragma once

#include <string>
#include <vector>

#include <oncemark/message/position.hpp>

#include "kafka/handles.hpp"

namespace oncemark::kafka {

/// Between our lists of partitions and librdkafka's.
[[nodiscard]] PartitionsHandle to_native(const std::vector<TopicPartition>& partitions);
/// The same with offset `offset` for each.
[[nodiscard]] PartitionsHandle to_native(const std::vector<TopicPartition>& partitions, std::int64_t offset);
[[nodiscard]] PartitionsHandle to_native(const std::vector<Position>& positions);
[[nodiscard]] std::vector<TopicPartition> from_native(const rd_kafka_topic_partition_list_t& list);

/// "orders/0, orders/1, … (12 in all)": for logs.
[[nodiscard]] std::string list_text(const std::vector<TopicPartition>& partitions);

/// "orders/3"
[[nodiscard]] std::string name_of(const TopicPartition& partition);

}  // namespace oncemark::kafka
