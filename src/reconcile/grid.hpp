#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/reconcile/reconciler.hpp>

namespace oncemark::reconcile {

/// What can be compared: whole minutes that are older than the SLA, and younger than what has been removed.
[[nodiscard]] Grid make_grid(mysql::Transaction& tx, const ReconcileOptions& options, Time now);

/// The first bucket of each topic that lies behind what was purged of the consumer's marks.
[[nodiscard]] std::map<std::string, std::uint32_t> first_buckets(mysql::Pool& pool, const std::string& consumer,
                                                                 const Grid& grid);

}  // namespace oncemark::reconcile
