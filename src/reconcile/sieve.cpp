#include "reconcile/sieve.hpp"

#include <algorithm>
#include <set>
#include <tuple>

namespace oncemark::reconcile {
namespace {

constexpr std::size_t kTogether = 200;

using Name = std::tuple<std::string, std::string, std::string, std::string, std::uint32_t>;

Name name_of(const Finding& finding) {
  return {std::string(to_string(finding.kind)), finding.scope, finding.business_key, finding.message_id, finding.life};
}

std::set<Name> waived_among(mysql::Pool& pool, const std::vector<Finding>& findings) {
  std::string sql =
      "SELECT kind, scope, message_key, message_id, life FROM reconcile_waiver WHERE (kind, scope, message_key, "
      "message_id, life) IN (";
  std::vector<Name> names;
  for (const Finding& finding : findings) names.push_back(name_of(finding));
  std::vector<mysql::Param> params;
  for (std::size_t i = 0; i < kTogether; ++i) {  // always as many: one statement to prepare
    const Name& name = names[std::min(i, names.size() - 1)];
    sql += i == 0 ? "(?, ?, ?, ?, ?)" : ", (?, ?, ?, ?, ?)";
    params.emplace_back(std::get<0>(name));
    params.emplace_back(std::get<1>(name));
    params.emplace_back(std::get<2>(name));
    params.emplace_back(std::get<3>(name));
    params.emplace_back(std::get<4>(name));
  }
  sql += ")";
  std::set<Name> waived;
  for (const mysql::Row& row : pool.transact([&](mysql::Transaction& tx) { return tx.query_with(sql, params); })) {
    waived.emplace(row.get<std::string>(0), row.get<std::string>(1), row.get<std::string>(2), row.get<std::string>(3),
                   row.get<std::uint32_t>(4));
  }
  return waived;
}

}  // namespace

bool Sieve::wants(Kind kind) const {
  return options_.kinds.empty() || std::ranges::find(options_.kinds, kind) != options_.kinds.end();
}

void Sieve::add(Finding finding) {
  if (!wants(finding.kind)) return;
  waiting_.push_back(std::move(finding));
  if (waiting_.size() >= kTogether) flush();
}

void Sieve::flush() {
  if (waiting_.empty()) return;
  const std::vector<Finding> findings = std::exchange(waiting_, {});
  const std::set<Name> waived = waived_among(pool_, findings);
  for (const Finding& finding : findings) {
    if (waived.contains(name_of(finding))) {
      ++report_.waived;
      continue;
    }
    if (report_.total() >= options_.most) {
      report_.is_cut = true;
      return;
    }
    ++report_.found[static_cast<std::size_t>(finding.kind)];
    if (visit_) visit_(finding);
  }
}

}  // namespace oncemark::reconcile
