#include <oncemark/inbox/mysql_store.hpp>

#include <algorithm>

#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/suspects.hpp>
#include <oncemark/mysql/migration.hpp>

namespace oncemark::inbox {
namespace {

std::vector<Position> positions_of(std::span<const Message* const> messages) {
  std::vector<Position> positions;
  positions.reserve(messages.size());
  for (const Message* message : messages) positions.push_back(message->read_at);
  return positions;
}

/// Clears the notes of what this transaction settles. What failed keeps its note until it is routed.
void clear_notes(mysql::Transaction& tx, const std::string& consumer, std::span<const Message* const> group,
                 const std::vector<std::size_t>& undone) {
  std::vector<Position> settled;
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (group[i]->suspect_tries > 0 && std::ranges::find(undone, i) == undone.end()) {
      settled.push_back(group[i]->read_at);
    }
  }
  ledger::clear_suspects(tx, consumer, settled);
}

}  // namespace

void MysqlStore::prepare() {
  mysql::require_schema(pool_);
  ledger::require_exact_affected_rows(pool_);
  (void)ledger::sweep_suspects(pool_);
}

std::vector<ledger::Claim> MysqlStore::settle(const std::string& consumer, std::span<const Message* const> group,
                                              const Effects& effects) {
  auto connection = pool_.acquire();
  const auto put_back = [&](const mysql::UnitOfWork& unit) {
    if (!unit.is_reusable()) connection.drop();
  };
  mysql::UnitOfWork unit(*connection);
  try {
    auto claims = ledger::claim_group(unit.tx(), consumer, group);
    const std::vector<std::size_t> undone = effects(claims, unit.tx());
    for (const std::size_t failed : undone) ledger::give_back(unit.tx(), consumer, group[failed]->business_key);
    clear_notes(unit.tx(), consumer, group, undone);
    unit.commit();
    return claims;
  } catch (...) {
    // An effect that swallowed a lost race, or threw something of its own after it, must not be blamed for it.
    const std::exception_ptr doom = unit.tx().doom();
    unit.rollback();
    put_back(unit);
    if (doom) std::rethrow_exception(doom);
    throw;
  }
}

bool MysqlStore::is_reachable() noexcept { return pool_.is_reachable(); }

std::vector<std::uint32_t> MysqlStore::note(const std::string& consumer, std::span<const Message* const> messages) {
  return ledger::note_suspects(pool_, consumer, positions_of(messages));
}

std::uint32_t MysqlStore::note_alone(const std::string& consumer, const Message& message) {
  return ledger::note_suspect_alone(pool_, consumer, message.read_at);
}

void MysqlStore::withdraw(const std::string& consumer, std::span<const Message* const> messages) {
  ledger::withdraw_suspects(pool_, consumer, positions_of(messages));
}

}  // namespace oncemark::inbox
