#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace oncemark::kafka {

/// librdkafka properties, passed through by name; an unknown one or a bad value is a ConfigError when the client is
/// made. Properties that our promises rest on cannot be overridden (named in the error).
using Properties = std::map<std::string, std::string>;

enum class StartAt {
  earliest,  ///< the first record there is
  latest,    ///< the next record to come
  stop,      ///< throw: a person decides
};

struct ProducerOptions {
  std::string brokers = "127.0.0.1:9092";  // bootstrap list host:port,host:port
  std::chrono::milliseconds linger{5};  // wait for more records before a request · more is fuller batches · 0 to 60,000
  std::size_t max_queued = 100'000;     // records accepted but not reported · memory · 1 to 10,000,000
  Properties properties = {};           // e.g. security.protocol, sasl.*, compression.type
  std::string password_file = {};       // file with sasl.password, one line
};

struct ConsumerOptions {
  std::string brokers = "127.0.0.1:9092";
  std::string group = {};                // Kafka consumer group; [A-Za-z0-9._-], at most 120 characters
  std::vector<std::string> topics = {};  // source topics
  std::string instance_id = {};          // static membership (group.instance.id): a restart within the session
                                         // time-out keeps its partitions · empty is dynamic
  std::chrono::milliseconds session_timeout{45'000};     // a silent member loses its partitions after it
  std::chrono::milliseconds max_poll_interval{300'000};  // a member that stops polling leaves after it
  std::chrono::milliseconds start_timeout{
      30'000};                                 // subscribe() throws when no broker answers for so long · 1 ms to 1 h
  StartAt when_no_offset = StartAt::earliest;  // the group has never committed a position for a partition
  StartAt when_out_of_range = StartAt::stop;   // the committed position is not in the log any more: records were lost
  bool create_topics = true;  // create retry and dead-letter topics that are missing · false: throw with the command
  std::size_t prefetch_bytes = 8u << 20;  // librdkafka's queue of fetched records, all partitions · 64 KiB to 1 GiB
  Properties properties = {};
  std::string password_file = {};
};

}  // namespace oncemark::kafka
