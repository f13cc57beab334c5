#pragma once

#include <string>
#include <vector>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/reconcile/reconciler.hpp>

#include "reconcile/sieve.hpp"

namespace oncemark::reconcile {

// What tables of their own say: what is not sent, what waits for too long, what is dead. Each read in pages.

/// Every consumer that has a state row.
[[nodiscard]] std::vector<std::string> known_consumers(mysql::Pool& pool);

/// Rows of the outbox that are dead, or overdue for longer than the SLA. `topics` empty: all.
void find_unsent(mysql::Pool& pool, const ReconcileOptions& options, Sieve& sieve);
/// Messages in `retrying` whose attempt is overdue for longer than the SLA although it was sent.
void find_overdue_retries(mysql::Pool& pool, const ReconcileOptions& options, const std::string& consumer,
                          Sieve& sieve);
/// Messages in `parked` for longer than the SLA whose key is stopped, or whose head is overdue.
void find_stuck_sequences(mysql::Pool& pool, const ReconcileOptions& options, const std::string& consumer,
                          Sieve& sieve);
/// Letters that are dead, and letters that count as being replayed while their message is not.
void find_letters(mysql::Pool& pool, const ReconcileOptions& options, const std::string& consumer, Sieve& sieve);

}  // namespace oncemark::reconcile
