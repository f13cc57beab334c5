#include <oncemark/dead_letter/sequences.hpp>

#include <oncemark/core/faults.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/parked.hpp>
#include <oncemark/outbox/writer.hpp>

namespace oncemark::dead_letter {

std::vector<Sequence> find_sequences(mysql::Transaction& tx, const SequenceSelection& selection, std::size_t limit) {
  outbox::check_name("SequenceSelection::consumer", selection.consumer);
  std::string sql =
      "SELECT order_key, depth, due_at, token IS NOT NULL, tries, head_key FROM parked_key WHERE consumer = ?";
  std::vector<mysql::Param> params{mysql::Param(selection.consumer)};
  if (selection.key) {
    sql += " AND order_key = ?";
    params.emplace_back(*selection.key);
  }
  if (selection.only_stopped) sql += " AND due_at IS NULL";
  sql += " ORDER BY order_key LIMIT ?";
  params.emplace_back(limit);
  std::vector<Sequence> found;
  for (const mysql::Row& row : tx.query_with(sql, params)) {
    found.push_back({.consumer = selection.consumer,
                     .order_key = row.get<std::string>(0),
                     .depth = row.get<std::uint32_t>(1),
                     .due_at = row.get<std::optional<Time>>(2),
                     .is_taken = row.get<bool>(3),
                     .tries = row.get<std::uint32_t>(4),
                     .head_key = row.get<std::string>(5)});
  }
  return found;
}

std::vector<Parked> find_parked(mysql::Transaction& tx, const std::string& consumer, const std::string& order_key,
                                std::size_t limit) {
  std::vector<Parked> found;
  for (const mysql::Row& row :
       tx.query("SELECT p.seq, p.message_key, p.message_id, p.origin_topic, p.origin_partition, p.origin_offset, "
                "c.state, c.life, c.attempt, COALESCE(p.last_error_class, ''), COALESCE(p.last_error, ''), "
                "COALESCE(l.id, 0), p.parked_at FROM parked_message p "
                "JOIN consumed_message c ON c.consumer = p.consumer AND c.message_key = p.message_key "
                "LEFT JOIN dead_letter l ON l.consumer = p.consumer AND l.identity = p.message_key AND l.life = c.life "
                "AND c.state = 'dead' WHERE p.consumer = ? AND p.order_key = ? ORDER BY p.seq LIMIT ?",
                consumer, order_key, limit)) {
    found.push_back({.seq = row.get<std::uint64_t>(0),
                     .business_key = row.get<std::string>(1),
                     .message_id = row.get<std::string>(2),
                     .origin = {.topic = row.get<std::string>(3),
                                .partition = row.get<std::int32_t>(4),
                                .offset = row.get<std::int64_t>(5)},
                     .state = row.get<std::string>(6),
                     .life = row.get<std::uint32_t>(7),
                     .attempt = row.get<std::uint32_t>(8),
                     .error_class = row.get<std::string>(9),
                     .error_text = row.get<std::string>(10),
                     .letter_id = row.get<std::uint64_t>(11),
                     .parked_at = row.get<Time>(12)});
  }
  return found;
}

Handled release(mysql::Transaction& tx, const Sequence& sequence, const Hand& hand) {
  const auto found = ledger::lock_standing(tx, sequence.consumer, sequence.head_key);
  if (!found || found->state != ledger::State::dead) {
    return {.outcome = "skipped:" + (found ? std::string(to_string(found->state)) : std::string("no state row"))};
  }
  if (!ledger::is_in_sequence(tx, sequence.consumer, sequence.head_key)) return {.outcome = "skipped:released"};
  tx.execute(
      "INSERT INTO replay_audit (job_id, letter_id, consumer, identity, life, action, outcome, operator, reason, at) "
      "SELECT NULL, id, consumer, identity, life, 'release', 'released', ?, ?, UTC_TIMESTAMP(6) "
      "FROM dead_letter WHERE consumer = ? AND identity = ? AND life = ?",
      hand.operator_name, hand.reason, sequence.consumer, sequence.head_key, found->life);
  (void)ledger::leave_sequence(tx, sequence.consumer, sequence.head_key);
  ONCEMARK_FAIL_POINT("waiting.before_commit");
  return {.is_done = true, .outcome = "released"};
}

}  // namespace oncemark::dead_letter
