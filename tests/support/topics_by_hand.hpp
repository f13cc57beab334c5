#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <librdkafka/rdkafka.h>

#include <oncemark/kafka/producer.hpp>

#include "support/eventually.hpp"
#include "support/stack.hpp"

namespace oncemark::testing {

/// Sends records as they are, and waits until the broker has them.
inline void send_records(const std::string& topic, std::vector<OutgoingRecord> records) {
  kafka::Producer producer{{.brokers = Stack::brokers()}};
  std::size_t open = 0;
  const auto collect = [&] {
    for (const Delivery& delivery : producer.deliveries(std::chrono::milliseconds(100))) {
      if (delivery.status != DeliveryStatus::acked) throw std::runtime_error(delivery.error);
      --open;
    }
    return open == 0;
  };
  for (std::size_t i = 0; i < records.size(); ++i) {
    records[i].topic = topic;
    while (producer.send(records[i], i) == Sent::queue_full) (void)collect();
    ++open;
  }
  if (!eventually(std::chrono::seconds(30), collect)) throw std::runtime_error(topic + " takes no records");
}

/// Deletes a topic, as an operator by mistake.
inline void delete_topic(const std::string& topic) {
  char text[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", Stack::brokers().c_str(), text, sizeof text);
  const std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)> client(
      rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text), rd_kafka_destroy);
  if (!client) throw std::runtime_error(text);
  rd_kafka_DeleteTopic_t* named = rd_kafka_DeleteTopic_new(topic.c_str());
  const std::unique_ptr<rd_kafka_queue_t, void (*)(rd_kafka_queue_t*)> answers(rd_kafka_queue_new(client.get()),
                                                                               rd_kafka_queue_destroy);
  rd_kafka_DeleteTopics(client.get(), &named, 1, nullptr, answers.get());
  rd_kafka_event_t* event = rd_kafka_queue_poll(answers.get(), 30'000);
  const bool is_done = event != nullptr && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR;
  if (event != nullptr) rd_kafka_event_destroy(event);
  rd_kafka_DeleteTopic_destroy(named);
  if (!is_done) throw std::runtime_error("topic " + topic + " was not deleted");
}

}  // namespace oncemark::testing
