#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <oncemark/kafka/settings.hpp>
#include <oncemark/message/position.hpp>

namespace oncemark::kafka {

struct NewTopic {
  std::string name = {};
  std::int32_t partitions = 1;
  std::int32_t replication = -1;  // -1: the broker's default
  Properties config = {};         // e.g. cleanup.policy, retention.ms
};

struct TopicInfo {
  std::string name = {};
  std::int32_t partitions = 0;
};

struct Watermarks {
  std::int64_t low = 0;   // offset of the first record there is
  std::int64_t high = 0;  // offset that the next record will get
};

/// Looks at topics and makes them; never changes or deletes one.
///
/// Threads: any; one request at a time is simplest. Each call blocks for at most 10 s.
/// Errors:  KafkaError: unavailable when no broker answers, misuse for names, rights or partition counts.
class Admin final {
 public:
  explicit Admin(const std::string& brokers, Properties properties = {}, const std::string& password_file = {});
  ~Admin();
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  /// The topic, or nothing when it does not exist. Never creates it.
  [[nodiscard]] std::optional<TopicInfo> describe(const std::string& topic);
  [[nodiscard]] std::vector<TopicInfo> list();
  /// Creates those that do not exist yet (losing a race to another creator is fine), and waits until they are known.
  void create(const std::vector<NewTopic>& topics);
  /// The settings of a topic as they take effect: its own, else the broker's.
  [[nodiscard]] Properties config(const std::string& topic);
  [[nodiscard]] Watermarks watermarks(const TopicPartition& partition);
  /// Committed positions of a group; offset -1 where there is none.
  [[nodiscard]] std::vector<Position> committed(const std::string& group,
                                                const std::vector<TopicPartition>& partitions);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oncemark::kafka
