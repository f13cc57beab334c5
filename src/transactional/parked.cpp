#include <oncemark/transactional/parked.hpp>

#include <string_view>

#include <oncemark/core/faults.hpp>

namespace oncemark::transactional {
namespace {

/// The sender of a parked message, whose row is then locked.
std::optional<std::string> lock(mysql::Transaction& tx, const std::string& message_id, std::string_view condition) {
  const auto row = tx.query_row(
      "SELECT sender FROM parked_half WHERE message_id = ?" + std::string(condition) + " FOR UPDATE", message_id);
  if (!row) return std::nullopt;
  return row->get<std::string>(0);
}

void audit(mysql::Transaction& tx, const std::string& sender, const std::string& message_id, std::string_view action,
           std::string_view outcome, const SettledBy& hand) {
  tx.execute(
      "INSERT INTO replay_audit (job_id, letter_id, consumer, identity, life, action, outcome, operator, reason, at) "
      "VALUES (NULL, 0, ?, ?, 0, ?, ?, ?, ?, UTC_TIMESTAMP(6))",
      sender, message_id, action, outcome, hand.operator_name, hand.reason);
}

}  // namespace

std::vector<ParkedHalf> find_parked(mysql::Transaction& tx, const std::optional<std::string>& sender,
                                    const std::optional<std::string>& message_id, std::size_t limit) {
  std::string sql =
      "SELECT message_id, sender, state = 'committed', topic, message_key, payload, headers, event_time, since, "
      "checks, "
      "reason, parked_at FROM parked_half WHERE 1 = 1";
  std::vector<mysql::Param> params;
  if (sender) {
    sql += " AND sender = ?";
    params.emplace_back(*sender);
  }
  if (message_id) {
    sql += " AND message_id = ?";
    params.emplace_back(*message_id);
  }
  sql += " ORDER BY parked_at, message_id LIMIT ?";
  params.emplace_back(limit);
  std::vector<ParkedHalf> found;
  for (const mysql::Row& row : tx.query_with(sql, params)) {
    found.push_back({.message = {.id = row.get<std::string>(0),
                                 .topic = row.get<std::string>(3),
                                 .key = row.get<Bytes>(4),
                                 .payload = row.get<Bytes>(5),
                                 .headers = decode_headers(row.get<std::string>(6)),
                                 .event_time = row.get<Time>(7),
                                 .since = row.get<Time>(8),
                                 .checks = row.get<std::uint32_t>(9)},
                     .sender = row.get<std::string>(1),
                     .reason = row.get<std::string>(10),
                     .parked_at = row.get<Time>(11),
                     .is_committed = row.get<bool>(2)});
  }
  return found;
}

bool commit_parked(mysql::Transaction& tx, const std::string& message_id, const SettledBy& hand) {
  const auto sender = lock(tx, message_id, " AND state = 'parked' AND topic <> ''");
  if (!sender) return false;
  tx.execute("UPDATE parked_half SET state = 'committed' WHERE message_id = ?", message_id);
  audit(tx, *sender, message_id, "half-commit", "committed", hand);
  ONCEMARK_FAIL_POINT("half.before_settle");
  return true;
}

bool drop_parked(mysql::Transaction& tx, const std::string& message_id, const SettledBy& hand) {
  const auto sender = lock(tx, message_id, "");
  if (!sender) return false;
  tx.execute("DELETE FROM parked_half WHERE message_id = ?", message_id);
  tx.execute(
      "INSERT INTO local_transaction (message_id, sender, state, settled_at) VALUES (?, ?, 'discarded', "
      "UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE state = 'discarded', settled_at = UTC_TIMESTAMP(6)",
      message_id, *sender);
  audit(tx, *sender, message_id, "half-drop", "discarded", hand);
  ONCEMARK_FAIL_POINT("half.before_settle");
  return true;
}

}  // namespace oncemark::transactional
