#include "kafka/start.hpp"

#include <oncemark/observe/log.hpp>

#include "kafka/failure.hpp"
#include "kafka/partitions.hpp"
#include "kafka/requests.hpp"

namespace oncemark::kafka {
namespace {

std::optional<std::int64_t> by_rule(StartAt rule, Watermarks ends) {
  switch (rule) {
    case StartAt::earliest:
      return ends.low;
    case StartAt::latest:
      return ends.high;
    case StartAt::stop:
      break;
  }
  return std::nullopt;
}

std::string extent(Watermarks ends) {
  return "the log holds offsets " + std::to_string(ends.low) + " to " + std::to_string(ends.high) + " (exclusive)";
}

std::string set_by_hand(const StartRules& rules, const TopicPartition& partition, std::int64_t offset) {
  return "kafka-consumer-groups.sh --bootstrap-server " + rules.brokers + " --group " + rules.group + " --topic " +
         partition.topic + ":" + std::to_string(partition.partition) + " --reset-offsets --to-offset " +
         std::to_string(offset) + " --execute";
}

[[noreturn]] void stop_without_offset(const TopicPartition& partition, Watermarks ends, const StartRules& rules) {
  throw failure(
      ErrorKind::permanent,
      "group " + rules.group + " has never committed a position for " + name_of(partition) + ", " + extent(ends),
      RD_KAFKA_RESP_ERR__NO_OFFSET,
      "set when_no_offset to earliest or latest, or choose a position: " + set_by_hand(rules, partition, ends.low));
}

[[noreturn]] void stop_out_of_range(const TopicPartition& partition, std::int64_t committed, Watermarks ends,
                                    const StartRules& rules) {
  const std::string what = committed < ends.low ? std::to_string(ends.low - committed) +
                                                      " offsets were deleted before the group had read them"
                                                : "the topic was made anew or its log was cut";
  throw failure(ErrorKind::permanent,
                "group " + rules.group + " stands at " + name_of(partition) + "@" + std::to_string(committed) + ", " +
                    extent(ends) + ": " + what,
                RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
                "find out what is missing, then choose a position: " + set_by_hand(rules, partition, ends.low) +
                    "; or set when_out_of_range to earliest or latest");
}

void tell(const Start& start, std::optional<std::int64_t> committed, const Position& position, Watermarks ends,
          const StartRules& rules) {
  const bool lost = start.reason == StartReason::out_of_range;
  log(lost ? LogLevel::warn : LogLevel::info,
      lost ? "the committed position is not in the log; starting elsewhere by when_out_of_range"
           : "no committed position; starting by when_no_offset",
      {{"group", rules.group},
       {"start", position.str()},
       {"committed", committed ? std::to_string(*committed) : std::string("none")},
       {"low", ends.low},
       {"high", ends.high}});
}

}  // namespace

Start choose_start(std::optional<std::int64_t> committed, Watermarks ends, const StartRules& rules) {
  if (!committed) return {StartReason::no_offset, by_rule(rules.no_offset, ends)};
  if (*committed >= ends.low && *committed <= ends.high) return {StartReason::committed, committed};
  return {StartReason::out_of_range, by_rule(rules.out_of_range, ends)};
}

std::vector<Position> find_starts(rd_kafka_t* client, const std::vector<TopicPartition>& partitions,
                                  const StartRules& rules, std::chrono::milliseconds bound,
                                  const std::function<Watermarks(const TopicPartition&)>& all_records) {
  const auto until = std::chrono::steady_clock::now() + bound;
  const auto rest = [until] {
    return std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  };
  const auto committed = committed_within(client, partitions, bound);
  const auto log_ends = watermarks_within(client, partitions, rest());

  std::vector<Position> starts;
  std::vector<Position> to_commit;
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    const TopicPartition& partition = partitions[i];
    Watermarks ends = log_ends[i];
    if (committed[i] && *committed[i] > ends.high) ends.high = all_records(partition).high;
    const Start start = choose_start(committed[i], ends, rules);
    if (!start.offset && committed[i]) stop_out_of_range(partition, *committed[i], ends, rules);
    if (!start.offset) stop_without_offset(partition, ends, rules);
    starts.push_back({partition.topic, partition.partition, *start.offset});
    if (start.reason == StartReason::committed) continue;
    tell(start, committed[i], starts.back(), ends, rules);
    if (start.reason == StartReason::out_of_range || rules.no_offset == StartAt::latest) {
      to_commit.push_back(starts.back());
    }
  }
  if (!to_commit.empty()) {
    if (const rd_kafka_resp_err_t error = commit_within(client, to_commit, rest())) {
      throw failure("committing the chosen start of group " + rules.group, error);
    }
  }
  return starts;
}

}  // namespace oncemark::kafka
