#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <oncemark/mysql/transaction.hpp>

namespace oncemark::dead_letter {

// The frozen selection of a job: letter ids in the order in which they are replayed, in rows of some thousands.

void write_frozen(mysql::Transaction& tx, std::uint64_t job_id, std::span<const std::uint64_t> letters);
/// The letters from `place` on, as many as lie in one row; none behind the end.
[[nodiscard]] std::vector<std::uint64_t> read_frozen(mysql::Transaction& tx, std::uint64_t job_id, std::uint64_t place);
void remove_frozen(mysql::Transaction& tx, std::uint64_t job_id);

}  // namespace oncemark::dead_letter
