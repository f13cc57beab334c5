#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <oncemark/message/ports.hpp>

namespace oncemark::transactional {

/// What became of one record.
struct Delivered {
  DeliveryStatus status = DeliveryStatus::failed;
  std::string error = {};
};

/// Sends records and waits for their reports.
///
/// Shape:   one result per record, in order. What was refused in company is sent once more alone, since a broker refuses
///          whole batches for one bad record. Without a report in time a record has failed, and the sink starts afresh.
/// Threads: the sink's owner.
/// Errors:  what the sink throws.
[[nodiscard]] std::vector<Delivered> deliver(Sink& sink, const std::vector<OutgoingRecord>& records,
                                             std::chrono::milliseconds report_timeout);

}  // namespace oncemark::transactional
