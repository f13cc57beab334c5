#pragma once

#include <vector>

#include <oncemark/housekeeping/partitions.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::housekeeping {

/// The partitions of consumed_message over this connection, outside of any transaction; empty when they are not ours.
[[nodiscard]] std::vector<Partition> read_partitions(mysql::Connection& connection);

}  // namespace oncemark::housekeeping
