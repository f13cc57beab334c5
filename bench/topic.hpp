#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include <librdkafka/rdkafka.h>

namespace bench {

/// One record of a topic, as long as the call lasts.
struct Seen {
  std::int32_t partition = 0;
  std::string_view key = {}, payload = {}, message_id = {}, fail = {}, id = {};
};

/// Reads every record that a topic has now, partition by partition, with librdkafka alone.
///
/// Errors:  std::runtime_error; a topic that does not exist is one.
inline void read_topic(const std::string& brokers, const std::string& topic,
                       const std::function<void(const Seen&)>& seen) {
  char why[512] = "";
  const auto fail = [&](const std::string& what) { throw std::runtime_error("topic " + topic + ": " + what); };
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  for (const auto& [name, value] : {std::pair{"bootstrap.servers", brokers},
                                    {"group.id", std::string("bench-judge")},
                                    {"enable.auto.commit", std::string("false")}}) {
    if (rd_kafka_conf_set(conf, name, value.c_str(), why, sizeof why) != RD_KAFKA_CONF_OK) fail(why);
  }
  const std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)> client(
      rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why), rd_kafka_destroy);
  if (!client) fail(why);
  const std::unique_ptr<rd_kafka_topic_t, void (*)(rd_kafka_topic_t*)> handle(
      rd_kafka_topic_new(client.get(), topic.c_str(), nullptr), rd_kafka_topic_destroy);

  const rd_kafka_metadata_t* metadata = nullptr;
  if (const auto error = rd_kafka_metadata(client.get(), 0, handle.get(), &metadata, 10'000)) {
    fail(rd_kafka_err2str(error));
  }
  const std::unique_ptr<const rd_kafka_metadata_t, void (*)(const rd_kafka_metadata_t*)> owner(
      metadata, rd_kafka_metadata_destroy);
  if (metadata->topic_cnt != 1 || metadata->topics[0].err != 0) fail(rd_kafka_err2str(metadata->topics[0].err));

  const auto header = [](const rd_kafka_message_t* message, const char* name) -> std::string_view {
    rd_kafka_headers_t* headers = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return {};
    if (rd_kafka_header_get_last(headers, name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR) return {};
    return {static_cast<const char*>(value), size};
  };
  for (std::int32_t partition = 0; partition < metadata->topics[0].partition_cnt; ++partition) {
    std::int64_t low = 0, high = 0;
    if (const auto error =
            rd_kafka_query_watermark_offsets(client.get(), topic.c_str(), partition, &low, &high, 10'000)) {
      fail(rd_kafka_err2str(error));
    }
    if (low == high) continue;
    rd_kafka_consume_start(handle.get(), partition, low);
    for (std::int64_t next = low; next < high;) {
      const std::unique_ptr<rd_kafka_message_t, void (*)(rd_kafka_message_t*)> message(
          rd_kafka_consume(handle.get(), partition, 10'000), rd_kafka_message_destroy);
      if (!message) fail("no record within 10 s");
      if (message->err != 0) fail(rd_kafka_err2str(message->err));
      next = message->offset + 1;
      seen({.partition = partition,
            .key = {static_cast<const char*>(message->key), message->key_len},
            .payload = {static_cast<const char*>(message->payload), message->len},
            .message_id = header(message.get(), "message-id"),
            .fail = header(message.get(), "fail"),
            .id = header(message.get(), "id")});
    }
    rd_kafka_consume_stop(handle.get(), partition);
  }
}

}  // namespace bench
