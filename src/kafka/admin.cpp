#include <oncemark/kafka/admin.hpp>

#include "kafka/admin_client.hpp"
#include "kafka/config.hpp"
#include "kafka/requests.hpp"

namespace oncemark::kafka {
namespace {

constexpr std::chrono::seconds kBound{10};

}  // namespace

struct Admin::State {
  State(const std::string& brokers_, Properties properties_, const std::string& password_file_)
      : brokers(brokers_),
        properties(std::move(properties_)),
        password_file(password_file_),
        client(brokers, properties, password_file) {}

  const std::string brokers;
  const Properties properties;
  const std::string password_file;
  AdminClient client;
};

Admin::Admin(const std::string& brokers, Properties properties, const std::string& password_file)
    : state_(std::make_unique<State>(brokers, std::move(properties), password_file)) {}

Admin::~Admin() = default;

std::optional<TopicInfo> Admin::describe(const std::string& topic) { return state_->client.describe(topic, kBound); }

std::vector<TopicInfo> Admin::list() { return state_->client.list(kBound); }

void Admin::create(const std::vector<NewTopic>& topics) { state_->client.create(topics, kBound); }

Properties Admin::config(const std::string& topic) { return state_->client.config(topic, kBound); }

Watermarks Admin::watermarks(const TopicPartition& partition) { return state_->client.watermarks(partition, kBound); }

std::vector<Position> Admin::committed(const std::string& group, const std::vector<TopicPartition>& partitions) {
  // A client belongs to one group for life; this one never joins it.
  ClientLog log("admin of group " + group);
  const ClientHandle reader = make_client(
      RD_KAFKA_CONSUMER, observer_conf(state_->brokers, state_->properties, state_->password_file, group), log);
  const auto offsets = committed_within(reader.get(), partitions, kBound);
  std::vector<Position> positions;
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    positions.push_back({partitions[i].topic, partitions[i].partition, offsets[i].value_or(-1)});
  }
  return positions;
}

}  // namespace oncemark::kafka
