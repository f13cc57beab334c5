#include "kafka/needed_topics.hpp"

#include <map>
#include <set>

#include <librdkafka/rdkafka.h>

#include <oncemark/observe/log.hpp>

#include "kafka/failure.hpp"

namespace oncemark::kafka {
namespace {

using std::chrono::milliseconds;
using Steady = std::chrono::steady_clock;

constexpr milliseconds kBound{10'000};
constexpr milliseconds kOneTry{2'000};

std::string command(const ConsumerOptions& options, const std::string& rest) {
  return "kafka-topics.sh --bootstrap-server " + options.brokers + " " + rest;
}

std::string create_command(const ConsumerOptions& options, const std::string& topic, const std::string& partitions) {
  return command(options,
                 "--create --topic " + topic + " --partitions " + partitions + " --config cleanup.policy=delete");
}

// The first contact: brokers that start at the same time as we do are waited for.
std::optional<TopicInfo> describe_patiently(AdminClient& admin, const ConsumerOptions& options,
                                            const std::string& topic) {
  const auto until = Steady::now() + options.start_timeout;
  while (true) {
    const auto rest = std::chrono::ceil<milliseconds>(until - Steady::now());
    try {
      return admin.describe(topic, std::min(rest, kOneTry));
    } catch (const KafkaError& error) {
      if (error.kind() != ErrorKind::unavailable) throw;
      if (Steady::now() < until) continue;
      const std::string cause = admin.last_failure();
      throw failure("no broker of " + options.brokers + " has answered group " + options.group + " for " +
                        std::to_string(options.start_timeout.count()) + " ms" + (cause.empty() ? "" : ": " + cause),
                    error.code());
    }
  }
}

class Preparation {
 public:
  Preparation(AdminClient& admin, const ConsumerOptions& options) : admin_(admin), options_(options) {}

  void check_sources() {
    for (const std::string& topic : options_.topics) {
      const auto found = describe_patiently(admin_, options_, topic);
      if (!found) throw missing_source(options_, topic);
      partitions_[topic] = found->partitions;
    }
  }

  void require(const TopicNeed& need) {
    const std::int32_t wanted = partitions_of_like(need);
    const auto found = admin_.describe(need.topic, kBound);
    if (!found) {
      lacking(need.topic, wanted);
    } else if (found->partitions < wanted) {
      log(LogLevel::warn, "a topic has fewer partitions than the one it belongs to: keys change their partition",
          {{"topic", need.topic},
           {"partitions", found->partitions},
           {"like", need.like},
           {"like_partitions", wanted},
           {"repair", command(options_, "--alter --topic " + need.topic + " --partitions " + std::to_string(wanted))}});
    }
  }

  void create_lacking() {
    if (to_create_.empty()) return;
    try {
      admin_.create(to_create_, kBound);
    } catch (const KafkaError& error) {
      if (error.kind() != ErrorKind::misuse) throw;
      const NewTopic& first = to_create_.front();
      throw failure(ErrorKind::misuse, error.what(), error.code(),
                    "or create what is needed by hand, like this: " +
                        create_command(options_, first.name, std::to_string(first.partitions)));
    }
    for (const NewTopic& topic : to_create_) {
      log(LogLevel::info, "topic created", {{"topic", topic.name}, {"partitions", topic.partitions}});
    }
  }

 private:
  std::int32_t partitions_of_like(const TopicNeed& need) {
    const auto known = partitions_.find(need.like);
    if (known != partitions_.end()) return known->second;
    const auto found = admin_.describe(need.like, kBound);
    if (!found) throw missing_source(options_, need.like);
    return partitions_[need.like] = found->partitions;
  }

  void lacking(const std::string& topic, std::int32_t partitions) {
    if (!options_.create_topics) {
      throw failure(ErrorKind::misuse, "group " + options_.group + " needs topic " + topic,
                    RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
                    "create it: " + create_command(options_, topic, std::to_string(partitions)) +
                        "; or set create_topics = true");
    }
    to_create_.push_back({.name = topic, .partitions = partitions, .config = {{"cleanup.policy", "delete"}}});
  }

  AdminClient& admin_;
  const ConsumerOptions& options_;
  std::map<std::string, std::int32_t> partitions_;
  std::vector<NewTopic> to_create_;
};

}  // namespace

void prepare_topics(AdminClient& admin, const ConsumerOptions& options, const std::vector<TopicNeed>& needs) {
  Preparation preparation(admin, options);
  preparation.check_sources();
  std::set<std::string> seen;
  for (const TopicNeed& need : needs) {
    if (seen.insert(need.topic).second) preparation.require(need);
  }
  preparation.create_lacking();
}

KafkaError missing_source(const ConsumerOptions& options, const std::string& topic) {
  return failure(
      ErrorKind::misuse, "source topic " + topic + " of group " + options.group,
      RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
      "correct its name, or create it: " + command(options, "--create --topic " + topic + " --partitions N"));
}

}  // namespace oncemark::kafka
