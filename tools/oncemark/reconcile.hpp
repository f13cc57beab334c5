#pragma once

#include <optional>
#include <string>
#include <vector>

#include <oncemark/config/settings.hpp>
#include <oncemark/reconcile/reconciler.hpp>

#include "output.hpp"
#include "program.hpp"

namespace oncemark::tools {

/// The options of the configuration, looking back at most as far as both sides are kept.
[[nodiscard]] reconcile::ReconcileOptions reconcile_options(const config::Settings& settings);

/// What `run`, `export` and `compare` can be told.
struct ReconcileFlags {
  std::vector<std::string> consumers;
  std::vector<std::string> topics;
  std::vector<std::string> only;
  std::vector<std::string> waive;
  std::optional<std::string> sla = {};
  std::optional<std::string> span = {};
  std::optional<std::string> operator_name = {};
  std::optional<std::string> confirm = {};
  std::string reason;
  std::uint64_t limit = 20;
  bool ignore_contents = false;
  bool repair = false;
  bool dry_run = false;
  bool yes = false;
  bool verbose = false;
  std::string file = {};  // the answer of another database, instead of tables of this one

  [[nodiscard]] bool is_narrowed() const { return !consumers.empty() || !topics.empty() || !only.empty(); }
};

void add_selection(CLI::App& verb, ReconcileFlags& flags);
void add_repair(CLI::App& verb, ReconcileFlags& flags);
/// The options of the configuration as the flags change them. Throws UsageError.
[[nodiscard]] reconcile::ReconcileOptions options_of(const config::Settings& settings, const ReconcileFlags& flags);
/// `reconcile run`, from the flags to the summary; the exit code.
[[nodiscard]] int run_reconcile(const Globals& globals, const ReconcileFlags& flags);
/// What was compared with what: on standard error, since it is no difference.
void tell_compared(const reconcile::Report& report);
void add_exchange_verbs(CLI::App& parent, Program& program);

/// One difference, as every verb prints it.
[[nodiscard]] Json finding_json(const reconcile::Finding& finding);

}  // namespace oncemark::tools
