#include <oncemark/reconcile/repair.hpp>

#include <optional>

#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/dead_letter/replay.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/outbox/stuck.hpp>

namespace oncemark::reconcile {
namespace {

void audit(mysql::Transaction& tx, const Finding& finding, std::string_view action, const std::string& outcome,
           const RepairOptions& options) {
  tx.execute(
      "INSERT INTO replay_audit (job_id, letter_id, consumer, identity, life, action, outcome, operator, reason, at) "
      "VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6))",
      finding.letter, finding.scope, finding.business_key, finding.life, action, outcome, options.operator_name,
      options.reason);
}

Repaired skipped(const std::optional<ledger::Standing>& found) {
  return {.outcome = "skipped:" + (found ? std::string(to_string(found->state)) : std::string("no state row"))};
}

/// A business row that was sent, and whose message no consumer has.
Repaired send_row_again(mysql::Transaction& tx, const Finding& finding, const RepairOptions& options) {
  const auto standing = ledger::lock_standing(tx, finding.scope, finding.business_key);
  if (standing) return skipped(standing);
  const auto row = tx.query_row(
      "SELECT status, sent_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND FROM outbox_message WHERE id = ? AND message_id = "
      "? AND purpose = '' FOR UPDATE",
      options.sla.count(), finding.row, finding.message_id);
  if (!row) return {.outcome = "skipped:row removed"};
  if (row->get<std::string>(0) != "sent") return {.outcome = "skipped:" + row->get<std::string>(0)};
  if (!row->get<std::optional<bool>>(1).value_or(false)) return {.outcome = "skipped:sent just now"};
  tx.execute("UPDATE outbox_message SET status = 'pending', attempts = 0, available_at = UTC_TIMESTAMP(6) WHERE id = ?",
             finding.row);
  audit(tx, finding, "reconcile-resend", "pending", options);
  return {.is_done = true, .outcome = "pending"};
}

Repaired resend(mysql::Transaction& tx, const Finding& finding, const RepairOptions& options) {
  if (finding.kind == Kind::unsent) {
    const bool is_retried =
        outbox::retry_row(tx, finding.row, {.operator_name = options.operator_name, .reason = options.reason});
    if (!is_retried) return {.outcome = "skipped:not refused any more"};
    return {.is_done = true, .outcome = "pending"};
  }
  if (finding.standing != "retrying") return send_row_again(tx, finding, options);
  const auto sent = dead_letter::send_again(tx, options.resend, finding.scope, finding.business_key, options.sla);
  if (sent == dead_letter::Resend::nothing) return {.outcome = "skipped:not overdue any more"};
  audit(tx, finding, "reconcile-resend", "pending", options);
  return {.is_done = true, .outcome = "pending"};
}

Repaired replay(mysql::Transaction& tx, const Finding& finding, const RepairOptions& options) {
  const auto replayed = dead_letter::replay_letter(tx, finding.letter, options.resend.topics, options.resend.relay,
                                                   options.operator_name, options.reason);
  return {.is_done = replayed.is_replayed, .outcome = replayed.outcome};
}

/// The letter says dead, or replaying, and its message is something else.
Repaired close(mysql::Transaction& tx, const Finding& finding, const RepairOptions& options) {
  const auto standing = ledger::lock_standing(tx, finding.scope, finding.business_key);
  const bool runs_on = standing && standing->life == finding.life + 1 &&
                       (standing->state == ledger::State::retrying || standing->state == ledger::State::parked);
  const bool is_dead = standing && standing->life == finding.life && standing->state == ledger::State::dead;
  if (runs_on || is_dead) return skipped(standing);
  const std::string end = standing && standing->life > finding.life ? "replayed" : "resolved";
  if (tx.execute("UPDATE dead_letter SET state = ? WHERE id = ? AND state IN ('dead', 'replaying')", end,
                 finding.letter) == 0) {
    return {.outcome = "skipped:closed"};
  }
  audit(tx, finding, "reconcile-close", end, options);
  return {.is_done = true, .outcome = end};
}

Repaired waive(mysql::Transaction& tx, const Finding& finding, const RepairOptions& options) {
  const bool is_new =
      tx.execute(
          "INSERT INTO reconcile_waiver (kind, scope, message_key, message_id, life, operator, reason, waived_at) "
          "VALUES (?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE kind = kind",
          to_string(finding.kind), finding.scope, finding.business_key, finding.message_id, finding.life,
          options.operator_name, options.reason) > 0;
  if (!is_new) return {.outcome = "skipped:waived"};
  audit(tx, finding, "reconcile-waive", std::string(to_string(finding.kind)), options);
  return {.is_done = true, .outcome = "waived"};
}

Repaired act(mysql::Transaction& tx, const Finding& finding, Action action, const RepairOptions& options) {
  switch (action) {
    case Action::none:
      return {.outcome = "skipped:nothing to do"};
    case Action::resend:
      return resend(tx, finding, options);
    case Action::replay:
      return replay(tx, finding, options);
    case Action::close:
      return close(tx, finding, options);
    case Action::waive:
      return waive(tx, finding, options);
  }
  return {};
}

}  // namespace

std::string_view to_string(Action action) noexcept {
  switch (action) {
    case Action::none:
      return "none";
    case Action::resend:
      return "send again";
    case Action::replay:
      return "replay";
    case Action::close:
      return "close letter";
    case Action::waive:
      return "waive";
  }
  return "unknown";
}

Action action_for(const Finding& finding) noexcept {
  switch (finding.kind) {
    case Kind::unsent:
      return finding.standing == "dead" || finding.standing == "failing" ? Action::resend : Action::none;
    case Kind::unsettled:
      return finding.standing.starts_with("parked") || (finding.standing == "no row" && finding.row == 0)
                 ? Action::none
                 : Action::resend;
    case Kind::dead:
      return finding.standing == "dead" ? Action::replay : Action::close;
    case Kind::replayed:
      if (finding.letter != 0) return Action::close;
      return finding.standing == "retrying" ? Action::resend : Action::none;
    case Kind::unexpected:
    case Kind::conflict:
      return Action::none;
  }
  return Action::none;
}

std::string_view why_not(const Finding& finding) noexcept {
  if (action_for(finding) != Action::none) return {};
  switch (finding.kind) {
    case Kind::unsent:
      return "its relay has to run: outbox-relay run --name RELAY";
    case Kind::unexpected:
      return "what took effect cannot be undone from here: --waive it, with a --reason";
    case Kind::conflict:
      return "a person has to decide which contents are right: send a new message, then --waive it, with a --reason";
    default:
      if (finding.standing == "parked behind a dead one") return "its key stopped: replay the dead letter before it";
      if (finding.standing == "parked") return "its consumer has to run";
      return "it is sent from another database: repair it there";
  }
}

void RepairOptions::validate(Action action) const {
  if (operator_name.size() > 255) throw MisuseError("RepairOptions::operator_name has more than 255 bytes");
  if (reason.size() > 1'024) throw MisuseError("RepairOptions::reason has more than 1,024 bytes");
  if (action == Action::waive && reason.empty()) throw MisuseError("RepairOptions::reason is required to waive");
}

Repaired repair(mysql::Transaction& tx, const Finding& finding, Action action, const RepairOptions& options) {
  options.validate(action);
  Repaired repaired = act(tx, finding, action, options);
  if (repaired.is_done) ONCEMARK_FAIL_POINT("reconcile.before_commit");
  return repaired;
}

std::vector<Waiver> waivers(mysql::Transaction& tx, std::size_t limit) {
  std::vector<Waiver> found;
  for (const mysql::Row& row :
       tx.query("SELECT kind, scope, message_key, message_id, life, operator, reason, waived_at FROM reconcile_waiver "
                "ORDER BY waived_at DESC LIMIT ?",
                limit)) {
    found.push_back({.kind = parse_kind(row.get<std::string>(0)),
                     .scope = row.get<std::string>(1),
                     .business_key = row.get<std::string>(2),
                     .message_id = row.get<std::string>(3),
                     .life = row.get<std::uint32_t>(4),
                     .operator_name = row.get<std::string>(5),
                     .reason = row.get<std::string>(6),
                     .waived_at = row.get<Time>(7)});
  }
  return found;
}

std::uint64_t take_back(mysql::Transaction& tx, const std::string& scope, const std::string& business_key,
                        const RepairOptions& options) {
  options.validate(Action::none);
  const std::uint64_t taken =
      tx.execute("DELETE FROM reconcile_waiver WHERE scope = ? AND message_key = ?", scope, business_key);
  if (taken > 0) {
    audit(tx, {.scope = scope, .business_key = business_key}, "reconcile-unwaive", std::to_string(taken), options);
    ONCEMARK_FAIL_POINT("reconcile.before_commit");
  }
  return taken;
}

}  // namespace oncemark::reconcile
