#pragma once

#include <chrono>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/reconcile/digest.hpp>
#include <oncemark/reconcile/reconciler.hpp>

#include "reconcile/side.hpp"
#include "reconcile/sieve.hpp"

namespace oncemark::reconcile {

/// What the two sides have of buckets that differ, row by row: pointers into what was given. Both sorted by business key. Pure.
struct Differences {
  std::vector<const SideRow*> missing;     // sent, and no row of the consumer in these buckets
  std::vector<const SideRow*> unexpected;  // a row of the consumer, and none sent in these buckets
  std::vector<const SideRow*> conflicts;   // sent with other contents than the consumer has
};
[[nodiscard]] Differences differences(std::span<const SideRow> sent, std::span<const SideRow> settled,
                                      Contents contents);

/// How many buckets from the front are looked into at a time: a bounded number of rows of either side.
[[nodiscard]] std::size_t step_of(const Digest& sent, const Digest& settled, const std::string& topic,
                                  std::span<const std::uint32_t> buckets);

/// Looks into the buckets of one pair that differ, a bounded number of rows at a time.
class Drill {
 public:
  Drill(mysql::Pool& pool, const ReconcileOptions& options, Time now, Sieve& sieve)
      : pool_(pool), options_(options), now_(now), sieve_(sieve) {}

  void look(const Pair& pair, const Digest& sent, const Digest& settled, std::span<const std::uint32_t> buckets);

  /// Rows of the consumer that no row of this database's outbox may have sent: which are findings.
  void confirm_unexpected(const Pair& pair, std::span<const SideRow* const> rows);
  void report_conflict(const Pair& pair, const SideRow& row);
  void report_missing(const Pair& pair, const SideRow& row);

 private:
  void look_at(const Pair& pair, const Digest& sent, const Digest& settled, std::span<const std::uint32_t> buckets);
  void confirm_missing(const Pair& pair, std::span<const SideRow* const> rows);
  const std::set<std::string>& letters_of_conflicts(const std::string& consumer);

  mysql::Pool& pool_;
  const ReconcileOptions& options_;
  Time now_;
  Sieve& sieve_;
  std::string conflicts_of_;                // the consumer of:
  std::set<std::string> conflict_letters_;  // message ids that are letters already, and reported as such
};

}  // namespace oncemark::reconcile
