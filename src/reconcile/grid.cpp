#include "reconcile/grid.hpp"

#include <algorithm>
#include <optional>

namespace oncemark::reconcile {

using std::chrono::minutes;

Grid make_grid(mysql::Transaction& tx, const ReconcileOptions& options, Time now) {
  const Time until = std::chrono::floor<minutes>(now - options.sla);
  Time from = now - options.span;
  // Sent rows are removed in the order in which they were appended, roughly: before the oldest one nothing is known.
  const auto oldest = tx.query_row(
      "SELECT LEAST(created_at, event_time) FROM outbox_message WHERE purpose = '' AND status = 'sent' ORDER BY id "
      "LIMIT 1");
  const Time known = oldest ? oldest->get<Time>(0) : from;
  from = known > from ? std::chrono::floor<minutes>(known) : std::chrono::ceil<minutes>(from);
  from = std::min(from, until - minutes(1));
  const auto span = static_cast<std::uint32_t>(std::chrono::duration_cast<minutes>(until - from).count());
  const auto rows = tx.query_row(
      "SELECT MAX(table_rows) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN "
      "('outbox_message', 'consumed_message')");
  const auto topics = tx.query_row(
      "SELECT COUNT(DISTINCT topic) FROM (SELECT topic FROM outbox_message ORDER BY id DESC LIMIT 10000) AS newest");
  const auto estimate = rows ? rows->get<std::optional<std::uint64_t>>(0).value_or(0) : 0;
  return {.from = from,
          .minutes = span,
          .slices = suitable_slices(estimate / std::max<std::uint64_t>(1, topics->get<std::uint64_t>(0)), span)};
}

std::map<std::string, std::uint32_t> first_buckets(mysql::Pool& pool, const std::string& consumer, const Grid& grid) {
  std::map<std::string, std::uint32_t> first;
  for (const mysql::Row& row : pool.transact([&](mysql::Transaction& tx) {
         return tx.query(
             "SELECT origin_topic, MAX(event_time) FROM consumed_horizon WHERE consumer = ? GROUP BY origin_topic",
             consumer);
       })) {
    const Time horizon = row.get<Time>(1);
    if (horizon < grid.from) continue;
    const auto passed = std::chrono::floor<minutes>(horizon - grid.from).count() + 1;
    first[row.get<std::string>(0)] =
        static_cast<std::uint32_t>(std::min<std::int64_t>(passed, grid.minutes)) * grid.slices;
  }
  return first;
}

}  // namespace oncemark::reconcile
