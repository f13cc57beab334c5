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

namespace detail {

/// Asks the broker for something, and throws when it does not do it. `ask` sends the request to a client, with a queue
/// for the answer; `error_of` finds the error in that.
template <typename Ask, typename ErrorOf>
void administer(const std::string& what, Ask&& ask, ErrorOf&& error_of) {
  char text[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", Stack::brokers().c_str(), text, sizeof text);
  const std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)> client(
      rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text), rd_kafka_destroy);
  if (!client) throw std::runtime_error(text);
  const std::unique_ptr<rd_kafka_queue_t, void (*)(rd_kafka_queue_t*)> answers(rd_kafka_queue_new(client.get()),
                                                                               rd_kafka_queue_destroy);
  ask(client.get(), answers.get());
  const std::unique_ptr<rd_kafka_event_t, void (*)(rd_kafka_event_t*)> event(rd_kafka_queue_poll(answers.get(), 30'000),
                                                                             rd_kafka_event_destroy);
  if (!event) throw std::runtime_error(what + ": no answer");
  if (rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    throw std::runtime_error(what + ": " + rd_kafka_event_error_string(event.get()));
  }
  const std::string error = error_of(event.get());
  if (!error.empty()) throw std::runtime_error(what + ": " + error);
}

inline std::string text_of(const rd_kafka_error_t* error) {
  return error == nullptr ? "" : rd_kafka_error_string(error);
}

}  // namespace detail

/// Deletes a topic, as an operator by mistake.
inline void delete_topic(const std::string& topic) {
  detail::administer(
      "deleting topic " + topic,
      [&](rd_kafka_t* client, rd_kafka_queue_t* answers) {
        rd_kafka_DeleteTopic_t* named = rd_kafka_DeleteTopic_new(topic.c_str());
        rd_kafka_DeleteTopics(client, &named, 1, nullptr, answers);
        rd_kafka_DeleteTopic_destroy(named);
      },
      [](rd_kafka_event_t*) { return std::string(); });
}

/// Sets one property of a topic; all others go back to their defaults.
inline void set_topic_config(const std::string& topic, const std::string& name, const std::string& value) {
  detail::administer(
      "setting " + name + " of " + topic,
      [&](rd_kafka_t* client, rd_kafka_queue_t* answers) {
        rd_kafka_ConfigResource_t* resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str());
        rd_kafka_ConfigResource_set_config(resource, name.c_str(), value.c_str());
        rd_kafka_AlterConfigs(client, &resource, 1, nullptr, answers);
        rd_kafka_ConfigResource_destroy(resource);
      },
      [](rd_kafka_event_t* event) {
        std::size_t count = 0;
        const auto** resources =
            rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &count);
        const char* error = count == 1 ? rd_kafka_ConfigResource_error_string(resources[0]) : "no answer";
        return std::string(error == nullptr ? "" : error);
      });
}

/// Nobody may write to the topic (nor do anything else with it: what has an ACL is closed to whom it does not name).
inline void deny_writes(const std::string& topic) {
  detail::administer(
      "forbidding writes to " + topic,
      [&](rd_kafka_t* client, rd_kafka_queue_t* answers) {
        char text[512];
        rd_kafka_AclBinding_t* acl = rd_kafka_AclBinding_new(
            RD_KAFKA_RESOURCE_TOPIC, topic.c_str(), RD_KAFKA_RESOURCE_PATTERN_LITERAL, "User:ANONYMOUS", "*",
            RD_KAFKA_ACL_OPERATION_WRITE, RD_KAFKA_ACL_PERMISSION_TYPE_DENY, text, sizeof text);
        if (acl == nullptr) throw std::runtime_error(text);
        rd_kafka_CreateAcls(client, &acl, 1, nullptr, answers);
        rd_kafka_AclBinding_destroy(acl);
      },
      [](rd_kafka_event_t* event) {
        std::size_t count = 0;
        const auto** results = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event), &count);
        return count == 1 ? detail::text_of(rd_kafka_acl_result_error(results[0])) : std::string("no answer");
      });
}

/// Takes deny_writes() back.
inline void allow_writes(const std::string& topic) {
  detail::administer(
      "allowing writes to " + topic,
      [&](rd_kafka_t* client, rd_kafka_queue_t* answers) {
        char text[512];
        rd_kafka_AclBindingFilter_t* all = rd_kafka_AclBindingFilter_new(
            RD_KAFKA_RESOURCE_TOPIC, topic.c_str(), RD_KAFKA_RESOURCE_PATTERN_LITERAL, nullptr, nullptr,
            RD_KAFKA_ACL_OPERATION_ANY, RD_KAFKA_ACL_PERMISSION_TYPE_ANY, text, sizeof text);
        if (all == nullptr) throw std::runtime_error(text);
        rd_kafka_DeleteAcls(client, &all, 1, nullptr, answers);
        rd_kafka_AclBinding_destroy(all);
      },
      [](rd_kafka_event_t* event) {
        std::size_t count = 0;
        const auto** results = rd_kafka_DeleteAcls_result_responses(rd_kafka_event_DeleteAcls_result(event), &count);
        return count == 1 ? detail::text_of(rd_kafka_DeleteAcls_result_response_error(results[0]))
                          : std::string("no answer");
      });
}

}  // namespace oncemark::testing
