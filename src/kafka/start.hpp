#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <oncemark/kafka/admin.hpp>
#include <oncemark/kafka/settings.hpp>
#include <oncemark/message/position.hpp>

#include "kafka/handles.hpp"

namespace oncemark::kafka {

/// What a newly assigned partition's first position follows from.
struct StartRules {
  std::string group;
  std::string brokers;
  StartAt no_offset = StartAt::earliest;
  StartAt out_of_range = StartAt::stop;
};

enum class StartReason { committed, no_offset, out_of_range };

struct Start {
  StartReason reason = StartReason::committed;
  std::optional<std::int64_t> offset;  // nothing: a person decides
};

/// Where to start in a log that holds [log.low, log.high).
[[nodiscard]] Start choose_start(std::optional<std::int64_t> committed, Watermarks log, const StartRules& rules);

/// Finds where to start in each partition, and says in the log what was not simply the committed position.
///
/// Shape:   a position that a rule chose, unless it is the beginning for a group without one, is committed before it is
///          used: a restart would otherwise choose again, later in the log, and skip what came in between.
///          `all_records` gives the ends of a partition with uncommitted records, for a position that seems to lie
///          beyond the end.
/// Errors:  KafkaError: permanent by StartAt::stop; else whatever kept it from finding out (no partition may be
///          started then).
[[nodiscard]] std::vector<Position> find_starts(rd_kafka_t* client, const std::vector<TopicPartition>& partitions,
                                                const StartRules& rules, std::chrono::milliseconds bound,
                                                const std::function<Watermarks(const TopicPartition&)>& all_records);

}  // namespace oncemark::kafka
