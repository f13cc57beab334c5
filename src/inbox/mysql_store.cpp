#include <oncemark/inbox/mysql_store.hpp>

#include <oncemark/ledger/claim.hpp>
#include <oncemark/mysql/migration.hpp>

namespace oncemark::inbox {

void MysqlStore::prepare() {
  mysql::require_schema(pool_);
  ledger::require_exact_affected_rows(pool_);
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
    for (const std::size_t failed : effects(claims, unit.tx())) {
      ledger::give_back(unit.tx(), consumer, group[failed]->business_key);
    }
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

}  // namespace oncemark::inbox
