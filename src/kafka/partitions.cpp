#include "kafka/partitions.hpp"

namespace oncemark::kafka {
namespace {

PartitionsHandle make_list(std::size_t size) {
  return PartitionsHandle(rd_kafka_topic_partition_list_new(static_cast<int>(size)));
}

}  // namespace

PartitionsHandle to_native(const std::vector<TopicPartition>& partitions) {
  return to_native(partitions, RD_KAFKA_OFFSET_INVALID);
}

PartitionsHandle to_native(const std::vector<TopicPartition>& partitions, std::int64_t offset) {
  PartitionsHandle list = make_list(partitions.size());
  for (const TopicPartition& partition : partitions) {
    rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition)->offset = offset;
  }
  return list;
}

PartitionsHandle to_native(const std::vector<Position>& positions) {
  PartitionsHandle list = make_list(positions.size());
  for (const Position& position : positions) {
    rd_kafka_topic_partition_list_add(list.get(), position.topic.c_str(), position.partition)->offset = position.offset;
  }
  return list;
}

std::vector<TopicPartition> from_native(const rd_kafka_topic_partition_list_t& list) {
  std::vector<TopicPartition> partitions;
  partitions.reserve(static_cast<std::size_t>(list.cnt));
  for (int i = 0; i < list.cnt; ++i) {
    partitions.push_back({list.elems[i].topic, list.elems[i].partition});
  }
  return partitions;
}

std::string list_text(const std::vector<TopicPartition>& partitions) {
  constexpr std::size_t kNamed = 8;
  std::string text;
  for (std::size_t i = 0; i < partitions.size() && i < kNamed; ++i) {
    if (i > 0) text += ", ";
    text += name_of(partitions[i]);
  }
  if (partitions.size() > kNamed) text += ", … (" + std::to_string(partitions.size()) + " in all)";
  return text;
}

std::string name_of(const TopicPartition& partition) {
  return partition.topic + "/" + std::to_string(partition.partition);
}

}  // namespace oncemark::kafka
