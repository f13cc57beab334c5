#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <oncemark/kafka/admin.hpp>
#include <oncemark/message/position.hpp>

#include "kafka/handles.hpp"

namespace oncemark::kafka {

/// Requests about positions, each with a bound: rd_kafka_commit() and rd_kafka_query_watermark_offsets() of
/// librdkafka 2.0.2 have none (the first waits for a coordinator as long as the session time-out, the second ignores
/// its argument).

/// Commits; the first error there was, RD_KAFKA_RESP_ERR__TIMED_OUT when there is no answer in time.
[[nodiscard]] rd_kafka_resp_err_t commit_within(rd_kafka_t* client, const std::vector<Position>& next,
                                                std::chrono::milliseconds bound);

/// The committed position of each partition, in the order asked for; nothing where there is none.
///
/// Errors:  KafkaError, for the first partition that has an error too: "cannot tell" is not "none".
[[nodiscard]] std::vector<std::optional<std::int64_t>> committed_within(rd_kafka_t* client,
                                                                        const std::vector<TopicPartition>& partitions,
                                                                        std::chrono::milliseconds bound);

/// First offset and end of each partition, in the order asked for. The end is the one that the client's
/// isolation.level sees: with read_committed the first record of an open transaction.
///
/// Errors:  KafkaError.
[[nodiscard]] std::vector<Watermarks> watermarks_within(rd_kafka_t* client,
                                                        const std::vector<TopicPartition>& partitions,
                                                        std::chrono::milliseconds bound);

}  // namespace oncemark::kafka
