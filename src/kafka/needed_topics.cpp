#include "kafka/needed_topics.hpp"

#include <algorithm>
#include <charconv>
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

constexpr std::int64_t kHeadersAtMost = 8 << 10;                    // what our headers may add to a record
constexpr std::int64_t kHeadersRoom = 64 << 10;                     // what a topic that we make leaves for them
constexpr std::int64_t kLargest = 2'147'483'647;                    // of max.message.bytes
constexpr std::int64_t kLeastRetention = 7LL * 24 * 3'600 * 1'000;  // ms, of a topic that we make

std::string command(const ConsumerOptions& options, const std::string& rest) {
  return "kafka-topics.sh --bootstrap-server " + options.brokers + " " + rest;
}

std::string create_command(const ConsumerOptions& options, const NewTopic& topic) {
  std::string rest = "--create --topic " + topic.name + " --partitions " + std::to_string(topic.partitions);
  for (const auto& [name, value] : topic.config) rest += " --config " + name + "=" + value;
  return command(options, rest);
}

std::string set_command(const ConsumerOptions& options, const std::string& topic, const std::string& setting) {
  return "kafka-configs.sh --bootstrap-server " + options.brokers + " --alter --entity-type topics --entity-name " +
         topic + " --add-config " + setting;
}

std::optional<std::int64_t> number(const Properties& config, const std::string& name) {
  const auto found = config.find(name);
  if (found == config.end()) return std::nullopt;
  std::int64_t value = 0;
  const char* const end = found->second.data() + found->second.size();
  const auto [stopped_at, error] = std::from_chars(found->second.data(), end, value);
  if (error != std::errc{} || stopped_at != end) return std::nullopt;
  return value;
}

/// Milliseconds; nothing for a topic that keeps its records for ever, by -1.
bool keeps_longer(std::int64_t retention, std::int64_t than) {
  return retention < 0 ? than >= 0 : than >= 0 && retention > than;
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
      lacking(need, wanted);
      return;
    }
    if (found->partitions < wanted) {
      log(LogLevel::warn, "a topic has fewer partitions than the one it belongs to: keys change their partition",
          {{"topic", need.topic},
           {"partitions", found->partitions},
           {"like", need.like},
           {"like_partitions", wanted},
           {"repair", command(options_, "--alter --topic " + need.topic + " --partitions " + std::to_string(wanted))}});
    }
    check_settings(need);
  }

  void create_lacking() {
    if (to_create_.empty()) return;
    try {
      admin_.create(to_create_, kBound);
    } catch (const KafkaError& error) {
      if (error.kind() != ErrorKind::misuse) throw;
      const NewTopic& first = to_create_.front();
      throw failure(ErrorKind::misuse, error.what(), error.code(),
                    "or create what is needed by hand, like this: " + create_command(options_, first));
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

  void lacking(const TopicNeed& need, std::int32_t partitions) {
    NewTopic topic{.name = need.topic, .partitions = partitions, .config = {{"cleanup.policy", "delete"}}};
    const Properties& like = config_of(need.like);
    if (const auto size = number(like, "max.message.bytes")) {
      topic.config["max.message.bytes"] = std::to_string(std::min<std::int64_t>(*size + kHeadersRoom, kLargest));
    }
    if (const auto retention = number(like, "retention.ms")) {
      topic.config["retention.ms"] = std::to_string(*retention < 0 ? -1 : std::max(*retention, kLeastRetention));
    }
    if (!options_.create_topics) {
      throw failure(ErrorKind::misuse, "group " + options_.group + " needs topic " + need.topic,
                    RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
                    "create it: " + create_command(options_, topic) + "; or set create_topics = true");
    }
    to_create_.push_back(std::move(topic));
  }

  /// Of a topic that somebody else has made: what would lose records, or refuse them.
  void check_settings(const TopicNeed& need) {
    const Properties& own = config_of(need.topic);
    const Properties& like = config_of(need.like);
    const auto warn = [&](std::string_view text, const std::string& name, const std::string& value) {
      log(LogLevel::warn, text,
          {{"topic", need.topic},
           {name, own.at(name)},
           {"like", need.like},
           {"like_has", like.contains(name) ? like.at(name) : "unknown"},
           {"repair", set_command(options_, need.topic, name + "=" + value)}});
    };
    if (const auto policy = own.find("cleanup.policy"); policy != own.end() && policy->second != "delete") {
      warn(
          "a topic of failed messages is compacted: records without a key are refused, and of those with one only the "
          "last is kept",
          "cleanup.policy", "delete");
    }
    const auto kept = number(own, "retention.ms");
    const auto like_kept = number(like, "retention.ms");
    if (kept && like_kept && keeps_longer(*like_kept, *kept)) {
      warn("a topic of failed messages keeps its records for less time than their source does", "retention.ms",
           std::to_string(*like_kept));
    }
    const auto size = number(own, "max.message.bytes");
    const auto like_size = number(like, "max.message.bytes");
    if (size && like_size && *size < std::min(*like_size + kHeadersAtMost, kLargest)) {
      warn(
          "a topic of failed messages takes no record of the largest size of its source with our headers: such a "
          "record is sent as a pointer without its payload",
          "max.message.bytes", std::to_string(std::min(*like_size + kHeadersRoom, kLargest)));
    }
  }

  /// Nothing when the client may not see the settings: they are then taken for right.
  const Properties& config_of(const std::string& topic) {
    const auto known = configs_.find(topic);
    if (known != configs_.end()) return known->second;
    try {
      return configs_[topic] = admin_.config(topic, kBound);
    } catch (const KafkaError& error) {
      if (error.kind() != ErrorKind::misuse) throw;
      log(LogLevel::info, "the settings of a topic cannot be checked; grant DESCRIBE_CONFIGS on it",
          {{"topic", topic}, {"error", error.what()}});
      return configs_[topic];
    }
  }

  AdminClient& admin_;
  const ConsumerOptions& options_;
  std::map<std::string, std::int32_t> partitions_;
  std::map<std::string, Properties> configs_;
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
