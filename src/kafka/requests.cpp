#include "kafka/requests.hpp"

#include "kafka/failure.hpp"
#include "kafka/partitions.hpp"

namespace oncemark::kafka {
namespace {

using std::chrono::milliseconds;

int ms(milliseconds time) { return static_cast<int>(std::max<milliseconds::rep>(time.count(), 0)); }

const rd_kafka_topic_partition_t* entry_of(rd_kafka_topic_partition_list_t* list, const TopicPartition& partition) {
  return rd_kafka_topic_partition_list_find(list, partition.topic.c_str(), partition.partition);
}

// One of the two ends of each partition. A partition that is missing in the answer keeps what was asked for, which is
// negative, so no answer cannot be taken for one.
std::vector<std::int64_t> ends(rd_kafka_t* client, const std::vector<TopicPartition>& partitions, std::int64_t which,
                               milliseconds bound) {
  const PartitionsHandle list = to_native(partitions, which);
  const rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(client, list.get(), ms(bound));
  std::vector<std::int64_t> offsets;
  for (const TopicPartition& partition : partitions) {
    const rd_kafka_topic_partition_t* entry = entry_of(list.get(), partition);
    const rd_kafka_resp_err_t code = error ? error : entry->err;
    if (code) throw failure("reading the ends of " + name_of(partition), code);
    if (entry->offset < 0) {
      throw failure("reading the ends of " + name_of(partition), RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
    }
    offsets.push_back(entry->offset);
  }
  return offsets;
}

}  // namespace

rd_kafka_resp_err_t commit_within(rd_kafka_t* client, const std::vector<Position>& next, milliseconds bound) {
  const PartitionsHandle list = to_native(next);
  const QueueHandle answers(rd_kafka_queue_new(client));
  const rd_kafka_resp_err_t refused = rd_kafka_commit_queue(client, list.get(), answers.get(), nullptr, nullptr);
  if (refused) return refused;
  const EventHandle event(rd_kafka_queue_poll(answers.get(), ms(bound)));
  if (!event) return RD_KAFKA_RESP_ERR__TIMED_OUT;
  if (const rd_kafka_resp_err_t error = rd_kafka_event_error(event.get())) return error;
  const auto* results = rd_kafka_event_topic_partition_list(event.get());
  for (int i = 0; results && i < results->cnt; ++i) {
    if (results->elems[i].err) return results->elems[i].err;
  }
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

std::vector<std::optional<std::int64_t>> committed_within(rd_kafka_t* client,
                                                          const std::vector<TopicPartition>& partitions,
                                                          milliseconds bound) {
  const PartitionsHandle list = to_native(partitions);
  const rd_kafka_resp_err_t error = rd_kafka_committed(client, list.get(), ms(bound));
  std::vector<std::optional<std::int64_t>> positions;
  for (const TopicPartition& partition : partitions) {
    const rd_kafka_topic_partition_t* entry = entry_of(list.get(), partition);
    const rd_kafka_resp_err_t code = error ? error : entry->err;
    if (code) throw failure("reading the committed position of " + name_of(partition), code);
    positions.push_back(entry->offset >= 0 ? std::optional(entry->offset) : std::nullopt);
  }
  return positions;
}

std::vector<Watermarks> watermarks_within(rd_kafka_t* client, const std::vector<TopicPartition>& partitions,
                                          milliseconds bound) {
  if (partitions.empty()) return {};
  const auto until = std::chrono::steady_clock::now() + bound;
  const auto low = ends(client, partitions, RD_KAFKA_OFFSET_BEGINNING, bound);
  const auto rest = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
  const auto high = ends(client, partitions, RD_KAFKA_OFFSET_END, rest);
  std::vector<Watermarks> result;
  for (std::size_t i = 0; i < partitions.size(); ++i) result.push_back({low[i], std::max(low[i], high[i])});
  return result;
}

}  // namespace oncemark::kafka
