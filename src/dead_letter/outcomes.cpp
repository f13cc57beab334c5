#include "dead_letter/outcomes.hpp"

#include <algorithm>

#include <oncemark/ledger/state.hpp>

#include "mysql/in_list.hpp"

namespace oncemark::dead_letter {
namespace {

constexpr std::size_t kTogether = 1'000;  // ids in a statement

enum class Now { open, done, failed };

Now now_of(std::uint32_t letter_life, const mysql::Row& row) {
  if (row.is_null(1)) return Now::done;  // its mark was purged since
  const auto state = ledger::parse_state(row.get<std::string>(1));
  if (row.get<std::uint32_t>(2) > letter_life + 1) return Now::failed;  // it died, and was replayed once more
  switch (state) {
    case ledger::State::done:
      return Now::done;
    case ledger::State::dead:
    case ledger::State::discarded:
      return Now::failed;
    case ledger::State::retrying:
    case ledger::State::parked:
      return row.get<std::uint32_t>(3) > 0 ? Now::failed : Now::open;
  }
  return Now::open;
}

}  // namespace

Outcomes outcomes_of(mysql::Transaction& tx, std::uint64_t job_id, std::size_t most) {
  Outcomes outcomes;
  for (const mysql::Row& row :
       tx.query("SELECT a.life, c.state, c.life, c.attempt FROM (SELECT consumer, identity, life FROM replay_audit "
                "WHERE job_id = ? AND outcome = 'replayed' ORDER BY id DESC LIMIT ?) AS a "
                "LEFT JOIN consumed_message c ON c.consumer = a.consumer AND c.message_key = a.identity",
                job_id, most)) {
    ++outcomes.letters;
    const Now now = now_of(row.get<std::uint32_t>(0), row);
    if (now == Now::done) ++outcomes.done;
    if (now == Now::failed) ++outcomes.failed;
  }
  return outcomes;
}

std::vector<std::uint64_t> still_replaying(mysql::Transaction& tx, std::span<const std::uint64_t> letters) {
  std::vector<std::uint64_t> found;
  for (std::size_t first = 0; first < letters.size(); first += kTogether) {
    std::vector<mysql::Param> params;
    const std::string list =
        mysql::in_list(letters.subspan(first, std::min(kTogether, letters.size() - first)), params);
    for (const mysql::Row& row :
         tx.query_with("SELECT id FROM dead_letter WHERE id IN " + list + " AND state = 'replaying'", params)) {
      found.push_back(row.get<std::uint64_t>(0));
    }
  }
  return found;
}

std::vector<std::uint64_t> replaying_of(mysql::Transaction& tx, std::uint64_t job_id, std::size_t most) {
  std::vector<std::uint64_t> found;
  for (const mysql::Row& row :
       tx.query("SELECT l.id FROM replay_audit a JOIN dead_letter l ON l.id = a.letter_id AND l.state = 'replaying' "
                "WHERE a.job_id = ? AND a.outcome = 'replayed' LIMIT ?",
                job_id, most)) {
    found.push_back(row.get<std::uint64_t>(0));
  }
  return found;
}

}  // namespace oncemark::dead_letter
