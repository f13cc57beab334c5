#include "kafka/config.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include <oncemark/core/error.hpp>

#include "core/secret_file.hpp"
#include "kafka/failure.hpp"

namespace oncemark::kafka {
namespace {

constexpr const char* kKey = "kafka.properties";
using Setting = std::pair<std::string, std::string>;

/// A property that the user cannot set, and what to tell him.
struct Protected {
  std::string_view name;
  std::string_view reason;
};

constexpr Protected kProtectedForAll[] = {
    {"bootstrap.servers", "set kafka.brokers"},
    {"metadata.broker.list", "set kafka.brokers"},
    {"enabled_events", "it would take the client's events away from this library"},
    {"log.queue", "it would take the client's log away from this library"},
};

constexpr Protected kProtectedForProducers[] = {
    {"acks", "a delivery report must mean that all in-sync replicas have the record"},
    {"request.required.acks", "a delivery report must mean that all in-sync replicas have the record"},
    {"enable.idempotence", "without it a resend inside the client changes the order and makes copies"},
    {"message.timeout.ms", "a record that the client gives up leaves a gap, and sending it again inverts the order"},
    {"delivery.timeout.ms", "a record that the client gives up leaves a gap, and sending it again inverts the order"},
    {"retries", "only the broker's answer ends the wait for a record"},
    {"message.send.max.retries", "only the broker's answer ends the wait for a record"},
    {"partitioner", "keys must meet those of Java producers (murmur2_random)"},
    {"delivery.report.only.error", "acks must be reported"},
    {"transactional.id", "this library uses no Kafka transactions"},
    {"queuing.strategy", "records of one key are sent in order"},
    {"linger.ms", "set kafka.linger"},
    {"queue.buffering.max.ms", "set kafka.linger"},
    {"queue.buffering.max.messages", "set kafka.max_queued"},
};

constexpr Protected kProtectedForConsumers[] = {
    {"group.id", "set kafka.group"},
    {"group.instance.id", "set kafka.instance_id"},
    {"session.timeout.ms", "set kafka.session_timeout"},
    {"heartbeat.interval.ms", "it follows from kafka.session_timeout"},
    {"max.poll.interval.ms", "set kafka.max_poll_interval"},
    {"queued.max.messages.kbytes", "set kafka.prefetch_bytes"},
    {"enable.auto.commit", "positions are committed only past settled records"},
    {"auto.commit.enable", "positions are committed only past settled records"},
    {"enable.auto.offset.store", "positions are committed only past settled records"},
    {"offset.store.method", "positions are stored by the broker"},
    {"auto.offset.reset", "set kafka.when_no_offset and kafka.when_out_of_range"},
    {"allow.auto.create.topics", "a misspelt topic must be an error"},
};

[[noreturn]] void refuse(const std::string& key, const std::string& text) { throw ConfigError(key, key + ": " + text); }

void check_user_properties(const Properties& properties, std::span<const Protected> extra) {
  for (const auto& [name, value] : properties) {
    for (std::span<const Protected> table : {std::span<const Protected>(kProtectedForAll), extra}) {
      const auto hit = std::find_if(table.begin(), table.end(), [&](const Protected& p) { return p.name == name; });
      if (hit != table.end()) {
        refuse(std::string(kKey) + "." + name, "cannot be set here: " + std::string(hit->reason));
      }
    }
  }
}

// librdkafka 2.0.2 loses the assignment when a cooperative member commits during a rebalance (#4059).
void check_assignors(const Properties& properties) {
  const auto found = properties.find("partition.assignment.strategy");
  if (found == properties.end()) return;
  const std::string& list = found->second;
  for (std::size_t from = 0; from <= list.size();) {
    const std::size_t comma = std::min(list.find(',', from), list.size());
    const std::string name = list.substr(from, comma - from);
    if (name != "range" && name != "roundrobin") {
      refuse(std::string(kKey) + ".partition.assignment.strategy",
             "\"" + name +
                 "\" cannot be used: only range and roundrobin can. cooperative-sticky loses its partitions " +
                 "when it commits during a rebalance unless librdkafka is 2.10 or newer, which this library does not " +
                 "require; the version in use is " + rd_kafka_version_str());
    }
    from = comma + 1;
  }
}

void set_password(rd_kafka_conf_t* conf, const Properties& properties, const std::string& file) {
  if (file.empty()) return;
  if (properties.contains("sasl.password")) {
    refuse("kafka.password_file", "sasl.password is set among the properties too; keep one of the two");
  }
  set_property(conf, "sasl.password", read_secret_file("kafka.password_file", file));
}

ConfHandle build(const std::vector<Setting>& defaults, const Properties& properties, const std::string& password_file,
                 const std::vector<Setting>& required) {
  ConfHandle conf(rd_kafka_conf_new());
  for (const auto& [name, value] : defaults) set_property(conf.get(), name, value);
  for (const auto& [name, value] : properties) set_property(conf.get(), name, value);
  set_password(conf.get(), properties, password_file);
  for (const auto& [name, value] : required) set_property(conf.get(), name, value);
  return conf;
}

void check_brokers(const std::string& brokers) {
  if (brokers.find_first_not_of(" ,") == std::string::npos) {
    refuse("kafka.brokers", "is empty; expected host:port,host:port");
  }
}

template <typename Number>
void check_range(const char* key, Number value, Number low, Number high, const char* unit) {
  if (value < low || value > high) {
    refuse(key,
           std::to_string(value) + unit + " is outside " + std::to_string(low) + " to " + std::to_string(high) + unit);
  }
}

bool is_made_of_name_characters(std::string_view name) noexcept {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}

void check_group(const std::string& group) {
  if (group.empty() || group.size() > 120 || !is_made_of_name_characters(group)) {
    refuse("kafka.group", "\"" + printable(group) + "\" is no group name: 1 to 120 of a-z, A-Z, 0-9, '.', '_' and '-'");
  }
}

void check_topics(const std::vector<std::string>& topics) {
  if (topics.empty()) refuse("kafka.topics", "is empty; name at least one source topic");
  for (const std::string& topic : topics) {
    if (!is_topic_name(topic)) {
      refuse("kafka.topics", "\"" + printable(topic) + "\" is no topic name; patterns are not supported");
    }
  }
}

void check_consumer(const ConsumerOptions& options) {
  check_brokers(options.brokers);
  check_group(options.group);
  check_topics(options.topics);
  check_range("kafka.session_timeout", options.session_timeout.count(), decltype(options.session_timeout)::rep{1'000},
              decltype(options.session_timeout)::rep{3'600'000}, " ms");
  check_range("kafka.max_poll_interval", options.max_poll_interval.count(), options.session_timeout.count(),
              decltype(options.session_timeout)::rep{86'400'000}, " ms");
  check_range("kafka.start_timeout", options.start_timeout.count(), decltype(options.start_timeout)::rep{1},
              decltype(options.start_timeout)::rep{3'600'000}, " ms");
  check_range("kafka.prefetch_bytes", options.prefetch_bytes, std::size_t{64} << 10, std::size_t{1} << 30, " bytes");
  check_user_properties(options.properties, kProtectedForConsumers);
  check_assignors(options.properties);
}

}  // namespace

void set_property(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) {
  std::array<char, 512> text{};
  if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text.data(), text.size()) != RD_KAFKA_CONF_OK) {
    refuse(std::string(kKey) + "." + name, text.data());
  }
}

ConfHandle producer_conf(const ProducerOptions& options) {
  check_brokers(options.brokers);
  check_range("kafka.linger", options.linger.count(), decltype(options.linger)::rep{0},
              decltype(options.linger)::rep{60'000}, " ms");
  check_range("kafka.max_queued", options.max_queued, std::size_t{1}, std::size_t{10'000'000}, "");
  check_user_properties(options.properties, kProtectedForProducers);
  return build(
      {
          {"message.max.bytes", "10485760"},  // the broker decides; this is only what the client refuses at once
          {"topic.metadata.propagation.max.ms", "5000"},  // how soon an unknown topic is reported
      },
      options.properties, options.password_file,
      {
          {"bootstrap.servers", options.brokers},
          {"acks", "all"},
          {"enable.idempotence", "true"},
          {"message.timeout.ms", "0"},
          {"partitioner", "murmur2_random"},
          {"linger.ms", std::to_string(options.linger.count())},
          {"queue.buffering.max.messages", std::to_string(options.max_queued)},
      });
}

ConfHandle consumer_conf(const ConsumerOptions& options) {
  check_consumer(options);
  const auto session = options.session_timeout.count();
  // A response may hold half of what may be queued, so that the next one can be fetched meanwhile.
  const std::size_t fetch = std::clamp(options.prefetch_bytes / 2, std::size_t{64} << 10, std::size_t{50} << 20);
  std::vector<Setting> required = {
      {"bootstrap.servers", options.brokers},
      {"group.id", options.group},
      {"session.timeout.ms", std::to_string(session)},
      {"heartbeat.interval.ms", std::to_string(std::clamp<decltype(session)>(session / 3, 1, 3'000))},
      {"max.poll.interval.ms", std::to_string(options.max_poll_interval.count())},
      {"queued.max.messages.kbytes", std::to_string(options.prefetch_bytes >> 10)},
      {"enable.auto.commit", "false"},
      {"enable.auto.offset.store", "false"},
      {"auto.offset.reset", "error"},
      {"allow.auto.create.topics", "false"},
  };
  if (!options.instance_id.empty()) required.emplace_back("group.instance.id", options.instance_id);
  return build(
      {
          {"partition.assignment.strategy", "range,roundrobin"},
          {"isolation.level", "read_committed"},
          {"check.crcs", "true"},
          {"message.max.bytes", std::to_string(std::min(fetch, std::size_t{1'000'000}))},
          {"fetch.max.bytes", std::to_string(fetch)},
          {"max.partition.fetch.bytes", std::to_string(std::min(fetch, std::size_t{1} << 20))},
      },
      options.properties, options.password_file, required);
}

ConfHandle observer_conf(const std::string& brokers, const Properties& properties, const std::string& password_file,
                         const std::string& group) {
  check_brokers(brokers);
  check_user_properties(properties, {});
  std::vector<Setting> required = {
      {"bootstrap.servers", brokers},
      {"enable.auto.commit", "false"},
      {"allow.auto.create.topics", "false"},
      {"isolation.level", "read_uncommitted"},
  };
  if (!group.empty()) required.emplace_back("group.id", group);
  return build({}, properties, password_file, required);
}

ClientHandle make_client(rd_kafka_type_t type, ConfHandle conf, ClientLog& log) {
  log.attach(conf.get());
  std::array<char, 512> text{};
  ClientHandle client(rd_kafka_new(type, conf.get(), text.data(), text.size()));
  if (!client) {
    const rd_kafka_resp_err_t code = rd_kafka_last_error();
    if (code == RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE) {
      throw failure("the Kafka client cannot be made: " + std::string(text.data()), code);
    }
    refuse(kKey, text.data());
  }
  static_cast<void>(conf.release());  // now the client's
  return client;
}

bool is_topic_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= 249 && name != "." && name != ".." && is_made_of_name_characters(name);
}

}  // namespace oncemark::kafka
