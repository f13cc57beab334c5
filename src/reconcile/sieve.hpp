#pragma once

#include <functional>
#include <vector>

#include <oncemark/mysql/pool.hpp>
#include <oncemark/reconcile/reconciler.hpp>

namespace oncemark::reconcile {

/// What findings pass on their way to the report: kinds that nobody asked for and what has been waived stay behind.
class Sieve {
 public:
  Sieve(mysql::Pool& pool, const ReconcileOptions& options, Report& report, const Reconciler::Visit& visit)
      : pool_(pool), options_(options), report_(report), visit_(visit) {}

  [[nodiscard]] bool wants(Kind kind) const;
  /// Whether findings need not be looked for any more: as many as may be named have been.
  [[nodiscard]] bool is_full() const noexcept { return report_.is_cut; }
  void add(Finding finding);
  /// Passes on what has gathered. At the end, and before what was added is looked at.
  void flush();

 private:
  mysql::Pool& pool_;
  const ReconcileOptions& options_;
  Report& report_;
  const Reconciler::Visit& visit_;
  std::vector<Finding> waiting_;
};

}  // namespace oncemark::reconcile
