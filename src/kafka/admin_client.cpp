#include "kafka/admin_client.hpp"

#include <algorithm>
#include <array>
#include <thread>

#include <oncemark/core/error.hpp>

#include "kafka/config.hpp"
#include "kafka/failure.hpp"
#include "kafka/partitions.hpp"
#include "kafka/requests.hpp"

namespace oncemark::kafka {
namespace {

using std::chrono::milliseconds;

int ms(milliseconds time) { return static_cast<int>(std::max<milliseconds::rep>(time.count(), 0)); }

void check_topic_name(const std::string& topic) {
  if (!is_topic_name(topic)) {
    throw failure("topic \"" + printable(topic) + "\"", RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION);
  }
}

NewTopicHandle to_native(const NewTopic& topic) {
  std::array<char, 512> text{};
  NewTopicHandle native(
      rd_kafka_NewTopic_new(topic.name.c_str(), topic.partitions, topic.replication, text.data(), text.size()));
  if (!native) throw MisuseError("topic " + topic.name + " cannot be created: " + text.data());
  for (const auto& [name, value] : topic.config) {
    rd_kafka_NewTopic_set_config(native.get(), name.c_str(), value.c_str());
  }
  return native;
}

AdminOptionsHandle create_options(rd_kafka_t* client, milliseconds bound) {
  std::array<char, 512> text{};
  AdminOptionsHandle options(rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS));
  rd_kafka_AdminOptions_set_request_timeout(options.get(), ms(bound), text.data(), text.size());
  rd_kafka_AdminOptions_set_operation_timeout(options.get(), ms(bound / 2), text.data(), text.size());
  return options;
}

void check_created(rd_kafka_event_t* event) {
  if (const rd_kafka_resp_err_t error = rd_kafka_event_error(event)) {
    throw failure("creating topics", error);
  }
  std::size_t count = 0;
  const auto* result = rd_kafka_event_CreateTopics_result(event);
  const auto* topics = rd_kafka_CreateTopics_result_topics(result, &count);
  for (std::size_t i = 0; i < count; ++i) {
    const rd_kafka_resp_err_t error = rd_kafka_topic_result_error(topics[i]);
    if (!error || error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) continue;
    const char* said = rd_kafka_topic_result_error_string(topics[i]);
    throw failure(
        std::string("creating topic ") + rd_kafka_topic_result_name(topics[i]) + (said ? std::string(": ") + said : ""),
        error);
  }
}

}  // namespace

AdminClient::AdminClient(const std::string& brokers, const Properties& properties, const std::string& password_file)
    : log_("admin"), client_(make_client(RD_KAFKA_CONSUMER, observer_conf(brokers, properties, password_file), log_)) {}

MetadataHandle AdminClient::metadata(const std::string* topic, milliseconds bound) {
  rd_kafka_poll(client_.get(), 0);  // what piled up since the last call
  const TopicHandle handle(topic ? rd_kafka_topic_new(client_.get(), topic->c_str(), nullptr) : nullptr);
  const rd_kafka_metadata_t* result = nullptr;
  const rd_kafka_resp_err_t error = rd_kafka_metadata(client_.get(), topic ? 0 : 1, handle.get(), &result, ms(bound));
  if (error) {
    rd_kafka_poll(client_.get(), 0);  // the client tells of refused connections only there
    const std::string cause = log_.last_failure();
    const int refusal = log_.last_refusal();
    throw failure("asking the brokers about " + (topic ? "topic " + *topic : std::string("their topics")) +
                      (cause.empty() ? "" : " (" + cause + ")"),
                  refusal != 0 ? refusal : error);
  }
  return MetadataHandle(result);
}

std::optional<TopicInfo> AdminClient::describe(const std::string& topic, milliseconds bound) {
  check_topic_name(topic);
  const auto until = std::chrono::steady_clock::now() + bound;
  while (true) {
    const auto rest = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
    const MetadataHandle answer = metadata(&topic, rest);
    if (answer->topic_cnt < 1) return std::nullopt;
    const rd_kafka_metadata_topic_t& found = answer->topics[0];
    if (found.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return std::nullopt;
    if (!found.err && found.partition_cnt > 0) return TopicInfo{topic, found.partition_cnt};
    // A topic that is being made has no leaders yet, or no partitions.
    if ((found.err && found.err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) || rest <= milliseconds(100)) {
      throw failure("looking at topic " + topic, found.err ? found.err : RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
    }
    std::this_thread::sleep_for(milliseconds(50));
  }
}

std::vector<TopicInfo> AdminClient::list(milliseconds bound) {
  const MetadataHandle answer = metadata(nullptr, bound);
  std::vector<TopicInfo> topics;
  for (int i = 0; i < answer->topic_cnt; ++i) {
    topics.push_back({answer->topics[i].topic, answer->topics[i].partition_cnt});
  }
  std::sort(topics.begin(), topics.end(), [](const TopicInfo& a, const TopicInfo& b) { return a.name < b.name; });
  return topics;
}

bool AdminClient::is_ready(const NewTopic& topic, milliseconds bound) {
  const MetadataHandle answer = metadata(&topic.name, bound);
  if (answer->topic_cnt < 1) return false;
  const rd_kafka_metadata_topic_t& found = answer->topics[0];
  return !found.err && found.partition_cnt > 0 &&
         std::all_of(found.partitions, found.partitions + found.partition_cnt,
                     [](const rd_kafka_metadata_partition_t& p) { return !p.err && p.leader >= 0; });
}

void AdminClient::create(const std::vector<NewTopic>& topics, milliseconds bound) {
  if (topics.empty()) return;
  const auto until = std::chrono::steady_clock::now() + bound;
  std::vector<NewTopicHandle> owners;
  std::vector<rd_kafka_NewTopic_t*> natives;
  for (const NewTopic& topic : topics) {
    check_topic_name(topic.name);
    owners.push_back(to_native(topic));
    natives.push_back(owners.back().get());
  }
  const QueueHandle answers(rd_kafka_queue_new(client_.get()));
  rd_kafka_CreateTopics(client_.get(), natives.data(), natives.size(), create_options(client_.get(), bound).get(),
                        answers.get());
  const EventHandle event(rd_kafka_queue_poll(answers.get(), ms(bound)));
  if (!event) throw failure("creating topics", RD_KAFKA_RESP_ERR__TIMED_OUT);
  check_created(event.get());

  for (const NewTopic& topic : topics) {
    while (!is_ready(topic, std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now()))) {
      if (std::chrono::steady_clock::now() >= until) {
        throw failure("waiting for the leaders of topic " + topic.name, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
      }
      std::this_thread::sleep_for(milliseconds(50));
    }
  }
}

Properties AdminClient::config(const std::string& topic, milliseconds bound) {
  check_topic_name(topic);
  const ConfigResourceHandle resource(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
  rd_kafka_ConfigResource_t* resources[] = {resource.get()};
  const QueueHandle answers(rd_kafka_queue_new(client_.get()));
  std::array<char, 512> text{};
  const AdminOptionsHandle options(rd_kafka_AdminOptions_new(client_.get(), RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS));
  rd_kafka_AdminOptions_set_request_timeout(options.get(), ms(bound), text.data(), text.size());
  rd_kafka_DescribeConfigs(client_.get(), resources, 1, options.get(), answers.get());
  const EventHandle event(rd_kafka_queue_poll(answers.get(), ms(bound)));
  const std::string what = "reading the settings of topic " + topic;
  if (!event) throw failure(what, RD_KAFKA_RESP_ERR__TIMED_OUT);
  if (const rd_kafka_resp_err_t error = rd_kafka_event_error(event.get())) throw failure(what, error);

  std::size_t count = 0;
  const auto* result = rd_kafka_event_DescribeConfigs_result(event.get());
  const auto* found = rd_kafka_DescribeConfigs_result_resources(result, &count);
  if (count != 1) throw failure(what, RD_KAFKA_RESP_ERR__BAD_MSG);
  if (const rd_kafka_resp_err_t error = rd_kafka_ConfigResource_error(found[0])) throw failure(what, error);
  Properties settings;
  const auto* entries = rd_kafka_ConfigResource_configs(found[0], &count);
  for (std::size_t i = 0; i < count; ++i) {
    const char* value = rd_kafka_ConfigEntry_value(entries[i]);
    if (value) settings.emplace(rd_kafka_ConfigEntry_name(entries[i]), value);
  }
  return settings;
}

Watermarks AdminClient::watermarks(const TopicPartition& partition, milliseconds bound) {
  check_topic_name(partition.topic);
  rd_kafka_poll(client_.get(), 0);
  return watermarks_within(client_.get(), {partition}, bound).front();
}

}  // namespace oncemark::kafka
