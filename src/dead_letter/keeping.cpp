#include <oncemark/dead_letter/keeping.hpp>

#include <string>

#include <oncemark/core/error.hpp>
#include <oncemark/core/faults.hpp>
#include <oncemark/core/id.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/parked.hpp>
#include <oncemark/ledger/transitions.hpp>
#include <oncemark/message/names.hpp>

#include "dead_letter/next_life.hpp"
#include "dead_letter/scan.hpp"
#include "mysql/in_list.hpp"

namespace oncemark::dead_letter {
namespace {

/// The states that it may find a letter in, as SQL, and the one that it leaves it in.
struct Way {
  std::string_view action;
  std::string_view from;
  std::string_view to;  // empty: the letter is deleted
};

Way way_of(Keeping keeping) {
  switch (keeping) {
    case Keeping::archive:
      return {.action = "archive", .from = "('dead')", .to = "archived"};
    case Keeping::restore:
      return {.action = "restore", .from = "('archived')", .to = "dead"};
    case Keeping::resolve:
      return {.action = "resolve", .from = "('dead', 'archived')", .to = "resolved"};
    case Keeping::purge:
      return {.action = "purge", .from = "('archived', 'resolved', 'replayed', 'discarded')", .to = {}};
  }
  return {};
}

/// Headers as a person wants them; ours stay as they were.
Headers merged(const Headers& before, const Edit& edit) {
  Headers headers;
  for (const Header& header : edit.headers) {
    if (!header.name.starts_with(names::kPrefix)) headers.append(header.name, header.value);
  }
  for (const Header& header : before) {
    if (header.name.starts_with(names::kPrefix)) headers.append(header.name, header.value);
  }
  if (!edit.payload.is_null()) headers.remove(names::kRecordLeftOut);  // here it is
  return headers;
}

}  // namespace

std::string_view to_string(Keeping keeping) noexcept { return way_of(keeping).action; }

std::vector<std::uint64_t> select_letters(mysql::Pool& pool, const Selection& selection, const LetterFilter& filter,
                                          std::uint64_t limit) {
  std::vector<std::uint64_t> ids;
  if (limit == 0) return ids;
  scan_letters(pool, selection, filter, [&](const Seen& seen) {
    ids.push_back(seen.id);
    return ids.size() < limit;
  });
  return ids;
}

std::uint64_t keep_letters(mysql::Transaction& tx, std::span<const std::uint64_t> letters, Keeping keeping,
                           const Hand& hand) {
  if (letters.empty()) return 0;
  const Way way = way_of(keeping);
  std::vector<mysql::Param> params;
  const std::string which =
      " WHERE id IN " + mysql::in_list(letters, params) + " AND state IN " + std::string(way.from);
  // Locks just these: what is read next stays true until the commit.
  tx.execute_with("UPDATE dead_letter SET attempts = attempts" + which, params);
  mysql::RowValues audits;
  std::vector<std::uint64_t> fitting;
  const Time now = ledger::database_now(tx);
  for (const mysql::Row& row : tx.query_with("SELECT id, consumer, identity, life FROM dead_letter" + which, params)) {
    fitting.push_back(row.get<std::uint64_t>(0));
    audits.add(nullptr, fitting.back(), row.get<std::string>(1), row.get<Bytes>(2), row.get<std::uint32_t>(3),
               way.action, way.to.empty() ? "removed" : way.to, hand.operator_name, hand.reason, now);
  }
  if (fitting.empty()) return 0;
  params.clear();
  if (!way.to.empty()) params.emplace_back(way.to);
  const std::string chosen = " WHERE id IN " + mysql::in_list<std::uint64_t>(fitting, params);
  tx.execute_with((way.to.empty() ? "DELETE FROM dead_letter" : "UPDATE dead_letter SET state = ?") + chosen, params);
  tx.insert_rows(
      "INSERT INTO replay_audit (job_id, letter_id, consumer, identity, life, action, outcome, operator, reason, at)",
      audits);
  ONCEMARK_FAIL_POINT("letters.before_commit");
  return fitting.size();
}

Edited replay_edited(mysql::Transaction& tx, std::uint64_t letter_id, const Edit& edit, const ReplayOrder& order) {
  auto letter = find_letter(tx, letter_id);
  if (!letter) return {.outcome = "skipped:deleted"};
  (void)ledger::lock_standing(tx, letter->consumer, letter->message.business_key);
  if (ledger::is_in_sequence(tx, letter->consumer, letter->message.business_key)) {
    throw MisuseError("letter " + std::to_string(letter_id) +
                      " stopped its key, and goes on in its place with the record it has; to send another one, first "
                      "`oncemark parked release` its key");
  }
  Message& message = letter->message;
  Headers headers = merged(message.headers, edit);
  headers.set(names::kEditedFrom, message.id);
  message.id = MessageId::generate(ledger::database_now(tx)).str();
  headers.remove(names::kMessageId);  // the relay writes the new one
  message.headers = std::move(headers);
  message.payload = edit.payload;
  const auto settled = begin_next_lives(tx,
                                        {.consumer = letter->consumer,
                                         .relay = order.relay,
                                         .topics = order.topics,
                                         .max_replays = order.max_replays,
                                         .action = "edit",
                                         .operator_name = order.operator_name,
                                         .reason = order.reason,
                                         .new_message_id = message.id},
                                        {&*letter, 1});
  if (settled[0].fate == Fate::refused) {
    throw PermanentError("letter " + std::to_string(letter_id) + " cannot be sent like this; the log says why");
  }
  ONCEMARK_FAIL_POINT("letters.before_commit");
  const bool is_done = settled[0].fate == Fate::replayed;
  return {.is_done = is_done, .outcome = settled[0].outcome, .message_id = is_done ? message.id : std::string()};
}

}  // namespace oncemark::dead_letter
