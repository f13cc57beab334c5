#pragma once

#include <oncemark/message/message.hpp>
#include <oncemark/message/ports.hpp>

#include "kafka/handles.hpp"

namespace oncemark::kafka {

/// A consumed message as ours. Null and empty stay apart; headers keep order and duplicates.
///
/// Shape:   librdkafka reads header names up to their first NUL, and no headers at all when there are more than
///          100,000: the record then comes without any, and a warning is logged.
[[nodiscard]] Record to_record(const rd_kafka_message_t& message);

/// Headers for producing; nullptr for none. Throws std::bad_alloc only.
[[nodiscard]] HeadersHandle to_native(const Headers& headers);

}  // namespace oncemark::kafka
