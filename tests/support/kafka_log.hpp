#pragma once

#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <librdkafka/rdkafka.h>

#include <oncemark/message/message.hpp>

namespace oncemark::testing {

namespace detail {

struct Destroy {
  void operator()(rd_kafka_t* client) const { rd_kafka_destroy(client); }
  void operator()(rd_kafka_message_t* message) const { rd_kafka_message_destroy(message); }
  void operator()(rd_kafka_topic_partition_list_t* list) const { rd_kafka_topic_partition_list_destroy(list); }
  void operator()(const rd_kafka_metadata_t* metadata) const { rd_kafka_metadata_destroy(metadata); }
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
};

template <typename Object>
using Owned = std::unique_ptr<Object, Destroy>;

inline Owned<rd_kafka_t> make_reader(const std::string& brokers) {
  char text[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  for (const auto& [name, value] :
       {std::pair{"bootstrap.servers", brokers.c_str()}, std::pair{"group.id", "oncemark-test-reader"},
        std::pair{"enable.auto.commit", "false"}, std::pair{"enable.partition.eof", "true"},
        std::pair{"isolation.level", "read_uncommitted"}, std::pair{"fetch.wait.max.ms", "10"}}) {
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK) {
      throw std::runtime_error(text);
    }
  }
  Owned<rd_kafka_t> reader(rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text));
  if (!reader) throw std::runtime_error(text);
  return reader;
}

inline int partition_count(rd_kafka_t* reader, const std::string& topic) {
  const Owned<rd_kafka_topic_t> handle(rd_kafka_topic_new(reader, topic.c_str(), nullptr));
  const rd_kafka_metadata_t* found = nullptr;
  if (const auto error = rd_kafka_metadata(reader, 0, handle.get(), &found, 10'000)) {
    throw std::runtime_error(topic + ": " + rd_kafka_err2str(error));
  }
  const Owned<const rd_kafka_metadata_t> owner(found);
  return found->topics[0].partition_cnt;
}

inline Bytes bytes(const void* data, std::size_t size) {
  if (data == nullptr) return nullptr;
  return std::string(static_cast<const char*>(data), size);
}

inline Record record(const rd_kafka_message_t& message) {
  Record result{.position = {rd_kafka_topic_name(message.rkt), message.partition, message.offset},
                .timestamp = Time(std::chrono::milliseconds(rd_kafka_message_timestamp(&message, nullptr))),
                .key = bytes(message.key, message.key_len),
                .payload = bytes(message.payload, message.len),
                .headers = {}};
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return result;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); ++i) {
    result.headers.append(name, bytes(value, size));
  }
  return result;
}

}  // namespace detail

/// Everything that lies on a topic now, partition by partition as it comes, in order within each. Reads with a client
/// of its own, so that it can be held against what ours say.
///
/// Errors:  std::runtime_error for whatever goes wrong, and when it takes longer than 30 s.
[[nodiscard]] inline std::vector<Record> read_topic(const std::string& brokers, const std::string& topic) {
  const auto reader = detail::make_reader(brokers);
  rd_kafka_poll_set_consumer(reader.get());
  std::set<std::int32_t> open;
  const detail::Owned<rd_kafka_topic_partition_list_t> list(rd_kafka_topic_partition_list_new(1));
  for (int i = 0; i < detail::partition_count(reader.get(), topic); ++i) {
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    open.insert(i);
  }
  rd_kafka_assign(reader.get(), list.get());

  std::vector<Record> records;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!open.empty()) {
    if (std::chrono::steady_clock::now() > until) throw std::runtime_error("reading " + topic + " takes too long");
    const detail::Owned<rd_kafka_message_t> message(rd_kafka_consumer_poll(reader.get(), 100));
    if (!message) continue;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      records.push_back(detail::record(*message));
    } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      open.erase(message->partition);
    } else {
      throw std::runtime_error(topic + ": " + rd_kafka_message_errstr(message.get()));
    }
  }
  return records;
}

}  // namespace oncemark::testing
