#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <oncemark/kafka/admin.hpp>

#include "kafka/client_log.hpp"
#include "kafka/handles.hpp"

namespace oncemark::kafka {

/// What Admin does, with a time bound per call. It is a consumer without a group: librdkafka lets producers create the
/// topics they ask about, wherever the broker allows that.
class AdminClient final {
 public:
  using milliseconds = std::chrono::milliseconds;
  AdminClient(const std::string& brokers, const Properties& properties, const std::string& password_file);

  [[nodiscard]] std::optional<TopicInfo> describe(const std::string& topic, milliseconds bound);
  [[nodiscard]] std::vector<TopicInfo> list(milliseconds bound);
  void create(const std::vector<NewTopic>& topics, milliseconds bound);
  [[nodiscard]] Properties config(const std::string& topic, milliseconds bound);
  [[nodiscard]] Watermarks watermarks(const TopicPartition& partition, milliseconds bound);
  /// Why the last connection failed.
  [[nodiscard]] std::string last_failure() const { return log_.last_failure(); }

 private:
  [[nodiscard]] MetadataHandle metadata(const std::string* topic, milliseconds bound);
  [[nodiscard]] bool is_ready(const NewTopic& topic, milliseconds bound);

  ClientLog log_;
  ClientHandle client_;  // after log_, which must outlive it
};

}  // namespace oncemark::kafka
