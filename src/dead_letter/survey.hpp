#pragma once

#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/mysql/pool.hpp>

namespace oncemark::dead_letter {

/// Looks through the letters that an order selects, page by page. Locks nothing; what dies meanwhile is not taken.
[[nodiscard]] ReplayPlan survey(mysql::Pool& pool, const ReplayOrder& order);

}  // namespace oncemark::dead_letter
