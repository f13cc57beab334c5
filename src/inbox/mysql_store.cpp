#include <oncemark/inbox/mysql_store.hpp>

#include <algorithm>

#include <oncemark/core/clock.hpp>
#include <oncemark/ledger/claim.hpp>
#include <oncemark/ledger/suspects.hpp>
#include <oncemark/mysql/migration.hpp>

#include "core/mutants.hpp"
#include "inbox/duplicate_share.hpp"
#include "inbox/ordered.hpp"

namespace oncemark::inbox {
namespace {

// An estimate: looking up in vain costs less than half of what claiming a duplicate costs more than finding it.
constexpr double kLookAbove = 0.3;

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

/// Takes back the fresh claims on messages whose marks may have been purged. Free of charge unless one is old.
void refuse_older_than_horizon(mysql::Transaction& tx, const std::string& consumer,
                               const ledger::HorizonOptions& horizon, std::span<const Message* const> group,
                               std::vector<ledger::Claim>& claims) {
  const Time now = SystemClock().now();
  std::vector<const Message*> old;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (!claims[i].is_new_row || !ledger::is_near_horizon(horizon, *group[i], now)) continue;
    old.push_back(group[i]);
    places.push_back(i);
  }
  for (const std::size_t i : ledger::find_older_than_horizon(tx, consumer, old)) {
    claims[places[i]] = {.is_older_than_horizon = true};
    ledger::give_back(tx, consumer, old[i]->business_key);
  }
}

}  // namespace

MysqlStore::MysqlStore(mysql::Pool& pool, ledger::HorizonOptions horizon, const Ordered* ordered)
    : pool_(pool), horizon_(horizon), ordered_(ordered), share_(std::make_unique<DuplicateShare>(kLookAbove)) {}

MysqlStore::~MysqlStore() = default;

void MysqlStore::prepare() {
  mysql::require_schema(pool_);
  ledger::require_exact_affected_rows(pool_);
  (void)ledger::sweep_suspects(pool_);
  ledger::require_retention(pool_, horizon_);
}

std::vector<ledger::Claim> MysqlStore::settle(const std::string& consumer, std::span<const Message* const> group,
                                              const Effects& effects) {
  const auto first = [&] {
    const std::lock_guard lock(mutex_);
    return share_->is_frequent() ? ledger::ClaimFirst::look : ledger::ClaimFirst::insert;
  }();
  auto connection = pool_.acquire();
  const auto put_back = [&](const mysql::UnitOfWork& unit) {
    if (!unit.is_reusable()) connection.drop();
  };
  mysql::UnitOfWork unit(*connection, mysql::UnitOfWork::Begin::with_first_statement);
  try {
    if (ordered_ != nullptr) ordered_->check_keys(unit.tx(), group);
    auto claims = ledger::claim_group(unit.tx(), consumer, group, first);
    if (ordered_ != nullptr) ordered_->check_fresh(unit.tx(), group, claims);
    refuse_older_than_horizon(unit.tx(), consumer, horizon_, group, claims);
    const std::vector<std::size_t> undone = effects(claims, unit.tx());
    std::vector<std::string_view> not_done;
    for (const std::size_t i : undone) not_done.emplace_back(group[i]->business_key);
    ledger::give_back(unit.tx(), consumer, not_done);
    clear_notes(unit.tx(), consumer, group, undone);
    std::vector<const Message*> unmarked;
    for (std::size_t i = 0; has_mutant("mark_after_handler") && i < group.size(); ++i) {
      if (!claims[i].is_new_row || std::ranges::find(undone, i) != undone.end()) continue;
      ledger::give_back(unit.tx(), consumer, group[i]->business_key);
      unmarked.push_back(group[i]);
    }
    unit.commit();
    if (!unmarked.empty()) {
      pool_.transact([&](mysql::Transaction& tx) { (void)ledger::claim_group(tx, consumer, unmarked, first); });
    }
    const std::lock_guard lock(mutex_);
    share_->add(claims.size(), static_cast<std::size_t>(std::ranges::count(claims, false, &ledger::Claim::is_fresh)));
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
