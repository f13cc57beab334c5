#include <oncemark/outbox/stuck.hpp>

#include <string_view>

#include <oncemark/core/faults.hpp>
#include <oncemark/outbox/writer.hpp>

namespace oncemark::outbox {
namespace {

constexpr std::string_view kRetryPurpose = "retry:";

struct Locked {
  std::string relay;
  std::string message_id;
};

// The row, if it is still stuck; locked.
std::optional<Locked> lock_stuck(mysql::Transaction& tx, std::uint64_t id, const std::string& condition) {
  const auto row = tx.query_row(
      "SELECT relay, message_id FROM outbox_message WHERE id = ? AND status IN ('failing', "
      "'dead')" +
          condition + " FOR UPDATE",
      id);
  if (!row) return std::nullopt;
  return Locked{.relay = row->get<std::string>(0), .message_id = row->get<std::string>(1)};
}

void audit(mysql::Transaction& tx, const Locked& row, std::string_view action, std::string_view outcome,
           const ByHand& hand) {
  tx.execute(
      "INSERT INTO replay_audit (job_id, letter_id, consumer, identity, life, action, outcome, operator, reason, at) "
      "VALUES (NULL, 0, ?, ?, 0, ?, ?, ?, ?, UTC_TIMESTAMP(6))",
      row.relay, row.message_id, action, outcome, hand.operator_name, hand.reason);
}

}  // namespace

std::vector<StuckRow> find_stuck(mysql::Transaction& tx, const StuckSelection& selection, std::size_t limit) {
  check_name("StuckSelection::relay", selection.relay);
  std::string sql =
      "SELECT id, message_id, purpose, relay, topic, message_key, status = 'dead', attempts, COALESCE(last_error, ''), "
      "created_at, available_at FROM outbox_message FORCE INDEX (to_send) WHERE relay = ? AND status IN (";
  sql += selection.dead_only ? "'dead')" : "'failing', 'dead')";
  std::vector<mysql::Param> params{mysql::Param(selection.relay)};
  const auto require = [&](const char* condition, const auto& value) {
    if (!value) return;
    sql += condition;
    params.emplace_back(*value);
  };
  require(" AND id = ?", selection.id);
  require(" AND message_id = ?", selection.message_id);
  require(" AND topic = ?", selection.topic);
  std::optional<std::int64_t> age;
  if (selection.older_than) age = selection.older_than->count();
  require(" AND created_at <= UTC_TIMESTAMP(6) - INTERVAL ? SECOND", age);
  sql += " ORDER BY id LIMIT ?";
  params.emplace_back(limit);

  std::vector<StuckRow> found;
  for (const mysql::Row& row : tx.query_with(sql, params)) {
    found.push_back({.id = row.get<std::uint64_t>(0),
                     .message_id = row.get<std::string>(1),
                     .purpose = row.get<std::string>(2),
                     .relay = row.get<std::string>(3),
                     .topic = row.get<std::string>(4),
                     .key = row.get<Bytes>(5),
                     .status = row.get<bool>(6) ? Status::dead : Status::failing,
                     .attempts = row.get<std::uint32_t>(7),
                     .error = row.get<std::string>(8),
                     .created_at = row.get<Time>(9),
                     .available_at = row.get<Time>(10)});
  }
  return found;
}

bool retry_row(mysql::Transaction& tx, std::uint64_t id, const ByHand& hand) {
  const auto row = lock_stuck(tx, id, "");
  if (!row) return false;
  tx.execute("UPDATE outbox_message SET status = 'pending', attempts = 0, available_at = UTC_TIMESTAMP(6) WHERE id = ?",
             id);
  audit(tx, *row, "outbox-retry", "pending", hand);
  ONCEMARK_FAIL_POINT("stuck.before_commit");
  return true;
}

bool skip_row(mysql::Transaction& tx, std::uint64_t id, const ByHand& hand) {
  const auto row = lock_stuck(tx, id, " AND purpose NOT LIKE '" + std::string(kRetryPurpose) + "%'");
  if (!row) return false;
  tx.execute("DELETE FROM outbox_message WHERE id = ?", id);
  audit(tx, *row, "outbox-skip", "removed", hand);
  ONCEMARK_FAIL_POINT("stuck.before_commit");
  return true;
}

}  // namespace oncemark::outbox
