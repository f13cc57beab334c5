#include <oncemark/ledger/horizon.hpp>

#include <algorithm>
#include <bit>
#include <map>
#include <utility>

namespace oncemark::ledger {
namespace {

using Origin = std::pair<std::string, std::int32_t>;  // topic and partition

Origin origin_of(const Message& message) { return {message.origin.topic, message.origin.partition}; }

}  // namespace

void HorizonOptions::validate() const {
  if (retention >= std::chrono::seconds(2)) return;
  throw ConfigError("HorizonOptions::retention", "HorizonOptions::retention is " + std::to_string(retention.count()) +
                                                     " s; it must be at least 2 s, and what the sweeper keeps marks "
                                                     "for");
}

void raise_horizon(mysql::Transaction& tx, std::string_view consumer, std::span<const Purged> marks) {
  std::map<Origin, Time> highest;  // sorted: the order of the locks
  for (const Purged& mark : marks) {
    const auto [found, is_new] = highest.try_emplace({mark.topic, mark.partition}, mark.event_time);
    if (!is_new) found->second = std::max(found->second, mark.event_time);
  }
  for (const auto& [origin, event_time] : highest) {
    tx.execute(
        "INSERT INTO consumed_horizon (consumer, origin_topic, origin_partition, event_time, purged_at) "
        "VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6)) "
        "ON DUPLICATE KEY UPDATE event_time = GREATEST(event_time, VALUES(event_time)), purged_at = VALUES(purged_at)",
        consumer, origin.first, origin.second, event_time);
  }
}

bool is_near_horizon(const HorizonOptions& options, const Message& message, Time now) {
  return options.older_than_horizon == OlderThanHorizon::dead_letter &&
         message.event_time < now - options.retention / 2;
}

std::vector<std::size_t> find_older_than_horizon(mysql::Transaction& tx, std::string_view consumer,
                                                 std::span<const Message* const> messages) {
  std::vector<std::size_t> older;
  if (messages.empty()) return older;
  std::vector<Origin> origins;
  origins.reserve(messages.size());
  for (const Message* message : messages) origins.push_back(origin_of(*message));
  std::ranges::sort(origins);
  origins.erase(std::unique(origins.begin(), origins.end()), origins.end());

  // A power of two of conditions, so that there are few texts to prepare; the last one is repeated.
  std::string sql = "SELECT origin_topic, origin_partition, event_time FROM consumed_horizon WHERE consumer = ? AND (";
  std::vector<mysql::Param> params{consumer};
  for (std::size_t i = 0; i < std::bit_ceil(origins.size()); ++i) {
    const Origin& origin = origins[std::min(i, origins.size() - 1)];
    sql += i == 0 ? "(origin_topic = ? AND origin_partition = ?)" : " OR (origin_topic = ? AND origin_partition = ?)";
    params.emplace_back(origin.first);
    params.emplace_back(origin.second);
  }
  sql += ")";
  std::map<Origin, Time> horizons;
  for (const mysql::Row& row : tx.query_with(sql, params)) {
    horizons.emplace(Origin(row.get<std::string>(0), row.get<std::int32_t>(1)), row.get<Time>(2));
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto horizon = horizons.find(origin_of(*messages[i]));
    if (horizon != horizons.end() && messages[i]->event_time <= horizon->second) older.push_back(i);
  }
  return older;
}

void require_retention(mysql::Pool& pool, const HorizonOptions& options) {
  if (options.older_than_horizon == OlderThanHorizon::process) return;
  const auto row = pool.transact([&](mysql::Transaction& tx) {
    return tx.query_row("SELECT retention FROM sweep_progress WHERE task = 'marks' ORDER BY updated_at DESC LIMIT 1");
  });
  if (!row || row->get<std::int64_t>(0) >= options.retention.count()) return;
  throw MisuseError("HorizonOptions::retention is " + std::to_string(options.retention.count()) +
                    " s, but the sweeper of database " + pool.options().schema + " keeps marks for " +
                    std::to_string(row->get<std::int64_t>(0)) +
                    " s only: lower it, or raise retention.marks of the sweeper");
}

OlderThanHorizonError::OlderThanHorizonError(std::string_view consumer, const Message& message)
    : PermanentError("record " + message.read_at.str() + " of " + format_rfc3339(message.event_time) +
                     " is not younger than the marks that were purged for consumer " + std::string(consumer) +
                     ", so that nobody can tell whether it was handled before; replay the letter if it was not") {}

}  // namespace oncemark::ledger
