#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <set>

#include <oncemark/core/error.hpp>
#include <oncemark/kafka/admin.hpp>
#include <oncemark/redis/client.hpp>

#include "doctor.hpp"
#include "output.hpp"

namespace oncemark::tools {
namespace {

constexpr std::int64_t kWeek = 7LL * 86'400'000;
constexpr std::int64_t kHeadersRoom = 65'536;  // our headers, on top of the largest record of the source

std::optional<std::int64_t> number(const kafka::Properties& config, const std::string& name) {
  const auto found = config.find(name);
  std::int64_t value = 0;
  if (found == config.end()) return std::nullopt;
  const char* const end = found->second.data() + found->second.size();
  if (std::from_chars(found->second.data(), end, value).ptr != end) return std::nullopt;
  return value;
}

/// The topics of a broker, and what they should be like.
class Topics {
 public:
  Topics(const config::Settings& settings, kafka::Admin& admin, Findings& findings)
      : brokers_(settings.kafka.brokers), names_(settings.topics), admin_(admin), findings_(findings) {
    for (kafka::TopicInfo& topic : admin.list()) there_.push_back(std::move(topic));
  }

  [[nodiscard]] std::size_t count() const { return there_.size(); }

  void examine_sent(const std::string& topic) {
    const kafka::TopicInfo* found = find(topic);
    if (found == nullptr) return missing(topic, 6);
    const kafka::Properties config = admin_.config(topic);
    const auto policy = config.find("cleanup.policy");
    if (policy != config.end() && policy->second.find("compact") != std::string::npos) {
      findings_.warn(topic, "is compacted: a late copy may replace a newer record of its key",
                     alter(topic, "cleanup.policy=delete"));
    } else {
      findings_.ok(topic, std::to_string(found->partitions) + " partitions");
    }
  }

  void examine_failing(const KnownTopics::Failing& one) {
    const kafka::TopicInfo* source = find(one.topic);
    if (source == nullptr) return missing(one.topic, 6);
    const kafka::Properties like = admin_.config(one.topic);
    for (const std::string& topic :
         {names_.retry_topic(one.group, one.topic), names_.dead_letter_topic(one.group, one.topic)}) {
      const kafka::TopicInfo* found = find(topic);
      if (found == nullptr) {
        missing(topic, source->partitions);
        continue;
      }
      examine_like(*found, *source, like);
    }
  }

 private:
  void examine_like(const kafka::TopicInfo& topic, const kafka::TopicInfo& source, const kafka::Properties& like) {
    const kafka::Properties own = admin_.config(topic.name);
    bool is_well = true;
    const auto warn = [&](const std::string& text, const std::string& cure) {
      findings_.warn(topic.name, text, cure);
      is_well = false;
    };
    if (topic.partitions < source.partitions) {
      warn("has " + std::to_string(topic.partitions) + " partitions, " + source.name + " has " +
               std::to_string(source.partitions),
           "kafka-topics.sh --bootstrap-server " + brokers_ + " --alter --topic " + topic.name + " --partitions " +
               std::to_string(source.partitions));
    }
    const auto kept = number(own, "retention.ms");
    const auto source_kept = number(like, "retention.ms");
    const std::int64_t least = source_kept && *source_kept >= 0 ? std::max(*source_kept, kWeek) : kWeek;
    if (kept && *kept >= 0 && *kept < least) {
      warn("keeps records for " + short_duration(std::chrono::milliseconds(*kept)) + ", less than a week or than " +
               source.name + " does",
           alter(topic.name, "retention.ms=" + std::to_string(least)));
    }
    const auto policy = own.find("cleanup.policy");
    if (policy != own.end() && policy->second != "delete") {
      warn("has cleanup.policy " + policy->second + ": failed messages of a key replace each other",
           alter(topic.name, "cleanup.policy=delete"));
    }
    const auto size = number(own, "max.message.bytes");
    const auto source_size = number(like, "max.message.bytes");
    if (size && source_size && *size < *source_size + kHeadersRoom) {
      warn("takes records of " + std::to_string(*size) + " bytes; the largest of " + source.name +
               " with our headers have " + std::to_string(*source_size + kHeadersRoom),
           alter(topic.name, "max.message.bytes=" + std::to_string(*source_size + kHeadersRoom)));
    }
    if (is_well) findings_.ok(topic.name, "partitions, retention and record size fit " + source.name);
  }

  [[nodiscard]] const kafka::TopicInfo* find(const std::string& name) const {
    const auto found = std::ranges::find(there_, name, &kafka::TopicInfo::name);
    return found == there_.end() ? nullptr : &*found;
  }
  void missing(const std::string& topic, int partitions) {
    if (!told_.insert(topic).second) return;
    findings_.fail(topic, "does not exist",
                   "kafka-topics.sh --bootstrap-server " + brokers_ + " --create --topic " + topic + " --partitions " +
                       std::to_string(partitions));
  }
  [[nodiscard]] std::string alter(const std::string& topic, const std::string& config) const {
    return "kafka-configs.sh --bootstrap-server " + brokers_ + " --alter --topic " + topic + " --add-config " + config;
  }

  std::string brokers_;
  retry::TopicNames names_;
  kafka::Admin& admin_;
  Findings& findings_;
  std::vector<kafka::TopicInfo> there_;
  std::set<std::string> told_;
};

/// "maxmemory_policy:allkeys-lru" in what INFO answers.
std::string field_of(const std::string& info, const std::string& name) {
  const std::size_t at = info.find("\n" + name + ":");
  if (at == std::string::npos) return {};
  const std::size_t begin = at + name.size() + 2;
  return info.substr(begin, info.find_first_of("\r\n", begin) - begin);
}

}  // namespace

void examine_kafka(const config::Settings& settings, const KnownTopics& topics, Findings& findings) {
  findings.begin("kafka");
  findings.attempt(
      "reachable",
      "check kafka.brokers (" + std::string(settings.origin_of("kafka.brokers")) + "), and that a broker runs", [&] {
        kafka::Admin admin(settings.kafka.brokers, settings.kafka.properties, settings.kafka.password_file);
        Topics there(settings, admin, findings);
        findings.ok("reachable", settings.kafka.brokers + ", " + std::to_string(there.count()) + " topics");
        for (const std::string& topic : topics.sent) {
          findings.attempt(topic, "oncemark doctor kafka", [&] { there.examine_sent(topic); });
        }
        for (const KnownTopics::Failing& one : topics.failing) {
          findings.attempt(one.topic, "oncemark doctor kafka", [&] { there.examine_failing(one); });
        }
      });
}

void examine_redis(const config::Settings& settings, Findings& findings) {
  if (settings.origin_of("redis.url") == "default") return;  // it is optional, and services need not use it
  findings.begin("redis");
  findings.attempt(
      "reachable", "check redis.url (" + std::string(settings.origin_of("redis.url")) + "), and that the server runs",
      [&] {
        redis::Client client(settings.redis);
        const std::string info = "\n" + client.command({"INFO"}).text;
        findings.ok("reachable", settings.redis.url);
        const std::string version = field_of(info, "redis_version");
        int major = 0;
        (void)std::sscanf(version.c_str(), "%d", &major);
        if (major >= 6) {
          findings.ok("version", version);
        } else {
          findings.warn("version", version + ": users and ACLs need 6", "upgrade to Redis 6 or later");
        }
        const std::string policy = field_of(info, "maxmemory_policy");
        const std::string limit = field_of(info, "maxmemory");
        if (limit == "0") {
          findings.warn("maxmemory", "there is no limit: marks fill the machine's memory",
                        "redis-cli CONFIG SET maxmemory 256mb;  and maxmemory 256mb in redis.conf");
        }
        if (policy == "noeviction") {
          findings.warn(
              "eviction", "noeviction: a full Redis refuses new marks, and grows useless",
              "redis-cli CONFIG SET maxmemory-policy allkeys-lru;  and maxmemory-policy allkeys-lru in redis.conf");
        } else {
          findings.ok("eviction", policy);
        }
      });
}

}  // namespace oncemark::tools
