#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include <librdkafka/rdkafka.h>

namespace oncemark::testing {

namespace detail {

using Client = std::unique_ptr<rd_kafka_t, decltype(&rd_kafka_destroy)>;

inline Client member_of(const std::string& brokers, const std::string& group) {
  char text[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", brokers.c_str(), text, sizeof text);
  rd_kafka_conf_set(conf, "group.id", group.c_str(), text, sizeof text);
  Client client(rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text), &rd_kafka_destroy);
  if (!client) throw std::runtime_error(text);
  return client;
}

}  // namespace detail

/// The position that a group has committed, asked of the broker by a client of its own; -1 when there is none.
[[nodiscard]] inline std::int64_t committed_offset(const std::string& brokers, const std::string& group,
                                                   const std::string& topic, std::int32_t partition) {
  const auto client = detail::member_of(brokers, group);
  const std::unique_ptr<rd_kafka_topic_partition_list_t, decltype(&rd_kafka_topic_partition_list_destroy)> list(
      rd_kafka_topic_partition_list_new(1), &rd_kafka_topic_partition_list_destroy);
  rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition);
  if (const auto error = rd_kafka_committed(client.get(), list.get(), 10'000)) {
    throw std::runtime_error("committed offset of " + topic + ": " + rd_kafka_err2str(error));
  }
  return list->elems[0].offset < 0 ? -1 : list->elems[0].offset;
}

/// "Stable", "PreparingRebalance" …; empty when the broker does not know the group.
[[nodiscard]] inline std::string group_state(const std::string& brokers, const std::string& group) {
  const auto client = detail::member_of(brokers, group);
  const rd_kafka_group_list* found = nullptr;
  if (const auto error = rd_kafka_list_groups(client.get(), group.c_str(), &found, 10'000)) {
    throw std::runtime_error("group " + group + ": " + rd_kafka_err2str(error));
  }
  const std::string state = found->group_cnt > 0 ? found->groups[0].state : "";
  rd_kafka_group_list_destroy(found);
  return state;
}

}  // namespace oncemark::testing
