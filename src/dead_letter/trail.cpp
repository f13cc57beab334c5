#include <oncemark/dead_letter/trail.hpp>

#include <string_view>

#include "mysql/in_list.hpp"

namespace oncemark::dead_letter {
namespace {

void read_standing(mysql::Transaction& tx, const Letter& letter, Trail& trail) {
  const auto row = tx.query_row(
      "SELECT state, life, attempt, payload_hash, consumed_at FROM consumed_message "
      "WHERE consumer = ? AND message_key = ?",
      letter.consumer, letter.message.business_key);
  if (!row) return;
  trail.standing = ledger::Standing{.state = ledger::parse_state(row->get<std::string>(0)),
                                    .life = row->get<std::uint32_t>(1),
                                    .attempt = row->get<std::uint32_t>(2),
                                    .payload_hash = row->get<std::uint64_t>(3)};
  trail.standing_since = row->get<Time>(4);
}

void read_other_lives(mysql::Transaction& tx, const Letter& letter, Trail& trail) {
  for (const mysql::Row& row : tx.query("SELECT id FROM dead_letter WHERE consumer = ? AND identity = ? AND id <> ? "
                                        "ORDER BY life LIMIT 100",
                                        letter.consumer, letter.message.business_key, letter.id)) {
    const Selection one{.id = row.get<std::uint64_t>(0), .state = std::nullopt};
    for (Letter& other : find_letters(tx, one, 1, Detail::summary)) trail.other_lives.push_back(std::move(other));
  }
}

/// After the audits, which name what the letter was edited into. Asked for by values: beside a subquery the server would
/// read the whole outbox.
void read_outbox(mysql::Transaction& tx, const Letter& letter, Trail& trail) {
  std::vector<std::string_view> ids{letter.message.id};
  for (const AuditTrace& audit : trail.audits) {
    if (!audit.new_message_id.empty()) ids.emplace_back(audit.new_message_id);
  }
  std::vector<mysql::Param> params;
  const std::string list = mysql::in_list<std::string_view>(ids, params);
  for (const mysql::Row& row :
       tx.query_with("SELECT id, purpose, topic, relay, status, attempts, COALESCE(last_error, ''), available_at, "
                     "CASE WHEN status = 'sent' THEN sent_at END, message_id FROM outbox_message WHERE message_id IN " +
                         list + " ORDER BY id LIMIT 100",
                     params)) {
    trail.outbox.push_back({.id = row.get<std::uint64_t>(0),
                            .message_id = row.get<std::string>(9),
                            .purpose = row.get<std::string>(1),
                            .topic = row.get<std::string>(2),
                            .relay = row.get<std::string>(3),
                            .status = row.get<std::string>(4),
                            .attempts = row.get<std::uint32_t>(5),
                            .last_error = row.get<std::string>(6),
                            .available_at = row.get<Time>(7),
                            .sent_at = row.get<std::optional<Time>>(8)});
  }
}

void read_audits(mysql::Transaction& tx, const Letter& letter, Trail& trail) {
  for (const mysql::Row& row : tx.query("SELECT COALESCE(job_id, 0), action, outcome, operator, reason, at, "
                                        "COALESCE(new_message_id, '') "
                                        "FROM replay_audit WHERE letter_id = ? ORDER BY id LIMIT 100",
                                        letter.id)) {
    trail.audits.push_back({.job_id = row.get<std::uint64_t>(0),
                            .action = row.get<std::string>(1),
                            .outcome = row.get<std::string>(2),
                            .operator_name = row.get<std::string>(3),
                            .reason = row.get<std::string>(4),
                            .new_message_id = row.get<std::string>(6),
                            .at = row.get<Time>(5)});
  }
}

}  // namespace

Trail trail_of(mysql::Transaction& tx, const Letter& letter) {
  Trail trail;
  read_standing(tx, letter, trail);
  read_other_lives(tx, letter, trail);
  read_audits(tx, letter, trail);
  read_outbox(tx, letter, trail);
  return trail;
}

}  // namespace oncemark::dead_letter
